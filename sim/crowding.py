"""Several TCP streams on one path: what share they win, what they cost each other, how long all of them take.

Units and the measurements are those of `sim.physics`.
"""

from math import exp, inf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from sim.jit import njit
from sim.physics import (
    BBR,
    GOODPUT_SHARE,
    MIN_RTT_S,
    MSS,
    PACKET,
    goodput_capacity,
    loss_response,
    lossy_stream_rate,
    startup_s,
    stream_ceiling,
)

_CHUNK_MIN, _CHUNK_MAX, _CHUNKS_PER_STREAM = 65536.0, 1048576.0, 8.0


@njit
def ramp_s(rtt_s: float) -> float:
    """Time constant, in seconds, with which new CUBIC streams win their share from established ones.

    Measured: 1 s at 20 ms, 12 s at 60 ms, behind a queue of one bandwidth-delay product. Up to 60 ms a power
    law through both; above, 200 round trips, as at 60 ms: a guess, no measurement stands behind it.

    >>> round(ramp_s(0.02), 6), ramp_s(0.06), ramp_s(0.12)
    (1.0, 12.0, 24.0)
    """
    longer = rtt_s / 0.06
    return 12.0 * (longer if longer > 1.0 else longer ** (log(12.0) / log(3.0)))


@njit
def late_comer_delay_s(streams: float, cross_streams: float, rtt_s: float, fair_s: float) -> float:
    """Seconds that n new streams lose by growing against m established CUBIC streams.

    Their weight grows as ``n * (1 - exp(-t / tau))`` with `ramp_s` for tau, so a transfer without end loses
    ``tau * (m / n) * ln((n + m) / m)``; one that would take ``fair_s`` at its fair share ends before that and
    loses less. The time it takes is the root of a convex function, found by Newton's method from above.
    """
    if streams <= 0.0 or cross_streams <= 0.0 or fair_s <= 0.0:
        return 0.0
    tau_s, n, m = ramp_s(rtt_s), streams, cross_streams
    scale = tau_s * m / n
    end_s = fair_s + scale * log((n + m) / m)
    for _ in range(30):
        fade = exp(-end_s / tau_s)
        total = n + m - n * fade
        excess = end_s - scale * log(total / m) - fair_s
        if abs(excess) < 1e-12 * end_s:
            break
        end_s -= excess / (1.0 - m * fade / total)
    return end_s - fair_s


@njit
def self_induced_loss(streams_total: float, capacity: float, rtt_s: float, queue_bytes: float) -> float:
    """Share of the goodput that streams cost each other once path and queue hold too few packets for each.

    With w packets for each stream a drop-tail queue settles at a loss of ``1.5 / w^2``: 9.2 and 5.2 % for 16
    streams of 4.0 and 5.4 packets each, where 7.0 and 4.3 % were resent. Yet they used 99.9 and 99.8 % of the
    capacity, and 32 streams of 2.1 packets 93 to 100 %, for what the queue drops has not used the bottleneck.
    Below 2 packets nothing tells of a loss and streams wait for their timers: what exceeds the loss at 2
    packets is taken as lost, up to a half (measured: 36 to 39 % at 1.4 packets, 3 to 40 % at 1.1, 22 to 52 %
    at 0.5).

    Source:
        Morris: TCP Behavior with Many Flows. ICNP 1997. Mathis et al. 1997, inverted.

    >>> self_induced_loss(16.0, 2.5e6, 0.0, 96000.0)
    0.0
    """
    if streams_total <= 0.0:
        return 0.0
    window = (capacity * max(rtt_s, MIN_RTT_S) + queue_bytes) / PACKET / streams_total
    return max(0.0, min(0.5, 1.5 / max(window, 1e-9) ** 2 - 1.5 / 4.0))


@njit
def parallel_overhead(streams: float, rtt_s: float) -> float:
    """Factor by which several streams that fill a path take longer than one would: 1.05 from 15 ms on.

    They fill the queue and lose packets at the same time (measured, drop-tail queue of one bandwidth-delay
    product).

    >>> parallel_overhead(8.0, 0.06), parallel_overhead(1.0, 0.06), parallel_overhead(8.0, 0.001)
    (1.05, 1.0, 1.0)
    """
    return 1.05 if streams > 1.0 and rtt_s >= 0.015 else 1.0


@njit
def straggler_s(wire_bytes: float, streams: float, last_rate: float) -> float:
    """Seconds for which the last streams of several still send, under loss, when no chunk is left to take.

    Streams take chunks of ``wire_bytes / (8 streams)``, held to 64 KiB to 1 MiB, one after another. When the
    last is taken, the others are anywhere in theirs: in the mean the slowest of n still has ``(n - 1) / (2 (n
    + 1))`` of a chunk more to send than the average.

    Args:
        wire_bytes: Payload of all streams together.
        streams: TCP connections.
        last_rate: Payload bytes/s of one stream when the others are done: its ceiling, or all that they had.
    """
    chunk = min(_CHUNK_MAX, max(_CHUNK_MIN, wire_bytes / (_CHUNKS_PER_STREAM * streams)))
    chunk = min(chunk, wire_bytes / streams)
    return chunk / last_rate * (streams - 1.0) / (2.0 * (streams + 1.0))


@njit
def tail_loss_s(
    wire_bytes: float,
    streams: float,
    rate: float,
    share: float,
    rtt_s: float,
    loss: float,
    queue_bytes: float,
) -> float:
    """Seconds that it takes in the mean to notice that a stream's last packet was lost, and to resend it.

    Nothing comes after it, so it is sent again after two round trips and takes one: with n streams this
    happens with a chance of ``1 - (1 - p)^n``. Streams that fill the path spend time in its queue as well,
    and to random loss comes what a drop-tail queue drops at w packets a stream, ``1.5 / w^2``. Slow start
    has sent twice what path and queue hold when it fills them: less is not enough.

    Args:
        wire_bytes: Payload of all streams together.
        streams: TCP connections.
        rate: Payload bytes/s of each.
        share: Payload bytes/s of the path that fall to each.
        rtt_s: Round trip without queueing.
        loss: Random loss as a share of packets.
        queue_bytes: Bytes of the bottleneck's queue that fall to each stream.

    Source:
        Cheng, Cardwell, Dukkipati, Jha: The RACK-TLP Loss Detection Algorithm for TCP. RFC 8985, 7.2. Mathis
        et al. 1997, inverted.
    """
    if streams <= 1.0:
        return 0.0
    notice_s = 3.0 * rtt_s
    window = share * rtt_s / MSS + queue_bytes / PACKET
    if rate >= share and wire_bytes > 2.0 * streams * window * MSS:
        notice_s += 2.0 * queue_bytes * GOODPUT_SHARE / share
        loss = min(1.0, loss + 1.5 / window**2)
    none_lost: float = (1.0 - loss) ** streams
    return notice_s * (1.0 - none_lost)


@njit
def fair_share(streams: float, cross_streams: float, cc: int) -> float:
    """Share of a bottleneck that ``streams`` get in the end against ``cross_streams`` of CUBIC.

    CUBIC and Reno: ``n / (n + m)``. BBR: at least ``1 - 0.3 / sqrt(n)``, however many the others are
    (measured against 1 to 8 streams: about 0.7 for one, 0.85 for four).

    Source:
        Ware, Mukerjee, Seshan, Sherry: Modeling BBR's Interactions with Loss-Based Congestion Control. IMC
        2019.
    """
    fair = streams / (streams + cross_streams)
    return max(fair, 1.0 - 0.30 / sqrt(streams)) if cc == BBR else fair


@njit
def transfer_time(
    size_bytes: float,
    capacity: float,
    rtt_s: float,
    loss: float,
    streams: int,
    cc: int,
    window_bytes: float,
    queue_bytes: float,
    cross_streams: float,
    gaps: NDArray[np.float64],
) -> float:
    """Seconds from connect to last acknowledgement of one transfer on a path that does not change.

    Streams steal work: each takes the next chunk when it has sent its last. A payload split beforehand takes
    longer, for its slowest part decides (measured: up to a quarter, under loss up to 0.6), and is not
    modelled.

    Args:
        size_bytes: Bytes to send, above 0; a transfer of none takes no time.
        capacity: Bytes/s of the bottleneck, IP headers included, above 0.
        rtt_s: Round trip without queueing.
        loss: Random loss as a share of packets, in [0, 1).
        streams: TCP connections, at least 1.
        cc: `CUBIC`, `BBR` or `RENO`.
        window_bytes: Usable window of each stream; may be infinite.
        queue_bytes: Length of the bottleneck's drop-tail queue.
        cross_streams: Established CUBIC streams on the same bottleneck.
        gaps: As of `sim.physics.stream_time`.
    """
    if size_bytes <= 0.0:
        return 0.0
    rtt_s = max(rtt_s, MIN_RTT_S)
    crowd = streams + cross_streams
    usable = goodput_capacity(capacity, loss) * (1.0 - self_induced_loss(crowd, capacity, rtt_s, queue_bytes))
    per_stream = usable * fair_share(streams, cross_streams, cc) / streams
    cap = lossy_stream_rate(
        size_bytes / streams,
        per_stream,
        rtt_s,
        loss,
        window_bytes,
        queue_bytes / crowd,
        cc,
        gaps,
        float(streams),
    )
    ceiling = min(per_stream, window_bytes / rtt_s)
    slow_start_s = startup_s(size_bytes, streams, streams * ceiling, rtt_s, window_bytes, cc)
    time_s = slow_start_s + size_bytes / streams / min(ceiling, cap)
    crowded_s = time_s
    if per_stream <= window_bytes / rtt_s:
        crowded_s *= parallel_overhead(streams, rtt_s)
    if streams > 1 and loss_response(rtt_s, loss, cc) < inf:
        alone = min(stream_ceiling(rtt_s, loss, window_bytes, cc), streams * per_stream)
        time_s += straggler_s(size_bytes, streams, max(min(ceiling, cap), alone))
    time_s = max(time_s, crowded_s)
    rate = min(ceiling, cap)
    time_s += tail_loss_s(size_bytes, streams, rate, per_stream, rtt_s, loss, queue_bytes / crowd)
    if cc != BBR:
        time_s += late_comer_delay_s(streams, cross_streams, rtt_s, time_s)
    return time_s
