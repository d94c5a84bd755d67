"""The fluid network: what share of wires and cores each transfer gets, and how far all get in a time.

Wires are shared max-min between our streams and those of others, and what is ours among our transfers with
weights; cores are shared max-min among encoders. A transfer moves at the slowest of its stages, so the two
shares are brought to a joint fixed point: nothing that one transfer cannot use is withheld from another.
"""

import numpy as np
from numpy.typing import NDArray

from sim.jit import njit
from sim.paths import CONTROL, CROSS, RTT, WINDOW, cross_weight, usable_capacity
from sim.physics import MIN_RTT_S

FLOW = np.dtype(
    [
        ("path", np.int64),  # row of the path it takes
        ("remaining", np.float64),  # raw bytes still to move
        ("ratio", np.float64),  # raw bytes per byte on the wire
        ("streams", np.float64),  # TCP connections
        ("weight", np.float64),  # share of the wire it is entitled to, relative to ours on its path
        ("loss_gain", np.float64),  # how much faster than the steady loss response a finite stream runs
        ("encode", np.float64),  # raw bytes per core-second at the sender
        ("cores_max", np.float64),  # cores it can use at once
        ("core_weight", np.float64),  # share of the cores it is entitled to, relative to the other encoders
        ("decode", np.float64),  # raw bytes per second at the receiver
        ("cpu_per_byte", np.float64),  # core-seconds per raw byte, both ends
        ("rate", np.float64),  # raw bytes per second now
        ("cpu_s", np.float64),  # core-seconds used so far
        ("demand", np.float64),  # what it could move if wire and cores were its own (scratch)
        ("held", np.bool_),  # is it below its fair share of the wire? (scratch)
    ],
    align=True,
)
"""One running transfer."""

Flows = NDArray[np.void]
Floats = NDArray[np.float64]

Site = tuple[Floats, Floats, Floats, Floats, Floats, Floats]
"""Where flows move: start of each piece of the conditions, in seconds, shape (pieces,); the link conditions
of each, shape (pieces, paths, 4); the `sim.paths.steady_rates` of each, shape (pieces, paths); path
constants, shape (paths, 3); cores that the sender has for encoding in each piece; and `share`'s scratch,
shape (paths, 4). A plain tuple: a named one takes twice as long to hand to a kernel.
"""

OFFERS = 4
"""Figures of a path now: see `share`."""
_USABLE, _CROSS_WEIGHT, _WINDOW_RATE, _LOSS_RATE = range(OFFERS)

_TOLERANCE = 1e-12
_MAX_ROUNDS = 100
_ROUNDING = 1e-12
"""Share of the clock that is rounding: without this, one that ends as an outage begins would wait for its
end, and of two that end together one would end later."""


@njit
def _limit(flows: Flows, count: int, offers: Floats) -> None:
    """Write to ``demand`` the raw rate at which each flow would run with no one else there."""
    for i in range(count):
        flow = flows[i]
        offer = offers[flow["path"]]
        wire = flow["streams"] * min(offer[_WINDOW_RATE], flow["loss_gain"] * offer[_LOSS_RATE])
        flow["demand"] = min(wire * flow["ratio"], flow["cores_max"] * flow["encode"], flow["decode"])


@njit
def streams_on(flows: Flows, count: int, path: int) -> float:
    """TCP connections of the first ``count`` flows on a path."""
    streams = 0.0
    for i in range(count):
        if flows[i]["path"] == path:
            streams += flows[i]["streams"]
    return streams


@njit
def _fill_wire(flows: Flows, count: int, path: int, usable: float, cross: float, core_level: float) -> None:
    """Share one path: against others by streams, and what is ours among us by weight.

    In two steps, for in one the others would get what a transfer of large weight cannot use, and not ours.
    """
    _fill(flows, count, path, usable, cross, core_level, True)
    ours, uneven = 0.0, False
    for i in range(count):
        flow = flows[i]
        if flow["path"] == path:
            ours += flow["rate"] / flow["ratio"]
            uneven = uneven or flow["weight"] != flow["streams"]
    if uneven:
        _fill(flows, count, path, ours, 0.0, core_level, False)


@njit
def _fill(
    flows: Flows, count: int, path: int, free: float, cross: float, core_level: float, by_streams: bool
) -> None:
    """Weighted max-min by progressive filling; ``core_level`` cores a weight hold encoders."""
    weight = cross
    for i in range(count):
        flow = flows[i]
        if flow["path"] == path:
            flow["held"] = False
            weight += flow["streams"] if by_streams else flow["weight"]
    changed = True
    while changed:
        changed = False
        level = max(free, 0.0) / weight if weight > 0.0 else 0.0
        for i in range(count):
            flow = flows[i]
            if flow["path"] != path or flow["held"]:
                continue
            own = flow["streams"] if by_streams else flow["weight"]
            cap = min(flow["demand"], core_level * flow["core_weight"] * flow["encode"])
            fair = level * own * flow["ratio"]
            if cap <= fair:
                flow["rate"] = cap
                flow["held"] = True
                free -= cap / flow["ratio"]
                weight -= own
                changed = True
            else:
                flow["rate"] = fair


@njit
def _cores_used(flows: Flows, count: int, offers: Floats, core_level: float) -> float:
    for path in range(offers.shape[0]):
        _fill_wire(flows, count, path, offers[path, _USABLE], offers[path, _CROSS_WEIGHT], core_level)
    used = 0.0
    for i in range(count):
        used += flows[i]["rate"] / flows[i]["encode"]
    return used


@njit
def share(
    flows: Flows,
    count: int,
    conditions: Floats,
    steady: Floats,
    paths: Floats,
    cores: float,
    offers: Floats,
) -> None:
    """Set the ``rate`` of the first ``count`` flows: the joint max-min share of wires and cores.

    The level to which cores are filled is the root of a piecewise linear function, cores in use minus cores
    there; Illinois' false position finds it to 1e-12. Where weights on wire and cores differ there may be
    several such roots; each is feasible and leaves nothing unused.

    Args:
        flows: Structured array of `FLOW`; ``rate`` is written.
        count: How many of its rows run.
        conditions: Link conditions now, shape (paths, 4).
        steady: Their `sim.paths.steady_rates`, shape (paths,).
        paths: Path constants, shape (paths, 3).
        cores: Cores that the sender has for encoding.
        offers: Scratch, shape (paths, 4), what each path offers now: usable bytes/s, weight of the cross
            traffic, and bytes/s that the window and the loss allow one stream.
    """
    for path in range(offers.shape[0]):
        link, offer, control = conditions[path], offers[path], int(paths[path, CONTROL])
        streams = streams_on(flows, count, path)
        offer[_USABLE] = usable_capacity(link, paths[path], streams + link[CROSS])
        offer[_CROSS_WEIGHT] = cross_weight(streams, link[CROSS], control)
        offer[_WINDOW_RATE] = paths[path, WINDOW] / max(link[RTT], MIN_RTT_S)
        offer[_LOSS_RATE] = steady[path]
    _limit(flows, count, offers)
    if _cores_used(flows, count, offers, np.inf) <= cores * (1.0 + _TOLERANCE):
        return
    low, high = 0.0, 0.0
    for i in range(count):
        high = max(high, flows[i]["rate"] / (flows[i]["encode"] * flows[i]["core_weight"]))
    below, above = -cores, _cores_used(flows, count, offers, high) - cores
    if above <= 0.0:  # by streams some are held at this level, by weight none: the root lies above
        low, below = high, above
        for i in range(count):
            high = max(high, flows[i]["demand"] / (flows[i]["encode"] * flows[i]["core_weight"]))
        above = _cores_used(flows, count, offers, high) - cores
    side = 0
    for _ in range(_MAX_ROUNDS):
        if above <= 0.0:
            return
        level = (low * above - high * below) / (above - below)
        excess = _cores_used(flows, count, offers, level) - cores
        if abs(excess) <= _TOLERANCE * cores or high - low <= _TOLERANCE * high:
            return
        if excess > 0.0:
            high, above = level, excess
            if side == 1:
                below *= 0.5
            side = 1
        else:
            low, below = level, excess
            if side == -1:
                above *= 0.5
            side = -1


@njit
def _first_end(flows: Flows, count: int, now: float, until: float) -> tuple[float, int]:
    """When the first flow ends at the rates that they have now, and its row; or ``until`` and -1."""
    end, ended = until, -1
    for i in range(count):
        rate, remaining = flows[i]["rate"], flows[i]["remaining"]
        if rate > 0.0 or remaining <= 0.0:
            at = now + remaining / rate if remaining > 0.0 else now
            if at < end or (ended < 0 and at <= end):
                end, ended = at, i
    return end, ended


@njit
def advance(
    flows: Flows,
    count: int,
    site: Site,
    now: float,
    until: float,
    shared: int,
) -> tuple[float, int, int]:
    """As `advance_from`, which finds out by itself in which piece ``now`` is."""
    return advance_from(flows, count, site, piece_at(site[0], now), now, until, shared)


@njit
def piece_at(times: Floats, now: float) -> int:
    """Row of the conditions that hold at a time."""
    return int(np.searchsorted(times, now, side="right")) - 1


@njit
def advance_from(
    flows: Flows,
    count: int,
    site: Site,
    piece: int,
    now: float,
    until: float,
    shared: int,
) -> tuple[float, int, int]:
    """Move all flows from ``now`` to ``until`` or to the first that ends, whichever comes first.

    Link conditions and cores are piecewise constant: row k holds from ``times[k]`` to ``times[k + 1]``, the
    last for ever. Within a piece, shares do not change. ``piece`` is the row that holds now, ``shared`` the
    row for which the rates of these flows have been set already, or -1.

    Returns:
        The time reached, the row of the flow that ended there (the first of several) or -1, and the row of
        the conditions for which the rates are set now.
    """
    times, conditions, steady, paths, cores, offers = site
    while True:
        if piece != shared:
            share(flows, count, conditions[piece], steady[piece], paths, cores[piece], offers)
            shared = piece
        end = until
        if piece + 1 < times.shape[0] and times[piece + 1] < end:
            end = times[piece + 1]
        end, ended = _first_end(flows, count, now, end)
        if end == np.inf:
            return now, -1, shared
        elapsed = end - now
        for i in range(count):
            moved = flows[i]["rate"] * elapsed
            if i == ended or flows[i]["remaining"] - moved <= flows[i]["rate"] * end * _ROUNDING:
                moved = flows[i]["remaining"]
                if i < ended:
                    ended = i
            flows[i]["remaining"] -= moved
            flows[i]["cpu_s"] += moved * flows[i]["cpu_per_byte"]
        now = end
        if ended >= 0:
            return now, ended, shared
        if now >= until or (piece + 1 >= times.shape[0]):
            return now, -1, shared
        piece += 1


@njit
def foresee(
    flows: Flows,
    ahead: Flows,
    count: int,
    site: Site,
    now: float,
) -> tuple[float, int]:
    """See who of ``count`` flows ends first if nothing changes.

    Returns:
        When, and its row or -1; ``ahead`` is left with copies of all as they are then.
    """
    for i in range(count):
        ahead[i] = flows[i]
    end_s, ended, _ = advance(ahead, count, site, now, np.inf, -1)
    return end_s, ended


@njit
def join(
    flows: Flows,
    ahead: Flows,
    count: int,
    site: Site,
    before: float,
    now: float,
    path: int,
    size_bytes: float,
    ratio: float,
    streams: float,
    weight: float,
    loss_gain: float,
    encode: float,
    cores_max: float,
    core_weight: float,
    decode: float,
    cpu_per_byte: float,
) -> tuple[float, int]:
    """Move ``count`` flows from ``before`` to ``now``, let the row after them join, and see who ends first.

    Returns:
        As `foresee`.
    """
    if count > 0 and now > before:
        advance(flows, count, site, before, now, -1)
    flow = flows[count]
    flow["path"], flow["remaining"], flow["ratio"] = path, size_bytes, ratio
    flow["streams"], flow["weight"], flow["loss_gain"] = streams, weight, loss_gain
    flow["encode"], flow["cores_max"], flow["core_weight"] = encode, cores_max, core_weight
    flow["decode"], flow["cpu_per_byte"] = decode, cpu_per_byte
    flow["rate"], flow["cpu_s"], flow["demand"], flow["held"] = 0.0, 0.0, 0.0, False
    return foresee(flows, ahead, count + 1, site, now)


@njit
def leave(
    flows: Flows,
    ahead: Flows,
    count: int,
    row: int,
    site: Site,
    now: float,
) -> tuple[float, float, int]:
    """Take a flow out, the last of ``count`` takes its row, and see who of the others ends first.

    Returns:
        Core-seconds that the flow has used, and as `join`; inf and -1 when no other is left.
    """
    cpu_s = flows[row]["cpu_s"]
    flows[row] = flows[count - 1]
    if count == 1:
        return float(cpu_s), np.inf, -1
    end_s, ended = foresee(flows, ahead, count - 1, site, now)
    return float(cpu_s), end_s, ended


@njit
def in_flight(flows: Flows, count: int, path: int) -> tuple[int, float, float, float, float]:
    """The first five entries of `sim.network.Tally`, of ``count`` flows as they stand."""
    running, streams, wire_bytes, core_s, busy = 0, 0.0, 0.0, 0.0, 0.0
    for i in range(count):
        flow = flows[i]
        if flow["path"] == path:
            running += 1
            streams += flow["streams"]
            wire_bytes += flow["remaining"] / flow["ratio"]
        core_s += flow["remaining"] / flow["encode"]
        busy += flow["rate"] / flow["encode"]
    return running, streams, wire_bytes, core_s, busy


@njit
def cpu_used(flows: Flows, count: int) -> float:
    """Core-seconds that ``count`` flows have used so far, both ends."""
    cpu_s = 0.0
    for i in range(count):
        cpu_s += flows[i]["cpu_s"]
    return cpu_s


@njit
def tally(
    flows: Flows,
    count: int,
    path: int,
    site: Site,
    before: float,
    now: float,
) -> tuple[int, float, float, float, float, float]:
    """Move ``count`` flows from ``before`` to ``now``; the six entries of `sim.network.Tally`."""
    if count > 0 and now > before:
        advance(flows, count, site, before, now, -1)
    running, streams, wire_bytes, core_s, busy = in_flight(flows, count, path)
    return running, streams, wire_bytes, core_s, busy, cpu_used(flows, count)
