"""Figures of the selector: can its confidence be believed, and what does it take for what."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from envs.timeline import INK
from experiments.look import PAR, page
from experiments.supervised.figures import VALUE

_BINS = 12


def calibration_figure(chances: NDArray[np.float64], best: NDArray[np.int64]) -> Figure:
    """Accuracy by confidence, and how many decisions have it."""
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == best
    edges = np.quantile(confidence, np.linspace(0, 1, _BINS + 1))
    place = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, _BINS - 1)
    figure, axes = page(
        4.0,
        "Can the selector's confidence be believed?",
        "Test decisions in twelve parts of equal size by confidence. On the line: as often right as it says.",
    )
    axes.plot([0, 1], [0, 1], color=PAR, linewidth=1.2)
    for one in range(_BINS):
        own = place == one
        if own.any():
            spread = 1.96 * np.sqrt(max(right[own].mean() * (1 - right[own].mean()), 1e-4) / own.sum())
            axes.errorbar(
                confidence[own].mean(),
                right[own].mean(),
                spread,
                fmt="o",
                color=VALUE,
                markersize=6,
                capsize=2,
            )
    low = max(0.0, float(edges[0]) - 0.03)
    axes.set_xlim(low, 1.01)
    axes.set_ylim(min(low, 0.3), 1.02)
    axes.grid(axis="both")
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    figure.subplots_adjust(left=0.08, right=0.985, top=0.82, bottom=0.13)
    return figure


def confusion_figure(counts: NDArray[np.int64], names: Sequence[str]) -> Figure:
    """What the selector answers where the oracle answers this or that."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = page(3.6, "What does the selector take for what?", "Test decisions, % of each row.")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (line, column), share in np.ndenumerate(shares):
        shown = "–" if not counts[line].sum() else f"{100 * share:.1f}  ({counts[line, column]})"
        axes.text(
            column, line, shown, ha="center", va="center", fontsize=9, color="white" if share > 0.55 else INK
        )
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("the selector's answer")
    axes.set_ylabel("the oracle's answer")
    figure.subplots_adjust(left=0.1, right=0.985, top=0.8, bottom=0.15)
    return figure
