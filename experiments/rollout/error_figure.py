"""One picture of how often gates err, by how good or bad a candidate truly is."""

from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sim.files import write_whole

_TITLES: Final = {
    "saved": ("costs of a session", "share that the candidate costs more"),
    "wrong": ("wrong answers", "share of the answers that are wrong"),
    "slow": ("late answers", "share that takes longer than 15 ms"),
    "silent": ("missing answers", "share of decisions without one"),
}
_LEAST: Final = 3e-4
"""Rates below this are drawn at the foot of the figure."""
_FALSE, _MISSED, _GREY = "#3b6ea5", "#c2572b", "#777777"


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw the curves of a study, a panel for each fault, as PNG."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    axes = figure.subplots(1, len(_TITLES), sharey=True)
    for axis, (fault, (title, label)) in zip(axes, _TITLES.items(), strict=True):
        sign = -1.0 if fault == "saved" else 1.0
        limit = sign * found["limits"][fault]
        points = [(sign * one["value"], one["back"], one["place"]) for one in found["curves"][fault]]
        inside = [(value, max(back, _LEAST)) for value, back, place in points if place == "pushed"]
        beyond = [(value, max(1.0 - back, _LEAST)) for value, back, place in points if place != "pushed"]
        axis.axvline(limit, color=_GREY, linewidth=0.8)
        axis.axhline(0.01, color=_GREY, linewidth=0.8, linestyle=":")
        axis.plot(*zip(*inside, strict=True), "o-", color=_FALSE, label="taken back, though within the limit")
        axis.plot(*zip(*beyond, strict=True), "s-", color=_MISSED, label="not taken back, though beyond it")
        axis.text(limit, 1.35, " limit", color=_GREY, fontsize=8, va="bottom")
        axis.set_yscale("log")
        axis.set_ylim(0.7 * _LEAST, 1.3)
        axis.set_title(title, fontsize=10, pad=16)
        axis.set_xlabel(label, fontsize=9)
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.tick_params(labelsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0].set_ylabel(f"share of {found['rollouts']} rollouts", fontsize=9)
    axes[0].set_yticks([_LEAST, 0.001, 0.01, 0.1, 1.0], ["none", "0.1 %", "1 %", "10 %", "100 %"])
    axes[0].minorticks_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    write_whole(path, lambda stream: figure.savefig(stream, format="png", dpi=150))
