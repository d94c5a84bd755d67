"""Data against fit of a calibration, as one figure: ratios and rates, every slice a dot."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.figure import Figure

from sim.files import write_whole

if TYPE_CHECKING:
    from sim.testbed.codec_fit import LawFit

_PANELS: Final = (
    ("ratio", "ratio", 1.0),
    ("encode rate", "encoding, MB a CPU second", 1e6),
    ("decode rate", "decoding, MB a CPU second", 1e6),
)


def write_calibration_figure(laws: "list[LawFit]", path: Path) -> None:
    """Measured over fitted of every law, in a panel each for ratios, encoding and decoding."""
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    for axes, (ending, title, unit) in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
        own = [law for law in laws if law.name.endswith(ending)]
        for number, law in enumerate(own):
            label = law.name.removesuffix(ending).strip()
            axes.scatter(
                law.predicted / unit,
                law.measured / unit,
                s=14,
                alpha=0.7,
                color=f"C{number}",
                marker="os^Dvx*P<>"[number % 10],
                label=f"{label} ({law.held_out_error:.0%})",
            )
        _diagonal(axes, [law.predicted / unit for law in own] + [law.measured / unit for law in own])
        axes.set(xscale="log", yscale="log", xlabel=f"fitted: {title}", ylabel="measured")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("{x:g}" if ending == "ratio" else "")
        if own:
            axes.legend(fontsize=7, title="held-out error", title_fontsize=7)
    write_whole(path, lambda stream: figure.savefig(stream, format="png", dpi=110))


def _diagonal(axes: Any, values: list[Any]) -> None:
    if values:
        ends = np.array([np.concatenate(values).min(), np.concatenate(values).max()])
        axes.plot(ends, ends, color="0.6", linewidth=1, zorder=0)
