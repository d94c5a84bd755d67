"""The figures of a report: each answers one question."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from envs.timeline import INK
from experiments.look import MARKERS, PAR, STATIC_MARKERS, colour, label_ends, page, panels

SHOWN: Final = (20.0, 147.0)
"""Percent of the best static policy that a chart shows at most; what lies beyond is written at its edge."""
LINE_IN: Final = 0.2
"""Height of one policy's line in a panel, in inches."""

_LETTER: Final = 0.0086
"""Width of a letter of a policy's name, as a share of a figure's."""


def learning_curves(curves: pd.DataFrame, levels: Mapping[str, tuple[str, float]]) -> Figure:
    """Validation cost against training steps: the mean of a learner's seeds, and the band they span.

    Args:
        curves: Rows of all ``curves.csv``; cost as a share of the best static policy's.
        levels: Kind and the same cost of policies that do not learn, drawn as level lines.
    """
    figure, axes = page(
        4.6,
        "Do the learners improve, and do they pass the policies that do not learn?",
        "Cost on validation episodes, mean over scenarios. Band: lowest to highest training seed.",
    )
    labels, shown = [], []
    for policy, (kind, level) in {"best static": ("static", 1.0), **levels}.items():
        axes.axhline(100 * level, color=colour(policy, kind), linewidth=1.3, linestyle=(0, (5, 3)), zorder=2)
        labels.append((100 * level, policy, colour(policy, kind)))
        shown.append(100 * level)
    for name, rows in curves.groupby("policy"):
        policy = str(name)
        band = 100 * rows.groupby("step")["validation_cost"].agg(["mean", "min", "max"])
        shade = colour(policy, "learner")
        axes.fill_between(band.index, band["min"], band["max"], color=shade, alpha=0.18, linewidth=0)
        axes.plot(band.index, band["mean"], color=shade, linewidth=2.2, zorder=3)
        seeds = rows["training_seed"].nunique()
        labels.append((band["mean"].iloc[-1], f"{policy} ({seeds} seed{'s' * (seeds > 1)})", shade))
        shown += [float(band["max"].quantile(0.9)), float(band["min"].min())]
    margin = 0.06 * (max(shown) - min(shown)) + 0.5
    axes.set_ylim(min(shown) - margin, max(shown) + margin)
    axes.set_xlim(curves["step"].min(), curves["step"].max())
    axes.grid(axis="y")
    axes.set_xlabel("decisions trained on, thousands")
    axes.set_ylabel("cost, % of the best static policy")
    axes.xaxis.set_major_formatter(lambda steps, _position: f"{steps / 1000:g}")
    label_ends(axes, labels)
    figure.subplots_adjust(left=0.085, right=0.76, top=0.83, bottom=0.12)
    return figure


def cost_by_scenario(costs: pd.DataFrame, split: str) -> Figure:
    """One panel a scenario, one line a policy: cost beside the best static policy's, with its interval.

    Args:
        costs: Columns policy, kind, scenario, percent, low, high, best_static; policies in their order.
        split: The episodes it was measured on, for the note.
    """
    kinds = dict(zip(costs["policy"], costs["kind"], strict=True))
    policies, scenarios = list(kinds), list(dict.fromkeys(costs["scenario"]))
    columns = min(3, len(scenarios))
    lines = -(-len(scenarios) // columns)
    height = 1.35 + lines * (LINE_IN * len(policies) + 0.7)
    figure, charts = panels(
        len(scenarios),
        columns,
        height,
        "What does each policy cost beside the best static one?",
        f"Cost on {split} episodes; bars: intervals. Left of the grey line is cheaper.",
    )
    low, high = _limits(costs)
    for number, axes in enumerate(charts):
        rows = costs[costs["scenario"] == scenarios[number]]
        axes.axvline(100, color=PAR, linewidth=1.2, zorder=1)
        for row in rows.to_dict("records"):
            _dot(axes, row, policies.index(row["policy"]), (low, high))
        best = rows["best_static"].iloc[0]
        axes.set_title(scenarios[number], loc="left", fontsize=10, fontweight="bold", pad=17)
        note = best and f"100 %: {best}"
        axes.annotate(
            note, (0, 1), (0, 5), "axes fraction", textcoords="offset points", fontsize=8.5, color=PAR
        )
        axes.set_ylim(len(policies) - 0.4, -0.6)
        axes.set_xlim(low, high)
        first = number % columns == 0
        axes.set_yticks(range(len(policies)), policies if first else [""] * len(policies))
        for label, policy in zip(axes.get_yticklabels(), policies, strict=True):
            label.set_color(colour(policy, kinds[policy]))
        axes.grid(axis="both")
        if number + columns >= len(scenarios):
            axes.set_xlabel("cost, % of the best static policy")
    figure.subplots_adjust(
        left=max(0.15, _LETTER * max(map(len, policies))),
        right=0.985,
        top=1 - 1.1 / height,
        bottom=0.5 / height,
        hspace=0.65 / (LINE_IN * len(policies)),
        wspace=0.08,
    )
    return figure


def confusion_with_oracle(tables: Mapping[tuple[str, str], pd.DataFrame]) -> Figure:
    """What each policy does where the one-step oracle does this or that: one square a policy.

    Args:
        tables: By policy and kind the share of decisions, rows the oracle's answer, columns its own; a row
            sums to 1, or is NaN where the oracle never answers so.
    """
    columns = min(3, len(tables))
    lines = -(-len(tables) // columns)
    height = 1.5 + 2.4 * lines
    figure, charts = panels(
        len(tables),
        columns,
        height,
        "Where do policies answer unlike the one-step oracle?",
        "Test decisions, % of each row. To differ is no fault: the oracle sees no queues and no later "
        "deltas.",
    )
    for number, axes in enumerate(charts):
        (policy, kind), table = list(tables.items())[number]
        axes.imshow(table.to_numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (line, column), share in np.ndenumerate(table.to_numpy()):
            text = "–" if np.isnan(share) else f"{100 * share:.0f}"
            ink = "white" if share > 0.55 else INK
            axes.text(column, line, text, ha="center", va="center", fontsize=9, color=ink)
        shade = colour(policy, kind)
        axes.set_title(policy, loc="left", fontsize=10, fontweight="bold", color=shade, pad=5)
        axes.spines[:].set_visible(False)
        axes.set_xticks(range(table.shape[1]), list(table.columns))
        names = list(table.index) if number % columns == 0 else [""] * len(table)
        axes.set_yticks(range(len(table)), names)
        if number % columns == 0:
            axes.set_ylabel("the oracle's answer")
        if number + columns >= len(tables):
            axes.set_xlabel("the policy's answer")
    figure.subplots_adjust(
        left=0.11, right=0.985, top=1 - 0.98 / height, bottom=0.55 / height, hspace=0.32, wspace=0.07
    )
    return figure


def headroom(costs: pd.DataFrame) -> Figure:
    """How far below the best static policy each scenario can be played, and who gets how far.

    Args:
        costs: Columns policy, kind, scenario, percent (on the episodes that were searched) and
            nothing_to_learn; one row of kind ``search`` in every scenario.
    """
    found = costs[costs["kind"] == "search"].sort_values("percent")
    scenarios, dull = list(found["scenario"]), set(costs.loc[costs["nothing_to_learn"], "scenario"])
    height = 2.0 + 0.38 * len(scenarios)
    figure, axes = page(
        height,
        "How much is there to win, and who wins it?",
        "Cost on the searched test episodes. Bar: from the best static policy to the best answers found.",
    )
    low, high = _limits(costs.assign(low=costs["percent"], high=costs["percent"]))
    axes.axvline(100, color=PAR, linewidth=1.2, zorder=1)
    axes.barh(range(len(found)), found["percent"] - 100, left=100, height=0.64, color="#F3E6C4", zorder=1)
    statics = list(dict.fromkeys(costs.loc[costs["kind"] == "static", "policy"]))
    for (policy, kind), rows in costs.groupby(["policy", "kind"], sort=False):
        static = kind == "static"
        inside = rows[rows["percent"].between(low, high)]
        axes.scatter(
            inside["percent"],
            [scenarios.index(name) for name in inside["scenario"]],
            marker=STATIC_MARKERS[statics.index(policy) % len(STATIC_MARKERS)]
            if static
            else MARKERS[str(kind)],
            s={"static": 26, "oracle": 110, "search": 70}.get(str(kind), 46),
            color=colour(str(policy), str(kind)),
            linewidths=1.2 if static else 0,
            zorder={"static": 2, "learner": 4}.get(str(kind), 3),
            label=policy,
        )
    axes.set_yticks(
        range(len(scenarios)), [f"{n}\nnothing to learn here" if n in dull else n for n in scenarios]
    )
    for label, name in zip(axes.get_yticklabels(), scenarios, strict=True):
        label.set_color(PAR if name in dull else INK)
        label.set_fontsize(8.5 if name in dull else 10)
    axes.set_xlim(low, high)
    axes.set_ylim(len(scenarios) - 0.4, -0.6)
    axes.grid(axis="both")
    beyond = int((costs["percent"] > high).sum())
    more = f"; {beyond} marks lie further right" if beyond else ""
    axes.set_xlabel(f"cost, % of the best static policy{more}")
    figure.legend(
        loc="upper left",
        bbox_to_anchor=(0.005, 1 - 0.62 / height),
        ncols=8,
        frameon=False,
        fontsize=9,
        handletextpad=0.1,
        columnspacing=1.2,
    )
    figure.subplots_adjust(left=0.2, right=0.985, top=1 - 1.25 / height, bottom=0.52 / height)
    return figure


def _limits(costs: pd.DataFrame) -> tuple[float, float]:
    """Percent shown: all there is, as far as charts go, with a little air."""
    lowest = float(costs[["percent", "low"]].to_numpy().min())
    highest = float(costs[["percent", "high"]].to_numpy().max())
    return max(SHOWN[0], min(lowest, 98.0) - 3), min(SHOWN[1], max(highest, 102.0) + 3)


def _dot(axes: Axes, row: Mapping[str, Any], line: int, limits: tuple[float, float]) -> None:
    low, high = limits
    shade = colour(row["policy"], row["kind"])
    if row["percent"] > high - 1:
        axes.text(high, line, f"{row['percent']:.0f} % ▸ ", ha="right", va="center", fontsize=8, color=shade)
    elif row["percent"] < low + 1:
        axes.text(low, line, f" ◂ {row['percent']:.0f} %", ha="left", va="center", fontsize=8, color=shade)
    else:
        ends = [max(low, row["low"]), min(high, row["high"])]
        axes.plot(ends, [line, line], color=shade, linewidth=2.2, alpha=0.55, zorder=2)
        axes.plot(row["percent"], line, "o", color=shade, markersize=5.5, zorder=3)
