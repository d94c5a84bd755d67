"""What a decision is expected to cost the incumbent: known beforehand, it need not scatter a comparison."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_FARTHEST: Final = 4.0
"""Standard deviations beyond which a feature counts as so far: nothing is extrapolated."""
_FEWEST: Final = 200
"""Costs below which nothing is fitted."""


class Expectation(NamedTuple):
    """A regression of log costs on features, fitted before anyone is compared and then left as it is.

    Right or wrong it leaves a comparison between sides drawn by chance as it is; a good one makes it short.

    Attributes:
        names: Of the features.
        middle: Their means, on a scale that is logarithmic far from 0; shape (F,).
        spread: Their standard deviations there, shape (F,).
        weights: Of the constant and of the features, shape (F + 1,).
    """

    names: tuple[str, ...]
    middle: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]

    def costs(self, names: Sequence[str], features: NDArray[np.float32]) -> Floats:
        """Expected (geometric mean) costs of rows of features, shape (n, F), in any order of names."""
        places = {name: place for place, name in enumerate(names)}
        rows = np.full((len(features), len(self.names)), np.nan, np.float32)
        for place, name in enumerate(self.names):
            if name in places:
                rows[:, place] = features[:, places[name]]
        design = _standard(_bent(rows), np.array(self.middle), np.array(self.spread))
        return np.asarray(np.exp(design @ np.array(self.weights)))

    @classmethod
    def read(cls, document: Mapping[str, Any] | None) -> "Expectation | None":
        """What `_asdict` and JSON made of one; None of None."""
        return None if document is None else cls(*(tuple(document[name]) for name in cls._fields))


def expectation(names: Sequence[str], features: NDArray[np.float32], costs: Floats) -> Expectation | None:
    """Fit what decisions cost, shape (n,), to their features, (n, F); None where too few are known."""
    known = np.isfinite(costs) & (costs > 0)
    if known.sum() < _FEWEST:
        return None
    rows = _bent(features[known])
    told = ~np.isnan(rows)
    count = np.maximum(told.sum(axis=0), 1)
    middle = np.where(told, rows, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(told, rows - middle, 0.0) ** 2).sum(axis=0) / count)
    spread[spread < 1e-9] = 1.0
    design = _standard(rows, middle, spread)
    penalty = np.eye(design.shape[1])
    penalty[0, 0] = 1e-6
    weights = np.linalg.solve(design.T @ design + penalty, design.T @ np.log(costs[known]))
    return Expectation(tuple(names), *(tuple(np.round(one, 9).tolist()) for one in (middle, spread, weights)))


def _bent(features: NDArray[np.float32]) -> Floats:
    values = features.astype(np.float64)
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


def _standard(rows: Floats, middle: Floats, spread: Floats) -> Floats:
    standard = np.clip(np.nan_to_num((rows - middle) / spread), -_FARTHEST, _FARTHEST)
    return np.column_stack([np.ones(len(rows)), standard])
