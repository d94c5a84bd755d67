"""Nodes in time and hats over them: the only approximation of the bound, and one that only lowers it."""

from heapq import heappop, heappush

import numpy as np

from agents.bound_transport import Floats


def integrals(times: Floats, rates: Floats) -> tuple[Floats, Floats]:
    """First and second integral from 0 of piecewise constant rates, at each piece's start.

    Args:
        times: Start of each piece, shape (pieces,).
        rates: Shape (rows, pieces); so are both results.
    """
    gaps = np.diff(times)
    once, twice = np.zeros_like(rates), np.zeros_like(rates)
    np.cumsum(rates[:, :-1] * gaps, axis=1, out=once[:, 1:])
    np.cumsum(once[:, :-1] * gaps + rates[:, :-1] * gaps**2 / 2, axis=1, out=twice[:, 1:])
    return once, twice


def hats(times: Floats, rates: Floats, nodes: Floats, from_s: Floats | None = None) -> Floats:
    """Integral of each rate times the hat of each node, from a moment on; shape (rows, nodes).

    A node's hat rises in a straight line from 0 at the node before it to 1 at the node and falls to 0 at the
    next, so hats sum to 1 everywhere; the last stays at 1 for ever, and what it holds is given as infinite.

    Args:
        times: Start of each piece, shape (pieces,).
        rates: Piecewise constant, shape (rows, pieces).
        nodes: Increasing, the first at or before ``from_s``, shape (nodes,).
        from_s: Rates are 0 before this, shape (rows,); None: from the first node on.

    >>> hats(np.zeros(1), np.ones((1, 1)), np.array([0.0, 1.0, 3.0])).tolist()
    [[0.5, 1.5, inf]]
    """
    once, twice = integrals(times, rates)
    since = np.full(len(rates), nodes[0]) if from_s is None else from_s
    rows, piece = np.arange(len(rates)), np.searchsorted(times, since, side="right") - 1
    ahead = since - times[piece]
    rate, moved, area = rates[rows, piece], once[rows, piece], twice[rows, piece]
    area = area + moved * ahead + rate * ahead**2 / 2
    moved = moved + rate * ahead
    piece = np.searchsorted(times, nodes, side="right") - 1
    ahead = nodes - times[piece]
    until = twice[:, piece] + once[:, piece] * ahead + rates[:, piece] * ahead**2 / 2
    late = nodes > since[:, None]
    until = np.where(late, until - area[:, None] - (nodes - since[:, None]) * moved[:, None], 0.0)
    slope = np.diff(until, axis=1) / np.diff(nodes)
    weights = np.full_like(until, np.inf)
    weights[:, 0] = slope[:, 0]
    weights[:, 1:-1] = np.maximum(np.diff(slope, axis=1), 0.0)
    return weights


def lay_nodes(events: Floats, most: int) -> Floats:
    """At most ``most`` nodes, at events or at every few of them, and two far behind; shape (nodes,)."""
    end_s = float(events.max())
    nodes = np.unique(events)
    nodes = nodes[np.diff(nodes, prepend=-np.inf) > 1e-9 * end_s]
    if len(nodes) > most - 2:
        nodes = nodes[np.unique(np.linspace(0, len(nodes) - 1, most - 2).round().astype(np.int64))]
    return np.concatenate([nodes, [1.5 * end_s + 1.0, 4.0 * end_s + 2.0]])


def densest_first(work: Floats, density: Floats, ready_s: Floats, times: Floats, rate: Floats) -> Floats:
    """Ends on one resource that always works on the densest of what is ready, shape (transfers,), increasing.

    Preemptive; it minimises the sum of density times work times the mean moment at which it is done.

    Args:
        work: What each takes of the resource, shape (transfers,), above 0.
        density: Shape (transfers,).
        ready_s: When each may begin, shape (transfers,).
        times: Start of each piece of the rate, shape (pieces,).
        rate: What the resource does in a second, shape (pieces,); above 0 in the last.

    Source:
        Goemans: Improved Approximation Algorithms for Scheduling with Release Dates. SODA 1997.

    >>> one = np.ones(1)
    >>> densest_first(np.array([2.0, 1.0]), np.array([0.5, 1.0]), np.zeros(2), np.zeros(1), one).tolist()
    [1.0, 3.0]
    """
    once, _ = integrals(times, rate[None])
    piece = np.searchsorted(times, ready_s, side="right") - 1
    opens = once[0, piece] + rate[piece] * (ready_s - times[piece])  # in work that could be done until then
    order, left = np.argsort(opens, kind="stable"), work.copy()
    heap: list[tuple[float, int]] = []
    ends, now, entered = [], 0.0, 0
    while heap or entered < len(order):
        if not heap:
            now = max(now, opens[order[entered]])
        while entered < len(order) and opens[order[entered]] <= now:
            heappush(heap, (-density[order[entered]], int(order[entered])))
            entered += 1
        one = heap[0][1]
        until = opens[order[entered]] if entered < len(order) else np.inf
        if now + left[one] > until:
            left[one], now = left[one] - (until - now), until
            continue
        now += left[one]
        ends.append(now)
        heappop(heap)
    done = np.array(ends)
    piece = np.searchsorted(once[0], done, side="left") - 1
    piece = np.maximum(piece, 0)
    result: Floats = times[piece] + (done - once[0, piece]) / rate[piece]
    return result
