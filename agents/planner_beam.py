"""Beam search over the questions of an episode, each answer valued by letting a plan run on to the end."""

from typing import Final

import numpy as np

from agents.planner_moves import BEST, TRIAL, Choice, Desk, adopt
from agents.planner_steps import Site, answer, follow
from sim.batch import ledger
from sim.batch.backlog import may_take
from sim.batch.layout import ASK_CODEC, ASK_DISPATCH, NO_QUESTION, Floats, Lanes, Rows
from sim.batch.world import copy_lane, run_lane
from sim.jit import njit

MOST_BRANCHES: Final = 24
"""Answers of a question that are tried at most."""
_MOMENT_S: Final = 1e-6
"""Those that wait do so until anything happens after the moment of the question."""
_FIRST: Final = 8.0
"""So much above all others weighs what a branch puts first: 3000 times as much."""


@njit
def branch(w: Lanes, k: int, site: Site, plan: Rows, codecs: int, variants: Rows, costs: Floats) -> int:
    """Write the plans that answer the question on a lane in each way, and what each comes to.

    Args:
        w: The batch; lane 0 is scratch.
        k: The lane; a question stands.
        site: As of `answer`.
        plan: What answers otherwise, shape (transfers,); it is the first of the variants.
        codecs: Answers of a codec question; 0: they are not to be chosen.
        variants: Is written, shape (MOST_BRANCHES, transfers).
        costs: Is written, in seconds, shape (MOST_BRANCHES,).

    Returns:
        How many variants there are.
    """
    asked = w.lanes[k]["asked"]
    _copy(plan, variants[0])
    if asked == ASK_CODEC:
        count = _other_codecs(w, k, plan, codecs, variants)
    elif asked == ASK_DISPATCH:
        count = _other_turns(w, k, plan, variants)
    else:
        count = _other_weights(w, k, plan, variants)
    for number in range(count):
        copy_lane(w, k, 0)
        follow(w, 0, site, variants[number], np.inf)
        costs[number] = ledger.accrued(w, 0)
    return count


@njit
def _other_codecs(w: Lanes, k: int, plan: Rows, codecs: int, variants: Rows) -> int:
    """Another codec for the transfer that starts."""
    request, count = w.open[k, 0], 1
    for codec in range(codecs):
        if codec != plan[request]["codec"] and count < MOST_BRANCHES:
            _copy(plan, variants[count])
            variants[count, request]["codec"] = codec
            count += 1
    return count


@njit
def _other_turns(w: Lanes, k: int, plan: Rows, variants: Rows) -> int:
    """Each of those that wait goes now, on each path that it may take; or all wait."""
    lane, count, first = w.lanes[k], 1, np.inf
    for place in range(lane["waiting"]):
        first = min(first, plan[w.waiting[k, place]]["turn"])
    for place in range(lane["waiting"]):
        request = w.waiting[k, place]
        for path in range(w.sites[lane["episode"]]["paths"]):
            if may_take(w, k, request, path) and count < MOST_BRANCHES - 1:
                _copy(plan, variants[count])
                step = variants[count, request]
                step["turn"], step["not_before_s"], step["path"] = first - 1.0, 0.0, path
                count += 1
    _copy(plan, variants[count])
    for place in range(lane["waiting"]):
        step = variants[count, w.waiting[k, place]]
        step["not_before_s"] = max(step["not_before_s"], (lane["now"] + _MOMENT_S) * (1.0 + _MOMENT_S))
    return count + 1


@njit
def _other_weights(w: Lanes, k: int, plan: Rows, variants: Rows) -> int:
    """Each of those that move comes first."""
    lane, count, most, most_core = w.lanes[k], 1, -np.inf, -np.inf
    for place in range(lane["carried"]):
        step = plan[w.carried[k, place]]
        most, most_core = max(most, step["level"]), max(most_core, step["core_level"])
    for place in range(min(lane["carried"], MOST_BRANCHES - 1)):
        _copy(plan, variants[count])
        step = variants[count, w.carried[k, place]]
        step["level"], step["core_level"] = most + _FIRST, most_core + _FIRST
        count += 1
    return count


@njit
def _copy(source: Rows, target: Rows) -> None:
    for request in range(len(source)):
        target[request] = source[request]


def beam(w: Lanes, site: Site, desk: Desk, choice: Choice, *, lanes: range, stride: int, most: int) -> int:
    """Go through an episode question by question, with the best few plans; the best is adopted.

    At each depth every plan's question is answered in all ways, and the cheapest outcomes go on. The plan
    that a beam came with is among them, so no beam ends dearer than it began.

    Args:
        w: The batch; lane 1 stands at the start.
        site: As of `answer`.
        desk: Begins with its best plan.
        choice: What moves choose from.
        lanes: Twice as many as plans are kept.
        stride: Every so many questions one is branched; the others are answered as planned.
        most: Runs after which it ends.

    Returns:
        Runs to the end.
    """
    width = len(lanes) // 2
    here, there = list(lanes[:width]), list(lanes[width:])
    plans = [desk.plans[BEST].copy()]
    variants = np.zeros((width, MOST_BRANCHES, desk.plans.shape[1]), desk.plans.dtype)
    costs = np.zeros((width, MOST_BRANCHES))
    copy_lane(w, 1, here[0])
    runs, depth, best = 0, 0, (float(desk.costs[BEST]), plans[0])
    while runs < most:
        asked = [run_lane(w, k, site.open_to) for k in here[: len(plans)]]
        if all(one == NO_QUESTION for one in asked):
            break
        if depth % stride == 0:
            outcomes: dict[float, tuple[int, int]] = {}
            for number, plan in enumerate(plans):
                if asked[number] == NO_QUESTION:
                    outcomes.setdefault(float(ledger.accrued(w, here[number])), (number, 0))
                    variants[number, 0] = plan
                    continue
                count = branch(w, here[number], site, plan, choice.codecs, variants[number], costs[number])
                runs += count
                for way in range(count):
                    outcomes.setdefault(float(costs[number, way]), (number, way))
            kept = sorted(outcomes)[:width]
            chosen = [outcomes[cost] for cost in kept]
            for (number, _), target in zip(chosen, there, strict=False):
                copy_lane(w, here[number], target)
            plans = [variants[one].copy() for one in chosen]
            here, there = there, here
            best = min(best, (kept[0], plans[0]), key=lambda one: one[0])
        for k, plan in zip(here, plans, strict=False):
            if w.lanes[k]["asked"] != NO_QUESTION:
                answer(w, k, site, plan)
        depth += 1
    desk.plans[TRIAL] = best[1]
    adopt(w, site, desk, choice)
    return runs
