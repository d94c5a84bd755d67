"""The figure of a sweep: validation cost against each key that is swept."""

import json
import math
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.look import INK, PAR, colour, panels
from experiments.sweep.expansion import SEED, endings
from experiments.sweep.results import FIXED, LEARNED

COLUMNS: Final = 3
MOST_KEYS: Final = 9
"""More panels than this no one reads."""
_LABEL: Final = 11
"""Letters that fit below a dot."""


def cost_against_keys(frame: pd.DataFrame) -> Figure | None:
    """A panel a key: a dot a run, a line for the median; None when nothing is swept or nothing ran."""
    keys = [name for name in frame.columns if name not in (*FIXED, SEED) and frame[name].nunique() > 1]
    keys = keys[:MOST_KEYS]
    shown = frame[(frame["kind"] == LEARNED) & frame["validation_cost"].notna()]
    if shown.empty:
        shown = frame[(frame["kind"] != "static") & frame["validation_cost"].notna()]
    if not keys or shown.empty:
        return None
    columns = min(COLUMNS, len(keys))
    height = 1.35 + 2.5 * -(-len(keys) // COLUMNS)
    figure, charts = panels(
        len(keys),
        columns,
        height,
        "Which of the swept settings matter?",
        "Validation cost, % of the best static policy's. A dot a run, a line for the median.",
    )
    names = endings(keys)
    for axes, key in zip(charts, keys, strict=True):
        _panel(axes, shown, key)
        axes.set_xlabel(names[key])
    _legend(figure, shown)
    figure.subplots_adjust(
        left=0.07, right=0.985, top=1 - 0.95 / height, bottom=0.65 / height, wspace=0.22, hspace=0.5
    )
    return figure


def _panel(axes: Axes, frame: pd.DataFrame, key: str) -> None:
    values = list(dict.fromkeys(frame[key].dropna()))
    numbers = pd.to_numeric(pd.Series(values), errors="coerce")
    numeric = bool(numbers.notna().all())
    order = [values[place] for place in np.argsort(numbers)] if numeric else values
    many = numeric and len(values) > 8
    spots = {value: float(value) if many else float(place) for place, value in enumerate(order)}
    for policy, rows in frame.groupby("policy", sort=False):
        shade = colour(str(policy), str(rows["kind"].iloc[0]))
        where = rows[key].map(spots)
        axes.plot(
            where, 100 * rows["validation_cost"], "o", color=shade, alpha=0.55, markersize=4.5, zorder=3
        )
        if not many:
            medians = 100 * rows.groupby(where)["validation_cost"].median()
            drawn = {"linestyle": "-"} if numeric else {"linestyle": "", "marker": "_", "markersize": 22}
            axes.plot(medians.index, medians, color=shade, linewidth=1.8, zorder=2, **drawn)
    low, high = axes.get_ylim()
    if low < 100 < high:
        axes.axhline(100, color=PAR, linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
    if many:
        if min(spots.values()) > 0 and math.log10(max(spots.values()) / min(spots.values())) > 1.5:
            axes.set_xscale("log")
    else:
        axes.set_xticks(range(len(order)), [_short(str(value)) for value in order], fontsize=8.5)
        axes.set_xlim(-0.4, len(order) - 0.6)
    axes.grid(axis="y")


def _short(value: str) -> str:
    """What fits below a dot: of a list its first entry and how many more, of a word its beginning."""
    if not value.startswith("["):
        return _cut(value)
    entries = [str(entry) for entry in json.loads(value)]
    if not entries:
        return "none"
    whole = ", ".join(entries)
    return whole if len(whole) <= _LABEL else f"{_cut(entries[0])}\nand {len(entries) - 1} more"


def _cut(word: str) -> str:
    return word if len(word) <= _LABEL else f"{word[: _LABEL - 1]}…"


def _legend(figure: Figure, frame: pd.DataFrame) -> None:
    kinds = dict(zip(frame["policy"], frame["kind"], strict=True))
    right, top = 0.988, 1 - 0.14 / figure.get_figheight()  # beside the question
    for policy, kind in reversed(kinds.items()):
        text = figure.text(
            right, top, policy, color=colour(policy, kind) if len(kinds) > 1 else INK,
            fontsize=10, fontweight="bold", ha="right", va="top",
        )  # fmt: skip
        right -= 0.012 * len(text.get_text()) + 0.01
