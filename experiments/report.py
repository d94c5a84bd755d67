"""The report of a run: question, answer in plain sentences, tables, figures, and what it does not show."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from experiments.evidence import Evidence, kinds
from experiments.gallery import draw
from experiments.headline import HeadlineRow, headline_table
from experiments.sections import (
    Model,
    aggregates,
    bound_gap,
    cost_parts,
    goodput,
    headline,
    headroom,
    imitation,
    setup,
    speed,
)
from experiments.summary import ALL, BEST_FOUND, BEST_STATIC, BOUND, Chance, Summary
from sim.files import write_text

REPORT_FILE: Final = "report.md"
CAPTIONS: Final = {
    "learning_curves": "Validation cost of the learners by training step, beside policies that do not learn",
    "cost_by_scenario": "Cost of every policy in every scenario, in percent of the best static one",
    "cost_held_out": "The same on scenarios that no policy was trained on",
    "profiles": "Share of the test episodes on which each policy costs at most so much",
    "improvement": "Probability that one policy costs less than another on the same test episode",
    "confusion": "What each policy answers where the one-step oracle answers this or that",
    "headroom": "Best static policy, best answers found, and the policies between them, by scenario",
    "timeline": "One episode: who was sent when, with which codec, on which capacity",
}
LIMITS: Final = {
    "Costs are simulated seconds. Codecs and transport are fitted to measurements, whose errors the "
    "documentation states; a real site differs.": "",
    "Intervals cover training seeds and episodes, not the choice of scenarios: they say nothing about a "
    "network unlike these.": "",
    "The best answers found come from a local search: the optimum costs as much or less, and the true "
    "headroom is as large or larger.": "best_found",
    "The bound relaxes what the network enforces: the optimum costs as much or more, and of what can be "
    "gained a policy has won as much or more than its share of the gap says.": "bound",
    "A look ahead has the simulator for its model: that a site is as simulated it takes for granted. It is "
    "one training, so its intervals are over episodes only.": "lookahead",
    "The one-step oracle knows true ratios and rates but neither queues nor later deltas; agreeing with it "
    "is not the aim, and a lower cost than its is possible.": "one_step_oracle",
    "No correction is made for the number of comparisons: of twenty intervals of 95 %, one may exclude zero "
    "by chance.": "",
}
"""What a report does not show, and the policy, or kind of one, without which it need not be said."""
COUNTED: Final = ("learner", "lookahead", "supervised", "oracle")
"""Kinds of policy of which it is said in how many scenarios they cost less than the best static one."""


class Extras(NamedTuple):
    """What a report shows beside its numbers, as far as there is any.

    Attributes:
        question: What the experiment asks, in one line.
        config: The resolved config, as YAML.
        versions: Name and version of what the run was made with.
        timeline: PNG of one episode, inside the report's folder.
        models: Exported policies.
        chance: Of the bands in figures.
    """

    question: str = (
        "How much does a learned codec policy gain on these networks, over what, and how sure are we?"
    )
    config: str = ""
    versions: Mapping[str, str] = {}
    timeline: Path | None = None
    models: Sequence[Model] = ()
    chance: Chance = Chance(0, 0.95, 500)


def write_report(folder: Path, evidence: Evidence, summary: Summary, extras: Extras | None = None) -> Path:
    """Draw ``folder/figures`` and write ``folder/report.md``; the same input gives the same bytes.

    Args:
        folder: The run's folder.
        evidence: Frames of the run.
        summary: What ``build_summary`` made of the same frames.
        extras: What stands beside the numbers.

    Raises:
        InputError: If the folder cannot be written.
    """
    extras = extras or Extras()
    figures = draw(folder / "figures", evidence, summary, extras.chance)
    kind = kinds(evidence.episodes)
    told = {*kind, *kind.values()}
    sections = (
        ["# What the policies cost", "", f"**{extras.question}**"],
        _verdicts(summary, kind),
        headline(summary, kind),
        aggregates(summary),
        headroom(summary, kind),
        bound_gap(summary, kind),
        _figures(folder, figures, extras.timeline),
        cost_parts(summary, kind),
        imitation(summary),
        speed(extras.models),
        setup(evidence, extras.versions, extras.config),
        ["## Limits", "", *(f"* {limit}" for limit, about in LIMITS.items() if not about or about in told)],
    )
    path = folder / REPORT_FILE
    write_text(path, "\n".join(line for section in sections if section for line in (*section, "")))
    return path


def sentence(row: HeadlineRow) -> str:
    """Who pays how much less or more than the best static policy, and whether that is more than chance.

    >>> sentence(HeadlineRow("ppo", "wan", "test", 87.7, 85.3, 90.2, "zstd"))
    'ppo costs 12.3 % (9.8 to 14.7) less than zstd, the best static policy, on wan.'
    >>> sentence(HeadlineRow("ppo", "lan", "test", 101.0, 98.6, 103.1, "hde"))
    'ppo costs 1.0 % more than hde, the best static policy, on lan; the interval (-1.4 to 3.1) includes zero.'
    """
    gain = 100 - row.percent
    word = "less" if gain > 0 else "more"
    rest = f"{word} than {row.best_static}, the best static policy, on {row.scenario}"
    if not row.high >= row.low:
        return f"{row.policy} costs {abs(gain):.1f} % {rest}; there is no interval."
    low, high = (100 - row.high, 100 - row.low) if gain > 0 else (row.low - 100, row.high - 100)
    if low > 0:
        return f"{row.policy} costs {abs(gain):.1f} % ({low:.1f} to {high:.1f}) {rest}."
    return (
        f"{row.policy} costs {abs(gain):.1f} % {rest}; the interval ({low:.1f} to {high:.1f}) includes zero."
    )


def tally(rows: Sequence[HeadlineRow]) -> str:
    """How often one policy beats the best static one, counted over scenarios.

    >>> percents = {"a": 90.0, "b": 99.0, "c": 110.0}
    >>> tally([HeadlineRow("dqn", name, "test", p, p - 2, p + 2, "zstd") for name, p in percents.items()])
    '**dqn** costs less than the best static policy in 1 of 3 scenarios (a), more in 1 (c); in 1 the interval
    includes zero (b).'
    """
    less = [row.scenario for row in rows if row.high < 100]
    more = [row.scenario for row in rows if row.low > 100]
    open_ = [row.scenario for row in rows if row.scenario not in {*less, *more}]
    text = (
        f"**{rows[0].policy}** costs less than the best static policy in {len(less)} of {len(rows)} scenarios"
    )
    text += f"{_names(less)}, more in {len(more)}{_names(more)}"
    return text + (f"; in {len(open_)} the interval includes zero{_names(open_)}." if open_ else ".")


def _names(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if names else ""


def _verdicts(summary: Summary, kind: Mapping[str, str]) -> list[str]:
    """The answer: a count for all that is no rule, and a sentence a scenario for each learner."""
    lines = headline_table(summary)
    text = ["## Answer", ""]
    for split, where in (("test", ""), ("held-out", " Held out, never trained on:")):
        own = [line for line in lines if line.split == split and line.scenario != ALL]
        for policy in dict.fromkeys(line.policy for line in own if kind[line.policy] in COUNTED):
            rows = [line for line in own if line.policy == policy]
            text += [f"*{where} {tally(rows)}{_against_the_others(summary, policy, split)}"]
            if kind[policy] in ("learner", "lookahead"):
                text += [f"  * {sentence(row)}" for row in rows]
        text += goodput(summary, kind, split)
    return text


def _against_the_others(summary: Summary, policy: str, split: str) -> str:
    """The same count against the other policies that all are set against, in short."""
    parts = []
    others = dict.fromkeys(pair["against"] for pair in summary["paired"])
    for other in [name for name in others if name not in (BEST_STATIC, BEST_FOUND, BOUND)]:
        key = (policy, other, split)
        own = [pair for pair in summary["paired"] if (pair["policy"], pair["against"], pair["split"]) == key]
        pairs = [pair for pair in own if pair["scenario"] != ALL and pair["metric"] == "cost_s"]
        if pairs:
            less = sum(pair.get("high", np.nan) < 0 for pair in pairs)
            more = sum(pair.get("low", np.nan) > 0 for pair in pairs)
            parts.append(f"less than `{other}` in {less} and more in {more} of {len(pairs)}")
    return f" Counted likewise, {'; '.join(parts)}." if parts else ""


def _figures(folder: Path, figures: Mapping[str, Path], timeline: Path | None) -> list[str]:
    shown = {**figures, **({"timeline": timeline} if timeline else {})}
    lines = ["## Figures", ""]
    for name, path in shown.items():
        lines += [f"![{CAPTIONS[name]}]({path.relative_to(folder).as_posix()})", ""]
    return lines[:-1]
