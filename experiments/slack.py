"""How tight plan and bound are in a scenario, and which of the two is loose."""

from collections.abc import Sequence
from math import log
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table

from agents.bound_slack import Slack, slack
from agents.planner_bracket import bracket
from envs.allocation import Allocation
from envs.base import WorldEnv
from envs.compression import Compression
from envs.joint import Joint
from envs.scheduling import Scheduling
from experiments.headroom import SEED
from experiments.work import Crew
from sim.episode import draw_episode
from sim.randomness import stream
from sim.scenarios import Scenario

QUESTIONS = ("compression", "scheduling", "allocation", "joint")
STREAMS = (1, 2, 4, 8, 16, 32)
"""Counts of connections that allocation may give, as in ``experiments/configs/allocation.yaml``."""


class _Task(NamedTuple):
    question: str
    scenario: Scenario
    number: int
    tries: int


def measure_slack(
    question: str, chosen: Sequence[Scenario], episodes: int, tries: int, crew: Crew
) -> list[Slack]:
    """Plans and bounds of each scenario, summed over its episodes.

    Args:
        question: compression, allocation, scheduling or joint.
        chosen: Scenarios.
        episodes: Episodes of each.
        tries: As ``budget`` of `agents.planner.search`.
        crew: Does the work.
    """
    tasks = [_Task(question, scenario, number, tries) for scenario in chosen for number in range(episodes)]
    found = crew.map("slack", _measure, tasks)
    return [sum(found[at + 1 : at + episodes], found[at]) for at in range(0, len(found), episodes)]


def slack_table(question: str, chosen: Sequence[Scenario], rows: Sequence[Slack]) -> Table:
    """Plan over bound, over the bound told its codecs, and over that told its starts as well."""
    table = Table(title=f"Plan over bound: {question}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("scenario", "plan s", "bound s", "ratio", "codecs told", "starts told", "bound's share"):
        table.add_column(column, justify="left" if column == "scenario" else "right")
    for scenario, row in zip(chosen, rows, strict=True):
        ratio, codecs, starts = (row.plan_s / one for one in (row.bound_s, row.codecs_s, row.starts_s))
        share = "" if question in ("allocation", "joint") else f"{100 * log(starts) / log(ratio):.0f} %"
        figures = (
            f"{row.plan_s:.4g}",
            f"{row.bound_s:.4g}",
            f"{ratio:.2f}",
            f"{codecs:.2f}",
            f"{starts:.2f}",
            share,
        )
        table.add_row(scenario.name, *figures)
    return table


def _environment(question: str, scenario: Scenario) -> WorldEnv:
    if question == "allocation":
        return Allocation(scenario, streams=STREAMS)
    return {"compression": Compression, "scheduling": Scheduling, "joint": Joint}[question](scenario)


def _measure(task: _Task) -> Slack:
    env, episode = _environment(task.question, task.scenario), draw_episode(task.scenario, SEED + task.number)
    found = bracket(env, episode, budget=task.tries, rng=stream(SEED + task.number, "search"))
    return slack(env, episode, found.planned.plan)
