"""The headline: what every policy costs beside the best static one, as rows and for the terminal."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from experiments.summary import ALL, BEST_STATIC, Summary

TERMINAL_WIDTH: Final = 120
"""Characters abreast that the tables keep within."""
INTERVAL_WIDTH: Final = 11
"""Characters of an interval such as 101.6–108.5."""
SHOWN_PERCENT: Final = 0.05
"""An interval narrower than what a table shows is left out."""


class HeadlineRow(NamedTuple):
    """Cost of a policy in percent of the best static policy's; NaN ends where there is no interval."""

    policy: str
    scenario: str
    split: str
    percent: float
    low: float
    high: float
    best_static: str


def headline_table(summary: Summary) -> list[HeadlineRow]:
    """Cost of every policy in every scenario beside the best static policy there, which stands at 100 %.

    Ordered by split, policies from the cheapest overall, the line over all scenarios first.
    """
    names = {row["scenario"]: row["policy"] for row in summary["rows"] if row["metric"] == BEST_STATIC}
    lines = [
        HeadlineRow(
            policy=pair["policy"],
            scenario=pair["scenario"],
            split=pair["split"],
            percent=100 * (1 + pair["difference"]),
            low=100 * (1 + pair.get("low", np.nan)),
            high=100 * (1 + pair.get("high", np.nan)),
            best_static=names.get(pair["scenario"], BEST_STATIC),
        )
        for pair in summary["paired"]
        if pair["against"] == BEST_STATIC and pair["metric"] == "cost_s"
    ]
    beside = {(line.scenario, line.split): line.best_static for line in lines if line.scenario != ALL}
    lines += [HeadlineRow(name, *place, 100.0, 100.0, 100.0, name) for place, name in beside.items()]
    scenarios = [ALL, *dict.fromkeys(names)]

    def place(line: HeadlineRow) -> tuple[bool, float, str, int]:
        own = [other for other in lines if (other.policy, other.split) == (line.policy, line.split)]
        overall = [other.percent for other in own if other.scenario == ALL] or [o.percent for o in own]
        return line.split != "test", float(np.mean(overall)), line.policy, scenarios.index(line.scenario)

    return sorted(lines, key=place)


def headline_renderables(lines: Sequence[HeadlineRow]) -> list[Table]:
    """The headline for the terminal: policies downwards, as many scenarios abreast as 120 characters hold."""
    tables = []
    for split in dict.fromkeys(line.split for line in lines):
        own = {(line.policy, line.scenario): line for line in lines if line.split == split}
        scenarios = sorted({key[1]: None for key in own}, key=lambda name: name != ALL)
        policies = list(dict.fromkeys(key[0] for key in own))
        for abreast in _abreast(scenarios, TERMINAL_WIDTH - max(map(len, policies)) - 2):
            title = f"Cost on {split} episodes, % of the best static policy (interval below)"
            table = Table(
                title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False
            )
            table.add_column("policy\n100 % =", no_wrap=True)
            for scenario in abreast:
                best = next(line.best_static for line in own.values() if line.scenario == scenario)
                table.add_column(f"{scenario}\n{'' if scenario == ALL else best}", justify="right")
            for policy in policies:
                table.add_row(policy, *(_cell(own.get((policy, scenario))) for scenario in abreast))
            tables.append(table)
    return tables


def _abreast(scenarios: Sequence[str], width: int) -> list[list[str]]:
    """Scenarios in groups whose columns fit into a width.

    >>> _abreast(["all", "wan", "a-long-name-of-a-scenario"], 30)
    [['all', 'wan'], ['a-long-name-of-a-scenario']]
    """
    groups: list[list[str]] = [[]]
    left = width
    for scenario in scenarios:
        needed = max(INTERVAL_WIDTH, len(scenario)) + 2
        if groups[-1] and needed > left:
            groups.append([])
            left = width
        groups[-1].append(scenario)
        left -= needed
    return groups


def _cell(line: HeadlineRow | None) -> Text:
    if line is None:
        return Text("–", style="dim")
    style = "green" if line.high < 100 else "red" if line.low > 100 else ""
    text = Text(f"{line.percent:.1f}", style=style)
    if line.high - line.low >= SHOWN_PERCENT:
        digits = 0 if line.high >= 200 else 1
        text.append(f"\n{line.low:.{digits}f}–{line.high:.{digits}f}", style="dim")
    return text
