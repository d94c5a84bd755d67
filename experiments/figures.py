"""The figures of a report: each answers one question, in one look, with one colour for a policy everywhere."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS: Final = {
    "ppo": "#0072B2", "dqn": "#D55E00", "masked_ppo": "#56B4E9", "masked_dqn": "#E69F00", "qrdqn": "#882255",
    "recurrent_ppo": "#332288", "ensemble": "#009E73", "nn19": "#44AA99", "dwcp_rule": "#CC79A7",
    "estimate": "#AA4499", "one_step_oracle": "#000000", "best_found": "#B8860B", "planner": "#B8860B",
}  # fmt: skip
"""Okabe and Ito: Color Universal Design (2008); beyond its eight, Paul Tol's "muted" scheme (2021)."""
SPARE: Final = ("#56B4E9", "#E69F00", "#882255", "#332288", "#999933", "#117733")
"""For learners that a config names anew."""
PAR: Final = "#8C8C8C"
"""Static policies, and the line at which a policy is as good as the best of them."""
INK: Final = "#333333"
FAINT: Final = "#E6E6E6"
STATIC_MARKERS: Final = "xsv^Dp"
KIND_MARKERS: Final = {"learner": "o", "supervised": "D", "rule": "^", "static": "s", "oracle": "*", "search": "P"}
LOOK: Final = {
    "font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.labelcolor": INK,
    "axes.edgecolor": "#BBBBBB", "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "xtick.color": INK, "ytick.color": INK, "xtick.major.size": 0, "ytick.major.size": 0,
    "grid.color": FAINT, "grid.linewidth": 0.8, "figure.dpi": 130, "savefig.dpi": 130,
}  # fmt: skip
WIDTH_IN: Final = 9.0
CHART_RANGE: Final = (40.0, 160.0)
"""Percent of the best static policy that a chart shows at most; what lies beyond is written at the edge."""


def colour(policy: str, kind: str = "static") -> str:
    """The colour of a policy: grey for a static one, one of its own for every other, by its name.

    >>> colour("ppo", "learner"), colour("zstd")
    ('#0072B2', '#8C8C8C')
    """
    if kind == "static":
        return COLOURS.get(policy, PAR)
    return COLOURS.get(policy) or SPARE[zlib.crc32(policy.encode()) % len(SPARE)]


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all; the same figure gives the same bytes."""
    with matplotlib.rc_context(LOOK):
        write_whole(path, lambda stream: figure.savefig(stream, format="png", metadata={"Software": None}, facecolor="white"))
    return path


def learning_curves(curves: pd.DataFrame, levels: Mapping[str, float]) -> Figure:
    """Validation cost against training steps: the mean of a learner's seeds, and the band from lowest to highest.

    Args:
        curves: Rows of all ``curves.csv``; cost as a share of the best static policy's.
        levels: The same cost of policies that do not learn, drawn as level lines.
    """
    figure, axes = _page(4.6, "Do the learners get better, and do they pass the policies that do not learn?",
                         "Cost on the validation episodes, mean over scenarios. Band: lowest to highest seed.")  # fmt: skip
    labels = []
    for policy, level in {"best static": 1.0, **levels}.items():
        shade = colour(policy)
        axes.axhline(100 * level, color=shade, linewidth=1.2, linestyle=(0, (5, 3)), zorder=2)
        labels.append((100 * level, policy, shade))
    shown = [100.0 * level for level in (1.0, *levels.values())]
    for policy, rows in curves.groupby("policy"):
        band = 100 * rows.groupby("step")["validation_cost"].agg(["mean", "min", "max"])
        shade = colour(str(policy))
        axes.fill_between(band.index, band["min"], band["max"], color=shade, alpha=0.18, linewidth=0)
        axes.plot(band.index, band["mean"], color=shade, linewidth=2.2, zorder=3)
        seeds = rows["training_seed"].nunique()
        labels.append((band["mean"].iloc[-1], f"{policy} ({seeds} seed{'s' if seeds > 1 else ''})", shade))
        shown += [float(np.quantile(band["max"], 0.9)), float(band["min"].min())]
    last_step = float(curves["step"].max()) if len(curves) else 1.0
    margin = 0.08 * (max(shown) - min(shown)) + 0.5
    axes.set_ylim(min(shown) - margin, max(shown) + margin)
    axes.set_xlim(0, last_step)
    axes.grid(axis="y")
    axes.set_xlabel("decisions trained on")
    axes.set_ylabel("cost, % of the best static policy")
    axes.xaxis.set_major_formatter(_thousands)
    _labels_at_the_right(axes, labels)
    figure.subplots_adjust(left=0.085, right=0.79, top=0.84, bottom=0.12)
    return figure


def cost_by_scenario(costs: pd.DataFrame) -> Figure:
    """One panel a scenario, one row a policy, cost against the best static policy with its interval.

    Args:
        costs: Columns policy, scenario, percent, low, high, best_static; sorted by policy as they shall stand.
    """
    policies = list(dict.fromkeys(costs["policy"]))
    scenarios = list(dict.fromkeys(costs["scenario"]))
    columns = min(3, len(scenarios))
    lines = -(-len(scenarios) // columns)
    height = 1.25 + lines * (0.2 * len(policies) + 0.62)
    figure, panels = _panels(lines, columns, height, "What does each policy cost beside the best static codec?",
                             "Test episodes; dot: paired difference, bar: 95 % interval; left of the line is cheaper.")  # fmt: skip
    low, high = _range(costs)
    for panel, axes in enumerate(panels):
        if panel >= len(scenarios):
            axes.set_visible(False)
            continue
        rows = costs[costs["scenario"] == scenarios[panel]]
        axes.axvline(100, color=PAR, linewidth=1.2, zorder=1)
        for row in rows.to_dict("records"):
            _dot(axes, row, len(policies) - 1 - policies.index(row["policy"]), (low, high))
        axes.set_title(f"{scenarios[panel]}", loc="left", fontsize=10, fontweight="bold", pad=5)
        axes.set_title(f"100 % = {rows['best_static'].iloc[0]}", loc="right", fontsize=8.5, color=PAR, pad=5)
        axes.set_ylim(-0.6, len(policies) - 0.4)
        axes.set_xlim(low, high)
        axes.set_yticks(range(len(policies)), policies[::-1] if panel % columns == 0 else [""] * len(policies))
        for label, policy in zip(axes.get_yticklabels(), policies[::-1], strict=True):
            label.set_color(colour(policy) if policy in COLOURS else "#666666")
        axes.grid(axis="both")
        if panel + columns >= len(scenarios):
            axes.set_xlabel("cost, % of the best static")
    figure.subplots_adjust(left=0.15, right=0.985, top=1 - 0.95 / height, bottom=0.5 / height,
                           hspace=0.42 / (0.2 * len(policies)), wspace=0.07)  # fmt: skip
    return figure


def confusion(shares: Mapping[str, pd.DataFrame]) -> Figure:
    """What each policy does where the one-step oracle does this or that: one square table a policy.

    Args:
        shares: For each policy the share of decisions, rows the oracle's action, columns its own; a row sums to 1.
    """
    columns = min(3, len(shares))
    lines = -(-len(shares) // columns)
    height = 1.2 + 2.75 * lines
    figure, panels = _panels(lines, columns, height, "Where do policies answer unlike the one-step oracle?",
                             "Test decisions; each row sums to 100 %. The oracle is blind to queues and later deltas.")  # fmt: skip
    for panel, axes in enumerate(panels):
        if panel >= len(shares):
            axes.set_visible(False)
            continue
        policy, table = list(shares.items())[panel]
        axes.imshow(table.to_numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (line, column), share in np.ndenumerate(table.to_numpy()):
            if share == share:
                axes.text(column, line, f"{100 * share:.0f}", ha="center", va="center", fontsize=9,
                          color="white" if share > 0.55 else INK)  # fmt: skip
        axes.set_title(policy, loc="left", fontsize=10, fontweight="bold", color=colour(policy))
        axes.set_xticks(range(table.shape[1]), list(table.columns))
        axes.set_yticks(range(table.shape[0]), list(table.index) if panel % columns == 0 else [""] * len(table))
        axes.spines[:].set_visible(False)
        if panel % columns == 0:
            axes.set_ylabel("oracle's answer")
        if panel + columns >= len(shares):
            axes.set_xlabel("policy's answer, % of the row")
    figure.subplots_adjust(left=0.11, right=0.985, top=1 - 0.95 / height, bottom=0.55 / height, hspace=0.3, wspace=0.08)
    return figure


def headroom(costs: pd.DataFrame) -> Figure:
    """How far below the best static policy each scenario can be played, and how much of that is won.

    Args:
        costs: Columns policy, kind, scenario, percent on the episodes that were searched, nothing_to_learn;
            one row for ``best_found`` in every scenario.
    """
    found = costs[costs["policy"] == "best_found"].sort_values("percent")
    scenarios = list(found["scenario"])
    height = 1.9 + 0.36 * len(scenarios)
    figure, axes = _page(height, "How much is there to win, and who wins it?",
                         "Cost on the searched episodes. Bar: from the best static policy to the best answers found.")  # fmt: skip
    statics = list(dict.fromkeys(costs.loc[costs["kind"] == "static", "policy"]))
    low, high = _range(costs.rename(columns={}).assign(low=costs["percent"], high=costs["percent"]))
    axes.axvline(100, color=PAR, linewidth=1.2, zorder=1)
    handles: dict[str, Any] = {}
    for row in costs.to_dict("records"):
        if row["scenario"] not in scenarios:
            continue
        line = len(scenarios) - 1 - scenarios.index(row["scenario"])
        policy, static = row["policy"], row["kind"] == "static"
        marker = STATIC_MARKERS[statics.index(policy) % len(STATIC_MARKERS)] if static else KIND_MARKERS[row["kind"]]
        if policy == "best_found":
            axes.barh(line, row["percent"] - 100, left=100, height=0.62, color="#F3E6C4", zorder=1)
        if not low <= row["percent"] <= high:
            continue
        dots = axes.scatter(row["percent"], line, marker=marker, s=26 if static else 52, color=colour(policy),
                            linewidths=1.2 if static else 0.6, zorder=2 if static else 3)  # fmt: skip
        handles.setdefault(policy, dots)
    dull = set(costs.loc[costs["nothing_to_learn"], "scenario"])
    names = [f"{name}\n(nothing to learn here)" if name in dull else name for name in scenarios[::-1]]
    axes.set_yticks(range(len(scenarios)), names)
    for label, name in zip(axes.get_yticklabels(), scenarios[::-1], strict=True):
        label.set_color(PAR if name in dull else INK)
        label.set_fontsize(8.5 if name in dull else 10)
    axes.set_xlim(low, high)
    axes.set_ylim(-0.7, len(scenarios) - 0.3)
    axes.grid(axis="both")
    axes.set_xlabel("cost, % of the best static policy (policies beyond the edge are not drawn)")
    figure.legend(handles.values(), handles.keys(), loc="upper left", bbox_to_anchor=(0.012, 1 - 0.68 / height),
                  ncols=7, frameon=False, fontsize=9, handletextpad=0.1, columnspacing=1.2)  # fmt: skip
    figure.subplots_adjust(left=0.19, right=0.985, top=1 - 1.25 / height, bottom=0.52 / height)
    return figure


def _page(height_in: float, question: str, note: str) -> tuple[Figure, Axes]:
    figure, panels = _panels(1, 1, height_in, question, note)
    return figure, panels[0]


def _panels(lines: int, columns: int, height_in: float, question: str, note: str) -> tuple[Figure, list[Axes]]:
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(WIDTH_IN, height_in))
        FigureCanvasAgg(figure)
        panels = figure.subplots(lines, columns, squeeze=False)
    figure.text(0.012, 1 - 0.14 / height_in, question, fontsize=13, fontweight="bold", va="top", color=INK)
    figure.text(0.012, 1 - 0.42 / height_in, note, fontsize=9.5, va="top", color="#777777")
    return figure, list(panels.flat)


def _range(costs: pd.DataFrame) -> tuple[float, float]:
    """Percent shown: all there is, within the range of the charts, with a little air."""
    lowest, highest = float(costs[["percent", "low"]].min(axis=None)), float(costs[["percent", "high"]].max(axis=None))
    return max(CHART_RANGE[0], min(lowest, 98) - 3), min(CHART_RANGE[1], max(highest, 102) + 3)


def _dot(axes: Axes, row: Mapping[str, Any], line: int, limits: tuple[float, float]) -> None:
    low, high = limits
    shade = colour(row["policy"])
    if not low <= row["percent"] <= high:
        cheaper = row["percent"] < low
        axes.text(low if cheaper else high, line, f"◂ {row['percent']:.0f} %" if cheaper else f"{row['percent']:.0f} % ▸",
                  ha="left" if cheaper else "right", va="center", fontsize=8, color=shade)  # fmt: skip
        return
    if row["low"] == row["low"]:
        axes.plot([max(low, row["low"]), min(high, row["high"])], [line, line], color=shade, linewidth=2, alpha=0.6, zorder=2)
    axes.plot(row["percent"], line, "o", color=shade, markersize=6, zorder=3)


def _thousands(steps: float, _position: int) -> str:
    return "0" if steps == 0 else f"{steps / 1000:g} k"


def _labels_at_the_right(axes: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Names beside the ends of their lines, moved apart where they would lie upon each other."""
    bottom, top = axes.get_ylim()
    gap = 0.055 * (top - bottom)
    height = -np.inf
    for value, name, shade in sorted(labels):
        height = max(min(max(value, bottom), top), height + gap)
        axes.annotate(f"{name}  {value:.0f} %", xy=(1, value), xytext=(1.015, height), xycoords=("axes fraction", "data"),
                      textcoords=("axes fraction", "data"), color=shade, fontsize=9.5, va="center", annotation_clip=False)  # fmt: skip
