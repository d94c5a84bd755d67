"""The figure of a search: how far the policy lies behind, against each thing that sites differ in."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from experiments.look import INK, NOTE, PAR, colour, panels
from experiments.worst.findings import Finding, tries_frame
from experiments.worst.search import Try
from sim.scenarios import Scenario

_COLUMNS: Final = 3
_UNITS: Final = {
    "capacity": "capacity, Mbit/s",
    "loss": "random loss, %",
    "rtt": "round trip, ms",
    "load": "load, times the scenario's",
    "background": "cores taken by others, %",
}
_MOST_TICKS: Final = 4
_PERCENT: Final = ("loss", "background")


def gap_against_knobs(
    base: Scenario,
    spread: float,
    tries: Sequence[Try],
    found: Sequence[Finding],
    *,
    who: tuple[str, str, str],
) -> Figure:
    """A panel a knob: a dot a try, the worst sites as numbers, a dashed line where the scenario lies.

    Args:
        base: Around which was searched.
        spread: Of the sites.
        tries: All of them.
        found: The judged ones, the scenario itself first.
        who: Names of policy, its kind, and the incumbent.
    """
    name, kind, against = who
    frame = tries_frame(base, spread, tries)
    names = list(frame.columns[5:])
    lines = -(-len(names) // _COLUMNS)
    height = 0.9 + 2.4 * lines
    figure, charts = panels(
        len(names),
        _COLUMNS,
        height,
        f"Where does {name} do worst, around {base.name}?",
        f"Cost in the search, % of {against}'s. A dot a site; the worst by number; dashed: {base.name}.",
    )
    ranks = {one.found.number: rank for rank, one in enumerate(found[1:], 1)}
    for number, axes in enumerate(charts):
        _panel(axes, frame, names[number], ranks, colour(name, kind))
        if number % _COLUMNS:
            axes.tick_params(labelleft=False)
    figure.subplots_adjust(
        left=0.065, right=0.985, top=1 - 0.85 / height, bottom=0.5 / height, wspace=0.09, hspace=0.38
    )
    return figure


def _panel(axes: Axes, frame: pd.DataFrame, name: str, ranks: dict[int, int], shade: str) -> None:
    knob = name.rpartition(".")[2]
    values = frame[name].to_numpy() * (100 if knob in _PERCENT else 1)
    costs = 100 * (1 + frame["gap"].to_numpy())
    axes.axvline(values[0], color=NOTE, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    axes.axhline(100, color=PAR, linewidth=1.2, zorder=1)
    chosen = np.array([number in ranks for number in frame["try"]])
    axes.plot(values[~chosen], costs[~chosen], "o", color=shade, alpha=0.45, markersize=5, zorder=3)
    axes.plot(values[chosen], costs[chosen], "o", color=shade, markersize=13, zorder=4)
    for number, value, cost in zip(frame["try"], values, costs, strict=True):
        if number in ranks:
            axes.text(
                value, cost, str(ranks[number]), color="white", fontsize=9, fontweight="bold",
                ha="center", va="center_baseline", zorder=5,
            )  # fmt: skip
    if knob not in ("load", "background") and values.min() > 0:
        axes.set_xscale("log")
        _label_decades(axes, values)
    axes.margins(y=0.12)
    before = name.rpartition(".")[0]
    axes.set_xlabel(f"{before}: {_UNITS[knob]}" if before else _UNITS[knob], color=INK)
    axes.grid(axis="y")


def _label_decades(axes: Axes, values: NDArray[np.float64]) -> None:
    """Ticks in plain figures: of 1, 1.5, 2, 3, 5 and 7 a decade, as many as have room."""
    low, high = np.log10(values.min()), np.log10(values.max())
    ticks: list[float] = []
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        decades = range(int(np.floor(low)), int(np.ceil(high)) + 1)
        finer = [step * 10.0**decade for decade in decades for step in steps]
        inside = [tick for tick in finer if low <= np.log10(tick) <= high]
        ticks = inside if not ticks or len(inside) <= _MOST_TICKS else ticks
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
