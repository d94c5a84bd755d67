"""Plans: a whole episode's answers, one row a transfer, for SimPy's world and for compiled lanes."""

from collections.abc import Sequence
from math import exp, inf, log
from typing import Any, Final, NamedTuple

import numpy as np

from envs.codec_rule import shortest_alone
from sim.batch.backlog import may_take, may_wait, ways
from sim.batch.events import answer_codec, answer_dispatch
from sim.batch.layout import ASK_CODEC, ASK_DISPATCH, ASK_SHARE, NO_QUESTION, OPEN, Floats, Lanes, Row, Rows
from sim.batch.questions import shortest
from sim.batch.sharing import apply_shares, order_by_request
from sim.batch.world import OpenTo, run_lane
from sim.codecs import Codec
from sim.decisions import (
    WAIT,
    CodecQuestion,
    Dispatch,
    DispatchQuestion,
    Go,
    Rules,
    ShareQuestion,
    Shares,
    equal,
    first_come,
)
from sim.episode import Episode
from sim.jit import njit
from sim.world import World

STEP: Final = np.dtype(
    [
        ("codec", np.int64),  # `SHORTEST_CODEC`: the one with the shortest estimate when it starts
        ("turn", np.float64),  # of those that wait the lowest goes first
        ("not_before_s", np.float64),  # it waits until then
        ("path", np.int64),  # where there is a choice; -1: the first that is free
        ("level", np.float64),  # logarithm of its weight on the wire, beyond its streams
        ("core_level", np.float64),  # and on the cores
        ("haste", np.float64),  # weights fall with this power of what is still to be sent or encoded
        ("streams", np.float64),  # of a multi-stream transfer that moves; 0: its codec's own
    ]
)
"""What a plan says of one transfer."""

SHORTEST_CODEC: Final = -1
_LATE: Final = 1e-9
"""Two engines may round the clock differently by this share."""
_LEAST_BYTES: Final = 1.0


class Questions(NamedTuple):
    """Which questions a plan answers.

    Attributes:
        codec: With which codec; if not, the codecs of the plan that a search starts from stay.
        dispatch: Who goes next, on which path; if not, first come, first served.
        share: Who gets how much; if not, all streams weigh the same.
        control_s: Seconds between two share questions, above 0.
        quantum_s: Longest wait, in seconds, until the dispatch question is put again, above 0.
        streams: Counts of connections that a share answer may give multi-stream transfers.
    """

    codec: bool
    dispatch: bool = False
    share: bool = False
    control_s: float = 1.0
    quantum_s: float = float("inf")
    streams: tuple[int, ...] = ()

    @property
    def open_to(self) -> OpenTo:
        """As lanes know it; the codec question is always put, for a plan says what the rule says, too."""
        return OpenTo(OPEN, self.dispatch, self.share, self.control_s)


class Site(NamedTuple):
    """What compiled answers need besides plan and lanes.

    Attributes:
        open_to: Which questions are put.
        weights: Scratch: weights on the wire and the cores, and streams, shape (3, slots).
    """

    open_to: OpenTo
    weights: Floats


@njit
def follow(w: Lanes, k: int, site: Site, plan: Rows, until_s: float) -> int:
    """Run a lane on a plan up to the first question at or after a time; returns what `run_lane` does."""
    while True:
        asked = run_lane(w, k, site.open_to)
        if asked == NO_QUESTION or w.lanes[k]["now"] >= until_s:
            return asked
        answer(w, k, site, plan)


@njit
def answer(w: Lanes, k: int, site: Site, plan: Rows) -> None:
    """Answer the question that stands on a lane by a plan, shape (transfers,)."""
    asked = w.lanes[k]["asked"]
    if asked == ASK_CODEC:
        number = plan[w.open[k, 0]]["codec"]
        if number < 0:
            number = shortest(w, k)
        answer_codec(w, k, number)
    elif asked == ASK_DISPATCH:
        position, path = _next_in_turn(w, k, plan)
        answer_dispatch(w, k, position, path)
    elif asked == ASK_SHARE:
        _weigh(w, k, plan, site.weights)
        count = w.lanes[k]["carried"]
        apply_shares(w, k, site.weights[0, :count], site.weights[1, :count], site.weights[2, :count])


@njit
def _is_due(step: Row, now: float) -> bool:
    return bool(step["not_before_s"] <= now + _LATE * (1.0 + now))


@njit
def _next_in_turn(w: Lanes, k: int, plan: Rows) -> tuple[int, int]:
    """Position and path of the one whose turn it is, or -1 and -1: all wait.

    Those that are due come first; where waiting is no answer, those that are not due come, too.
    """
    lane = w.lanes[k]
    any_path = w.sites[lane["episode"]]["any_path"]
    chosen, way, first = -1, -1, np.inf
    hasty, hasty_way, hasty_first = -1, -1, np.inf
    for position in range(lane["waiting"]):
        request = w.waiting[k, position]
        step = plan[request]
        _, path = ways(w, k, request)
        if path >= 0 and step["turn"] < hasty_first:
            hasty, hasty_way, hasty_first = position, path, step["turn"]
        if any_path and step["path"] >= 0:
            path = step["path"] if may_take(w, k, request, step["path"]) else -1
        if path >= 0 and step["turn"] < first and _is_due(step, lane["now"]):
            chosen, way, first = position, path, step["turn"]
    if chosen < 0 and not may_wait(w, k):
        return hasty, hasty_way
    return chosen, way


@njit
def _weigh(w: Lanes, k: int, plan: Rows, weights: Floats) -> None:
    """Write the weights and streams of those in flight, the oldest request first."""
    order_by_request(w, k)
    count = w.lanes[k]["carried"]
    most, most_core = -np.inf, -np.inf
    for rank in range(count):
        place = w.order[k, rank]
        request = w.carried[k, place]
        step, transfer = plan[request], w.transfers[k, request]
        left = max(_LEAST_BYTES, w.flows[k, place]["remaining"] + transfer["later_bytes"])
        weights[0, rank] = step["level"] - step["haste"] * np.log(left / transfer["ratio"])
        weights[1, rank] = step["core_level"] - step["haste"] * np.log(left / transfer["encode"])
        weights[2, rank] = step["streams"] if w.codecs[transfer["codec"]]["is_amst"] else 0.0
        most, most_core = max(most, weights[0, rank]), max(most_core, weights[1, rank])
    for rank in range(count):
        streams = weights[2, rank]
        if streams <= 0.0:
            streams = w.transfers[k, w.carried[k, w.order[k, rank]]]["streams"]
        weights[0, rank] = np.exp(weights[0, rank] - most) * streams
        weights[1, rank] = np.exp(weights[1, rank] - most_core)


def plain_plan(count: int, codec: int = SHORTEST_CODEC) -> Rows:
    """One codec, first come, first served, equal shares; shape (count,)."""
    plan = np.zeros(count, STEP)
    plan["codec"], plan["path"], plan["turn"] = codec, -1, np.arange(count)
    return plan


def played(episode: Episode, codecs: Sequence[Codec], plan: Rows, questions: Questions) -> World:
    """The finished SimPy world of a plan.

    Args:
        episode: What is to be moved.
        codecs: What the plan's codecs index.
        plan: Shape (transfers,).
        questions: Those that the plan answers.
    """
    own = _Answers(plan, codecs, episode.scenario.any_path)
    rules = Rules(
        codec=own.codec,
        share=own.shares if questions.share else equal,
        dispatch=own.dispatch if questions.dispatch else first_come,
        control_s=questions.control_s,
        quantum_s=questions.quantum_s if questions.dispatch else inf,
    )
    world = World(episode, codecs, rules)
    world.next_question()
    return world


class _Answers:
    """A plan as rules of `sim.decisions`."""

    def __init__(self, plan: Rows, codecs: Sequence[Codec], any_path: bool) -> None:
        self._plan: list[dict[str, Any]] = [
            dict(zip(STEP.names or (), row, strict=True)) for row in plan.tolist()
        ]
        self._codecs, self._any_path = codecs, any_path
        self._shortest = shortest_alone(codecs)

    def codec(self, question: CodecQuestion) -> int:
        number: int = self._plan[question.request]["codec"]
        return self._shortest(question) if number < 0 else number

    def dispatch(self, question: DispatchQuestion) -> Dispatch:
        go = self._next_in_turn(question, patient=True)
        return self._next_in_turn(question, patient=False) if go is WAIT and not question.may_wait else go

    def _next_in_turn(self, question: DispatchQuestion, patient: bool) -> Dispatch:
        now, ready = question.now_s, []
        for position, waiting in enumerate(question.waiting):
            step, paths = self._plan[waiting.request], waiting.paths
            if patient and step["not_before_s"] > now + _LATE * (1.0 + now):
                continue
            if patient and self._any_path and step["path"] >= 0:
                paths = tuple(path for path in paths if path == step["path"])
            if paths:
                ready.append((step["turn"], position, paths[0]))
        return Go(*min(ready)[1:]) if ready else WAIT

    def shares(self, question: ShareQuestion) -> Shares:
        link, cpu, streams = [], [], []
        for one in question.running:
            step = self._plan[one.request]
            left = max(_LEAST_BYTES, one.remaining_bytes)
            multi = self._codecs[one.codec].family == "amst" and step["streams"] > 0
            streams.append(int(step["streams"]) if multi else one.streams)
            link.append(step["level"] - step["haste"] * log(left / one.ratio))
            cpu.append(step["core_level"] - step["haste"] * log(left / one.encode))
        return Shares(
            [exp(own - max(link)) * count for own, count in zip(link, streams, strict=True)],
            [exp(own - max(cpu)) for own in cpu],
            streams,
        )
