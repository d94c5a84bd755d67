"""What thinking, knowing the present and foresight are worth: a policy, its look aheads, the planner."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.table import Table

from agents.catalogue import static_policies
from agents.lookahead import Lookahead
from agents.planner import MOVES_A_PASS, search
from agents.planner_bracket import questions_of, realised
from experiments.headroom import SEED
from experiments.resampling import Estimate, Resampling
from experiments.stats import share_of_gap_closed
from experiments.work import Crew
from experiments.worst.contest import Player, player
from sim.episode import draw_episode
from sim.errors import InputError
from sim.files import write_text
from sim.randomness import stream

POLICY, AHEAD, KNOWING, FOUND = "policy", "lookahead", "knowing", "best_found"
COLUMNS: Final = ("scenario", "episode", "policy", "cost_s")


class Question(NamedTuple):
    """Whose look ahead is measured.

    Attributes:
        policy: Folder of a trained run, of a bundle, or a name of the catalogue.
        learner: Of a run; its first one when None.
        futures: How many the look ahead tries.
    """

    policy: str
    learner: str | None
    futures: int


class Gap(NamedTuple):
    """Costs on a scenario in % of its best constant's, and shares of the gap to the planner.

    Attributes:
        scenario: Its name.
        policy: Cost of the policy.
        ahead: Cost with a look ahead that knows no more than the policy.
        knowing: Cost with one that knows the present as it is.
        found: Cost of the planner, which knows the whole episode.
        policy_closed: Share of the gap that the policy closes.
        ahead_closed: Share that the first look ahead closes.
        knowing_closed: Share that the other one closes.
    """

    scenario: str
    policy: float
    ahead: float
    knowing: float
    found: float
    policy_closed: Estimate
    ahead_closed: Estimate
    knowing_closed: Estimate


class _Task(NamedTuple):
    question: Question
    scenario: str
    number: int


def measure(question: Question, scenarios: Sequence[str], episodes: int, crew: Crew) -> pd.DataFrame:
    """`COLUMNS`: what each constant, the policy, its look aheads and the planner cost, in seconds.

    Raises:
        InputError: If there is no such policy, it does not answer codec questions, or a link is a chain.
    """
    for name in scenarios:
        _check(question, name)
    tasks = [_Task(question, name, number) for name in scenarios for number in range(episodes)]
    rows = [
        (_player(question, task.scenario).scenario.name, task.number, name, cost)
        for task, costs in zip(tasks, crew.map("look ahead", _measure, tasks), strict=True)
        for name, cost in costs.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def gaps(frame: pd.DataFrame) -> list[Gap]:
    """A `Gap` a scenario, with intervals over its episodes."""
    return [_gap(str(name), own) for name, own in frame.groupby("scenario", sort=False)]


def gap_table(question: Question, rows: Sequence[Gap]) -> Table:
    """Costs and shares, a scenario a row."""
    title = f"Cost, % of the best constant, with {question.futures} futures to look into"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    columns = ("scenario", "policy", "ahead", "knows", "planner")
    for column in (*columns, "policy\ncloses, %", "ahead\ncloses, %", "knows\ncloses, %"):
        left = column == "scenario"
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        costs = (f"{100 * cost:.0f}" for cost in (row.policy, row.ahead, row.knowing, row.found))
        closed = row.policy_closed, row.ahead_closed, row.knowing_closed
        table.add_row(row.scenario, *costs, *map(_percent, closed))
    return table


def write_costs(path: Path, frame: pd.DataFrame) -> None:
    """Write what `measure` gave as CSV.

    Raises:
        InputError: If the file system refuses.
    """
    write_text(path, frame.to_csv(index=False, float_format="%.6g"))


def _percent(share: Estimate) -> str:
    return f"{100 * share.value:.0f} ({100 * share.low:.0f}–{100 * share.high:.0f})"


def _gap(scenario: str, frame: pd.DataFrame) -> Gap:
    costs = {
        str(name): own.sort_values("episode")["cost_s"].to_numpy()[None]
        for name, own in frame.groupby("policy", sort=False)
    }
    own, ahead, knowing, found = (costs.pop(name) for name in (POLICY, AHEAD, KNOWING, FOUND))
    static = min(costs.values(), key=lambda one: float(one.mean()))
    how = Resampling(stream(SEED, f"look ahead {scenario}"))
    return Gap(
        scenario=scenario,
        policy=float(own.mean() / static.mean()),
        ahead=float(ahead.mean() / static.mean()),
        knowing=float(knowing.mean() / static.mean()),
        found=float(found.mean() / static.mean()),
        policy_closed=share_of_gap_closed(own, static, found, how),
        ahead_closed=share_of_gap_closed(ahead, static, found, how),
        knowing_closed=share_of_gap_closed(knowing, static, found, how),
    )


@lru_cache(maxsize=32)
def _player(question: Question, scenario: str) -> Player:
    return player(question.policy, scenario, question.learner)


def _check(question: Question, name: str) -> None:
    one = _player(question, name)
    if one.scenario.has_chains:
        raise InputError(name, "", "has links by chain, whose state no future can go on from; leave it out")
    if one.recorded:
        problem = "was trained on recorded links, of which no future is known; name a run on generated ones"
        raise InputError(question.policy, "", problem)
    try:
        Lookahead(one.env, one.make(), 1, np.random.default_rng(0))
    except ValueError as error:
        raise InputError(
            question.policy, "", f"{error}; name another policy of dwcp/Compression-v0"
        ) from error


def _measure(task: _Task) -> dict[str, float]:
    one = _player(task.question, task.scenario)
    env, episode = one.env, draw_episode(one.scenario, SEED + task.number)
    ahead, knowing = (
        Lookahead(
            env,
            one.make(),
            task.question.futures,
            stream(SEED + task.number, f"{name} {task.scenario}"),
            believes=name == AHEAD,
        )
        for name in (AHEAD, KNOWING)
    )
    constants = [(rule.name, rule) for rule in static_policies(env)]
    questions = questions_of(env, one.scenario)
    costs: dict[str, float] = {}
    starts: list[NDArray[np.void]] = []
    for name, policy in [*constants, (POLICY, one.make()), (AHEAD, ahead), (KNOWING, knowing)]:
        world, plans = realised(env, episode, policy, questions)
        costs[name] = world.cost
        starts.append(plans[0])
    rng = stream(SEED + task.number, "search")
    costs[FOUND] = search(episode, env.codecs, questions, starts, budget=MOVES_A_PASS, rng=rng).cost_s
    return costs
