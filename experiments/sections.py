"""The tables of a report, each with its heading and what it takes to read it, as lines of Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from experiments.evidence import Evidence
from experiments.headline import SHOWN_PERCENT, HeadlineRow, headline_table
from experiments.summary import ALL, BEST_STATIC, GOODPUT_GOAL, PLAIN, Summary

COST_PARTS: Final = (
    ("cost_s", "cost, s", 1.0),
    ("completion_cost_s", "of it waiting, s", 1.0),
    ("cpu_cost_s", "of it CPU, s", 1.0),
    ("late_cost_s", "of it lateness, s", 1.0),
    ("completion_mean_s", "mean, s", 1.0),
    ("completion_p95_s", "p95, s", 1.0),
    ("completion_p99_s", "p99, s", 1.0),
    ("missed_share", "missed, %", 0.01),
    ("throughput_mbps", "throughput, Mbit/s", 1.0),
    ("goodput_mbps", "goodput, Mbit/s", 1.0),
    ("wire_bytes", "wire, MB", 1e6),
    ("cpu_s", "CPU, s", 1.0),
    ("jain", "Jain", 1.0),
)
"""Metric, title of its column, and what its value is divided by there."""
FEWER: Final = {
    "lookahead": " `{}` is compared on the episodes in which it looked ahead.",
    "search": " `{}` is compared on the episodes that were searched.",
    "bound": " `{}` is compared on the episodes for which it was computed; it is no policy.",
}
"""What to know of the kinds that may not have all episodes."""
CLAIM_SEEDS: Final = 5
"""Trainings that a claim about an algorithm needs (Agarwal et al., NeurIPS 2021)."""


class Model(NamedTuple):
    """An exported policy: size of its file, time of one decision at the median and at p99."""

    policy: str
    size_bytes: int
    p50_s: float
    p99_s: float


def headline(summary: Summary, kind: Mapping[str, str]) -> list[str]:
    """Cost of every policy beside the best static one: a line a scenario, a table a split."""
    text = []
    lines = headline_table(summary)
    for split in dict.fromkeys(line.split for line in lines):
        own = {(line.scenario, line.policy): line for line in lines if line.split == split}
        policies = list(dict.fromkeys(policy for _, policy in own))
        scenarios = sorted({scenario: None for scenario, _ in own}, key=lambda name: name == ALL)
        text += [f"## Cost on {split} episodes, % of the best static policy", ""]
        text += [_note(policies, kind), ""]
        rows = []
        for scenario in scenarios:
            best = next(line.best_static for line in own.values() if line.scenario == scenario)
            name = f"**{scenario}**" if scenario == ALL else f"{scenario} ({best})"
            rows.append([name, *(_percent(own.get((scenario, policy))) for policy in policies)])
        text += [*_table(["scenario (best static)", *policies], rows), ""]
    return text[:-1]


def _note(policies: Sequence[str], kind: Mapping[str, str]) -> str:
    fewer = "".join(FEWER.get(kind[policy], "").format(policy) for policy in policies)
    return (
        "In brackets the bootstrap interval (95 % unless configured otherwise); **bold** where it lies below "
        f"100 %. All policies met the same episodes.{fewer} The line over all scenarios is the geometric "
        "mean of the others."
    )


def _percent(line: HeadlineRow | None) -> str:
    if line is None:
        return "–"
    if not line.high - line.low >= SHOWN_PERCENT:
        return f"{line.percent:.1f}"
    text = f"{line.percent:.1f} ({line.low:.1f} to {line.high:.1f})"
    return f"**{text}**" if line.high < 100 else text


def goodput(summary: Summary, kind: Mapping[str, str], split: str) -> list[str]:
    """How far the goodput of every learner, and of the rule of least cost, lies above that of `PLAIN`."""
    pairs = [pair for pair in summary["paired"] if pair["against"] == PLAIN and pair["split"] == split]
    whole = (
        ALL if any(pair["scenario"] == ALL for pair in pairs) else next((p["scenario"] for p in pairs), ALL)
    )
    costs = {p["policy"]: p["difference"] for p in pairs if (p["metric"], p["scenario"]) == ("cost_s", whole)}
    rules = sorted((name for name in costs if kind[name] in ("static", "rule")), key=lambda name: costs[name])
    lines = []
    for policy in [*rules[:1], *(name for name in costs if kind[name] == "learner")]:
        own = {p["scenario"]: p for p in pairs if (p["metric"], p["policy"]) == ("goodput_mbps", policy)}
        if whole in own:
            parts = [f"{_gain(pair)} on {scenario}" for scenario, pair in own.items() if scenario != ALL]
            lines.append(
                f"* Goodput of **{policy}** is {_gain(own[whole])} above that of {PLAIN} over all scenarios "
                f"({'; '.join(parts)}): {_verdict(own[whole])} the {100 * GOODPUT_GOAL:.0f} % aimed at."
            )
    return lines


def _gain(pair: Mapping[str, Any]) -> str:
    """A relative difference and its interval, in percent.

    >>> _gain({"difference": 0.043, "low": 0.031, "high": 0.052})
    '4.3 % (3.1 to 5.2)'
    """
    return f"{100 * pair['difference']:.1f} % ({100 * pair['low']:.1f} to {100 * pair['high']:.1f})"


def _verdict(pair: Mapping[str, Any]) -> str:
    if pair["low"] >= GOODPUT_GOAL:
        return "it reaches"
    return "it misses" if pair["high"] < GOODPUT_GOAL else "the interval includes"


def headroom(summary: Summary, kind: Mapping[str, str]) -> list[str]:
    """How much the best answers found save, and the share of it that each policy wins."""
    rows = pd.DataFrame(summary["rows"])
    found = rows[rows["metric"] == "headroom"]
    if found.empty:
        return []
    won = rows[rows["metric"] == "headroom_won"]
    policies = [name for name in dict.fromkeys(won["policy"]) if kind[name] != "static"]
    flags = rows[rows["metric"] == "nothing_to_learn"].set_index("scenario")["value"]
    lines = []
    for row in found.sort_values("value", ascending=False).to_dict("records"):
        own = won[won["scenario"] == row["scenario"]].set_index("policy")
        label = "nothing to learn here" if flags[row["scenario"]] else ""
        known = set() if label else set(own.index)
        shares = [_share(own.loc[policy]) if policy in known else "–" for policy in policies]
        lines.append([row["scenario"], _share(row), label, *shares])
    return [
        "## How much there is to win, and who wins it", "",
        "Headroom is what the best answers found save of the cost of the best static policy, on the "
        "episodes that were searched; beside it the share of that headroom that each policy wins (below 0: "
        "it loses). Where a static policy is within 3 % of the best found there is nothing to share out.", "",
        *_table(["scenario", "headroom, %", "", *(f"{policy} wins, %" for policy in policies)], lines),
    ]  # fmt: skip


def bound_gap(summary: Summary, kind: Mapping[str, str]) -> list[str]:
    """How far the best static policy lies above the bound, and the share of it that each policy closes."""
    rows = pd.DataFrame(summary["rows"])
    found = rows[rows["metric"] == "bound_gap"]
    if found.empty:
        return []
    closed = rows[rows["metric"] == "gap_closed"]
    policies = [name for name in dict.fromkeys(closed["policy"]) if kind[name] != "static"]
    lines = []
    for row in found.sort_values("value", ascending=False).to_dict("records"):
        own = closed[closed["scenario"] == row["scenario"]].set_index("policy")
        shares = [_share(own.loc[policy]) if policy in own.index else "–" for policy in policies]
        lines.append([row["scenario"], _share(row), *shares])
    return [
        "## How near to the bound", "",
        "The bound is a relaxation with perfect knowledge that no policy can fall below and none may reach. "
        "The gap is the share of the best static policy's cost above it, on the episodes for which it was "
        "computed; beside it the share of that gap that each policy closes (below 0: it costs more than the "
        "best static policy).", "",
        *_table(["scenario", "gap, %", *(f"{policy} closes, %" for policy in policies)], lines),
    ]  # fmt: skip


def aggregates(summary: Summary) -> list[str]:
    """Three ways to put all episodes into one number: for each policy, the best first."""
    rows = [row for row in summary["rows"] if row["metric"] == "cost_relative_iqm"]
    if not rows:
        return []
    pairs = {
        (pair["policy"], pair["split"]): pair
        for pair in summary["paired"]
        if (pair["against"], pair["metric"], pair["scenario"]) == (BEST_STATIC, "cost_s", ALL)
    }
    lines = ["## All scenarios in one number", ""]
    lines += [
        "*Mean*: as in the tables above, geometric over scenarios. *Interquartile mean*: of the middle "
        "half of all costs, each beside the best static policy's on the same episode; single disasters and "
        "triumphs do not move it. *Improvement*: the probability of a lower cost than the best static "
        "policy's on an episode; a tie is one half.", "",
    ]  # fmt: skip
    for split in dict.fromkeys(row["split"] for row in rows):
        own = sorted((row for row in rows if row["split"] == split), key=lambda row: row["value"])
        table = []
        for row in own:
            pair = pairs.get((row["policy"], split))
            mean = "–" if pair is None else _around(1 + pair["difference"], pair, 1.0)
            chance = "–" if pair is None else f"{100 * pair['probability_of_improvement']:.0f}"
            table.append([row["policy"], mean, _around(row["value"], row, 0.0), chance])
        lines += _table([split, "mean, %", "interquartile mean, %", "improvement, %"], table)
        lines += [""]
    return lines[:-1]


def _around(value: float, row: Mapping[str, Any], offset: float) -> str:
    """A share and its interval in percent.

    >>> _around(0.877, {"low": -0.147, "high": -0.098}, 1.0)
    '87.7 (85.3 to 90.2)'
    """
    low, high = row.get("low", np.nan) + offset, row.get("high", np.nan) + offset
    known = 100 * (high - low) >= SHOWN_PERCENT
    return f"{100 * value:.1f}" + (f" ({100 * low:.1f} to {100 * high:.1f})" if known else "")


def _share(row: Mapping[Any, Any] | pd.Series) -> str:
    low, high = row.get("low", np.nan), row.get("high", np.nan)
    ends = f" ({100 * low:.0f} to {100 * high:.0f})" if 100 * (high - low) >= SHOWN_PERCENT else ""
    return f"{100 * row['value']:.0f}{ends}"


def cost_parts(summary: Summary, kind: Mapping[str, str]) -> list[str]:
    """One folded table a scenario: every policy, all parts of its cost, means over episodes."""
    rows = pd.DataFrame(summary["rows"])
    played = ~rows["policy"].map(kind).isin(["search", "bound"])
    rows = rows[(rows["split"] != "validation") & played]
    lines = [
        "## All figures by scenario",
        "",
        "Means over all episodes; waiting is weighted by priority.",
        "",
    ]
    for (scenario, split), own in rows.groupby(["scenario", "split"], sort=False):
        values = own.pivot_table(index="policy", columns="metric", values="value", sort=False)
        if "cost_s" not in values:
            continue
        values = values.sort_values("cost_s")
        parts = [part for part in COST_PARTS if part[0] in values]
        table = [
            [str(policy), *(_rounded(row[metric] / unit) for metric, _, unit in parts)]
            for policy, row in values.dropna(subset=["cost_s"]).iterrows()
        ]
        lines += [f"<details><summary>{scenario} ({split})</summary>", ""]
        lines += [*_table(["policy", *(title for _, title, _ in parts)], table), "", "</details>", ""]
    return lines[:-1]


def imitation(summary: Summary) -> list[str]:
    """Agreement with the one-step oracle, beside what naming its favourite answer every time would reach."""
    rows = pd.DataFrame(summary["rows"])
    told = rows["metric"].isin(["accuracy", "majority", "f1_macro"]) | rows["metric"].str.startswith("f1/")
    own = rows[(rows["scenario"] == ALL) & (rows["split"] == "test") & told]
    if own.empty:
        return []
    values = own.pivot_table(index="policy", columns="metric", values="value", sort=False)
    classes = [name for name in map(str, values) if name.startswith("f1/")]
    titles = ["accuracy", "majority baseline", "F1, mean", *(f"F1 {name[3:]}" for name in classes)]
    table = [
        [
            str(row.name),
            *(f"{100 * row[name]:.1f} %" for name in ("accuracy", "majority")),
            *("–" if np.isnan(row[name]) else f"{row[name]:.2f}" for name in ("f1_macro", *classes)),
        ]
        for _, row in values.sort_values("accuracy", ascending=False).iterrows()
    ]
    return [
        "## Agreement with the one-step oracle", "",
        "On all test decisions. An accuracy means something as far as it passes the majority baseline: the "
        "oracle's most frequent answer, given every time.", "",
        *_table(["policy", *titles], table),
    ]  # fmt: skip


def speed(models: Sequence[Model]) -> list[str]:
    """How long an exported policy takes to decide, and how large its file is."""
    table = [
        [m.policy, f"{m.size_bytes / 1e6:.2f}", f"{1e6 * m.p50_s:,.0f}", f"{1e6 * m.p99_s:,.0f}"]
        for m in models
    ]
    if not table:
        return []
    lines = ["## How long a decision takes", "", "Of the exported policy, one thread:", ""]
    return [*lines, *_table(["policy", "file, MB", "p50, µs", "p99, µs"], table)]


def setup(evidence: Evidence, versions: Mapping[str, str], config: str) -> list[str]:
    """Episodes, seeds, versions and config: what it takes to make the figures again."""
    episodes = evidence.episodes
    counts = episodes.groupby(["scenario", "split"], sort=False)["episode"].nunique().unstack(fill_value=0)
    learners = episodes[episodes["kind"] == "learner"]
    seeds = learners.groupby("policy", sort=False)["training_seed"].unique()
    lines = ["## Set-up", "", "Episodes a scenario, the same for every policy:", ""]
    table = [[str(name), *map(str, row)] for name, row in zip(counts.index, counts.to_numpy(), strict=True)]
    lines += _table(["scenario", *map(str, counts.columns)], table)
    for policy, own in seeds.items():
        lines += ["", f"Training seeds of {policy}: {', '.join(map(str, sorted(own)))}."]
        if len(own) < CLAIM_SEEDS:
            lines[-1] += (
                f" A claim about the algorithm needs {CLAIM_SEEDS}; this one is about these trainings."
            )
    if versions:
        lines += ["", ", ".join(f"{name} {version}" for name, version in versions.items())]
    if config:
        lines += [
            "",
            "<details><summary>resolved config</summary>",
            "",
            "```yaml",
            config.rstrip(),
            "```",
            "",
            "</details>",
        ]
    return lines


def _rounded(value: float) -> str:
    """Three digits, or all before the point.

    >>> _rounded(0.01234), _rounded(12345.6)
    ('0.0123', '12,346')
    """
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Markdown table, names to the left and numbers to the right."""
    return [
        f"| {' | '.join(titles)} |",
        f"|---|{'---:|' * (len(titles) - 1)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
