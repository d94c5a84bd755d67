"""Small changes of a plan, tried one after the other on compiled lanes; what makes it cheaper stays."""

from typing import Final, NamedTuple

import numpy as np

from agents.planner_steps import Site, answer
from sim.batch import ledger
from sim.batch.layout import NO_QUESTION, Floats, Ints, Lanes, Rows
from sim.batch.world import copy_lane, run_lane
from sim.jit import njit

CODEC, CODECS_OF_DATASET, TURN, SWAP, DELAY, PATH, LEVEL, STREAMS = range(8)
"""Kinds of moves."""
DICE: Final = 6
"""Numbers in [0, 1) that a move takes."""
_STEP: Final = 8.0
"""Largest change of a level at one go: a factor of 3000 in weight."""

_NO_DICE: Final = np.zeros((0, DICE))
BEST, CURRENT, TRIAL = range(3)
"""Rows of `Desk.plans`."""


class Choice(NamedTuple):
    """What moves choose from.

    Attributes:
        kinds: Kinds of moves, each as often as it is to be likely.
        codecs: How many.
        first: The transfers before this one stay as they are.
        streams: Counts of connections; 0 leaves a codec's own.
    """

    kinds: Ints
    codecs: int
    first: int
    streams: Floats


class Desk(NamedTuple):
    """What a search works on.

    Attributes:
        plans: The cheapest plan so far, the one that is being changed, and the change, shape (3, transfers).
        costs: Theirs, in seconds; shape (3,).
        marks_s: When the lanes from 1 on were left behind as the current plan was run; inf: not yet.
        start_s: When transfers start under the current plan, shape (transfers,).
        end_s: When they end.
        past: Costs of the current plan some moves ago; a change that is no dearer than then is kept.
        answers: Questions answered, shape (1,).
    """

    plans: Rows
    costs: Floats
    marks_s: Floats
    start_s: Floats
    end_s: Floats
    past: Floats
    answers: Ints


def adopt(w: Lanes, site: Site, desk: Desk, choice: Choice) -> None:
    """Make the trial the current plan: run it whole, from lane 1 on, and leave lanes behind on the way."""
    try_moves(w, site, desk, choice, _NO_DICE, True)


@njit
def _copy_plan(plans: Rows, source: int, target: int) -> None:
    for request in range(plans.shape[1]):
        plans[target, request] = plans[source, request]


@njit
def try_moves(w: Lanes, site: Site, desk: Desk, choice: Choice, dice: Floats, adopting: bool) -> None:
    """Change the current plan again and again; late acceptance: what is no dearer than some moves ago stays.

    Args:
        w: The batch; lane 0 is scratch, lane 1 stands at the start.
        site: As of `answer`.
        desk: Holds a current plan.
        choice: What moves choose from.
        dice: In [0, 1), shape (moves, DICE).
        adopting: Whether the trial is made the current plan first.

    Source:
        Burke, Bykov: The late acceptance hill-climbing heuristic. EJOR 258(1), 2017.
    """
    number, limit, mark = 0, np.inf, 0
    while adopting or number < len(dice):
        if not adopting:
            _copy_plan(desk.plans, CURRENT, TRIAL)
            since_s = change(w, desk, choice, dice[number])
            limit, mark = max(desk.past[number % len(desk.past)], desk.costs[CURRENT]), len(desk.marks_s) - 1
            while mark > 0 and not desk.marks_s[mark] < since_s:
                mark -= 1
        cost = _run_trial(w, site, desk, 0 if adopting else mark, np.inf if adopting else limit, adopting)
        if adopting:
            _settle(w, desk, cost)
            adopting = False
            if number == 0:
                continue
        elif cost <= limit and cost != desk.costs[CURRENT]:
            adopting = True
            number += 1
            continue
        else:
            number += 1
        desk.past[(number - 1) % len(desk.past)] = desk.costs[CURRENT]


@njit
def _run_trial(w: Lanes, site: Site, desk: Desk, mark: int, limit: float, leaves_lanes: bool) -> float:
    """Cost of the trial, on lane 0, from where a lane was left behind; inf as soon as it exceeds a limit."""
    copy_lane(w, mark + 1, 0)
    plan, lane, marks = desk.plans[TRIAL], w.lanes[0], len(desk.marks_s)
    requests = w.sites[lane["episode"]]["requests"]
    if leaves_lanes:
        desk.marks_s[0] = -np.inf
        for later in range(1, marks):
            desk.marks_s[later] = np.inf
    next_mark = 1 if leaves_lanes else marks
    while run_lane(w, 0, site.open_to) != NO_QUESTION:
        if next_mark < marks and (lane["moving"] + lane["recorded"]) * marks >= next_mark * requests:
            copy_lane(w, 0, next_mark + 1)
            desk.marks_s[next_mark] = lane["now"]
            next_mark += 1
        if ledger.accrued(w, 0) > limit:
            return np.inf
        answer(w, 0, site, plan)
        desk.answers[0] += 1
    cost: float = ledger.accrued(w, 0)
    return cost


@njit
def _settle(w: Lanes, desk: Desk, cost: float) -> None:
    """The trial has been run whole: it is the current plan now, and perhaps the best."""
    _copy_plan(desk.plans, TRIAL, CURRENT)
    desk.costs[CURRENT] = cost
    for request in range(w.sites[w.lanes[0]["episode"]]["requests"]):
        desk.start_s[request] = w.transfers[0, request]["start_s"]
        desk.end_s[request] = w.transfers[0, request]["end_s"]
    if cost < desk.costs[BEST]:
        desk.costs[BEST] = cost
        _copy_plan(desk.plans, TRIAL, BEST)


@njit
def change(w: Lanes, desk: Desk, choice: Choice, dice: Floats) -> float:
    """Change the trial; returns a time before which nothing comes out differently."""
    episode = w.lanes[1]["episode"]
    requests = w.sites[episode]["requests"]
    kind = choice.kinds[int(dice[0] * len(choice.kinds))]
    request = choice.first + int(dice[1] * (requests - choice.first))
    row, plan = w.requests[episode, request], desk.plans[TRIAL]
    step = plan[request]
    since_s = float(row["arrival_s"])
    if kind == CODEC:
        step["codec"] = _other(step["codec"], choice.codecs, dice[2])
        since_s = desk.start_s[request]
    elif kind == CODECS_OF_DATASET:
        codec, span = int(dice[2] * choice.codecs), requests ** dice[3]
        for later in range(request, min(requests, int(request + span))):
            if w.requests[episode, later]["dataset"] == row["dataset"] or dice[4] < 0.3:
                plan[later]["codec"] = codec
    elif kind == TURN:
        _move_turn(plan, request, _neighbour(request, requests, dice), dice[4] < 0.5)
    elif kind == SWAP:
        other = _neighbour(request, requests, dice)
        step["turn"], plan[other]["turn"] = plan[other]["turn"], step["turn"]
        since_s = min(since_s, w.requests[episode, other]["arrival_s"])
    elif kind == DELAY:
        step["not_before_s"] = _delay(desk, request, requests, dice)
    elif kind == PATH:
        step["path"] = int(dice[2] * (w.sites[episode]["paths"] + 1)) - 1
    elif kind == LEVEL:
        _move_level(plan, request, _neighbour(request, requests, dice), dice[4], dice[5])
        since_s = desk.start_s[request]
    else:
        step["streams"] = choice.streams[int(dice[2] * len(choice.streams))]
        since_s = desk.start_s[request]
    return since_s


@njit
def _other(old: int, count: int, dice: float) -> int:
    """One of the others."""
    if old < 0 or count < 2:
        return int(dice * count)
    return (old + 1 + int(dice * (count - 1))) % count


@njit
def _neighbour(request: int, requests: int, dice: Floats) -> int:
    """Another transfer, likely one that comes soon before or after."""
    away = int(requests ** dice[2])
    other = request + away if dice[3] < 0.5 else request - away
    return min(max(other, 0), requests - 1)


@njit
def _move_turn(plan: Rows, request: int, other: int, before: bool) -> None:
    """Put a transfer right before or after another in the order."""
    of_other, next_to = plan[other]["turn"], np.inf
    for third in range(len(plan)):
        turn = plan[third]["turn"] if before else -plan[third]["turn"]
        edge = of_other if before else -of_other
        if third != request and turn < edge:
            next_to = min(next_to, edge - turn)
    half = 0.5 * min(next_to, 2.0)
    plan[request]["turn"] = of_other - half if before else of_other + half


@njit
def _move_level(plan: Rows, request: int, other: int, dice: float, way: float) -> None:
    """Weigh a transfer otherwise, on the wire, on the cores, or on both."""
    step, away = plan[request], _STEP * (2.0 * dice - 1.0)
    if 0.1 < way < 0.7:
        step["level"] += away
        step["core_level"] += away
    elif way < 0.1:
        step["level"], step["core_level"] = plan[other]["level"] + away, plan[other]["core_level"] + away
        step["haste"] = plan[other]["haste"]
    elif way < 0.85:
        step["level"] += away
    else:
        step["core_level"] += away


@njit
def _delay(desk: Desk, request: int, requests: int, dice: Floats) -> float:
    """A time for a transfer to wait for: none, when another starts or ends, or some time ahead."""
    if dice[4] < 0.3:
        return 0.0
    if dice[4] < 0.8:
        other = _neighbour(request, requests, dice)
        return float(desk.end_s[other] if dice[5] < 0.7 else desk.start_s[other])
    horizon_s = desk.start_s[request]
    for other in range(requests):
        horizon_s = max(horizon_s, desk.end_s[other])
    ahead_s: float = desk.start_s[request] + (horizon_s - desk.start_s[request]) * dice[5] ** 3
    return ahead_s
