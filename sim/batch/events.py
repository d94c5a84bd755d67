"""What happens on a lane, in order of time, until a question stands: `sim.world`, compiled."""

import numpy as np

from sim.batch import ledger
from sim.batch.backlog import first_in_line, may_wait, release, take, ways
from sim.batch.layout import ASK_CODEC, ASK_DISPATCH, ASK_SHARE, NO_QUESTION, Lanes
from sim.batch.network import carry, ends_now, move, piece_now, take_out
from sim.batch.sender import (
    drop_baseline,
    meter,
    note_completion,
    note_request,
    put_baseline,
    use_baseline,
)
from sim.batch.sharing import open_connections, schedule_tick, tick
from sim.batch.stages import stage
from sim.fluid import streams_on
from sim.jit import njit
from sim.paths import RTT
from sim.telemetry import NEUTRAL_DELTA, NEUTRAL_ZSTD
from sim.world import RECONNECT_ROUNDS

_ARRIVAL, _OPENED, _END, _TICK, _OVER = range(5)
"""What can happen."""


@njit
def start(w: Lanes, k: int, episode: int, quantum_s: float) -> None:
    """Put a lane at the start of an episode on the shelf."""
    w.lanes[k] = w.fresh[0]
    lane, site = w.lanes[k], w.sites[episode]
    lane["episode"], lane["quantum_s"], lane["free_slots"] = episode, quantum_s, site["slots"]
    for path in range(site["paths"]):
        given, average = w.paths[episode, path], w.averages[k, path]
        average["single_rate"] = average["amst_rate"] = given["nominal"]
        average["goodput_share"], average["free"] = 1.0, given["slots"]
    for kind in range(w.kinds.shape[1]):
        w.kinds[k, kind, 0], w.kinds[k, kind, 1] = NEUTRAL_ZSTD, NEUTRAL_DELTA
    for request in range(site["requests"]):
        row, transfer = w.requests[episode, request], w.transfers[k, request]
        transfer["path"], transfer["inside"], transfer["late"] = row["path"], False, False
    for number in range(w.datasets.shape[1]):
        dataset = w.datasets[k, number]
        dataset["kept"], dataset["seen"] = False, 0
        dataset["interval_s"], dataset["delta_ratio"] = np.inf, np.nan
    lane["arrival_at"] = w.requests[episode, 0]["arrival_s"]
    lane["seq"] = 1


@njit
def next_question(w: Lanes, k: int, dispatch_open: bool, share_open: bool, control_s: float) -> int:
    """Run a lane until a question stands; see `sim.world.World.next_question`.

    Returns:
        Which: one of the ``ASK_`` codes, or ``NO_QUESTION`` when all have moved.
    """
    lane = w.lanes[k]
    requests = w.sites[lane["episode"]]["requests"]
    lane["asked"] = NO_QUESTION
    while lane["recorded"] < requests:
        at, seq, what = _next_of_others(w, k)
        ended = ends_now(w, k)
        if ended >= 0:
            if at > lane["now"] or lane["end_seq"] < seq:
                ended, what = move(w, k, lane["now"]), _END
        elif at > lane["now"]:
            if lane["open"] > 0 or lane["called"]:
                lane["asked"] = _standing(w, k, dispatch_open, share_open)
                if lane["asked"] != NO_QUESTION:
                    break
                lane["called"] = False
                continue
            ended = move(w, k, at)
            if ended >= 0 and (lane["now"] < at or lane["end_seq"] < seq):
                what = _END
        if what == _END:
            _end(w, k, ended, dispatch_open)
        elif what == _ARRIVAL:
            _arrive(w, k, dispatch_open)
        elif what == _OPENED:
            _send(w, k, share_open, control_s)
        elif what == _TICK:
            tick(w, k, control_s)
        else:
            lane["over_at"] = np.inf
            lane["wait"] += 1
            lane["called"] = True
    return lane["asked"]


@njit
def _next_of_others(w: Lanes, k: int) -> tuple[float, int, int]:
    """When something happens that is no end of a transfer, as which it was scheduled, and what."""
    lane = w.lanes[k]
    at, seq, what = lane["arrival_at"], lane["arrival_seq"], _ARRIVAL
    if lane["open_at"] < at or (lane["open_at"] == at and lane["open_seq"] < seq):
        at, seq, what = lane["open_at"], lane["open_seq"], _OPENED
    if lane["tick_at"] < at or (lane["tick_at"] == at and lane["tick_seq"] < seq):
        at, seq, what = lane["tick_at"], lane["tick_seq"], _TICK
    if lane["over_at"] < at or (lane["over_at"] == at and lane["over_seq"] < seq):
        at, seq, what = lane["over_at"], lane["over_seq"], _OVER
    return at, seq, what


@njit
def _standing(w: Lanes, k: int, dispatch_open: bool, share_open: bool) -> int:
    """The question that is put at the end of a moment: who goes, before how, before who gets how much."""
    lane = w.lanes[k]
    if lane["called"] and dispatch_open and _dispatch_stands(w, k):
        return ASK_DISPATCH
    if lane["open"] > 0:
        return ASK_CODEC
    if share_open and lane["due_s"] == lane["now"] and lane["carried"] > 0:
        return ASK_SHARE
    return NO_QUESTION


@njit
def _arrive(w: Lanes, k: int, dispatch_open: bool) -> None:
    """A request has come: let it wait for a slot, and be called when the next comes."""
    lane = w.lanes[k]
    e, first = lane["episode"], lane["arriving"]
    requests = w.sites[e]["requests"]
    lane["arrival_at"] = np.inf
    for request in range(first, requests):
        row = w.requests[e, request]
        if request > first and row["arrival_s"] > lane["now"]:
            lane["arrival_at"] = lane["now"] + (row["arrival_s"] - lane["now"])
            lane["arrival_seq"], lane["arriving"] = lane["seq"], request
            lane["seq"] += 1
            return
        ledger.arrive(w, k, request)
        note_request(w, k, row["dataset"])
        lane["arrived"] += 1
        w.waiting[k, lane["waiting"]] = request
        lane["waiting"] += 1
        _fill_slots(w, k, dispatch_open)


@njit
def _fill_slots(w: Lanes, k: int, dispatch_open: bool) -> None:
    """A transfer has come or ended: let others go, or have it asked at the end of this moment."""
    lane = w.lanes[k]
    if dispatch_open:
        lane["wait"] += lane["wait"] % 2
        lane["over_at"] = np.inf
        lane["called"] = True
        return
    position, path = first_in_line(w, k)
    while position >= 0:
        take(w, k, position, path)
        position, path = first_in_line(w, k)


@njit
def _dispatch_stands(w: Lanes, k: int) -> bool:
    """Whether it is a question who goes next; while all but one answer is ruled out, that one is taken."""
    lane = w.lanes[k]
    while lane["wait"] % 2 == 0:
        position, path = first_in_line(w, k)
        if position < 0:
            return False
        if may_wait(w, k):
            return True
        count = 0
        for place in range(lane["waiting"]):
            count += ways(w, k, w.waiting[k, place])[0]
        if count > 1:
            return True
        take(w, k, position, path)
    return False


@njit
def answer_dispatch(w: Lanes, k: int, position: int, path: int) -> None:
    """Let the one at a position among those that wait go by a path; at position -1, let all wait."""
    lane = w.lanes[k]
    if position >= 0:
        take(w, k, position, path)
        return
    lane["wait"] += 1
    if lane["quantum_s"] < np.inf:
        lane["over_at"], lane["over_seq"] = lane["now"] + lane["quantum_s"], lane["seq"]
        lane["seq"] += 1


@njit
def answer_codec(w: Lanes, k: int, number: int) -> None:
    """Start the transfer whose question stands with a codec: open its connections."""
    lane = w.lanes[k]
    request = w.open[k, 0]
    lane["open"] -= 1
    for place in range(lane["open"]):
        w.open[k, place] = w.open[k, place + 1]
    w.moving[k, lane["moving"]] = request
    lane["moving"] += 1
    transfer, row = w.transfers[k, request], w.requests[lane["episode"], request]
    lost_s = stage(w, k, request, number)
    if transfer["is_delta"]:
        use_baseline(w, k, row["dataset"])
    elif lost_s > 0.0:
        drop_baseline(w, k, row["dataset"])
    size_bytes, share = row["size_bytes"], row["break_share"]
    others = streams_on(w.flows[k], lane["carried"], transfer["path"])
    opening_s = open_connections(w, k, request, size_bytes, others)
    lane["setup_cpu_s"] += transfer["setup_cpu_s"]
    transfer["start_s"], transfer["cpu_s"] = lane["now"], transfer["setup_cpu_s"]
    transfer["part_bytes"], transfer["later_bytes"] = size_bytes, 0.0
    if not np.isnan(share):
        transfer["part_bytes"], transfer["later_bytes"] = size_bytes * share, size_bytes * (1 - share)
    _schedule_send(w, k, request, opening_s + lost_s)


@njit
def _schedule_send(w: Lanes, k: int, request: int, delay_s: float) -> None:
    """Connections of a transfer are open after a delay."""
    lane, transfer = w.lanes[k], w.transfers[k, request]
    transfer["open_at"], transfer["open_seq"] = lane["now"] + delay_s, lane["seq"]
    lane["seq"] += 1
    if transfer["open_at"] < lane["open_at"]:
        lane["open_at"], lane["open_seq"] = transfer["open_at"], transfer["open_seq"]
        lane["opening"] = request


@njit
def _send(w: Lanes, k: int, share_open: bool, control_s: float) -> None:
    """Connections of a transfer are open: put it, or what is left of it, on its path."""
    lane = w.lanes[k]
    request = lane["opening"]
    w.transfers[k, request]["open_at"] = np.inf
    lane["open_at"] = np.inf
    others = lane["moving"] - lane["carried"] - 1  # that open connections, too
    for place in range(lane["moving"] if others > 0 else 0):
        other = w.transfers[k, w.moving[k, place]]
        if other["open_at"] < lane["open_at"] or (
            other["open_at"] == lane["open_at"] < np.inf and other["open_seq"] < lane["open_seq"]
        ):
            lane["open_at"], lane["open_seq"] = other["open_at"], other["open_seq"]
            lane["opening"] = w.moving[k, place]
    carry(w, k, request)
    meter(w, k, request, w.transfers[k, request]["part_bytes"], 0.0)
    if share_open:
        schedule_tick(w, k, control_s)


@njit
def _end(w: Lanes, k: int, place: int, dispatch_open: bool) -> None:
    """A part has been decoded: record the transfer, or go on from the last acknowledged chunk."""
    request, cpu_s = take_out(w, k, place)
    lane, transfer = w.lanes[k], w.transfers[k, request]
    transfer["cpu_s"] += cpu_s
    if transfer["later_bytes"] > 0.0:
        transfer["part_bytes"] = transfer["later_bytes"]
        transfer["later_bytes"] = 0.0  # a transfer breaks once
        rtt_s = w.links[lane["episode"], piece_now(w, k), transfer["path"], RTT]
        _schedule_send(w, k, request, RECONNECT_ROUNDS * rtt_s)
    else:
        _complete(w, k, request, dispatch_open)


@njit
def _complete(w: Lanes, k: int, request: int, dispatch_open: bool) -> None:
    lane, transfer = w.lanes[k], w.transfers[k, request]
    row = w.requests[lane["episode"], request]
    w.recorded[k, lane["recorded"]] = request
    lane["recorded"] += 1
    transfer["end_s"] = lane["now"]
    place = 0
    while w.moving[k, place] != request:
        place += 1
    lane["moving"] -= 1
    for later in range(place, lane["moving"]):
        w.moving[k, later] = w.moving[k, later + 1]
    ledger.complete(w, k, request)
    if transfer["is_baseline"]:
        put_baseline(w, k, row["dataset"], transfer["start_s"], row["size_bytes"])
    note_completion(w, k, request)
    release(w, k, transfer["path"])
    _fill_slots(w, k, dispatch_open)
