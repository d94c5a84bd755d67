"""The hindsight planner: sees a whole episode and looks for the cheapest answers to all of its questions."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from agents import planner_moves as moves
from agents.planner_beam import beam
from agents.planner_moves import Choice, Desk, adopt, try_moves
from agents.planner_steps import Questions, Site, follow, played
from sim.batch.layout import NO_QUESTION, Rows
from sim.batch.world import BatchWorld, copy_lane
from sim.codecs import Codec
from sim.episode import Episode
from sim.jit import announce

MOVES_A_PASS: Final = 8192
"""Moves of one pass: a second for 128 codecs, and more than a beam and what comes before it need."""
_MARKS: Final = 16
"""Lanes left behind on the way of the current plan, from which its changes start."""
_PAST: Final = 5
"""Moves that late acceptance looks back: 1, 5 and 15 did alike, 50 and 400 worse."""
_ROUND: Final = 512
"""Moves between two looks at what they have brought."""
_KICK: Final = 1.005
"""When nothing is won any more, the search sets out from another start, and may lose so much at first."""
_STALLED: Final = 4
"""Rounds in which nothing is won before that."""
_WIDTH: Final = 2
"""Plans that a beam keeps."""
_BEAM_AFTER: Final = 8
"""Rounds before the beam comes: it refines what moves have left."""
_BEAM_QUESTIONS: Final = 256
"""Questions that a beam branches at, at most."""


class Planned(NamedTuple):
    """A feasible plan and its exact cost.

    Attributes:
        plan: Rows of `agents.planner_steps.STEP`, shape (transfers,).
        cost_s: What it costs in `sim.world`, in seconds.
        start_cost_s: What the cheapest of its starts costs.
        answers: Questions that were answered on the way.
    """

    plan: Rows
    cost_s: float
    start_cost_s: float
    answers: int


def search(
    episode: Episode,
    codecs: Sequence[Codec],
    questions: Questions,
    starts: Sequence[Rows],
    *,
    budget: int,
    rng: np.random.Generator,
) -> Planned:
    """Look for the cheapest plan of an episode, known in full.

    Moves first (`agents.planner_moves`), then a beam (`agents.planner_beam`), then moves again. What is done
    does not depend on the budget, which only says when to stop: a larger one never finds a dearer plan.

    Args:
        episode: What is to be moved.
        codecs: What the codecs of plans index.
        questions: Those that plans answer.
        starts: Plans to begin from; the result is never dearer than the cheapest. Shape (transfers,) each.
        budget: Moves and branches to try; about 10 000 a second on one core for 128 transfers that have only
            their codecs to choose. At least 0.
        rng: The only source of chance.

    Raises:
        ValueError: If there is no start.
        RuntimeError: If the two worlds disagree on what the plan costs; please report it.
    """
    if not starts:
        raise ValueError("a search needs a plan to start from; give plain_plan(len(episode))")
    bench = _Bench([episode], codecs, questions, starts[0])
    bench.batch.start(1, 0, questions.quantum_s if questions.dispatch else np.inf)
    bench.improve(starts, budget, rng)
    desk = bench.desk
    world = played(episode, codecs, desk.plans[moves.BEST], questions)
    found = float(desk.costs[moves.BEST])
    if not np.isclose(world.cost, found, rtol=1e-9, atol=0.0):
        raise RuntimeError(f"a plan costs {found!r} s on lanes and {world.cost!r} s in sim.world")
    return Planned(desk.plans[moves.BEST].copy(), world.cost, bench.start_cost_s, int(desk.answers[0]))


def foresee(
    episode: Episode,
    codecs: Sequence[Codec],
    questions: Questions,
    base: Rows,
    *,
    window_s: float,
    every_s: float,
    budget: int,
    rng: np.random.Generator,
) -> Planned:
    """Plan again and again with perfect knowledge of the next minutes only: what forecasts could be worth.

    At each planning, requests that arrive and conditions that come within the window are known; after it no
    one comes and the last conditions hold. Transfers that are not known yet go by ``base``.

    Args:
        episode: What is to be moved.
        codecs: What the codecs of plans index.
        questions: Those that plans answer.
        base: What holds for each transfer until it is planned, shape (transfers,).
        window_s: How far it sees, in seconds, above 0.
        every_s: Seconds between two plannings, above 0, at most the window.
        budget: Moves to try at each planning.
        rng: The only source of chance.

    Raises:
        ValueError: If the window is shorter than the time between two plannings.
    """
    if not 0 < every_s <= window_s:
        raise ValueError(f"every_s must be above 0 and at most window_s, got {every_s} and {window_s}")
    bench = _Bench([episode, episode], codecs, questions, base)
    w, real, plan = bench.batch.arrays, bench.spare.start, base.copy()
    bench.batch.start(real, 0, questions.quantum_s if questions.dispatch else np.inf)
    asked = follow(w, real, bench.site, plan, -np.inf)
    while asked != NO_QUESTION:
        now = float(w.lanes[real]["now"])
        copy_lane(w, real, 1)
        known = _hide_after(bench.batch, 1, now + window_s)
        bench.improve([plan], budget, rng, first=_first_unmoved(bench.batch, real))
        plan[:known] = bench.desk.plans[moves.BEST, :known]
        asked = follow(w, real, bench.site, plan, now + every_s)
    base_cost_s = played(episode, codecs, base, questions).cost
    cost_s = bench.batch.cost(real)
    return Planned(_as_moved(bench.batch, real, plan), cost_s, base_cost_s, int(bench.desk.answers[0]))


class _Bench:
    """Lanes and desk of a search; lane 1 stands where plans begin."""

    def __init__(
        self, episodes: Sequence[Episode], codecs: Sequence[Codec], questions: Questions, plan: Rows
    ) -> None:
        announce(try_moves, "the planner", 90)
        lanes, count = 1 + _MARKS + 2 * _WIDTH, len(plan)
        self.batch = BatchWorld(episodes, lanes, codecs, questions.open_to)
        self.spare = range(1 + _MARKS, lanes)
        slots = self.batch.arrays.flows.shape[1]
        self.site = Site(questions.open_to, np.zeros((3, slots)))
        self.desk = Desk(
            plans=np.stack([plan] * 3),
            costs=np.full(3, np.inf),
            marks_s=np.full(_MARKS, np.inf),
            start_s=np.zeros(count),
            end_s=np.zeros(count),
            past=np.zeros(_PAST),
            answers=np.zeros(1, np.int64),
        )
        self.start_cost_s = np.inf
        self._choice = Choice(
            kinds=np.array(_kinds(questions, episodes[0].scenario.any_path), np.int64),
            codecs=len(codecs) if questions.codec else 0,
            first=0,
            streams=np.array([0, *questions.streams], np.float64),
        )

    def improve(self, starts: Sequence[Rows], budget: int, rng: np.random.Generator, first: int = 0) -> None:
        """Leave the best plan found on the desk; only transfers from ``first`` on are changed by moves."""
        w, site, desk = self.batch.arrays, self.site, self.desk
        choice = self._choice = self._choice._replace(first=first)
        desk.costs[:] = np.inf
        for plan in starts:
            self._take_up(plan)
        self.start_cost_s = float(desk.costs[moves.BEST])
        self._take_up(desk.plans[moves.BEST])
        tried, number, stalled, restarts = 0, 0, 0, 0
        desk.past[:] = self.start_cost_s
        while tried < budget:
            if number == _BEAM_AFTER and first == 0:
                stride = 1 + self._questions() // _BEAM_QUESTIONS
                left = budget - tried
                tried += beam(w, site, desk, choice, lanes=self.spare, stride=stride, most=left)
                desk.past[:] = desk.costs[moves.CURRENT]
            before = desk.costs[moves.BEST]
            dice = rng.random((_ROUND, moves.DICE))[: max(0, budget - tried)]
            try_moves(w, site, desk, choice, dice, False)
            tried, number = tried + len(dice), number + 1
            stalled = 0 if desk.costs[moves.BEST] < before else stalled + 1
            if stalled >= _STALLED:
                again = [*starts, desk.plans[moves.BEST]][restarts % (len(starts) + 1)]
                self._take_up(again)
                desk.past[:] = desk.costs[moves.CURRENT] * _KICK
                stalled, restarts = 0, restarts + 1

    def _take_up(self, plan: Rows) -> None:
        self.desk.plans[moves.TRIAL] = plan
        adopt(self.batch.arrays, self.site, self.desk, self._choice)

    def _questions(self) -> int:
        """Questions that the current plan answers."""
        before = int(self.desk.answers[0])
        self._take_up(self.desk.plans[moves.BEST])
        return int(self.desk.answers[0]) - before


def _kinds(questions: Questions, any_path: bool) -> list[int]:
    """Kinds of moves, each as often as it is to be likely."""
    kinds = []
    if questions.codec:
        kinds += [moves.CODEC] * 4 + [moves.CODECS_OF_DATASET]
    if questions.dispatch:
        kinds += [moves.TURN] * 3 + [moves.SWAP] + [moves.DELAY] * 2 + [moves.PATH] * (2 * any_path)
    if questions.share:
        kinds += [moves.LEVEL] * 4 + [moves.STREAMS] * (2 * bool(questions.streams))
    return kinds


def _hide_after(batch: BatchWorld, lane: int, until_s: float) -> int:
    """Let a lane go on in a world that ends at a time: the second on the shelf; returns transfers known."""
    w, state = batch.arrays, batch.arrays.lanes[lane]
    w.sites[1] = w.sites[0]
    whole = int(w.sites[0]["requests"])
    known = int((w.requests["arrival_s"][0, :whole] <= until_s).sum())
    losses = int((w.losses[0, : w.sites[0]["losses"], 0] <= until_s).sum())
    order = w.by_deadline[0, :whole]
    w.by_deadline[1, :known] = order[order < known]
    w.sites[1]["requests"], w.sites[1]["losses"] = known, losses
    w.sites[1]["pieces"] = (w.times[0, : w.sites[0]["pieces"]] <= until_s).sum()
    state["deadlines_passed"] = (order[: state["deadlines_passed"]] < known).sum()
    state["episode"] = 1
    if state["arriving"] >= known:
        state["arrival_at"] = np.inf
    return known


def _first_unmoved(batch: BatchWorld, lane: int) -> int:
    """The first transfer that may still be planned: all before have been recorded."""
    state = batch.arrays.lanes[lane]
    done = np.sort(batch.arrays.recorded[lane, : state["recorded"]])
    behind = np.flatnonzero(done != np.arange(len(done)))
    return min(int(behind[0]) if len(behind) else len(done), int(batch.arrays.sites[0]["requests"]) - 1)


def _as_moved(batch: BatchWorld, lane: int, plan: Rows) -> Rows:
    """The plan with the codecs that were really taken."""
    moved = plan.copy()
    moved["codec"] = batch.arrays.transfers["codec"][lane, : len(plan)]
    return moved
