"""What paths and TCP can do for a transfer at the very best: capacity, start-up, rate and end."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.crowding import late_comer_delay_s
from sim.jit import njit, njit_making_arrays
from sim.paths import CONTROL, CROSS, LOSS, RTT, WINDOW, cross_weight, opening, usable_capacity
from sim.physics import BBR, MIN_RTT_S, loss_response, startup_s

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LINKS_AHEAD = 128
"""Changes of a path after the first possible start that later starts are worked out for; a start after those
counts as free of loss, which errs on the safe side and matters only to what ends later still."""


class Means(NamedTuple):
    """What each option asks for, shape (options,) each.

    Attributes:
        path: Path it takes.
        from_s: Earliest start.
        wire_bytes: Bytes on the wire, overhead apart.
        streams: TCP connections at the start.
        widening: Factor by which they may be raised while it moves; 1 when they stay.
        core_rate: Share of the transfer that one core encodes in a second.
        cores_max: Cores that it can use.
        decode_rate: Share of the transfer that is decoded in a second, at most.
        reconnect_rounds: Round trips for which it is cut off.
        gaps: Between the packets that it loses by chance, shape (options, `sim.physics.GAPS`).
    """

    path: Ints
    from_s: Floats
    wire_bytes: Floats
    streams: Floats
    widening: Floats
    core_rate: Floats
    cores_max: Floats
    decode_rate: Floats
    reconnect_rounds: Floats
    gaps: Floats


class Best(NamedTuple):
    """What each option can do at the very best; see `at_best`.

    Attributes:
        rate: Share of the transfer that can move in a second, shape (options, pieces).
        toll: Wire bytes taken up for one delivered, at the least, shape (options, pieces); non-increasing.
        ready_s: When its first byte can arrive, shape (options,).
        alone_s: When it can be decoded, shape (options,).
        known_s: Until when ``rate`` and ``toll`` know of loss, shape (options,).
    """

    rate: Floats
    toll: Floats
    ready_s: Floats
    alone_s: Floats
    known_s: Floats


@njit_making_arrays
def capacity_for(links: Floats, limits: Floats, most_streams: Floats) -> Floats:
    """Payload bytes/s of each path for at most so many streams of ours on each, shape (pieces, paths).

    The more streams, the larger their part beside cross traffic, and the more they crowd the queue; both are
    taken at their best within blocks of stream counts. Shares do not matter: whatever ours weigh among
    themselves, together they stand against others by their streams (`sim.fluid`).
    """
    pieces, paths = links.shape[:2]
    capacity = np.zeros((pieces, paths))
    for piece in range(pieces):
        for path in range(paths):
            link, limit, most = links[piece, path], limits[path], most_streams[path]
            cross, low = link[CROSS], 1.0
            while low <= most:
                high = min(most, max(low, np.floor(1.25 * low)))
                part = high / (high + cross_weight(high, cross, int(limit[CONTROL])))
                best = usable_capacity(link, limit, low + cross) * part
                capacity[piece, path] = max(capacity[piece, path], best)
                low = high + 1.0
    return capacity


@njit
def _fair_stream(link: Floats, limits: Floats, streams: float) -> float:
    """Payload bytes/s of each of so many streams of ours on a path without others of ours."""
    cross = link[CROSS]
    usable = usable_capacity(link, limits, streams + cross)
    return usable / (streams + cross_weight(streams, cross, int(limits[CONTROL])))


@njit
def opening_floor(
    wire_bytes: float, streams: float, others: float, link: Floats, limits: Floats, gaps: Floats
) -> tuple[float, float, float]:
    """`sim.paths.opening` at its best beside 0 to ``others`` streams of others: seconds lost, gain, toll.

    * The gain does not depend on others, and the toll only grows with them.
    * The start-up that comes on top of the bytes does not fall as the rate r of a stream rises, but for one
      step where r sends them all in a round trip; so its least is at the lowest r or at that step.
    * What is lost to established streams grows with the time that the transfer takes. That is at least
      ``startup(r) + bytes / r``, which falls as r rises, so its value at the highest r is a floor; and so is
      the least start-up and the fastest sending.
    """
    rtt_s, cross, control = max(link[RTT], MIN_RTT_S), link[CROSS], int(limits[CONTROL])
    _, gain, toll, taken = opening(wire_bytes, streams, 0.0, link, limits, gaps)
    each, window_rate = wire_bytes / streams, limits[WINDOW] / rtt_s
    crowd = streams + others
    slow = max(usable_capacity(link, limits, crowd + cross), 1.0)
    slow = min(slow / (crowd + cross_weight(crowd, cross, control)), window_rate)
    lost_s = startup_s(wire_bytes, streams, streams * slow, rtt_s, limits[WINDOW], control)
    step = each / rtt_s * (1.0 + 1e-9)
    if slow < step < window_rate:
        short = startup_s(wire_bytes, streams, streams * step, rtt_s, limits[WINDOW], control)
        lost_s = min(lost_s, short)
    lost_s = max(lost_s, 0.0)
    if control != BBR and cross > 0.0:
        fast = max(min(_fair_stream(link, limits, streams), window_rate), taken / streams)
        alone_s = startup_s(wire_bytes, streams, streams * fast, rtt_s, limits[WINDOW], control) + each / fast
        total_s = max(alone_s, lost_s + wire_bytes * toll / taken)
        lost_s += late_comer_delay_s(streams, cross, rtt_s, total_s)
    return lost_s, gain, toll


@njit_making_arrays
def _ceilings(
    links: Floats, limits: Floats, capacity: Floats, streams: float, widening: float, free_shares: bool
) -> tuple[Floats, Floats]:
    """Wire bytes/s that streams can have of each path, and what loss leaves them; (pieces, paths) each."""
    wire, steady = np.empty_like(capacity), np.full_like(capacity, np.inf)
    for piece in range(len(links)):
        for path in range(len(limits)):
            link, limit = links[piece, path], limits[path]
            rtt_s = max(link[RTT], MIN_RTT_S)
            ceiling = min(capacity[piece, path], widening * streams * limit[WINDOW] / rtt_s)
            if widening == 1.0:
                steady[piece, path] = streams * loss_response(rtt_s, link[LOSS], int(limit[CONTROL]))
                if not free_shares:
                    ceiling = min(ceiling, streams * _fair_stream(link, limit, streams))
            wire[piece, path] = ceiling
    return wire, steady


@njit
def _end(
    times: Floats, held: Floats, wire: Floats, steady: Floats, now: float, gain: float, toll: float
) -> float:
    """When a transfer is done whose first byte flows now, with the gain and toll of its start."""
    left = 1.0
    for piece in range(np.searchsorted(times, now, side="right") - 1, len(times)):
        end_s = times[piece + 1] if piece + 1 < len(times) else np.inf
        rate = min(held[piece], min(wire[piece], gain * steady[piece]) / toll)
        moved = rate * (end_s - now) if rate > 0.0 else 0.0
        if moved >= left:
            return now + left / rate
        left, now = left - moved, end_s
    return np.inf


@njit_making_arrays
def at_best(
    times: Floats,
    links: Floats,
    limits: Floats,
    cores: Floats,
    capacity: Floats,
    means: Means,
    most_streams: Floats,
    free_shares: bool,
) -> Best:
    """Best rates and ends over all times of start.

    A start fixes how its transfer stands loss (gain and toll). An end is that of the best start; a rate at
    one time is the best of all starts until then.

    Args:
        times: Start of each piece, shape (pieces,).
        links: Conditions, shape (pieces, paths, 4).
        limits: Path constants, shape (paths, 3).
        cores: Cores there for encoding, shape (pieces,).
        capacity: As of `capacity_for`, shape (pieces, paths).
        means: What the options ask for.
        most_streams: Streams of ours that may be on each path, shape (paths,).
        free_shares: Whether a transfer may have more of a path than its streams weigh.
    """
    count, pieces = len(means.path), len(times)
    rates, tolls = np.zeros((count, pieces)), np.ones((count, pieces))
    ready_s, alone_s, known_s = np.full(count, np.inf), np.full(count, np.inf), np.full(count, np.inf)
    bundles = [(0.0, 0.0)]
    ceilings = [(capacity, capacity)]
    for option in range(count):
        path, wire_bytes, streams = means.path[option], means.wire_bytes[option], means.streams[option]
        from_s, widening = means.from_s[option], means.widening[option]
        if (streams, widening) not in bundles:
            bundles.append((streams, widening))
            ceilings.append(_ceilings(links, limits, capacity, streams, widening, free_shares))
        wire, steady = ceilings[bundles.index((streams, widening))]
        wire, steady = wire[:, path] / wire_bytes, steady[:, path] / wire_bytes
        held = np.minimum(cores, widening * means.cores_max[option]) * means.core_rate[option]
        held = np.minimum(held, widening * means.decode_rate[option])
        first = np.searchsorted(times, from_s, side="right") - 1
        gains, least_toll, changes = 0.0, np.inf, 0
        lost_s, gain, toll = 0.0, 1.0, 1.0
        for piece in range(first, pieces):
            link, start_s = links[piece, path], max(times[piece], from_s)
            if changes > _LINKS_AHEAD and start_s >= alone_s[option]:
                known_s[option] = start_s
                rates[option, piece:] = np.minimum(held, wire)[piece:]
                break
            if piece == first or (link != links[piece - 1, path]).any():
                changes += 1
                others = max(most_streams[path] - 1.0, 0.0)
                lost_s, gain, toll = opening_floor(
                    wire_bytes, streams, others, link, limits[path], means.gaps[option]
                )
                if widening > 1.0:
                    gain, toll = 1.0, 1.0  # a change of streams fixes them anew; `_ceilings` knows no loss
                begin_s = start_s + lost_s
                ready_s[option] = min(ready_s[option], begin_s)
                if begin_s < alone_s[option]:
                    end_s = _end(times, held, wire, steady, begin_s, gain, toll)
                    alone_s[option] = min(alone_s[option], end_s)
                gains, least_toll = max(gains, gain / toll), min(least_toll, toll)
            tolls[option, piece] = least_toll
            rates[option, piece] = min(held[piece], wire[piece] / least_toll, gains * steady[piece])
        alone_s[option] += means.reconnect_rounds[option] * links[first:, path, RTT].min()
    return Best(rates, tolls, ready_s, alone_s, known_s)
