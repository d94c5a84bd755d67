"""What came of predictions, day by day: feedback records, drift of what is seen, and when to train again."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from experiments.shadow.drift import Drift, drift
from experiments.shadow.seen import seen_in
from experiments.supervised.task import Watched

Floats = NDArray[np.float64]

LEAST_ACCURACY: Final = 0.85
"""Mean accuracy of a day below which a model is to be trained again (published for the transfer agent)."""
MOST_DRIFTED: Final = 0.3
"""Share of the features that may drift in a day; from there on a model is to be trained again (the same)."""
_LEAST_RECORDS: Final = 20
"""Records below which a day tells nothing: it is added to the next."""


class Day(NamedTuple):
    """A day of a model's use.

    Attributes:
        day: Its number.
        records: Feedback records of it.
        accuracy: Their mean accuracy.
        error: Mean absolute difference of predicted and actual.
        drifted: Share of the features that drift, by PSI or KS.
        psi: Largest population stability index of a feature.
        ks: Largest distance of distribution functions of a feature.
        reasons: Why to train again; empty where there is no reason.
    """

    day: int
    records: int
    accuracy: float
    error: float
    drifted: float
    psi: float
    ks: float
    reasons: tuple[str, ...]


class Watch(NamedTuple):
    """What became of a model's predictions.

    Attributes:
        days: Day by day.
        features: Drift of each feature over all days.
        feedback: A record a prediction.
    """

    days: tuple[Day, ...]
    features: tuple[Drift, ...]
    feedback: pa.Table

    @property
    def retrain_on(self) -> int | None:
        """The first day on which there is a reason to train again; None if there is none."""
        return next((day.day for day in self.days if day.reasons), None)


def accuracy(predicted: Floats, actual: Floats) -> Floats:
    """How near each prediction came, in [0, 1]: 1 - |p - a| / max(p, a); 0.5 where nothing came back (NaN).

    The published definition: for amounts of at least 0. Two zeros agree.

    >>> accuracy(np.array([8.0, 0.0, 3.0]), np.array([10.0, 0.0, np.nan]))
    array([0.8, 1. , 0.5])
    """
    most = np.maximum(np.abs(predicted), np.abs(actual))
    missed = np.divide(np.abs(predicted - actual), most, out=np.zeros_like(most), where=most > 0)
    return np.where(np.isnan(actual), 0.5, np.clip(1.0 - missed, 0.0, 1.0))


def feedback_table(model: str, version: str, watched: Watched) -> pa.Table:
    """A record a prediction: which model said what, what came, and how near it was."""
    count = len(watched.predicted)
    return pa.table(
        {
            "model": pa.array([model] * count).dictionary_encode(),
            "version": pa.array([version] * count).dictionary_encode(),
            "day": watched.day,
            "predicted": watched.predicted,
            "actual": watched.actual,
            "accuracy": accuracy(watched.predicted, watched.actual),
        }
    )


def watch(model: str, version: str, watched: Watched) -> Watch:
    """Feedback records, drift and reasons to train again.

    Args:
        model: Name of the model.
        version: Which version of it spoke.
        watched: What it saw and said.
    """
    told = _told(watched)
    days = tuple(_day(watched, told, place) for place in _blocks(watched.day))
    return Watch(days, tuple(drift(told, watched.now)), feedback_table(model, version, watched))


def _told(watched: Watched) -> list[dict[str, Any]]:
    """Features in the words of a bundle's manifest, with what was seen of each in training."""
    told: list[dict[str, Any]] = []
    for place, name in enumerate(watched.features):
        values = watched.before[:, place]
        entry: dict[str, Any] = {"name": name, "low": None, "high": None}
        if not np.isnan(values).all():
            entry["seen"] = seen_in(values)._asdict()
        told.append(entry)
    return told


def _blocks(day: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Places of the records of each day; a day with too few goes with those before it."""
    blocks: list[NDArray[np.int64]] = []
    held = np.zeros(0, np.int64)
    for one in np.unique(day):
        held = np.concatenate([held, np.flatnonzero(day == one)])
        if len(held) >= _LEAST_RECORDS:
            blocks.append(held)
            held = np.zeros(0, np.int64)
    return blocks or [held]


def _day(watched: Watched, told: Sequence[dict[str, Any]], place: NDArray[np.int64]) -> Day:
    predicted, actual = watched.predicted[place], watched.actual[place]
    near = float(accuracy(predicted, actual).mean())
    found = drift(told, watched.now[place])
    share = float(np.mean([one.drifted for one in found])) if found else 0.0
    reasons = []
    if near < LEAST_ACCURACY:
        reasons.append(f"accuracy {near:.2f} below {LEAST_ACCURACY}")
    if share >= MOST_DRIFTED:
        reasons.append(f"{100 * share:.0f} % of the features drift")
    return Day(
        day=int(watched.day[place[-1]]),
        records=len(place),
        accuracy=near,
        error=float(np.nanmean(np.abs(predicted - actual))) if np.isfinite(actual).any() else float("nan"),
        drifted=share,
        psi=max((one.psi for one in found if not np.isnan(one.psi)), default=0.0),
        ks=max((one.ks for one in found if not np.isnan(one.ks)), default=0.0),
        reasons=tuple(reasons),
    )
