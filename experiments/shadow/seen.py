"""What a policy has seen in training, feature by feature: enough of each distribution to notice a drift."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVELS: Final = (0.01, *(round(0.05 * step, 2) for step in range(1, 20)), 0.99)
"""Shares of the training rows at which a distribution is cut."""


class Seen(NamedTuple):
    """The distribution of one feature.

    Attributes:
        cuts: Values, rising, shape (n,).
        below: Share of the rows at or below each, shape (n,).
        least: The smallest value.
        most: The largest.
    """

    cuts: NDArray[np.float64]
    below: NDArray[np.float64]
    least: float
    most: float


def seen_in(values: NDArray[np.floating[Any]]) -> Seen:
    """Cut the values of a feature, shape (rows,), at `LEVELS`; values that many rows share are one cut.

    >>> cuts, below, _, most = seen_in(np.array([0.0] * 90 + [1.0] * 10))
    >>> cuts.tolist(), below.tolist(), most
    ([0.0, 1.0], [0.9, 1.0], 1.0)
    """
    ordered = np.sort(values[~np.isnan(values)].astype(np.float64))
    cuts = np.unique(np.quantile(ordered, LEVELS, method="inverted_cdf"))
    return Seen(cuts, share_below(ordered, cuts), float(ordered[0]), float(ordered[-1]))


def share_below(ordered: NDArray[np.float64], cuts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of rising values at or below each cut."""
    shares: NDArray[np.float64] = np.searchsorted(ordered, cuts, side="right") / len(ordered)
    return shares
