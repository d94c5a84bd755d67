"""Figures of the two predictors: where they hold, whether their intervals do, and what looking back gains."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from envs.timeline import INK
from experiments.look import NOTE, PAR, page, panels

Floats = NDArray[np.float64]

_MODEL: Final = "#0072B2"
_CEILING: Final = "#D55E00"
_LAW: Final = "#56B4E9"
_BINS: Final = 8


def scenario_figure(rows: Sequence[Sequence[Any]], held_out: Collection[str]) -> Figure:
    """Share of transfers within 20 % by scenario: estimate, law of the path, model, ceiling.

    Args:
        rows: Of each scenario name, transfers, and the four shares.
        held_out: Those that no model was trained on.
    """
    figure, axes = page(
        1.4 + 0.36 * len(rows),
        "For how many transfers is the completion time predicted within 20 %?",
        "Test transfers on links of their own. Ceiling: who knows the present perfectly, not the future.",
    )
    marks = (
        (2, "estimate", "x", PAR),
        (3, "law of the path", "^", _LAW),
        (4, "model", "o", _MODEL),
        (5, "ceiling", "|", _CEILING),
    )
    for place, row in enumerate(reversed(rows)):
        axes.plot([0, 100], [place, place], color="#EEEEEE", linewidth=1, zorder=1)
        for column, name, marker, shade in marks:
            axes.plot(
                100 * row[column],
                place,
                marker,
                color=shade,
                markersize=13 if marker == "|" else 7,
                markeredgewidth=2.4 if marker in "|x" else 1,
                label=name if place == 0 else None,
                zorder=3,
            )
    names = [f"{row[0]} (held out)" if row[0] in held_out else str(row[0]) for row in reversed(rows)]
    axes.set_yticks(range(len(rows)), names)
    axes.axvline(80, color=NOTE, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(0, 101)
    axes.set_xlabel("transfers within 20 %, %")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9.5, labelcolor=INK)
    figure.subplots_adjust(left=0.2, right=0.82, top=1 - 0.75 / figure.get_figheight(), bottom=0.17)
    return figure


def interval_figure(true: Floats, quantiles: Floats, levels: Sequence[float]) -> Figure:
    """Predicted against true seconds, and how often the truth lies below each quantile.

    Args:
        true: Seconds, shape (n,).
        quantiles: Predicted, shape (n, levels).
        levels: Which.
    """
    figure, (scatter, shares) = panels(
        2,
        2,
        4.0,
        "Do predictions hold, and do their intervals?",
        "Left: test transfers, grey lines 20 % off. Right: share below each quantile, by predicted length.",
    )
    middle = quantiles[:, len(levels) // 2]
    shown = np.arange(len(true))[:: max(1, len(true) // 3000)]
    scatter.scatter(middle[shown], true[shown], s=4, color=_MODEL, alpha=0.35, linewidths=0)
    ends = np.array([min(true.min(), middle.min()), max(true.max(), middle.max())])
    for factor in (0.8, 1.2):
        scatter.plot(ends, factor * ends, color=PAR, linewidth=1)
    scatter.set(xscale="log", yscale="log", xlabel="predicted, s", ylabel="true, s")
    edges = np.quantile(middle, np.linspace(0, 1, _BINS + 1))
    place = np.clip(np.searchsorted(edges, middle, side="right") - 1, 0, _BINS - 1)
    centres = [float(np.median(middle[place == one])) for one in range(_BINS) if (place == one).any()]
    for column, level in enumerate(levels):
        below = [
            float(np.mean(true[place == one] <= quantiles[place == one, column]))
            for one in range(_BINS)
            if (place == one).any()
        ]
        shares.axhline(100 * level, color=PAR, linewidth=1)
        shares.plot(centres, 100 * np.array(below), marker="o", markersize=5, color=_MODEL)
    shares.set(xscale="log", xlabel="predicted, s", ylabel="truth below quantile, %", ylim=(0, 100))
    figure.subplots_adjust(left=0.08, right=0.985, top=0.82, bottom=0.14, wspace=0.22)
    return figure


def error_figure(errors: Mapping[str, Mapping[str, float]], ceiling: Mapping[str, float]) -> Figure:
    """Error of each forecast of each quantity, over that of the last value.

    Args:
        errors: By quantity, by way of forecasting, in % of the last value's.
        ceiling: By quantity where it is known, likewise.
    """
    figure, charts = panels(
        len(errors),
        len(errors),
        3.2,
        "How much nearer is a forecast than the last value?",
        "Mean absolute error of the next minute on new links, last value = 100. Line: who knows the state.",
    )
    for axes, (quantity, ways) in zip(charts, errors.items(), strict=True):
        names = list(ways)
        values = [ways[name] for name in names]
        shades = [_MODEL if name == "network" else PAR for name in names]
        axes.barh(range(len(names)), values, color=shades, height=0.62)
        for place, value in enumerate(values):
            axes.text(value + 1.5, place, f"{value:.0f}", va="center", fontsize=9, color=INK)
        if quantity in ceiling:
            axes.axvline(ceiling[quantity], color=_CEILING, linewidth=2)
        axes.set_yticks(range(len(names)), names if axes is charts[0] else [""] * len(names))
        axes.invert_yaxis()
        axes.set_xlim(0, max(112.0, 1.15 * max(values)))
        axes.set_title(quantity, fontsize=10, loc="left", color=INK)
    figure.subplots_adjust(left=0.13, right=0.985, top=0.74, bottom=0.1, wspace=0.12)
    return figure
