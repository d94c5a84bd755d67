"""Figures of whole distributions: how often a policy does how well, and how often it beats which other."""

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from envs.timeline import INK
from experiments.aggregates import Improvement
from experiments.look import NOTE, PAR, colour, page

_DASHES: Final = ((0, ()), (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)), (0, (3, 1.2)))
"""Static policies share a colour and differ by their dashes."""


def profile_figure(curves: pd.DataFrame, split: str) -> Figure:
    """Share of the episodes on which each policy costs at most so much, with its band.

    Args:
        curves: As `experiments.aggregates.profiles` gives them.
        split: The episodes, for the note.
    """
    figure, axes = page(
        5.0,
        "On how many episodes does each policy do how well?",
        f"Share of {split} episodes (all scenarios, all trainings) on which a policy costs at most so much. "
        "Higher is better.",
    )
    draw_profiles(axes, curves)
    figure.subplots_adjust(left=0.085, right=0.76, top=0.85, bottom=0.11)
    return figure


def draw_profiles(axes: Axes, curves: pd.DataFrame) -> None:
    """Draw profiles with their bands, and name them beside, the best on top."""
    axes.axvline(100, color=PAR, linewidth=1.0, zorder=1)
    statics = list(dict.fromkeys(curves.loc[curves["kind"] == "static", "policy"]))
    areas = {}
    for (policy, kind), rows in curves.groupby(["policy", "kind"], sort=False):
        static, percent = kind == "static", 100 * rows["level"]
        shade = colour(str(policy), str(kind))
        areas[policy] = rows["share"].mean()
        if not static:
            axes.fill_between(
                percent, 100 * rows["low"], 100 * rows["high"], color=shade, alpha=0.15, linewidth=0
            )
        axes.plot(
            percent,
            100 * rows["share"],
            color=shade,
            linewidth=1.3 if static else 2.0,
            linestyle=_DASHES[statics.index(policy) % len(_DASHES)] if static else "-",
            zorder=2 if static else 3,
            label=str(policy),
        )
    axes.set_xlim(100 * curves["level"].min(), 100 * curves["level"].max())
    axes.set_ylim(0, 100)
    axes.grid(axis="both")
    axes.set_xlabel("cost, % of the best static policy on the same episode")
    axes.set_ylabel("share of the episodes, %")
    handles, names = axes.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda number: -areas[names[number]])
    axes.legend(
        [handles[number] for number in order],
        [names[number] for number in order],
        loc="upper left",
        bbox_to_anchor=(1.01, 1.02),
        frameon=False,
        fontsize=9,
        handlelength=2.2,
    )


def improvement_figure(found: Improvement, split: str) -> Figure:
    """A matrix: how often the policy of a row costs less than that of a column on the same episode."""
    count = len(found.policies)
    height = 1.9 + 0.29 * count
    figure, axes = page(
        height,
        "Who beats whom, and how often?",
        f"Probability, in %, that the row's policy costs less than the column's on the same {split} episode; "
        "grey: the interval includes 50.",
    )
    axes.imshow(found.chance, cmap="RdBu", vmin=0, vmax=1, aspect="auto")
    for (row, column), chance in np.ndenumerate(found.chance):
        if np.isnan(chance):
            continue
        strong = abs(chance - 0.5) > 0.33
        ink = "white" if strong else INK
        axes.text(
            column,
            row,
            f"{100 * chance:.0f}",
            ha="center",
            va="center",
            fontsize=8 if count > 12 else 9,
            color=ink if found.sure[row, column] else NOTE,
        )
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(count), list(found.policies), rotation=38, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.set_yticks(range(count), list(found.policies))
    figure.subplots_adjust(left=0.2, right=0.97, top=1 - 1.55 / height, bottom=0.12 / height)
    return figure
