"""`dwcp/Compression-v0` on lanes of the compiled world."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from envs.compression import Compression
from envs.features import fill_codec, scale
from envs.lanes import EnvLanes, Seen
from sim.batch.events import answer_codec
from sim.batch.layout import OPEN, Floats, Ints, Lanes
from sim.batch.world import OpenTo
from sim.episode import Episode
from sim.jit import njit
from sim.question_rows import QuestionRows


@njit
def _answer(lanes: Ints, answers: Ints, w: Lanes, seen: Seen) -> None:
    for number in range(len(lanes)):
        k = lanes[number]
        if not seen.ended[k]:
            answer_codec(w, k, answers[k])


@njit
def _observe(lanes: Ints, rows: QuestionRows, rules: Floats, values: Floats, seen: Seen) -> None:
    for number in range(len(lanes)):
        k = lanes[number]
        if not seen.ended[k]:
            fill_codec(rows.codec[k : k + 1], values[lanes[0]])
            scale(values[lanes[0]], rules, seen.observations[k])


class CodecLanes(EnvLanes):
    """Lanes that ask with which codec each transfer goes; arguments as of `EnvLanes`."""

    env: Compression

    def __init__(
        self, env: Compression, count: int, pool: Sequence[Episode] = (), *, threads: int = 1
    ) -> None:
        asks = OpenTo(OPEN, dispatch=False, share=False, control_s=1.0)
        super().__init__(env, count, env.answers.size, asks, pool, threads=threads)

    def _answer(self, lanes: Ints, actions: NDArray[Any]) -> None:
        answers = self.env.answers[actions if actions.ndim == 1 else tuple(actions.T)]
        _answer(lanes, answers, self.world.arrays, self.seen)

    def _observe(self, lanes: Ints) -> None:
        _observe(lanes, self.world.rows, self.env.features.rules, self._values, self.seen)
