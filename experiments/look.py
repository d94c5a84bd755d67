"""The look of all figures: one colour a policy, one page, one way to label."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from envs.timeline import INK, LOOK
from sim.files import write_whole

COLOURS: Final = {
    "ppo": "#0072B2",
    "dqn": "#D55E00",
    "masked_ppo": "#56B4E9",
    "masked_dqn": "#E69F00",
    "qrdqn": "#882255",
    "recurrent_ppo": "#332288",
    "ensemble": "#009E73",
    "nn19": "#44AA99",
    "vine": "#117733",
    "vine_ahead": "#661100",
    "contention": "#999933",
    "mode_rule": "#CCA43B",
    "dwcp_rule": "#CC79A7",
    "estimate": "#AA4499",
    "one_step_oracle": "#000000",
    "best_found": "#B8860B",
    "planner": "#B8860B",
    "bound": "#CC6677",
}
"""Okabe and Ito: Color Universal Design (2008); beyond its eight, Paul Tol's "muted" scheme (2021)."""
SPARE: Final = ("#56B4E9", "#E69F00", "#882255", "#332288", "#A65628")
"""For policies that a config names anew."""
PAR: Final = "#8C8C8C"
"""Static policies, and the line at which a policy is as good as the best of them."""
NOTE: Final = "#707070"
MARKERS: Final = {
    "learner": "o",
    "lookahead": ">",
    "supervised": "D",
    "rule": "^",
    "oracle": "*",
    "search": "P",
    "bound": "X",
}
STATIC_MARKERS: Final = "xsvhp+"
"""Static policies share a colour and differ by their marker."""
STYLE: Final[dict[Any, Any]] = {
    **LOOK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
}
WIDTH_IN: Final = 9.0
DOTS_AN_INCH: Final = 130
"""With the width, 1170 points: sharp where a README shows them at 900."""


def colour(policy: str, kind: str = "static") -> str:
    """The colour of a policy: grey for a static one, one of its own for every other, by its name.

    >>> colour("ppo", "learner"), colour("zstd")
    ('#0072B2', '#8C8C8C')
    """
    if kind == "static":
        return PAR
    return COLOURS.get(policy) or SPARE[zlib.crc32(policy.encode()) % len(SPARE)]


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all; the same figure gives the same bytes.

    Raises:
        InputError: If the file system refuses.
    """
    with matplotlib.rc_context(STYLE):
        write_whole(path, lambda stream: figure.savefig(stream, format="png", metadata={"Software": None}))
    return path


def page(height_in: float, question: str, note: str) -> tuple[Figure, Axes]:
    """A figure with one chart under the question that it answers."""
    figure, charts = panels(1, 1, height_in, question, note)
    return figure, charts[0]


def panels(count: int, columns: int, height_in: float, question: str, note: str) -> tuple[Figure, list[Axes]]:
    """A figure with so many charts, row by row, under the question that they answer."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DOTS_AN_INCH, facecolor="white")
        FigureCanvasAgg(figure)
        charts = figure.subplots(-(-count // columns), columns, squeeze=False)
    for axes in charts.flat[count:]:
        axes.set_visible(False)
    figure.text(0.012, 1 - 0.14 / height_in, question, fontsize=13, fontweight="bold", va="top", color=INK)
    figure.text(0.012, 1 - 0.43 / height_in, note, fontsize=9.5, va="top", color=NOTE)
    return figure, list(charts.flat[:count])


def label_ends(axes: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Write names (height, name, colour) beside the right ends of their lines, apart from each other."""
    bottom, top = axes.get_ylim()
    gap = 0.055 * (top - bottom)
    below = -np.inf
    for value, name, shade in sorted(labels):
        below = max(min(max(value, bottom), top), below + gap)
        axes.annotate(
            f"{name}  {value:.0f} %",
            xy=(1.015, below),
            xycoords=("axes fraction", "data"),
            color=shade,
            fontsize=9.5,
            va="center",
            annotation_clip=False,
        )
