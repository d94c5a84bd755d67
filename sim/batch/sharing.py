"""Who gets how much on a lane: when that is asked, and what an answer does, as `sim.sharing` has it."""

from math import floor

import numpy as np

from sim.batch.layout import Floats, Lanes
from sim.batch.network import changed, piece_now
from sim.batch.sender import meter_all
from sim.codecs import STREAM_CPU_S
from sim.fluid import streams_on
from sim.jit import njit
from sim.paths import opening
from sim.sharing import LEAST_SHARE


@njit
def schedule_tick(w: Lanes, k: int, control_s: float) -> None:
    """Something moves: be woken at the end of this interval."""
    lane = w.lanes[k]
    if lane["tick_at"] < np.inf:
        return
    now = lane["now"]
    lane["interval"] = max(lane["interval"] + 1, floor(now / control_s) + 1)
    lane["tick_at"] = now + max(0.0, lane["interval"] * control_s - now)
    lane["tick_seq"] = lane["seq"]
    lane["seq"] += 1


@njit
def tick(w: Lanes, k: int, control_s: float) -> None:
    """An interval is over."""
    lane = w.lanes[k]
    lane["tick_at"] = np.inf
    if lane["carried"] > 0:
        lane["due_s"] = lane["now"]
        lane["called"] = True
        schedule_tick(w, k, control_s)


@njit
def open_connections(w: Lanes, k: int, request: int, size_bytes: float, others: float) -> float:
    """What `sim.paths.opening` says of a transfer that starts now: seconds lost; the rest is written."""
    transfer = w.transfers[k, request]
    e, path = w.lanes[k]["episode"], transfer["path"]
    link = w.links[e, piece_now(w, k), path]
    wire_bytes = size_bytes / transfer["ratio"]
    streams, gaps = transfer["streams"], w.gaps[e, request]
    lost_s, gain, overhead, _ = opening(wire_bytes, streams, others, link, w.limits[e, path], gaps)
    transfer["loss_gain"], transfer["flow_ratio"] = gain, transfer["ratio"] / overhead
    return lost_s


@njit
def order_by_request(w: Lanes, k: int) -> None:
    """Write to ``order`` the places of those in flight, the oldest request first."""
    for place in range(w.lanes[k]["carried"]):
        at = place
        while at > 0 and w.carried[k, w.order[k, at - 1]] > w.carried[k, place]:
            w.order[k, at] = w.order[k, at - 1]
            at -= 1
        w.order[k, at] = place


@njit
def apply_shares(w: Lanes, k: int, link: Floats, cpu: Floats, streams: Floats) -> None:
    """Weigh those that move, and give multi-stream transfers other connections.

    Args:
        w: The batch.
        k: The lane; a share question stands.
        link: Weights on the wire, the oldest request first, at least 0 and not all 0.
        cpu: Weights on the cores, likewise.
        streams: Connections, likewise; 0 leaves them.
    """
    lane = w.lanes[k]
    count = lane["carried"]
    order_by_request(w, k)
    for rank in range(count):
        wanted = w.wanted[k, w.order[k, rank]]
        wanted[0], wanted[1], wanted[2] = link[rank], cpu[rank], streams[rank]
    setup_s = 0.0
    for place in range(count):
        setup_s += _set_streams(w, k, place, w.wanted[k, place, 2])
    lane["setup_cpu_s"] += setup_s
    _divide(w, k, True)
    _divide(w, k, False)
    for place in range(count):
        transfer, flow = w.transfers[k, w.carried[k, place]], w.flows[k, place]
        flow["weight"], flow["core_weight"] = w.wanted[k, place, 0], w.wanted[k, place, 1]
        flow["streams"], flow["ratio"] = transfer["streams"], transfer["flow_ratio"]
        flow["loss_gain"], flow["cores_max"] = transfer["loss_gain"], transfer["cores_max"]
        flow["decode"] = transfer["decode"]
    changed(w, k)
    lane["due_s"] = -np.inf
    meter_all(w, k)


@njit
def _set_streams(w: Lanes, k: int, place: int, streams: float) -> float:
    """Open or close connections of a multi-stream transfer that moves; bytes go on meanwhile.

    Returns:
        Core-seconds, both ends, to set new connections up.
    """
    request, flow = w.carried[k, place], w.flows[k, place]
    transfer = w.transfers[k, request]
    if streams <= 0.0 or not w.codecs[transfer["codec"]]["is_amst"] or streams == transfer["streams"]:
        return 0.0
    setup_s = 2 * STREAM_CPU_S * max(0.0, streams - transfer["streams"])
    others = streams_on(w.flows[k], w.lanes[k]["carried"], transfer["path"]) - transfer["streams"]
    transfer["decode"] = transfer["decode"] * streams / transfer["streams"]
    transfer["streams"] = transfer["cores_max"] = streams
    remaining = flow["remaining"] + transfer["later_bytes"]
    open_connections(w, k, request, max(remaining, 1.0), others)
    transfer["cpu_s"] += setup_s
    return setup_s


@njit
def _divide(w: Lanes, k: int, of_link: bool) -> None:
    """Divide what the members of each group are entitled to together in the proportions wanted.

    On the wire a path is a group, and each is entitled to its streams; all encoders are one group.
    """
    count, column = w.lanes[k]["carried"], 0 if of_link else 1
    total = 0.0
    for place in range(count):
        total += w.wanted[k, place, column]
    for place in range(count):
        w.wanted[k, place, column] = max(w.wanted[k, place, column], LEAST_SHARE * total)
    groups = w.sites[w.lanes[k]["episode"]]["paths"] if of_link else 1
    for group in range(groups):
        entitled, wanted = 0.0, 0.0
        for place in range(count):
            transfer = w.transfers[k, w.carried[k, place]]
            if not of_link or transfer["path"] == group:
                entitled += transfer["streams"] if of_link else 1.0
                wanted += w.wanted[k, place, column]
        for place in range(count):
            if not of_link or w.transfers[k, w.carried[k, place]]["path"] == group:
                w.wanted[k, place, column] *= entitled / wanted
