"""One TCP stream on a path: how fast it runs, how long it takes to get going, what loss costs it.

Bytes, seconds, payload bytes per second, loss as a share of packets. Every function is scalar and compiled,
and may be called from other kernels. "Measured" refers to ``calibration/transport_measurements.csv.gz``:
transfers between two Linux 6.18 network namespaces over an emulated path (drop-tail queue of one
bandwidth-delay product, fixed delay, independent loss; 20 to 500 Mbit/s, 0 to 100 ms, loss to 1 %, 1 to 16
streams). Outside that range it is extrapolation.
"""

from math import ceil, exp, inf, log, log2, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

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
_CUBIC_C: Final = 0.4
_PART_OF_A_PACKET: Final = 0.5
SYN_TIMEOUT_S: Final = 1.0
"""Seconds after which a connection that was not answered is asked for again, RFC 6298."""
GAPS: Final = 8
"""So many distances between packets that a transfer loses by chance are drawn; later ones are the mean."""
TYPICAL: Final = np.ones(GAPS)
"""Distances over their mean of a transfer that is neither lucky nor unlucky."""
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
def _cubic(from_origin_s: float, peak: float, cc: int) -> float:
    """CUBIC's window in packets, RFC 9438 section 4.2; none for Reno."""
    return 0.0 if cc == RENO else _CUBIC_C * from_origin_s**3 + peak


@njit
def _distance(gaps: NDArray[np.float64], number: int, scatter: float) -> float:
    """From one packet lost by chance to the next, over its mean; ``scatter`` is 1 for a stream by itself."""
    return 1.0 + scatter * (gaps[number] - 1.0) if number < GAPS else 1.0


@njit
def stream_time(
    wire_bytes: float,
    share: float,
    rtt_s: float,
    loss: float,
    window_bytes: float,
    queue_bytes: float,
    cc: int,
    gaps: NDArray[np.float64],
    averaged: float,
) -> float:
    """Seconds from connect to last acknowledgement of one stream: slow start, then CUBIC or Reno.

    Stepped by round trips, by longer steps where little changes; the last flight of slow start leaves at once
    and at full speed, as in `startup_s`. Packets are lost by chance, ``1 / loss`` apart in the mean, the
    first of all being the one that asks for the connection, and whenever the window fills the stream's
    part of path and queue; the window rests for a round trip after each, and what is lost meanwhile does
    not shrink it again. A loss in slow start is noticed a round trip later, when the window has doubled.
    Windows are whole packets: half of one is lost in the mean, to growth and to each cut. CUBIC follows
    Reno's window a round trip behind; cut again below its last peak, it climbs back half as far. After 32
    random losses or 400 steps the rest goes at `loss_response` less a packet for each round trip that the
    window rests and half of one for whole packets, or at window or share if that is less.

    Losses that are independent of each other are an exponential distance apart. With distances drawn so,
    and nothing fitted to it, single streams take in the mean what measured ones do (38 settings of 12 to 75
    transfers: all together 2 % less; a setting's mean is met within 10 % in the median, its median within
    6 %). With `TYPICAL` distances it is the typical time: the mean is 18 % less than measured, for one that
    is unlucky in slow start takes several times as long.

    Args:
        wire_bytes: Payload of this stream.
        share: Payload bytes/s of the path that fall to this stream, finite.
        rtt_s: Round trip without queueing.
        loss: Random loss as a share of packets.
        window_bytes: Usable window; may be infinite.
        queue_bytes: Bytes of the bottleneck's queue that fall to this stream.
        cc: `CUBIC` or `RENO`; BBR is stepped as CUBIC, so ask only above 2 % loss.
        gaps: Distances of the first losses over ``1 / loss``, shape (`GAPS`,); those after are 1.
        averaged: Over how many streams that share the work a distance is averaged, at least 1.

    Source:
        RFC 5681; RFC 6675, section 5: one cut a recovery; RFC 9438 sections 4.2 to 4.7; ``bictcp_update`` of
        Linux 6.18 (``net/ipv4/tcp_cubic.c``), where Reno's window sets how fast CUBIC's grows. Against real
        streams: ``tests/sim/test_transport_replay.py``.
    """
    rtt_s = max(rtt_s, MIN_RTT_S)
    beta, rests = (0.5, 1.0) if cc == RENO else (0.7, 2.0)
    reno_slope = 3.0 * (1.0 - beta) / (1.0 + beta)
    behind = reno_slope * (rests - 1.0)
    left, full, top = wire_bytes / MSS, share / MSS, window_bytes / MSS
    pipe = full * rtt_s
    limit = pipe + queue_bytes / PACKET
    gap = 1.0 / loss if loss > 0.0 else inf
    a_round, a_packet_s, part_of_gap = 1.0 / rtt_s, 1.0 / full, gap / _STEPS_PER_LOSS  # divided once: slow
    scatter = 1.0 / sqrt(averaged)
    losses, part, growth = int(gap * _distance(gaps, 0, scatter) < 1.0), 0.0, 2.0  # 1: it never asked
    to_loss, window = gap * _distance(gaps, losses, scatter), INITIAL_WINDOW
    time_s = rtt_s + losses * SYN_TIMEOUT_S
    slow_start, peak, origin_s, since_s, reno_window = True, 0.0, 0.0, 0.0, 0.0
    for _ in range(_MAX_STEPS):
        flight = min(window - part, top)
        rate = min(flight * a_round, full)
        step_s = max(rtt_s, flight * a_packet_s)
        if not slow_start and since_s >= 0.0:
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
            to_loss = gap * _distance(gaps, losses, scatter)
            if since_s < 0.0:
                since_s += spent_s
                continue
            window = min(window * growth, limit)
        elif slow_start:
            window *= 2.0
            if window < limit:
                continue
            slow_start, part, growth, peak, window = False, _PART_OF_A_PACKET, 1.0, limit, limit
            since_s, origin_s, reno_window = 0.0, (limit * (1.0 - beta) / _CUBIC_C) ** (1.0 / 3.0), limit
            continue
        else:
            since_s += spent_s
            if since_s <= 0.0:
                continue
            reno_window += reno_slope * min(spent_s, since_s) * a_round
            window = max(window, reno_window - behind, _cubic(since_s + rtt_s - origin_s, peak, cc))
            if window < limit:
                continue
            window = limit
        slow_start, part, growth, since_s = False, _PART_OF_A_PACKET, 1.0, -rtt_s
        climb = window * (1.0 - beta) * (1.0 if window >= peak else 0.5)  # half: fast convergence
        peak = window * beta + climb
        window = reno_window = max(2.0, window * beta - _PART_OF_A_PACKET)
        origin_s = (climb / _CUBIC_C) ** (1.0 / 3.0)
    settled = max(1.0, loss_response(rtt_s, loss, cc) * rtt_s / MSS - rests - part)
    return time_s + left / min(full, min(top, settled) * a_round) + rtt_s


@njit
def lossy_stream_rate(
    wire_bytes: float,
    share_per_stream: float,
    rtt_s: float,
    loss: float,
    window_bytes: float,
    queue_bytes: float,
    cc: int,
    gaps: NDArray[np.float64],
    averaged: float,
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
        gaps: As of `stream_time`.
        averaged: Likewise.
    """
    ceiling = window_bytes / max(rtt_s, MIN_RTT_S)
    if loss_response(rtt_s, loss, cc) == inf:
        return ceiling
    share = min(share_per_stream, ceiling)
    total_s = stream_time(wire_bytes, share, rtt_s, loss, window_bytes, queue_bytes, cc, gaps, averaged)
    sending_s = total_s - startup_s(wire_bytes, 1.0, share, rtt_s, window_bytes, cc)
    return wire_bytes / max(sending_s, wire_bytes / share)
