"""What a window of a series says at each of its moments, from that moment and those before it alone."""

from itertools import permutations
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

IQR_OF_NORMAL: Final = 1.349
"""Interquartile range of a normal distribution of standard deviation 1."""
_ORDERS: Final = {order: code for code, order in enumerate(permutations(range(3)))}


def filled(values: Floats, limit: int) -> Floats:
    """The last value that was not missing, for at most ``limit`` moments.

    >>> filled(np.array([1.0, np.nan, np.nan]), 1).tolist()
    [1.0, 1.0, nan]
    """
    return np.asarray(pd.Series(values).ffill(limit=limit), np.float64)


def lagged(values: Floats, lag: int) -> Floats:
    """The value ``lag`` moments before; NaN before the first."""
    before = np.full(len(values), np.nan)
    before[lag:] = values[: max(len(values) - lag, 0)]
    return before


def rolled(values: Floats, window: int, statistic: str) -> Floats:
    """Mean, std, min, max or median of up to ``window`` values that end here; one value suffices.

    The standard deviation is that of the values themselves (divided by their number), so of one it is 0.
    """
    rolling = pd.Series(values).rolling(window, min_periods=1)
    if statistic == "std":
        return rolling.std(ddof=0).to_numpy(np.float64)
    return getattr(rolling, statistic)().to_numpy(np.float64)


def slope(values: Floats, window: int) -> Floats:
    """Slope, by the moment, of the least-squares line through the last ``window`` values; NaN before that.

    >>> slope(np.array([0.0, 2.0, 4.0, 5.0]), 3).tolist()
    [nan, nan, 2.0, 1.5]
    """
    found = np.full(len(values), np.nan)
    if len(values) >= window:
        centred = np.arange(window) - (window - 1) / 2
        windows = np.lib.stride_tricks.sliding_window_view(values, window)
        found[window - 1 :] = windows @ centred / (centred @ centred)
    return found


def correlation(first: Floats, second: Floats, window: int) -> Floats:
    """Correlation over the last ``window`` values; 0 where one does not vary, NaN where one is missing.

    Computed on windows as they are, not by running sums, so that what came long before leaves no rounding.
    """
    found = np.full(len(first), np.nan)
    if len(first) >= window:
        one, two = (np.lib.stride_tricks.sliding_window_view(each, window) for each in (first, second))
        one, two = (each - each.mean(axis=1, keepdims=True) for each in (one, two))
        spread = np.sqrt((one * one).sum(axis=1) * (two * two).sum(axis=1))
        with np.errstate(invalid="ignore", divide="ignore"):
            found[window - 1 :] = np.where(spread > 1e-12, (one * two).sum(axis=1) / spread, 0.0 * spread)
    return np.clip(found, -1.0, 1.0)


def robust_score(values: Floats, window: int, limit: float) -> Floats:
    """Distance from the median of the last ``window`` values, in their interquartile range over 1.349.

    Within ``limit`` on both sides; 0 where more than half of the values are one and the same, this one
    included.
    """
    rolling = pd.Series(values).rolling(window, min_periods=min(5, window))
    middle = rolling.median().to_numpy(np.float64)
    spread = (rolling.quantile(0.75) - rolling.quantile(0.25)).to_numpy(np.float64) / IQR_OF_NORMAL
    distance = values - middle
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = np.where(distance == 0.0, 0.0 * spread, distance / spread)
    return np.clip(scores, -limit, limit)


def entropy(values: Floats, scale: int, window: int) -> Floats:
    """How evenly the six orders of three values ``scale`` apart occur in a window: 0 one only, 1 all alike.

    Source:
        Bandt, Pompe: Permutation Entropy. Physical Review Letters 88, 2002. Over scales as in Aziz, Arif:
        Multiscale Permutation Entropy, INMIC 2005.

    >>> entropy(np.arange(10.0), 1, 4)[-1].item()
    0.0
    """
    triples = np.stack([lagged(values, 2 * scale), lagged(values, scale), values])
    known = np.isfinite(triples).all(axis=0)
    orders = np.argsort(triples, axis=0, kind="stable").T
    codes = np.array([_ORDERS[int(a), int(b), int(c)] for a, b, c in orders.tolist()], np.int64)
    counts = np.zeros((len(_ORDERS), len(values)))
    counts[codes, np.arange(len(values))] = known
    totals = np.cumsum(counts, axis=1)
    totals[:, window:] -= totals[:, :-window].copy() if len(values) > window else 0.0
    number = totals.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = totals / number
        terms = np.where(shares > 0, -shares * np.log(shares), 0.0).sum(axis=0) / np.log(len(_ORDERS))
    return np.where(number > 0, np.clip(terms, 0.0, 1.0), np.nan)


def since_seen(rows: Floats) -> Floats:
    """Moments since none of the rows, shape (quantities, n), was missing; from the start before that."""
    missing = ~np.isfinite(rows).all(axis=0)
    at = np.arange(rows.shape[1])
    last = np.maximum.accumulate(np.where(missing, -1, at))
    return (at - last).astype(np.float64)
