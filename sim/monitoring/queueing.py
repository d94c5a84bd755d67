"""A queue with one server and limited room, and averages of what is in it, interval by interval."""

import numpy as np
import numpy.typing as npt

from sim.jit import njit
from sim.traces import FloatArray as Floats


@njit
def _serve(arrival_s: Floats, service_s: Floats, room: int, begin_s: Floats, done_s: Floats) -> int:
    """First come, first served; calls no other kernel, so that Numba's cache sees every edit of it."""
    free_s, gone, admitted = 0.0, 0, 0
    for n in range(len(arrival_s)):
        now = arrival_s[n]
        while gone < admitted and done_s[gone] <= now:
            gone += 1
        if admitted - gone > room:
            begin_s[n] = np.nan
            continue
        begin_s[n] = max(now, free_s)
        free_s = begin_s[n] + service_s[n]
        done_s[admitted] = free_s
        admitted += 1
    return admitted


def serve(arrival_s: Floats, service_s: Floats, room: int) -> Floats:
    """When the service of each customer begins; NaN where ``room`` others were waiting already.

    Args:
        arrival_s: When they come, increasing.
        service_s: How long each takes.
        room: How many may wait while one is served, at least 0.

    >>> serve(np.array([0.0, 1.0, 2.0, 3.0]), np.full(4, 10.0), room=1).tolist()
    [0.0, 10.0, nan, nan]
    """
    begin_s, done_s = np.empty(len(arrival_s)), np.empty(len(arrival_s))
    _serve(arrival_s, service_s, room, begin_s, done_s)
    return begin_s


def mean_inside(enter_s: Floats, leave_s: Floats, edges_s: Floats) -> Floats:
    """How many are inside on average between each two edges, from when each came and went.

    The integral of the number inside is that of the number that came less that of the number that went.

    >>> mean_inside(np.array([0.0, 1.0]), np.array([1.0, 3.0]), np.array([0.0, 2.0, 4.0])).tolist()
    [1.0, 0.5]
    """
    inside = _counted(np.sort(enter_s), edges_s) - _counted(np.sort(leave_s), edges_s)
    return np.asarray(np.maximum(np.diff(inside) / np.diff(edges_s), 0.0))


def _counted(moments_s: Floats, until_s: Floats) -> Floats:
    """Integral over time, to each of ``until_s``, of how many of the sorted moments have passed."""
    number = np.searchsorted(moments_s, until_s, side="right")
    sums = np.concatenate(([0.0], np.cumsum(moments_s)))
    return np.asarray(number * until_s - sums[number])


def quantiles(values: Floats, groups: npt.NDArray[np.int64], count: int, shares: tuple[float, ...]) -> Floats:
    """Quantiles of the values of each of ``count`` groups, shape (shares, groups); NaN for an empty one.

    The value whose rank is ``share * (size - 1)``, rounded; exact to 1e-12 of the largest.

    >>> found = quantiles(np.array([3.0, 1.0, 2.0, 7.0]), np.array([0, 0, 0, 2]), 3, (0.5,))
    >>> found.round(9).tolist()
    [[2.0, nan, 7.0]]
    """
    found = np.full((len(shares), count), np.nan)
    if not len(values):
        return found
    scale = 2.0 * float(values.max()) + 1e-9
    key = np.sort(groups + values / scale)  # one sort of floats: several times faster than by two keys
    sizes = np.bincount(groups, minlength=count)
    first = np.cumsum(sizes) - sizes
    there = sizes > 0
    for row, share in enumerate(shares):
        rank = first[there] + np.rint(share * (sizes[there] - 1)).astype(np.int64)
        found[row, there] = (key[rank] - np.nonzero(there)[0]) * scale
    return found
