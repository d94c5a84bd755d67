"""The two engines side by side: one episode, the same answers, and the first thing in which they differ."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import zip_longest
from math import inf
from typing import Any, NamedTuple

import pytest

from sim.batch.layout import OPEN
from sim.batch.world import BatchWorld, OpenTo
from sim.codecs import Codec, parse_codec
from sim.decisions import (
    Answer,
    CodecQuestion,
    Question,
    Rules,
    Running,
    equal,
    first_come,
)
from sim.episode import Episode
from sim.transfers import SMALLEST_CHANGE
from sim.world import World

MORE = int(os.environ.get("EQUALITY_EPISODES", "0"))
"""Episodes of every case in the long run, which is started by hand; 0: the few of every day."""

CODECS = tuple(
    parse_codec(name) for name in ("none", "zstd", "hde", "amst", "hde_xor", "zstd-9", "amst-16-lz4")
)

EXACT = 1e-9
"""Allowed of times, bytes and costs, over their scale."""
ROUNDING = 2.0**-23
"""Allowed of other measurements: a unit in the last place of the float32 that observations are made of."""

_TIMES = {"now_s", "slack_s", "waited_s", "baseline_age_s", "interval_s", "elapsed_s"}
_TIMES |= {"arrival_s", "start_s", "end_s", "deadline_s"}
_EXACTLY = {"remaining_bytes", "wire_backlog_bytes", "wire_bytes", "cpu_s"}


class OpenQuestions(NamedTuple):
    """What is asked of both engines.

    Attributes:
        dispatch: Whether who goes next.
        share: Whether who gets how much.
        codec: With which codec; `sim.batch.layout.OPEN` asks.
        control_s: Seconds between two share questions.
        quantum_s: Longest wait.
    """

    dispatch: bool = False
    share: bool = False
    codec: int = OPEN
    control_s: float = 1.0
    quantum_s: float = inf

    @property
    def batch(self) -> OpenTo:
        """As the compiled world takes it."""
        return OpenTo(self.codec, self.dispatch, self.share, self.control_s)

    def world(self, episode: Episode, codecs: Sequence[Codec]) -> World:
        """The reference, with rules for what is not asked."""
        return World(
            episode,
            codecs,
            Rules(
                codec=None if self.codec == OPEN else lambda _: self.codec,
                share=None if self.share else equal,
                dispatch=None if self.dispatch else first_come,
                control_s=self.control_s,
                quantum_s=self.quantum_s,
            ),
        )


Answers = Callable[[Question], Answer]


class Twins:
    """One episode in both engines; every question and every record of one is held against the other's.

    Attributes:
        worst: Largest difference met by field, over its scale.
        given: The answers so far.

    Args:
        world: The reference.
        batch: The compiled world.
        lane: Its lane, on which the same episode stands at the same point.
    """

    def __init__(self, world: World, batch: BatchWorld, lane: int = 0) -> None:
        self.world, self.batch, self.lane = world, batch, lane
        self.worst: dict[str, float] = defaultdict(float)
        self.given: list[Answer] = []
        self._where = ""
        self._scales: dict[str, float] = {}

    def play(self, answers: Answers, most: int = 1_000_000) -> "Twins":
        """Go on to the end, or for so many questions, and hold the records against each other."""
        for _ in range(most):
            if not self.step(answers):
                break
        self._records()
        return self

    def step(self, answers: Answers) -> bool:
        """Put the next question to both and answer it; False when all have moved."""
        question = self.next_question()
        if question is None:
            return False
        answer = answers(question)
        self.given.append(answer)
        self.world.answer(answer)
        self.batch.answer(self.lane, answer)
        return True

    def next_question(self) -> Question | None:
        """The question that stands now in both."""
        ours, theirs = self.world.next_question(), self.batch.next_question(self.lane)
        scenario, now_s = self.world.episode.scenario.name, self.world.clock.now
        self._where = (
            f"{scenario}, seed {self.world.episode.seed}, question {len(self.given) + 1} at {now_s:.9g} s"
        )
        if type(ours) is not type(theirs):
            self._differ("", "the question", _who(ours), _who(theirs))
        self._scales = {"cost": now_s, "hour": 24.0} | dict.fromkeys(_TIMES, now_s)
        if ours is not None:
            self._scales |= self._in_flight()
            self._compare(_who(ours), ours, theirs)
        self._hold("", "cost", self.world.cost, self.batch.cost(self.lane))
        return ours

    def _in_flight(self) -> dict[str, float]:
        """Scales of what is left when large figures cancel: all that those in flight had to move."""
        movers = [(one.flow, self._size_bytes(one.request)) for one in self.world.network.carried]
        return {
            "wire_backlog_bytes": sum(size / flow.ratio for flow, size in movers),
            "core_backlog_s": sum(size / flow.encode for flow, size in movers),
            "cpu_load": 1.0,
            "memory_pressure": 1.0,
            "changed": SMALLEST_CHANGE,
        }

    def _of_mover(self, request: int) -> dict[str, float]:
        """The same of one in flight, alone."""
        transfer = next(one for one in self.world.network.carried if one.request == request)
        size, elapsed_s = self._size_bytes(request), self.world.clock.now - transfer.metered_s
        rate = size / elapsed_s if elapsed_s > 0 else 0.0
        return {"remaining_bytes": size, "rate": rate, "cores": rate * transfer.flow.cpu_per_byte}

    def _size_bytes(self, request: int) -> float:
        return float(self.world.episode.requests.size_bytes[request])

    def _records(self) -> None:
        """Hold what is written down of those that have moved against each other, in order."""
        for number, (ours, theirs) in enumerate(
            zip_longest(self.world.records, self.batch.records(self.lane)), start=1
        ):
            self._where = (
                f"{self.world.episode.scenario.name}, seed {self.world.episode.seed}, record {number}"
            )
            if ours is None or theirs is None or ours.request != theirs.request:
                self._differ("", "the record", ours, theirs)
            self._scales = dict.fromkeys(_TIMES, ours.end_s)
            self._compare(f"of request {ours.request}", ours, theirs)

    def _compare(self, who: str, ours: Any, theirs: Any) -> None:
        """Hold two rows against each other, and the rows inside them."""
        if type(ours) is not type(theirs) or len(ours) != len(theirs):
            self._differ(who, "the row", ours, theirs)
        if isinstance(ours, Running):
            self._scales |= self._of_mover(ours.request)
        for name, mine, other in zip(ours._fields, ours, theirs, strict=True):
            if isinstance(mine, tuple) and mine and isinstance(mine[0], tuple):
                if len(mine) != len(other):
                    self._differ(who, f"how many are {name}", len(mine), len(other))
                for place, (part, its) in enumerate(zip(mine, other, strict=True)):
                    self._compare(f"{who}, {name} {getattr(part, 'request', place)}", part, its)
            elif isinstance(mine, tuple) and hasattr(mine, "_fields"):
                self._compare(f"{who}, {name}", mine, other)
            elif isinstance(mine, float):
                self._hold(who, name, mine, other)
            elif mine != other:
                self._differ(who, name, mine, other)

    def _hold(self, who: str, field: str, ours: float, theirs: float) -> None:
        if ours == theirs:
            return
        scale = max(abs(ours), abs(theirs), self._scales.get(field, 0.0))
        over = abs(ours - theirs) / scale
        self.worst[field] = max(self.worst[field], over)
        if not over <= (EXACT if field in _TIMES | _EXACTLY | {"cost"} else ROUNDING):
            self._differ(who, field, ours, theirs)

    def _differ(self, who: str, field: str, ours: object, theirs: object) -> None:
        place = f"{self._where}, {who}" if who else self._where
        raise AssertionError(f"{place}: {field} is {ours!r} in sim.world and {theirs!r} in sim.batch")


def _who(question: Question | None) -> str:
    if question is None:
        return "the end"
    of = f" of request {question.request}" if isinstance(question, CodecQuestion) else ""
    return f"{type(question).__name__}{of} at {question.now_s!r} s"


@pytest.fixture(name="twins", scope="session")
def _twins() -> Callable[..., Twins]:
    """Start an episode in both engines; keywords are the fields of `OpenQuestions`, and ``codecs``."""

    def start(episode: Episode, codecs: Sequence[Codec] = CODECS, **fields: Any) -> Twins:
        questions = OpenQuestions(**fields)
        batch = BatchWorld([episode], 1, codecs, questions.batch)
        batch.start(0, 0, questions.quantum_s)
        return Twins(questions.world(episode, codecs), batch)

    return start


@pytest.fixture(name="lane_twins", scope="session")
def _lane_twins() -> Callable[..., Twins]:
    """Hold a lane against a reference of its own that was given the same answers until now."""

    def follow(batch: BatchWorld, lane: int, given: Sequence[Answer] = ()) -> Twins:
        codec, dispatch, share, control_s = batch.open_to
        state = batch.arrays.lanes[lane]
        questions = OpenQuestions(dispatch, share, codec, control_s, float(state["quantum_s"]))
        pair = Twins(questions.world(batch.episodes[int(state["episode"])], batch.codecs), batch, lane)
        for answer in given:
            pair.world.next_question()
            pair.world.answer(answer)
            pair.given.append(answer)
        return pair

    return follow


@pytest.fixture(name="random_answers", scope="session")
def _random_answers(random_answers: Callable[[int, int], Answers]) -> Callable[..., Answers]:
    """The same from a seed alone, too: then among all codecs."""

    def start(seed: int, codecs: int | None = None) -> Answers:
        return random_answers(seed, codecs or len(CODECS))

    return start


@pytest.fixture(scope="session")
def more() -> int:
    """Episodes of every case in the long run; 0: the few of every day."""
    return MORE
