"""One path: what describes it, what it carries for a crowd, and what a transfer loses at its start."""

import numpy as np
from numpy.typing import NDArray

from sim.crowding import (
    fair_share,
    late_comer_delay_s,
    parallel_overhead,
    self_induced_loss,
    straggler_s,
    tail_loss_s,
)
from sim.jit import njit
from sim.physics import BBR, MIN_RTT_S, goodput_capacity, loss_response, lossy_stream_rate, startup_s

Floats = NDArray[np.float64]

CAPACITY, RTT, LOSS, CROSS = 0, 1, 2, 3
"""Columns of the link conditions, shape (times, paths, 4): bytes/s, s, share, streams."""

WINDOW, QUEUE, CONTROL = 0, 1, 2
"""Columns of the path constants, shape (paths, 3): bytes, bytes, congestion-control code."""


@njit
def usable_capacity(link: Floats, limits: Floats, streams: float) -> float:
    """Payload bytes/s that a path carries for ``streams`` connections, those of others included."""
    crowding = self_induced_loss(streams, link[CAPACITY], link[RTT], limits[QUEUE])
    return goodput_capacity(link[CAPACITY], link[LOSS]) * (1.0 - crowding)


@njit
def cross_weight(streams: float, cross: float, control: int) -> float:
    """Weight of the cross traffic against ``streams`` of ours of weight 1: what `fair_share` leaves it."""
    if control != BBR or cross <= 0.0 or streams <= 0.0:
        return cross
    return streams * (1.0 / fair_share(streams, cross, control) - 1.0)


@njit
def steady_rates(links: Floats, limits: Floats, rates: Floats) -> None:
    """Write what the loss allows one stream in each piece on each path; shape (pieces, paths), bytes/s."""
    for piece in range(links.shape[0]):
        for path in range(links.shape[1]):
            link = links[piece, path]
            rates[piece, path] = loss_response(link[RTT], link[LOSS], int(limits[path, CONTROL]))


@njit
def _stream_share(streams: float, link: Floats, limits: Floats) -> float:
    """Bytes/s that fall to each of ``streams`` of ours; 1 in an outage, for times must stay finite."""
    cross = link[CROSS]
    usable = max(usable_capacity(link, limits, streams + cross), 1.0)
    return fair_share(streams, cross, int(limits[CONTROL])) / streams * usable


@njit
def opening(
    wire_bytes: float, streams: float, others: float, link: Floats, limits: Floats, gaps: Floats
) -> tuple[float, float, float, float]:
    """What a transfer loses on top of its bytes, and how its streams run while they send.

    With no others on a path that does not change, it takes as long as `sim.crowding.transfer_time` says.

    Args:
        wire_bytes: Payload of all its streams.
        streams: Its TCP connections.
        others: Connections of other transfers on the path now.
        link: Conditions of the path now, shape (4,).
        limits: Constants of the path, shape (3,).
        gaps: Between the packets that it loses by chance, shape (`sim.physics.GAPS`,).

    Returns:
        Seconds lost; factor on the loss response for its finite streams; wire bytes that it takes up for one
        delivered; wire bytes/s that it takes up now.
    """
    rtt_s, loss, cross, control = max(link[RTT], MIN_RTT_S), link[LOSS], link[CROSS], int(limits[CONTROL])
    window_rate = limits[WINDOW] / rtt_s
    share = _stream_share(streams + others, link, limits)
    rate, gain, dips, straggle_s = min(share, window_rate), 1.0, 1.0, 0.0
    startup = startup_s(wire_bytes, streams, streams * rate, rtt_s, limits[WINDOW], control)
    overhead = parallel_overhead(streams, rtt_s) if share <= window_rate else 1.0
    steady = loss_response(rtt_s, loss, control)
    if steady < np.inf:
        alone = min(_stream_share(streams, link, limits) if others > 0.0 else share, window_rate)
        queue = limits[QUEUE] / (streams + cross)
        each = wire_bytes / streams
        finite = lossy_stream_rate(each, alone, rtt_s, loss, limits[WINDOW], queue, control, gaps, streams)
        if (
            alone < steady
        ):  # path or window holds it: it may grow to its steady rate, and dips below what it has
            gain = dips = alone / finite
        else:
            gain = finite / steady
        rate = min(rate, gain * steady)
        if streams > 1.0:
            last = max(rate / dips, min(window_rate, steady, streams * share))
            straggle_s = straggler_s(wire_bytes, streams, last)
    sending_s = wire_bytes * dips / (streams * rate)
    total_s = max(startup + sending_s + straggle_s, (startup + sending_s) * overhead)
    queue = limits[QUEUE] / (streams + others + cross)
    total_s += tail_loss_s(wire_bytes, streams, rate / dips, share, rtt_s, loss, queue)
    if control != BBR:
        total_s += late_comer_delay_s(streams, cross, rtt_s, total_s)
    return max(total_s - sending_s * overhead, 0.0), gain, overhead * dips, streams * rate
