"""Figures of features: what goes with what, how values spread, the course of a day, what is mended."""

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from agents.supervised.features import Pipeline
from envs.timeline import INK
from experiments.look import PAR, page, panels
from sim.units import MINUTE

_SHADE: Final = "#0072B2"
_MOST: Final = 24
_SHOWN_MINUTES: Final = 720


def correlation_figure(frame: pd.DataFrame, pipeline: Pipeline) -> Figure:
    """Rank correlation of the quantities and of what is made of them together."""
    names = [one.name for one in pipeline.columns if one.stage in ("canonical", "cross", "transfer")][:_MOST]
    some = frame[names].iloc[:: max(1, len(frame) // 20_000)]
    ranks = some.rank().corr().to_numpy()
    figure, axes = page(
        7.2, "What goes with what?", "Rank correlation of canonical, cross and transfer features, all links."
    )
    image = axes.imshow(ranks, cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    figure.colorbar(image, ax=axes, shrink=0.7)
    figure.subplots_adjust(left=0.2, right=0.98, top=0.9, bottom=0.22)
    return figure


def distribution_figure(frame: pd.DataFrame, pipeline: Pipeline) -> Figure:
    """How the quantities spread."""
    chosen = list(pipeline.measured)[:8]
    figure, charts = panels(
        len(chosen), 4, 4.6, "How do the quantities spread?", "Minutes of all, in 40 bins each."
    )
    for axes, one in zip(charts, chosen, strict=True):
        values = frame[one.name].dropna().to_numpy()
        positive = values[values > 0]
        wide = len(positive) > 0.5 * len(values) and np.quantile(positive, 0.99) > 20 * np.quantile(
            positive, 0.01
        )
        shown = positive if wide else values
        low, high = np.quantile(shown, (0.001, 0.999)) if len(shown) else (0.0, 1.0)
        high = high if high > low else low + 1.0
        bins = np.geomspace(low, high, 41) if wide else np.linspace(low, high, 41)
        axes.hist(shown, bins=bins.tolist(), color=_SHADE)
        if wide:
            axes.set_xscale("log")
        axes.set_title(
            f"{one.name} [{one.unit}]" if one.unit else one.name, fontsize=9, loc="left", color=INK
        )
        axes.set_yticks([])
    figure.subplots_adjust(left=0.03, right=0.985, top=0.8, bottom=0.09, hspace=0.55, wspace=0.15)
    return figure


def temporal_figure(frame: pd.DataFrame, pipeline: Pipeline) -> Figure:
    """The course of a day: quantities over their mean, by local hour."""
    hour = np.arctan2(frame["hour_sin"], frame["hour_cos"]) * 12 / np.pi % 24
    followed = [one.name for one in pipeline.measured if one.followed][:4]
    figure, charts = panels(
        len(followed),
        len(followed),
        3.0,
        "What does a day look like?",
        f"By local hour, over the mean of its {pipeline.entity}: median, and the middle half.",
    )
    for axes, name in zip(charts, followed, strict=True):
        middle = frame.groupby(pipeline.entity)[name].transform("mean")
        share = (frame[name] / middle.where(middle > 0)).to_numpy()
        table = pd.DataFrame({"hour": np.floor(hour).astype(int), "share": share}).dropna()
        low, mid, high = (table.groupby("hour")["share"].quantile(q) for q in (0.25, 0.5, 0.75))
        axes.fill_between(low.index + 0.5, low, high, color=_SHADE, alpha=0.2, linewidth=0)
        axes.plot(mid.index + 0.5, mid, color=_SHADE, linewidth=2)
        axes.axhline(1, color=PAR, linewidth=1)
        axes.set_xlim(0, 24)
        axes.set_xticks([0, 6, 12, 18, 24])
        axes.set_title(name, fontsize=9, loc="left", color=INK)
    figure.subplots_adjust(left=0.05, right=0.985, top=0.72, bottom=0.1, wspace=0.22)
    return figure


def preprocessing_figure(table: pd.DataFrame, frame: pd.DataFrame, pipeline: Pipeline) -> Figure:
    """One series as it came, as it is mended, and its robust score."""
    one = pipeline.measured[0]
    entity = frame[pipeline.entity].iloc[0]
    mine = frame[frame[pipeline.entity] == entity].iloc[:_SHOWN_MINUTES]
    raw = table[table[pipeline.entity] == entity].sort_values("time_s")
    raw = raw[raw["time_s"] <= mine["time_s"].max()]
    figure, (came, mended, score) = panels(
        3,
        1,
        5.6,
        "What does preparing do?",
        f"{one.name} of one {pipeline.entity}, half a day: as it came; mended, with its mean; its score.",
    )
    came.plot(raw["time_s"] / MINUTE, raw[one.source] / one.scale, ".", markersize=2, color=PAR)
    mended.plot(mine["time_s"] / MINUTE, mine[one.name], color=PAR, linewidth=0.8)
    mended.plot(mine["time_s"] / MINUTE, mine[f"{one.name}_mean15"], color=_SHADE, linewidth=1.8)
    score.plot(mine["time_s"] / MINUTE, mine[f"{one.name}_z"], color=_SHADE, linewidth=0.9)
    for level in (-3.5, 3.5):
        score.axhline(level, color=PAR, linewidth=1, linestyle=(0, (4, 3)))
    for axes, name in ((came, one.unit), (mended, one.unit), (score, "robust sd")):
        axes.set_ylabel(name)
        axes.set_xlim(mine["time_s"].min() / MINUTE, mine["time_s"].max() / MINUTE)
    score.set_xlabel("minute")
    figure.subplots_adjust(left=0.075, right=0.985, top=0.86, bottom=0.09, hspace=0.25)
    return figure
