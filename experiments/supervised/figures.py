"""Figures that all supervised models share: targets met or missed, scores by truth, and the days after."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from envs.timeline import INK
from experiments.look import NOTE, PAR, page, panels
from experiments.supervised.task import Measure

VALUE, CEILING = "#0072B2", "#B8860B"
QUIET, EVENT = "#8C8C8C", "#D55E00"


def overview(measures: Mapping[str, Sequence[Measure]]) -> Figure:
    """Every figure that has a target: where the model stands, as a multiple of the target.

    Args:
        measures: Of each model, by its title.
    """
    rows = [
        (title, one) for title, some in measures.items() for one in some if one.verdict and one.target > 0
    ]
    height = 1.5 + 0.34 * max(1, len(rows))
    figure, axes = page(
        height,
        "Which targets are met, and which lie beyond what can be known?",
        "Each figure over its target: from 1 on it is met (of errors, the target over the figure).",
    )
    axes.axvline(1.0, color=PAR, linewidth=1.2, zorder=1)
    for line, (_, one) in enumerate(rows):
        marks = (
            ("naive", one.naive, "x", PAR),
            ("ceiling", one.ceiling, "|", CEILING),
            ("", one.value, "o", VALUE),
        )
        for label, value, marker, shade in marks:
            place = _ratio(value, one)
            if not math.isnan(place):
                name = (label or "model") if line == 0 else None
                size = 130 if marker == "|" else 42
                axes.scatter(
                    place, line, marker=marker, s=size, color=shade, label=name, zorder=3, linewidths=2
                )
    axes.set_yticks(range(len(rows)), [f"{title}: {one.name}" for title, one in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1.6)
    axes.grid(axis="both")
    axes.set_xlabel("share of the target (further right than 1.6 is drawn there)")
    handles = {
        "model": axes.scatter([], [], marker="o", s=42, color=VALUE),
        "naive baseline": axes.scatter([], [], marker="x", s=42, color=PAR, linewidths=2),
        "ceiling": axes.scatter([], [], marker="|", s=130, color=CEILING, linewidths=2),
    }
    axes.legend(
        handles.values(),
        handles.keys(),
        loc="lower left",
        frameon=False,
        fontsize=9,
        ncols=3,
        bbox_to_anchor=(0, 1),
    )
    figure.subplots_adjust(left=0.46, right=0.985, top=1 - 0.95 / height, bottom=0.5 / height)
    return figure


def _ratio(value: float, one: Measure) -> float:
    if math.isnan(value):
        return value
    if one.lower_is_better:
        return min(1.6, one.target / value) if value > 0 else 1.6
    return min(1.6, value / one.target)


def watched_days(days: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Accuracy of the feedback and share of drifting features, day by day, one panel a model."""
    columns = min(3, len(days))
    lines = -(-len(days) // columns)
    height = 1.2 + 1.9 * lines
    figure, charts = panels(
        len(days),
        columns,
        height,
        "Do the models stay as good as they were?",
        "Blue: mean accuracy of a day's feedback. Orange: share of features that drift. Grey: bars for both.",
    )
    for axes, (title, rows) in zip(charts, days.items(), strict=True):
        at = [row["day"] for row in rows]
        axes.axhline(0.85, color=PAR, linewidth=1, linestyle=(0, (4, 3)))
        axes.axhline(0.3, color=PAR, linewidth=1, linestyle=(0, (4, 3)))
        axes.plot(at, [row["accuracy"] for row in rows], color=VALUE, linewidth=2, marker="o", markersize=3)
        axes.plot(at, [row["drifted"] for row in rows], color=EVENT, linewidth=2, marker="o", markersize=3)
        axes.set_ylim(-0.03, 1.05)
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
        axes.grid(axis="y")
        axes.set_xlabel("day")
    figure.subplots_adjust(
        left=0.05, right=0.985, top=1 - 0.95 / height, bottom=0.5 / height, hspace=0.55, wspace=0.15
    )
    return figure


def scores_by_truth(
    scores: Mapping[str, tuple[NDArray[np.float64], NDArray[np.bool_], float]], question: str, note: str
) -> Figure:
    """How far a detector's scores part events from quiet rows, one panel a detector.

    Args:
        scores: By name the scores, the truth, and the threshold.
        question: Heading.
        note: Below it.
    """
    height = 3.6
    figure, charts = panels(len(scores), len(scores), height, question, note)
    for axes, (name, (values, truth, threshold)) in zip(charts, scores.items(), strict=True):
        shown = np.log10(np.maximum(values, 1e-9))
        low, high = np.quantile(shown, (0.001, 0.999))
        edges = np.linspace(low, max(high, low + 1e-6), 60)
        for part, shade, label in ((~truth, QUIET, "quiet"), (truth, EVENT, "event")):
            if part.any():
                counts, _ = np.histogram(np.clip(shown[part], low, high), edges)
                axes.fill_between(
                    edges[:-1], counts / counts.sum(), step="post", color=shade, alpha=0.55, label=label
                )
        axes.axvline(np.log10(max(threshold, 1e-9)), color=INK, linewidth=1.4)
        axes.set_title(name, loc="left", fontsize=10, fontweight="bold")
        axes.set_xlabel("score, log10 (line: threshold)")
        axes.set_yticks([])
        axes.legend(frameon=False, fontsize=9)
    figure.subplots_adjust(left=0.03, right=0.985, top=0.76, bottom=0.15, wspace=0.08)
    return figure


def operating_curves(
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    marks: Mapping[str, tuple[float, float]],
    question: str,
    note: str,
) -> Figure:
    """Recall against the rate of false alarms of several detectors, on a log scale, and where each works.

    Args:
        curves: By name false-positive rates and recalls, rising; a name with "ceiling" in it is dashed.
        marks: By name the operating point.
        question: Heading.
        note: Below it.
    """
    figure, axes = page(4.4, question, note)
    shades = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#56B4E9")
    for number, (name, (rates, recalls)) in enumerate(curves.items()):
        bound = "ceiling" in name
        shade = CEILING if bound else shades[number % 4]
        style = (0, (5, 3)) if bound else "-"
        axes.plot(np.maximum(rates, 1e-5), recalls, color=shade, linewidth=2, linestyle=style, label=name)
        if name in marks:
            axes.plot(max(marks[name][0], 1e-5), marks[name][1], "o", color=shade, markersize=8)
    axes.set_xscale("log")
    axes.set_xlim(1e-4, 1)
    axes.set_ylim(0, 1.03)
    axes.grid(axis="both")
    axes.set_xlabel("false alarms, share of the quiet")
    axes.set_ylabel("recall")
    axes.legend(frameon=False, fontsize=9, loc="lower right", labelcolor=NOTE)
    figure.subplots_adjust(left=0.08, right=0.985, top=0.83, bottom=0.13)
    return figure


def curve(
    scores: NDArray[np.float64], truth: NDArray[np.bool_], points: int = 200
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False-positive rates from 1e-4 to 1 and the recall that a threshold for each reaches."""
    rates = np.geomspace(1e-4, 1, points)
    cuts = np.quantile(scores[~truth], 1 - rates)
    events = np.sort(scores[truth])
    return rates, 1 - np.searchsorted(events, cuts, side="left") / max(1, len(events))
