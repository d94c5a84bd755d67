"""The figure of node reliability: how long before a failure the alarm stands."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from experiments.look import PAR, page
from experiments.supervised.figures import VALUE
from experiments.supervised.nodes import Incident


def lead_figure(found: Sequence[Incident], lead_min: NDArray[np.float64], early: NDArray[np.bool_]) -> Figure:
    """Minutes between alarm and failure, a dot an incident, and how long its precursor was."""
    kinds = sorted({one.kind for one in found})
    figure, axes = page(
        1.4 + 0.55 * max(1, len(kinds)),
        "How long before a failure does the alarm stand?",
        "A dot an incident, at 0 if there was no alarm before. Grey bar: median length of the precursor.",
    )
    for line, kind in enumerate(kinds):
        own = np.array([one.kind == kind for one in found])
        length = [one.start - one.precursor for one in found if one.kind == kind]
        axes.plot([0, float(np.median(length))], [line, line], color=PAR, linewidth=9, alpha=0.35)
        values = np.where(early, lead_min, 0.0)[own]
        spread = (np.arange(len(values)) % 9 - 4) * 0.06
        axes.scatter(values, line + spread, s=14, color=VALUE, alpha=0.6, linewidths=0)
    axes.set_yticks(range(len(kinds)), kinds)
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    axes.grid(axis="x")
    axes.set_xlabel("minutes before the failure")
    figure.subplots_adjust(left=0.13, right=0.985, top=0.8 if len(kinds) < 5 else 0.85, bottom=0.14)
    return figure
