"""Seconds that transfers of a dispatch or share question are predicted to take, by the performance predictor.

What these questions tell of a transfer is put into the codec question that it would be asked; what they do
not tell is missing in its row, so the predictor must have been trained with it missing.
"""

from collections.abc import Sequence
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from agents.supervised.outcomes import INPUTS, rows_for
from agents.supervised.past import Past
from agents.supervised.performance import SAID_S, PerformancePredictor
from sim.codecs import FITTED, Codec
from sim.decisions import CodecQuestion, DispatchQuestion, PathView, Running, ShareQuestion, Waiting
from sim.episode import Episode
from sim.payloads import CLASS_NAMES

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float32]

UNTOLD: Final = (
    "entropy",
    "baseline_age_s",
    "deltas",
    "seen",
    "interval_s",
    "recent_zstd_ratio",
)
"""Inputs of the predictor that only a codec question tells."""
_UNTOLD: Final = [INPUTS.index(name) for name in UNTOLD]


def without_untold(rows: Rows) -> Rows:
    """Rows of `agents.supervised.outcomes.INPUTS` with `UNTOLD` missing."""
    kept = rows.copy()
    kept[:, _UNTOLD] = np.nan
    return kept


class Foreteller:
    """Predicted seconds of each transfer of a question, in its order: see `envs.forecasts.Foretelling`.

    Of one that waits, from its start to its end with the codec that is predicted to be fastest; of one that
    moves, for what is left of it, as if that began now.

    Args:
        predictor: Trained on rows without `UNTOLD`.
        codecs: The list that a running transfer's codec indexes.
        answers: Codecs that one that waits may get.
    """

    def __init__(
        self, predictor: PerformancePredictor, codecs: Sequence[Codec], answers: Sequence[Codec]
    ) -> None:
        self._predictor = predictor
        self._codecs, self._answers = tuple(codecs), tuple(answers)
        self._known: WeakKeyDictionary[Episode, Past] = WeakKeyDictionary()

    def __call__(self, question: DispatchQuestion | ShareQuestion, episode: Episode) -> Floats:
        """Seconds, shape (waiting,) or (running,)."""
        if episode not in self._known:
            self._known[episode] = Past(episode)
        past = self._known[episode]
        if isinstance(question, DispatchQuestion):
            parts = [rows_for(_of_waiting(question, one), past, self._answers) for one in question.waiting]
        else:
            parts = [self._of_running(question, one, past) for one in question.running]
        said = self._predictor.predict(without_untold(np.concatenate(parts)))[:, SAID_S]
        least: Floats = said.reshape(len(parts), -1).min(axis=1)
        return least

    def _of_running(self, question: ShareQuestion, one: Running, past: Past) -> Rows:
        codec = self._codecs[one.codec]
        return rows_for(_of_running(question, one, codec), past, [codec])


def _of_waiting(question: DispatchQuestion, one: Waiting) -> CodecQuestion:
    path = one.paths[0] if one.paths and one.path not in one.paths else one.path
    asked = _blank(question, path)
    return asked._replace(
        request=one.request,
        kind=one.kind,
        size_bytes=one.size_bytes,
        sample_ratio=one.sample_ratio,
        priority=one.priority,
        slack_s=one.slack_s,
        waited_s=one.waited_s,
        has_baseline=one.has_baseline,
        changed=one.changed,
        delta_ratio=one.delta_ratio,
        waiting=len(question.waiting) - 1,
    )


def _of_running(question: ShareQuestion, one: Running, codec: Codec) -> CodecQuestion:
    """What is left of a transfer as one that starts among the others: its ratio is known by now."""
    asked, figures = _blank(question, one.path), FITTED.classes[CLASS_NAMES[one.kind]]
    usual = np.exp(figures.log_ratio3)
    delta = codec.keeps_baseline and one.ratio > 2.0 * usual
    ratio3 = usual if delta or not (codec.level or codec.keeps_baseline) else max(one.ratio, 1.0)
    left = one.remaining_bytes
    return asked._replace(
        request=one.request,
        kind=one.kind,
        size_bytes=left,
        sample_ratio=ratio3**figures.sample_exponent,
        priority=one.priority,
        slack_s=one.slack_s,
        has_baseline=delta,
        changed=min(1.0, ratio3 / one.ratio / figures.novelty) if delta else 1.0,
        delta_ratio=one.ratio if delta else 1.0,
        running=max(asked.running - 1, 0),
        streams=max(asked.streams - one.streams, 0),
        wire_backlog_bytes=max(asked.wire_backlog_bytes - left / one.ratio, 0.0),
        core_backlog_s=max(asked.core_backlog_s - left / one.encode, 0.0),
        waiting=question.waiting,
    )


def _blank(question: DispatchQuestion | ShareQuestion, path: int) -> CodecQuestion:
    """A codec question of a path and host; of the transfer nothing is told yet."""
    view: PathView = question.paths[path]
    host = question.host
    return CodecQuestion(
        request=0,
        now_s=question.now_s,
        hour=question.hour,
        kind=0,
        size_bytes=1.0,
        entropy=0.0,
        sample_ratio=1.0,
        repetition=0.0,
        priority=1.0,
        slack_s=float("inf"),
        waited_s=0.0,
        has_baseline=False,
        baseline_age_s=0.0,
        deltas=0,
        changed=1.0,
        seen=0,
        interval_s=float("inf"),
        delta_ratio=1.0,
        path=path,
        link_type=view.link_type,
        capacity=view.capacity,
        rtt_s=view.rtt_s,
        jitter_s=view.jitter_s,
        bandwidth=view.bandwidth,
        loss=view.loss,
        window_bytes=view.window_bytes,
        cores=host.cores,
        cpu_load=host.cpu_load,
        memory_pressure=host.memory_pressure,
        running=view.running,
        waiting=0,
        streams=view.streams,
        wire_backlog_bytes=view.wire_backlog_bytes,
        core_backlog_s=host.core_backlog_s,
        zstd_ratio=1.0,
        hde_ratio=1.0,
        single_rate=view.single_rate,
        amst_rate=view.amst_rate,
        goodput_share=view.goodput_share,
    )
