"""The cost of a lane as it accrues, as `sim.ledger` has it.

Deadlines are known from the start, so those that have passed are a prefix of the requests in their order.
"""

from sim.batch.layout import Lanes
from sim.batch.network import cpu_s
from sim.jit import njit


@njit
def arrive(w: Lanes, k: int, request: int) -> None:
    """Start to count a transfer."""
    lane = w.lanes[k]
    row, transfer = w.requests[lane["episode"], request], w.transfers[k, request]
    transfer["came_s"], transfer["inside"] = lane["now"], True
    lane["inside"] += 1
    lane["priority"] += row["priority"]
    lane["priority_arrival"] += row["priority"] * lane["now"]
    if row["deadline_s"] < lane["now"]:  # a log may have it so; the prefix may have passed it by
        _pass_deadlines(w, k)
        if not transfer["late"]:
            _late(w, k, request)


@njit
def _late(w: Lanes, k: int, request: int) -> None:
    lane = w.lanes[k]
    w.transfers[k, request]["late"] = True
    lane["late"] += 1
    lane["overdue"] += w.requests[lane["episode"], request]["deadline_s"]


@njit
def _pass_deadlines(w: Lanes, k: int) -> None:
    lane = w.lanes[k]
    e = lane["episode"]
    while lane["deadlines_passed"] < w.sites[e]["requests"]:
        request = w.by_deadline[e, lane["deadlines_passed"]]
        if not w.requests[e, request]["deadline_s"] < lane["now"]:
            break
        lane["deadlines_passed"] += 1
        if w.transfers[k, request]["inside"]:
            _late(w, k, request)


@njit
def complete(w: Lanes, k: int, request: int) -> None:
    """Stop counting a transfer that has been decoded."""
    _pass_deadlines(w, k)
    lane = w.lanes[k]
    row, transfer = w.requests[lane["episode"], request], w.transfers[k, request]
    transfer["inside"] = False
    lane["inside"] -= 1
    arrival_s = transfer["came_s"]
    lane["completion_cost"] += row["priority"] * (lane["now"] - arrival_s)
    lane["priority"] -= row["priority"]
    lane["priority_arrival"] -= row["priority"] * arrival_s
    if transfer["late"]:
        transfer["late"] = False
        lane["late"] -= 1
        lane["overdue"] -= row["deadline_s"]
        lane["late_s"] += lane["now"] - row["deadline_s"]
    if lane["inside"] == 0:  # no rounding is carried over an idle moment
        lane["priority"] = lane["priority_arrival"] = lane["overdue"] = 0.0


@njit
def accrued(w: Lanes, k: int) -> float:
    """Cost from the start of the episode until now, in seconds."""
    _pass_deadlines(w, k)
    lane = w.lanes[k]
    site, now = w.sites[lane["episode"]], lane["now"]
    inside = lane["priority"] * now - lane["priority_arrival"]
    late = lane["late_s"] + lane["late"] * now - lane["overdue"]
    used_s = lane["setup_cpu_s"] + cpu_s(w, k)
    return lane["completion_cost"] + inside + site["cpu_price"] * used_s + site["late_price"] * late
