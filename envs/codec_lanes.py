"""`dwcp/Compression-v0` on lanes of the compiled world."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from envs.compression import Compression
from envs.features import CODEC_FEATURES, fill_codec, scale
from envs.lanes import EnvLanes, Seen
from sim.batch.events import answer_codec
from sim.batch.layout import ASK_CODEC, OPEN, Floats, Ints, Lanes
from sim.batch.world import OpenTo
from sim.episode import Episode
from sim.jit import njit
from sim.question_rows import QuestionRows, codec_question_of


@njit
def answer_codecs(lanes: Ints, answers: Ints, w: Lanes, seen: Seen) -> None:
    """Answer the codec questions among those that stand on some lanes; answers are of all lanes."""
    for number in range(len(lanes)):
        k = lanes[number]
        if seen.asked[k] == ASK_CODEC:
            answer_codec(w, k, answers[k])


@njit
def observe_codecs(
    lanes: Ints, rows: QuestionRows, rules: Floats, first: int, values: Floats, seen: Seen
) -> None:
    """Write what is seen of the codec questions among those that stand on some lanes.

    Args:
        lanes: Which.
        rows: The questions.
        rules: How `scale` scales what is seen.
        first: Where it starts in an observation.
        values: Scratch, a row a lane, of which that of the first lane is used.
        seen: Takes it.
    """
    width = len(rules)
    for number in range(len(lanes)):
        k = lanes[number]
        if seen.asked[k] == ASK_CODEC:
            own = values[lanes[0], :width]
            fill_codec(rows.codec[k : k + 1], own)
            scale(own, rules, seen.observations[k, first : first + width])


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
        answer_codecs(lanes, answers, self.world.arrays, self.seen)

    def _observe(self, lanes: Ints) -> None:
        observe_codecs(lanes, self.world.rows, CODEC_FEATURES.rules, 0, self._values, self.seen)
        if self.env.foreseen is not None:
            asked = lanes[self.seen.asked[lanes] == ASK_CODEC]
            if len(asked):
                questions = [codec_question_of(self.world.rows, int(lane)) for lane in asked]
                episodes = [self.episode(int(lane)) for lane in asked]
                said = self.env.foreseen.scaled(questions, episodes)
                self.seen.observations[asked, len(CODEC_FEATURES) :] = said
