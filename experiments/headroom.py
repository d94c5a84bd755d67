"""How much there is to win in a scenario, before anyone trains."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from agents.catalogue import make_policy, static_policies
from agents.planner import MOVES_A_PASS, search
from agents.planner_bracket import questions_of, realised
from agents.policy import Policy
from envs.compression import DEFAULT_CODECS, Compression
from experiments.work import Crew
from sim.episode import draw_episode
from sim.randomness import stream
from sim.scenarios import Scenario

SEED = 20_000_000
"""Base of the seeds of the episodes on which headroom is measured; no experiment draws from here."""
NOTHING_TO_LEARN = 0.03
"""A scenario in which a constant is this near to the best found has nothing to teach."""
_RULES = ("contention", "one_step_oracle")
_PASSES = 2


class Headroom(NamedTuple):
    """Costs of a scenario, in seconds a decision.

    Attributes:
        scenario: Its name.
        cost: Mean cost by policy: every constant, the contention-aware rule, the one-step oracle.
        best_static: The cheapest constant.
        found: Share of that constant's cost that the best found answers have, on the searched episodes.
    """

    scenario: str
    cost: dict[str, float]
    best_static: str
    found: float


class _Task(NamedTuple):
    scenario: Scenario
    number: int
    searched: bool


def measure_headroom(chosen: Sequence[Scenario], episodes: int, searched: int, crew: Crew) -> list[Headroom]:
    """Costs of constants, rules and the hindsight planner's best answers.

    Args:
        chosen: Scenarios.
        episodes: Episodes of each.
        searched: How many of these are searched, too.
        crew: Does the work.
    """
    tasks = [_Task(scenario, number, number < searched) for scenario in chosen for number in range(episodes)]
    found = crew.map("headroom", _measure, tasks)
    rows = []
    for scenario in chosen:
        own = [costs for task, costs in zip(tasks, found, strict=True) if task.scenario is scenario]
        mean = {
            name: float(np.mean([costs[name] for costs in own])) for name in own[0] if name != "best_found"
        }
        best = min(DEFAULT_CODECS, key=mean.__getitem__)
        both = [(costs["best_found"], costs[best]) for costs in own if "best_found" in costs]
        rows.append(Headroom(scenario.name, mean, best, sum(f for f, _ in both) / sum(s for _, s in both)))
    return rows


def headroom_table(rows: Sequence[Headroom]) -> Table:
    """Costs as a share of the best constant's; narrow enough for 80 columns."""
    table = Table(
        title="Cost, % of the best static codec",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    names = list(rows[0].cost)
    for column in ("scenario", *names, "best_found", "to_win"):
        title = column.replace("_", "\n")
        table.add_column(title, justify="left" if column == "scenario" else "right", no_wrap=True)
    for row in rows:
        best = row.cost[row.best_static]
        note = "\nnothing to learn here" if row.found > 1 - NOTHING_TO_LEARN else ""
        shares = (f"{100 * row.cost[name] / best:.0f}" for name in names)
        table.add_row(
            row.scenario + note, *shares, f"{100 * row.found:.1f}", f"{100 * (1 - row.found):.0f} %"
        )
    return table


def scenario_table(chosen: Sequence[Scenario]) -> Table:
    """Names and one line each."""
    table = Table(box=None, pad_edge=False)
    for column in ("scenario", "transfers", "paths", "what it is"):
        table.add_column(column, justify="right" if column in ("transfers", "paths") else "left")
    for scenario in chosen:
        table.add_row(scenario.name, str(scenario.requests), str(len(scenario.paths)), scenario.summary)
    return table


def _measure(task: _Task) -> dict[str, float]:
    """Costs of one episode by policy, in seconds a decision."""
    env = Compression(task.scenario, DEFAULT_CODECS)
    episode = draw_episode(task.scenario, SEED + task.number)
    policies: list[Policy] = [*static_policies(env), *(make_policy(name, env) for name in _RULES)]
    questions = questions_of(env, task.scenario)
    costs, starts = {}, []
    for policy in policies:
        world, plans = realised(env, episode, policy, questions)
        costs[policy.name] = world.cost / len(episode)
        starts.append(plans[0])
    if task.searched:
        rng = stream(SEED + task.number, "search")
        budget = _PASSES * MOVES_A_PASS
        planned = search(episode, env.codecs, questions, starts, budget=budget, rng=rng)
        costs["best_found"] = planned.cost_s / len(episode)
    return costs
