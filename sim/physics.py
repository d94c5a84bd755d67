"""TCP on one path: how fast streams run, how long they take to get going, what loss and neighbours cost.

Bytes, seconds, payload bytes per second, loss as a share of packets. Every function is scalar and compiled,
and may be called from other kernels. "Measured" refers to ``calibration/transport_measurements.csv.gz``:
transfers between two Linux 6.18 network namespaces over an emulated path (drop-tail queue of one
bandwidth-delay product, fixed delay, independent loss; 20 to 500 Mbit/s, 0 to 100 ms, loss to 1 %, 1 to 16
streams). Outside that range it is extrapolation.
"""

from math import ceil, exp, inf, log, log2, sqrt
from typing import Final

from sim.jit import njit

CUBIC: Final = 0
"""RFC 9438, the default of Linux."""
BBR: Final = 1
"""BBR v1 (Cardwell et al. 2016) as in Linux, taken to ignore loss below 2 % (measured to 1 %)."""
RENO: Final = 2
"""RFC 5681."""

MSS: Final = 1448.0
"""Payload bytes in a packet of 1500 with IPv4 and TCP timestamps."""
PACKET: Final = 1500.0
GOODPUT_SHARE: Final = MSS / PACKET
"""Payload in a byte that the path carries."""
INITIAL_WINDOW: Final = 10.0
"""Packets, RFC 6928."""
MIN_RTT_S: Final = 0.3e-3
"""What two hosts take with no distance between them (measured); shorter round trips are taken for this."""
BBR_BLIND_BELOW: Final = 0.02
"""Loss share up to which BBR keeps its rate."""

_SKIPPED_ROUNDS: Final = 0.6  # rounds of slow start that overlap with sending at full speed; measured
_BBR_STARTUP_GAIN: Final = 2.885  # 2 / ln 2, Cardwell et al. 2016
_CHUNK_MIN, _CHUNK_MAX, _CHUNKS_PER_STREAM = 65536.0, 1048576.0, 8.0
_CUBIC_C: Final = 0.4
_MAX_STEPS: Final = 400
_MAX_LOSSES: Final = 32
_STEPS_PER_LOSS: Final = 16.0
_STEPS_PER_CYCLE: Final = 16.0


@njit
def goodput_capacity(capacity: float, loss: float) -> float:
    """Payload bytes/s that a path delivers at a random loss share; ``capacity`` includes IP headers.

    >>> round(goodput_capacity(12.5e6, 0.0))
    12066667
    """
    return capacity * GOODPUT_SHARE * (1.0 - loss)


@njit
def loss_response(rtt_s: float, loss: float, cc: int) -> float:
    """Payload bytes/s that one endless stream sustains at a random loss share, with nothing else in its way.

    Reno: ``MSS / rtt * 1.22 / sqrt(loss)``. CUBIC: that or ``MSS / rtt * 1.054 * (rtt / loss)^0.75``,
    whichever is larger. BBR: without limit up to a loss of 2 %, like CUBIC above. Without loss: infinity.

    Source:
        Mathis, Semke, Mahdavi, Ott: The Macroscopic Behavior of the TCP Congestion Avoidance Algorithm.
        ACM SIGCOMM CCR 27(3), 1997. RFC 9438, section 5.1.

    >>> round(loss_response(0.1, 0.0001, RENO))
    1766560
    """
    if loss <= 0.0 or (cc == BBR and loss <= BBR_BLIND_BELOW):
        return inf
    rtt_s = max(rtt_s, MIN_RTT_S)
    window = 1.22 / sqrt(loss)
    if cc != RENO:
        window = max(window, 1.054 * (rtt_s / loss) ** 0.75)
    return window * MSS / rtt_s


@njit
def stream_ceiling(rtt_s: float, loss: float, window_bytes: float, cc: int) -> float:
    """Payload bytes/s that one endless stream can reach: its window once a round trip, or its loss response.

    ``window_bytes`` is the usable window; on Linux about half of ``tcp_rmem[2]`` (measured: 0.50 to 0.61).

    >>> stream_ceiling(0.1, 0.0, 3e6, CUBIC)
    30000000.0
    """
    return min(window_bytes / max(rtt_s, MIN_RTT_S), loss_response(rtt_s, loss, cc))


@njit
def startup_s(
    wire_bytes: float, streams: float, share: float, rtt_s: float, window_bytes: float, cc: int
) -> float:
    """Seconds of handshake, slow start and last acknowledgement that come on top of ``wire_bytes / share``.

    With w the packets that a stream keeps in flight at its rate, a transfer takes ``rtt * (2 + max(0, log2(w
    / 10) - 0.6)) + wire_bytes / share``; one that ends before it gets there takes ``rtt * (1 + ceil(log2(1 +
    packets / 10)))`` and half its time at full rate, where that is less. A transfer too short to gain from a
    larger w stops growing at the w that suits it best: capacity never slows one down.

    Args:
        wire_bytes: Payload of all streams together.
        streams: TCP connections that open at once.
        share: Payload bytes/s that all of them reach together; not above ``streams * window_bytes / rtt_s``.
        rtt_s: Round trip without queueing.
        window_bytes: Usable window of each stream.
        cc: `CUBIC`, `BBR` or `RENO`; BBR paces its flights, so the last packet leaves ``rtt / 2.885`` later.

    Source:
        Cardwell, Savage, Anderson: Modeling TCP Latency. INFOCOM 2000. The 0.6 and the half are measured.
    """
    rtt_s = max(rtt_s, MIN_RTT_S)
    packets = wire_bytes / MSS / streams
    rate = min(share / MSS / streams, window_bytes / MSS / rtt_s)
    useful = max(packets * log(2.0), INITIAL_WINDOW * exp(_SKIPPED_ROUNDS * log(2.0)))
    window = min(rate * rtt_s, useful)
    rounds = 2.0 + max(0.0, log2(window / INITIAL_WINDOW) - _SKIPPED_ROUNDS)
    total = rounds * rtt_s + packets * rtt_s / window
    if packets < rate * rtt_s:
        short = rtt_s * (1.0 + ceil(log2(1.0 + packets / INITIAL_WINDOW) - 1e-9)) + 0.5 * packets / rate
        total = min(total, short)
    if cc == BBR:
        total += rtt_s / _BBR_STARTUP_GAIN
    return total - wire_bytes / share


@njit
def stream_time(
    wire_bytes: float,
    share: float,
    rtt_s: float,
    loss: float,
    window_bytes: float,
    queue_bytes: float,
    cc: int,
) -> float:
    """Seconds from connect to last acknowledgement of one stream: slow start, then CUBIC or Reno.

    Stepped by round trips, by longer steps where little changes; the last flight of slow start leaves at once
    and at full speed, as in `startup_s`. A packet is lost every ``1 / loss`` packets, and whenever the window
    fills the stream's part of path and queue; the window rests for a round trip after each. After 32 random
    losses or 400 steps the rest goes at `stream_ceiling`, or at the share if that is less.

    Args:
        wire_bytes: Payload of this stream.
        share: Payload bytes/s of the path that fall to this stream, finite.
        rtt_s: Round trip without queueing.
        loss: Random loss as a share of packets.
        window_bytes: Usable window; may be infinite.
        queue_bytes: Bytes of the bottleneck's queue that fall to this stream.
        cc: `CUBIC` or `RENO`; BBR is stepped as CUBIC, so ask only above 2 % loss.

    Source:
        RFC 5681, RFC 9438 sections 4.2 to 4.6. Against real streams: ``tests/sim/test_transport_replay.py``.
    """
    rtt_s = max(rtt_s, MIN_RTT_S)
    beta = 0.5 if cc == RENO else 0.7
    reno_slope = 3.0 * (1.0 - beta) / (1.0 + beta)
    left, full, top = wire_bytes / MSS, share / MSS, window_bytes / MSS
    pipe = full * rtt_s
    limit = pipe + queue_bytes / PACKET
    gap = 1.0 / loss if loss > 0.0 else inf
    a_round, a_packet_s, part_of_gap = 1.0 / rtt_s, 1.0 / full, gap / _STEPS_PER_LOSS  # divided once: slow
    to_loss, time_s, window = gap, rtt_s, INITIAL_WINDOW
    slow_start, peak, origin_s, since_s, reno_window = True, 0.0, 0.0, 0.0, 0.0
    losses = 0
    for _ in range(_MAX_STEPS):
        flight = min(window, top)
        rate = min(flight * a_round, full)
        step_s = max(rtt_s, flight * a_packet_s)
        if not slow_start:
            step_s = max(step_s, min(part_of_gap / rate, origin_s * (1.0 / _STEPS_PER_CYCLE)))
        sent, spent_s = rate * step_s, step_s
        if sent > min(left, to_loss):
            sent = min(left, to_loss)
            spent_s = sent / (full if slow_start and sent == left else rate)
        time_s, left, to_loss = time_s + spent_s, left - sent, to_loss - sent
        if left <= 0.0:
            return time_s + rtt_s
        lost = to_loss <= 0.0
        if lost:
            losses += 1
            if losses == _MAX_LOSSES:
                break
            to_loss = gap
        elif slow_start:
            window *= 2.0
            if window < limit:
                continue
            slow_start, peak, window = False, limit, limit
            since_s, origin_s, reno_window = 0.0, (limit * (1.0 - beta) / _CUBIC_C) ** (1.0 / 3.0), limit
            continue
        else:
            since_s += spent_s
            if since_s <= 0.0:
                continue
            reno_window += reno_slope * min(spent_s, since_s) * a_round
            window = reno_window
            if cc != RENO:
                window = max(window, _CUBIC_C * (since_s + rtt_s - origin_s) ** 3 + peak)
            if window < limit:
                continue
            window = limit
        slow_start, peak, since_s = False, window, -rtt_s
        window = reno_window = max(2.0, window * beta)
        origin_s = (peak * (1.0 - beta) / _CUBIC_C) ** (1.0 / 3.0)
    steady = min(share, stream_ceiling(rtt_s, loss, window_bytes, cc))
    return time_s + left * MSS / steady + rtt_s


@njit
def lossy_stream_rate(
    wire_bytes: float,
    share_per_stream: float,
    rtt_s: float,
    loss: float,
    window_bytes: float,
    queue_bytes: float,
    cc: int,
) -> float:
    """Payload bytes/s that one stream of a finite transfer averages under random loss, after its start-up.

    A stream's first packets run ahead of its loss response, so short streams are faster; for long ones this
    is `loss_response`, held to window and share. Without loss, and for BBR up to 2 %, it is the window once a
    round trip, whatever the share: infinite for an infinite window.

    Args:
        wire_bytes: Payload of this stream, not of the transfer.
        share_per_stream: Payload bytes/s of the path that fall to this stream.
        rtt_s: Round trip without queueing.
        loss: Random loss as a share of packets.
        window_bytes: Usable window; may be infinite.
        queue_bytes: Bytes of the bottleneck's queue that fall to this stream.
        cc: `CUBIC`, `BBR` or `RENO`.
    """
    ceiling = window_bytes / max(rtt_s, MIN_RTT_S)
    if loss_response(rtt_s, loss, cc) == inf:
        return ceiling
    share = min(share_per_stream, ceiling)
    total_s = stream_time(wire_bytes, share, rtt_s, loss, window_bytes, queue_bytes, cc)
    sending_s = total_s - startup_s(wire_bytes, 1.0, share, rtt_s, window_bytes, cc)
    return wire_bytes / max(sending_s, wire_bytes / share)


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

    With w packets for each stream a drop-tail queue settles at a loss of ``1.5 / w^2``: 9.2 and 5.2 % for the
    two most crowded measurements (16 streams, 4.0 and 5.4 packets each), where 7.0 and 4.3 % were resent. Yet
    they used 99.9 and 99.8 % of the capacity, for what the queue drops has not used the bottleneck. Below 4
    packets three duplicate acknowledgements cannot arrive and streams wait for their timers: what exceeds the
    loss at 4 packets is taken as lost, up to a half. No measurement reaches there.

    Source:
        Morris: TCP Behavior with Many Flows. ICNP 1997. Mathis et al. 1997, inverted.

    >>> self_induced_loss(16.0, 2.5e6, 0.0, 96000.0)
    0.0
    """
    if streams_total <= 0.0:
        return 0.0
    window = (capacity * max(rtt_s, MIN_RTT_S) + queue_bytes) / PACKET / streams_total
    return max(0.0, min(0.5, 1.5 / max(window, 1e-9) ** 2 - 1.5 / 16.0))


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
    """
    if size_bytes <= 0.0:
        return 0.0
    rtt_s = max(rtt_s, MIN_RTT_S)
    crowd = streams + cross_streams
    usable = goodput_capacity(capacity, loss) * (1.0 - self_induced_loss(crowd, capacity, rtt_s, queue_bytes))
    per_stream = usable * fair_share(streams, cross_streams, cc) / streams
    cap = lossy_stream_rate(
        size_bytes / streams, per_stream, rtt_s, loss, window_bytes, queue_bytes / crowd, cc
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
    if cc != BBR:
        time_s += late_comer_delay_s(streams, cross_streams, rtt_s, time_s)
    return time_s
