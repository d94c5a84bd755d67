"""Transfers as a predictor learns them: what was known when each started, and what came of it."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from agents.supervised.past import ARRIVALS, Past
from agents.supervised.probe_history import HISTORY
from agents.supervised.prospects import prospects
from envs.features import CODEC_FEATURES, fill_codec
from sim.batch.layout import OPEN
from sim.batch.world import BatchWorld, OpenTo
from sim.codecs import Codec
from sim.decisions import CodecQuestion
from sim.episode import Episode
from sim.estimates import PLACES, alone, codec_rows

Floats = npt.NDArray[np.float64]
Rule = Callable[[CodecQuestion, Floats], int]
"""The codec to take, of a question and the seconds that each would take alone."""

OF_CODEC: Final = (
    "streams",
    "level",
    "sends_delta",
    "prospect_s",
    "prospect_rate",
    "prospect_4_s",
    "alone_s",
    "steady_share",
    "alone_share",
    "wire_part",
    "core_part",
    "wire_busy",
    "cores_busy",
    "arrivals_meanwhile",
    "offered_share",
)
"""What is said of the codec that was chosen: TCP streams, zstd's level, whether a delta would be sent;
seconds and bytes/s on the wire by `agents.supervised.prospects`, seconds likewise by the mean of four probes,
and seconds by `sim.estimates`. All that follow are shares of those first seconds (trees cannot divide): the
other two; what its bytes take of the whole path and its encoding of all cores; the backlogs that it meets;
what the last arrivals let expect to come before it ends; and, of the bandwidth, what these bring.
"""
INPUTS: Final = (*CODEC_FEATURES.names, *HISTORY, *ARRIVALS, *OF_CODEC)
"""What is known when a transfer starts: the observation of the codec question in its units, what the probes
of its path have said so far, and the answer."""
PROSPECT_S: Final = INPUTS.index("prospect_s")
PROSPECT_RATE: Final = INPUTS.index("prospect_rate")


class Outcomes(NamedTuple):
    """Transfers, one entry each.

    Attributes:
        rows: `INPUTS`, float32 (n, inputs).
        seconds: From the answer until the last byte is decoded, (n,).
        wire_rate: Bytes a second on the wire in that time, (n,).
        size_bytes: Raw bytes, (n,).
        episode: Which of the episodes, (n,).
        request: Which of its transfers, (n,).
        codec: What was chosen, (n,).
        start_s: When it was answered, on the clock of its episode, (n,).
    """

    rows: npt.NDArray[np.float32]
    seconds: Floats
    wire_rate: Floats
    size_bytes: Floats
    episode: npt.NDArray[np.int64]
    request: npt.NDArray[np.int64]
    codec: npt.NDArray[np.int64]
    start_s: Floats

    def __len__(self) -> int:
        """Number of transfers."""
        return len(self.seconds)


def shortest(question: CodecQuestion, seconds: Floats) -> int:
    """The codec with the shortest estimate."""
    return int(np.argmin(seconds))


class Exploring:
    """The shortest estimate, but now and then any codec: so that each is seen where it would not be chosen.

    Args:
        share: Of the answers that are drawn, in [0, 1].
        rng: Draws them.
    """

    def __init__(self, share: float, rng: np.random.Generator) -> None:
        self._share, self._rng = share, rng

    def __call__(self, question: CodecQuestion, seconds: Floats) -> int:
        """The index of a codec."""
        drawn = int(self._rng.integers(len(seconds)))
        return drawn if self._rng.random() < self._share else shortest(question, seconds)


def seconds_alone(question: CodecQuestion, codecs: Sequence[Codec]) -> Floats:
    """Seconds that a transfer would take alone with each codec, by the sender's estimate."""
    families = alone(codec_rows(question))
    return np.array([families[PLACES[codec.family]] for codec in codecs])


def rows_for(question: CodecQuestion, past: Past, codecs: Sequence[Codec]) -> npt.NDArray[np.float32]:
    """What is known under each answer, float32 (codecs, inputs).

    Args:
        question: What is asked.
        past: Of its episode.
        codecs: The answers.
    """
    rows = np.empty((len(codecs), len(INPUTS)))
    asked, seen = len(CODEC_FEATURES), len(INPUTS) - len(OF_CODEC)
    known = codec_rows(question)
    fill_codec(known, alone(known), rows[0, :asked])
    history, (gap_s, mean_mb) = past.path(question.now_s, question.path), past.arrivals(question.now_s)
    rows[0, asked:seen] = *history, gap_s, mean_mb
    rows[1:, :seen] = rows[0, :seen]
    bandwidth = max(question.bandwidth, 1.0)
    now = prospects(question, bandwidth, codecs)
    seconds, rate, core_s = now.T
    steady_s = prospects(question, bandwidth * np.exp(history[0]), codecs)[:, 0]
    alone_s = seconds_alone(question, codecs)
    columns = (
        [codec.streams for codec in codecs],
        [codec.level or 0 for codec in codecs],
        [codec.keeps_baseline and question.has_baseline for codec in codecs],
        seconds,
        rate,
        steady_s,
        alone_s,
        steady_s / seconds,
        alone_s / seconds,
        rate / bandwidth,
        core_s / question.cores / seconds,
        question.wire_backlog_bytes / bandwidth / seconds,
        question.core_backlog_s / question.cores / seconds,
        seconds / gap_s,
        np.full(len(codecs), mean_mb * 1e6 / gap_s / bandwidth),
    )
    rows[:, seen:] = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    return rows.astype(np.float32)


def record(episodes: Sequence[Episode], codecs: Sequence[Codec], rule: Rule) -> Outcomes:
    """Play episodes with a rule and note every transfer."""
    world = BatchWorld(episodes[:1], 1, codecs, OpenTo(OPEN, dispatch=False, share=False, control_s=1.0))
    parts = []
    for number, episode in enumerate(episodes):
        world.shelve(0, episode)
        world.start(0, 0)
        past = Past(episode)
        seen: dict[int, tuple[npt.NDArray[np.float32], float, int]] = {}
        while isinstance(question := world.next_question(0), CodecQuestion):
            answer = rule(question, seconds_alone(question, codecs))
            row = rows_for(question, past, codecs[answer : answer + 1])[0]
            seen[question.request] = row, question.now_s, answer
            world.answer(0, answer)
        done = world.records(0)
        order = [one.request for one in done]
        seconds = np.array([one.end_s - seen[one.request][1] for one in done])
        parts.append(
            Outcomes(
                np.stack([seen[request][0] for request in order]),
                seconds,
                np.array([one.wire_bytes for one in done]) / seconds,
                np.array([one.size_bytes for one in done]),
                np.full(len(done), number),
                np.array(order),
                np.array([seen[request][2] for request in order]),
                np.array([seen[request][1] for request in order]),
            )
        )
    return Outcomes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
