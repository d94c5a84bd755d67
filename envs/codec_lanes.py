"""`dwcp/Compression-v0` on lanes of the compiled world."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.compression import Compression
from envs.features import fill_codec, scale
from envs.lanes import EnvLanes, Seen
from sim.batch import ledger
from sim.batch.events import answer_codec, start
from sim.batch.layout import NO_QUESTION, OPEN, Floats, Ints, Lanes
from sim.batch.world import BatchWorld, OpenTo, put_question, run_lane
from sim.episode import Episode
from sim.jit import njit
from sim.question_rows import QuestionRows


@njit
def _look(
    w: Lanes, k: int, open_to: OpenTo, rows: QuestionRows, rules: Floats, values: Floats, seen: Seen
) -> None:
    asked = run_lane(w, k, open_to)
    seen.ended[k] = asked == NO_QUESTION
    if asked == NO_QUESTION:
        seen.observations[k, :] = 0.0
    else:
        put_question(w, k, rows)
        fill_codec(rows.codec[k : k + 1], values)
        scale(values, rules, seen.observations[k])
    seen.costs[k], seen.now_s[k] = ledger.accrued(w, k), w.lanes[k]["now"]


@njit
def _begin(
    lanes: Ints,
    places: Ints,
    quanta: Floats,
    w: Lanes,
    open_to: OpenTo,
    rows: QuestionRows,
    rules: Floats,
    values: Floats,
    seen: Seen,
) -> None:
    for number in range(len(lanes)):
        k = lanes[number]
        start(w, k, places[number], quanta[number])
        _look(w, k, open_to, rows, rules, values[0], seen)
        seen.costs[k] = 0.0  # what passes before the first question is charged to the first step


@njit
def _step(
    first: int,
    end: int,
    answers: Ints,
    w: Lanes,
    open_to: OpenTo,
    rows: QuestionRows,
    rules: Floats,
    values: Floats,
    seen: Seen,
) -> None:
    for k in range(first, end):
        if not seen.ended[k]:
            answer_codec(w, k, answers[k])
            _look(w, k, open_to, rows, rules, values[first], seen)


class CodecLanes(EnvLanes):
    """Lanes that ask with which codec each transfer goes; arguments as of `EnvLanes`."""

    kernel = _step
    env: Compression

    def __init__(
        self, env: Compression, count: int, pool: Sequence[Episode] = (), *, threads: int = 1
    ) -> None:
        answers = env.answers
        super().__init__(env, count, answers.size, OpenTo(OPEN, False, False, 1.0), pool, threads=threads)
        self._answers = answers
        self._values = np.zeros((count, len(env.features)))  # scratch, a row a thread: that of its first lane

    def _begin(self, world: BatchWorld, lanes: Ints, places: Ints, quanta: Floats) -> None:
        _begin(lanes, places, quanta, *self._rest(world))

    def _step(self, world: BatchWorld, actions: NDArray[Any], first: int, end: int) -> None:
        answers = self._answers[actions] if actions.ndim == 1 else self._answers[tuple(actions.T)]
        _step(first, end, answers, *self._rest(world))

    def _rest(self, world: BatchWorld) -> tuple[Lanes, OpenTo, QuestionRows, Floats, Floats, Seen]:
        return world.arrays, world.open_to, world.rows, self.env.features.rules, self._values, self.seen
