"""Statistics of the last steps, step by step: means, spreads, peaks and medians; none looks ahead."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def trailing_mean(values: Floats, steps: int) -> Floats:
    """Mean of the last ``steps`` values, this one included, along the first axis; of fewer at the start.

    >>> trailing_mean(np.array([[1.0], [3.0], [5.0]]), 2).ravel().tolist()
    [1.0, 2.0, 4.0]
    """
    sums = np.cumsum(values, axis=0, dtype=np.float64)
    ends = sums.copy()
    ends[steps:] -= sums[:-steps]
    count = np.minimum(np.arange(1, len(values) + 1), steps).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(ends / count)


def trailing_spread(values: Floats, steps: int) -> Floats:
    """Standard deviation of the same values."""
    centre = values.mean(axis=0)  # a shift that only keeps the squares small
    moved = values - centre
    square = trailing_mean(moved**2, steps) - trailing_mean(moved, steps) ** 2
    return np.sqrt(np.maximum(square, 0.0))


def trailing_max(values: Floats, steps: int) -> Floats:
    """Largest of the same values.

    >>> trailing_max(np.array([[5.0], [3.0], [1.0], [2.0]]), 2).ravel().tolist()
    [5.0, 5.0, 3.0, 2.0]
    """
    best, span = values.copy(), 1
    while span < steps:
        move = min(span, steps - span)
        best[move:] = np.maximum(best[move:], best[:-move].copy())
        span += move
    return best


def usual(values: Floats, steps: int, every: int) -> Floats:
    """Median of the last ``steps`` values before, renewed every so many steps; of the first ones, their own.

    What is usual for this very node, link or group, along the first axis.
    """
    found = np.empty_like(values)
    for start in range(0, len(values), every):
        before = values[max(0, start - steps) : start] if start else values[:1]
        found[start : start + every] = np.median(before, axis=0)
    return found
