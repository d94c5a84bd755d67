"""Transfers in flight on a lane: they move from event to event, not ahead and back as in `sim.network`."""

import numpy as np

from sim.batch.layout import Lanes
from sim.fluid import advance_from, cpu_used, in_flight
from sim.jit import njit


@njit
def piece_now(w: Lanes, k: int) -> int:
    """Row of the conditions that hold now."""
    lane = w.lanes[k]
    e, piece, now = lane["episode"], lane["piece"], lane["now"]
    last = w.sites[e]["pieces"] - 1
    while piece < last and w.times[e, piece + 1] <= now:
        piece += 1
    lane["piece"] = piece
    return int(piece)


@njit
def carry(w: Lanes, k: int, request: int) -> None:
    """Put the part of a transfer that moves now on its path."""
    lane, transfer = w.lanes[k], w.transfers[k, request]
    count = lane["carried"]
    flow = w.flows[k, count]
    flow["path"], flow["remaining"], flow["ratio"] = (
        transfer["path"],
        transfer["part_bytes"],
        transfer["flow_ratio"],
    )
    flow["streams"] = flow["weight"] = transfer["streams"]
    flow["loss_gain"], flow["encode"] = transfer["loss_gain"], transfer["encode"]
    flow["cores_max"], flow["core_weight"] = transfer["cores_max"], 1.0
    flow["decode"], flow["cpu_per_byte"] = transfer["decode"], transfer["cpu_per_byte"]
    flow["rate"], flow["cpu_s"] = 0.0, 0.0
    w.carried[k, count] = request
    lane["carried"] = count + 1
    changed(w, k)


@njit
def changed(w: Lanes, k: int) -> None:
    """Those in flight are others, or have been given other values: their rates hold no more."""
    lane = w.lanes[k]
    lane["shared"] = -1
    lane["end_seq"] = lane["seq"]
    lane["seq"] += 1


@njit
def ends_now(w: Lanes, k: int) -> int:
    """The first of those in flight that has nothing left to move, or -1."""
    for place in range(w.lanes[k]["carried"]):
        if w.flows[k, place]["remaining"] <= 0.0:
            return place
    return -1


@njit
def move(w: Lanes, k: int, until: float) -> int:
    """Let time pass until then, or until the first of those in flight ends.

    Returns:
        Its place, or -1.

    Raises:
        RuntimeError: If nothing ever happens again.
    """
    lane = w.lanes[k]
    if lane["carried"] == 0 and until < np.inf:
        lane["now"] = until
        return -1
    e = lane["episode"]
    pieces, paths = w.sites[e]["pieces"], w.sites[e]["paths"]
    site = (
        w.times[e, :pieces],
        w.links[e, :pieces, :paths],
        w.steady[e, :pieces, :paths],
        w.limits[e, :paths],
        w.cores[e, :pieces],
        w.offers[:paths],
    )
    lane["now"], ended, lane["shared"] = advance_from(
        w.flows[k], lane["carried"], site, piece_now(w, k), lane["now"], until, lane["shared"]
    )
    if ended < 0:
        if until == np.inf:
            raise RuntimeError("a transfer can never end: a path or the cores stay at zero for ever")
        lane["now"] = until
    return ended


@njit
def take_out(w: Lanes, k: int, place: int) -> tuple[int, float]:
    """Take one out; the last takes its place.

    Returns:
        Its request, and the core-seconds that its part has used.
    """
    lane, request, cpu_s = w.lanes[k], w.carried[k, place], w.flows[k, place]["cpu_s"]
    last = lane["carried"] - 1
    w.flows[k, place] = w.flows[k, last]
    w.carried[k, place] = w.carried[k, last]
    lane["carried"] = last
    lane["spent_cpu_s"] += cpu_s
    changed(w, k)
    return request, cpu_s


@njit
def count_now(w: Lanes, k: int, path: int) -> None:
    """Count those in flight, those of a path and all: see `sim.network.Tally`."""
    lane = w.lanes[k]
    running, streams, wire_bytes, core_s, busy = in_flight(w.flows[k], lane["carried"], path)
    lane["running"], lane["streams"], lane["wire_bytes"] = running, streams, wire_bytes
    lane["core_s"], lane["cores_busy"] = core_s, busy


@njit
def cpu_s(w: Lanes, k: int) -> float:
    """Core-seconds used since the start, both ends, set-up apart."""
    lane = w.lanes[k]
    return lane["spent_cpu_s"] + cpu_used(w.flows[k], lane["carried"])
