"""The report of a run: the question, the table, who won where in plain sentences, figures, and what it does not show."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from experiments.figures import draw
from experiments.files import write_text
from experiments.summary import HeadlineRow, Summary, headline_table, kinds, rows_of

REPORT_FILE: Final = "report.md"
COST_PARTS: Final = (
    ("cost_s", "cost, s", 1.0), ("completion_cost_s", "of it waiting, s", 1.0), ("cpu_cost_s", "of it CPU, s", 1.0),
    ("late_cost_s", "of it lateness, s", 1.0), ("completion_mean_s", "mean, s", 1.0), ("completion_p95_s", "p95, s", 1.0),
    ("completion_p99_s", "p99, s", 1.0), ("missed_share", "missed, %", 0.01), ("goodput_mbps", "goodput, Mbit/s", 1.0),
    ("wire_bytes", "wire, MB", 1e6), ("cpu_s", "CPU, s", 1.0), ("jain", "Jain", 1.0),
)  # fmt: skip
"""Metric, title of its column, and what its value is divided by there."""
LIMITS: Final = (
    "Costs are simulated seconds. Codecs and transport are fitted to measurements, whose errors the documentation states; a "
    "real site differs.",
    "Intervals cover training seeds and episodes, not the choice of scenarios: they say nothing about a network unlike these.",
    "The best answers found come from a local search, so the true optimum lies at or below them and the headroom at or above "
    "what is stated.",
    "The one-step oracle knows true ratios and rates but neither queues nor later deltas; agreeing with it is not the aim, "
    "and a lower cost than its is possible.",
    "No correction is made for the number of comparisons: of twenty intervals of 95 %, one may exclude zero by chance.",
)


class Model(NamedTuple):
    """An exported policy: size of its file in bytes and time of one decision in seconds, at the median and at p99."""

    policy: str
    size_bytes: int
    p50_s: float
    p99_s: float


class Extras(NamedTuple):
    """What a report shows beside its numbers, as far as there is any.

    Attributes:
        question: What the experiment asks, in one line.
        config: The resolved config, as YAML.
        versions: Name and version of what the run was made with.
        timeline: PNG of one episode, inside the report's folder.
        models: Exported policies.
    """

    question: str = "How much does a learned codec policy gain on these networks, over what, and how sure are we?"
    config: str = ""
    versions: Mapping[str, str] = {}
    timeline: Path | None = None
    models: Sequence[Model] = ()


def write_report(
    folder: Path,
    episodes: pd.DataFrame,
    decisions: pd.DataFrame,
    curves: pd.DataFrame,
    summary: Summary,
    extras: Extras = Extras(),
) -> Path:
    """Draw the figures into ``folder/figures`` and write ``folder/report.md``; the same input gives the same bytes.

    Args:
        folder: The run's folder.
        episodes: Rows of ``episodes.parquet``.
        decisions: Rows of ``decisions.parquet``.
        curves: Rows of all ``curves.csv``, none when nothing was trained.
        summary: What ``build_summary`` made of the same frames.
        extras: What stands beside the numbers.

    Raises:
        InputError: If the folder cannot be written.
    """
    figures = draw(folder / "figures", episodes, decisions, curves, summary)
    sections = (
        _head(extras.question),
        _verdicts(summary, episodes),
        _headline(summary),
        _headroom(summary),
        _figures(folder, figures, extras.timeline),
        _cost_parts(summary),
        _imitation(summary),
        _speed(episodes, extras.models),
        _setup(episodes, extras),
        ["## Limits", "", *(f"* {limit}" for limit in LIMITS)],
    )
    lines = [line for section in sections if section for line in (*section, "")]
    path = folder / REPORT_FILE
    write_text(path, "\n".join(lines))
    return path


def sentence(row: HeadlineRow) -> str:
    """Who pays how much less or more than the best static policy, and whether that is more than chance.

    >>> sentence(HeadlineRow("ppo", "wan", "test", 87.7, 85.3, 90.2, "zstd"))
    'ppo costs 12.3 % (9.8 to 14.7) less than zstd, the best static policy, on wan.'
    >>> sentence(HeadlineRow("ppo", "metro", "test", 101.0, 98.6, 103.1, "hde"))
    'ppo costs 1.0 % more than hde, the best static policy, on metro; the interval (-1.4 to 3.1) includes zero.'
    """
    gain = 100 - row.percent
    word = "less" if gain > 0 else "more"
    rest = f"{word} than {row.best_static}, the best static policy, on {row.scenario}"
    if not row.high >= row.low:
        return f"{row.policy} costs {abs(gain):.1f} % {rest}; there is no interval."
    low, high = (100 - row.high, 100 - row.low) if gain > 0 else (row.low - 100, row.high - 100)
    if low > 0:
        return f"{row.policy} costs {abs(gain):.1f} % ({low:.1f} to {high:.1f}) {rest}."
    return f"{row.policy} costs {abs(gain):.1f} % {rest}; the interval ({low:.1f} to {high:.1f}) includes zero."


def tally(rows: Sequence[HeadlineRow]) -> str:
    """How often one policy beats the best static one, counted over scenarios.

    >>> rows = [HeadlineRow("dqn", name, "test", p, p - 2, p + 2, "zstd") for name, p in (("a", 90), ("b", 99), ("c", 110))]
    >>> tally(rows)
    '**dqn** costs less than the best static policy in 1 of 3 scenarios (a), more in 1 (c); in 1 the interval includes zero (b).'
    """
    less = [row.scenario for row in rows if row.high < 100]
    more = [row.scenario for row in rows if row.low > 100]
    open_ = [row.scenario for row in rows if row.scenario not in {*less, *more}]
    text = f"**{rows[0].policy}** costs less than the best static policy in {len(less)} of {len(rows)} scenarios{_names(less)}"
    text += f", more in {len(more)}{_names(more)}"
    return text + (f"; in {len(open_)} the interval includes zero{_names(open_)}." if open_ else ".")


def _names(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if names else ""
