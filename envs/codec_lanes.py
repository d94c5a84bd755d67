"""`dwcp/Compression-v0` on lanes of the compiled world."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from envs.compression import Compression
from envs.features import CODEC_FEATURES, fill_codec, scale
from envs.forecasts import Foreseen
from envs.lanes import EnvLanes, Seen, note
from sim.batch.events import answer_codec, next_question
from sim.batch.fetching import fetch_known, fetch_lane, fetch_transfers
from sim.batch.layout import ASK_CODEC, OPEN, Floats, Ints, Lanes
from sim.batch.questions import codec_question, estimated
from sim.batch.world import OpenTo, put_question
from sim.episode import Episode
from sim.estimates import alone
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
        values: Scratch.
        seen: Takes it.
    """
    width = len(rules)
    for number in range(len(lanes)):
        k = lanes[number]
        if seen.asked[k] == ASK_CODEC:
            question = rows.codec[k : k + 1]
            fill_codec(question, alone(question), values[:width])
            scale(values[:width], rules, seen.observations[k, first : first + width])


@njit
def _advance(lanes: Ints, answers: Ints, w: Lanes, rules: Floats, values: Floats, seen: Seen) -> None:
    """Answer what stands on lanes, run them to their next questions and write what is seen of these.

    All that a lane does is done at once, while what it touches is near; that nothing else is open stands in
    the code, so that none of it is compiled.
    """
    question, count = w.asked[:1], len(lanes)
    for number in range(count):
        k = lanes[number]
        if number + 3 < count:
            fetch_lane(w, lanes[number + 3])
        if number + 2 < count:
            fetch_transfers(w, lanes[number + 2], answers[lanes[number + 2]])
        if number + 1 < count:
            fetch_known(w, lanes[number + 1])
        if seen.ended[k]:
            continue
        if seen.asked[k] == ASK_CODEC:
            answer_codec(w, k, answers[k])
        note(w, k, next_question(w, k, False, False, 1.0), seen)
        if not seen.ended[k]:
            codec_question(w, k, question[0])
            fill_codec(question, estimated(w, k, question), values)
            scale(values, rules, seen.observations[k])


class CodecLanes(EnvLanes):
    """Lanes that ask with which codec each transfer goes; arguments as of `EnvLanes`."""

    env: Compression

    def __init__(self, env: Compression, count: int, pool: Sequence[Episode] = ()) -> None:
        asks = OpenTo(OPEN, dispatch=False, share=False, control_s=1.0)
        super().__init__(env, count, env.answers.size, asks, pool)

    def _kernel(self) -> Any:
        return _advance

    def _advance(self, lanes: Ints, actions: NDArray[Any] | None) -> None:
        answers = self._every  # none is read where nothing is asked
        if actions is not None:
            answers = self.env.answers[actions if actions.ndim == 1 else tuple(actions.T)]
        own = self._values[: len(CODEC_FEATURES)]
        _advance(lanes, answers, self.world.arrays, CODEC_FEATURES.rules, own, self.seen)
        if self.env.foreseen is not None:
            self._foresee(self.env.foreseen, lanes[self.seen.asked[lanes] == ASK_CODEC])

    def _foresee(self, foreseen: Foreseen, asked: Ints) -> None:
        """Write what is forecast of the questions that stand on some lanes."""
        if not len(asked):
            return
        world = self.world
        for lane in asked.tolist():
            put_question(world.arrays, lane, world.rows)
        questions = [codec_question_of(world.rows, lane) for lane in asked.tolist()]
        episodes = [self.episode(lane) for lane in asked.tolist()]
        self.seen.observations[asked, len(CODEC_FEATURES) :] = foreseen.scaled(questions, episodes)
