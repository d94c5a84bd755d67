"""Trained predictors as inputs of a policy: the next probe of its path, and the time with each codec."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from agents.supervised.forecaster import STEPS, Forecaster, steps_of, windows
from agents.supervised.outcomes import INPUTS, rows_for
from agents.supervised.past import Past
from agents.supervised.performance import QUANTILES, SAID_S, PerformancePredictor
from agents.supervised.probe_history import row_at
from envs.features import Feature
from sim.codecs import Codec
from sim.decisions import CodecQuestion
from sim.episode import Episode

Floats = npt.NDArray[np.float64]


def probe_windows(episode: Episode, path: int) -> npt.NDArray[np.float32]:
    """A window that ends at each probe of a path, (probes, STEPS, inputs); the first probe fills the past."""
    rtt_s, jitter_s, bandwidth, loss = episode.probes.values[:, path].T
    said = steps_of(bandwidth, rtt_s, jitter_s, loss)
    hours = episode.start_hour + np.arange(len(said)) * episode.probes.period_s / 3600
    turn = 2 * np.pi * hours / 24
    steps = np.column_stack([said, np.zeros(len(said)), np.sin(turn), np.cos(turn)])
    return windows(np.concatenate([np.repeat(steps[:1], STEPS - 1, axis=0), steps]))


class BandwidthForesight:
    """What the next probe of a transfer's path will say, by a `Forecaster` that was trained on probes.

    An episode is forecast once, when its first question comes.

    Args:
        forecaster: The model.
    """

    features: tuple[Feature, ...] = (
        Feature("bandwidth_forecast_mbps", "Mbit/s", 0.5, 40000, "log", "forecast of the next probe"),
        Feature("bandwidth_forecast_share", "x", 0.1, 10, "log", "that over the last probe"),
        Feature("rtt_forecast_ms", "ms", 0.1, 500, "log", "forecast of the round trip"),
        Feature("loss_forecast", "share", 1e-6, 0.1, "log", "forecast of the loss"),
    )

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster
        self._known: WeakKeyDictionary[Episode, Floats] = WeakKeyDictionary()

    def __call__(self, questions: Sequence[CodecQuestion], episodes: Sequence[Episode]) -> Floats:
        """The features of each question, as `envs.forecasts.Foresight`."""
        rows = [
            self.table(episode)[row_at(episode.probes, question.now_s), question.path]
            for question, episode in zip(questions, episodes, strict=True)
        ]
        return np.stack(rows)

    def table(self, episode: Episode) -> Floats:
        """The features after each probe, (probes, paths, features): each from that probe and those before."""
        if episode not in self._known:
            self._known[episode] = np.stack(
                [self._of_path(episode, path) for path in range(len(episode.nominal))], axis=1
            )
        return self._known[episode]

    def _of_path(self, episode: Episode, path: int) -> Floats:
        seen = probe_windows(episode, path)
        bandwidth, rtt_ms, _, loss = self._forecaster.predict(seen).T
        last = np.maximum(seen[:, -1, 0].astype(np.float64), 1e-3)
        return np.stack([bandwidth, bandwidth / last, rtt_ms, loss], axis=1)


class PerformanceForesight:
    """The seconds that a transfer is predicted to take with each codec, and how sure that is.

    Args:
        predictor: The model.
        codecs: The answers of the question.
    """

    def __init__(self, predictor: PerformancePredictor, codecs: Sequence[Codec]) -> None:
        self._predictor, self._codecs = predictor, tuple(codecs)
        self._known: WeakKeyDictionary[Episode, Past] = WeakKeyDictionary()
        self.features: tuple[Feature, ...] = (
            *(
                Feature(
                    f"predicted_{codec.name}_s", "s", 1e-3, 1e4, "log", f"predicted time with {codec.name}"
                )
                for codec in codecs
            ),
            *(
                Feature(
                    f"spread_{codec.name}",
                    "x",
                    1,
                    10,
                    "log",
                    f"its 90 % over its 10 % quantile, {codec.name}",
                )
                for codec in codecs
            ),
        )

    def __call__(self, questions: Sequence[CodecQuestion], episodes: Sequence[Episode]) -> Floats:
        """The features of each question, as `envs.forecasts.Foresight`."""
        rows = np.empty((len(questions), len(self._codecs), len(INPUTS)), np.float32)
        for place, (question, episode) in enumerate(zip(questions, episodes, strict=True)):
            rows[place] = rows_for(question, self._past(episode), self._codecs)
        said = self._predictor.predict(rows.reshape(-1, len(INPUTS)))
        middle = said[:, SAID_S].reshape(len(questions), -1)
        spread = (said[:, len(QUANTILES) - 1] / said[:, 0]).reshape(len(questions), -1)
        return np.concatenate([middle, spread], axis=1)

    def _past(self, episode: Episode) -> Past:
        if episode not in self._known:
            self._known[episode] = Past(episode)
        return self._known[episode]
