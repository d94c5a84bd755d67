"""How far what is seen now lies from what was seen in training, feature by feature."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PSI_DRIFT: Final = 0.25
"""Population stability index from which a population counts as another.

Source:
    The rule of thumb of credit scoring, e.g. Siddiqi: Credit Risk Scorecards, 2006: below 0.1 none, from 0.25
    on major.
"""
KS_DRIFT: Final = 0.2
"""Distance of the two distribution functions from which a shift counts; no test: of many rows any would."""
_LEAST_BIN: Final = 0.08
"""Share of the training rows in a bin; ten bins of a tenth are usual."""


class Drift(NamedTuple):
    """Of one feature.

    Attributes:
        feature: Its name.
        psi: Population stability index; NaN where the bundle tells no distribution.
        ks: Largest distance of the distribution functions, as far as the cuts show it.
        below: Share of the rows below the range, where they are cut off.
        above: Share above it.
        unseen: Share outside of all that was seen in training; NaN as above.
        unknown: Share without a value.
    """

    feature: str
    psi: float
    ks: float
    below: float
    above: float
    unseen: float
    unknown: float

    @property
    def drifted(self) -> bool:
        """Whether either measure says so."""
        return self.psi >= PSI_DRIFT or self.ks >= KS_DRIFT


def drift(features: Sequence[Mapping[str, Any]], values: NDArray[np.float32]) -> list[Drift]:
    """Drift of all features.

    Args:
        features: Of a manifest, with ``low``, ``high`` and, if they are to be compared, ``seen``.
        values: Rows now, in units, NaN where unknown, shape (n, F).
    """
    return [_drift(one, values[:, place].astype(np.float64)) for place, one in enumerate(features)]


def psi(before: Floats, now: Floats) -> float:
    """Population stability index of shares in the same bins; an empty bin counts as one in ten thousand.

    >>> round(psi(np.array([0.5, 0.5]), np.array([0.75, 0.25])), 4)
    0.2747
    """
    before, now = np.maximum(before, 1e-4), np.maximum(now, 1e-4)
    return float(np.sum((now - before) * np.log(now / before)))


def _drift(feature: Mapping[str, Any], values: Floats) -> Drift:
    known = values[~np.isnan(values)]
    low = -np.inf if feature["low"] is None else feature["low"]
    high = np.inf if feature["high"] is None else feature["high"]
    count = max(len(values), 1)
    below, above = float(np.sum(known < low)) / count, float(np.sum(known > high)) / count
    unknown = 1.0 - len(known) / count
    if "seen" not in feature or not len(known):
        return Drift(feature["name"], np.nan, np.nan, below, above, np.nan, unknown)
    seen = feature["seen"]
    cuts = np.array(seen["cuts"])
    before = np.array(seen["below"])
    places = np.searchsorted(cuts, known, side="left")
    now = np.cumsum(np.bincount(places, minlength=len(cuts) + 1))[:-1] / len(known)
    ends = _bins(before)
    of_bins = [np.diff(np.concatenate([[0.0], shares[ends], [1.0]])) for shares in (before, now)]
    ks = float(np.max(np.abs(before - now)))
    unseen = float(np.mean((known < seen["least"]) | (known > seen["most"])))
    return Drift(feature["name"], psi(*of_bins), ks, below, above, unseen, unknown)


def _bins(below: Floats) -> list[int]:
    """Cuts at which a bin ends, each with enough of the training rows; the last bin has no end.

    It may hold none of them: then what lies in it was never seen.
    """
    ends: list[int] = []
    for place, share in enumerate(below):
        start = below[ends[-1]] if ends else 0.0
        if share - start >= _LEAST_BIN and (1.0 - share >= _LEAST_BIN or share == 1.0):
            ends.append(place)
    return ends
