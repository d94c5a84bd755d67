"""Those that wait for a slot on a lane, as `sim.backlog` has them."""

import numpy as np

from sim.batch.layout import Lanes
from sim.jit import njit


@njit
def may_take(w: Lanes, k: int, request: int, path: int) -> bool:
    """Whether a transfer may take a path now."""
    site = w.sites[w.lanes[k]["episode"]]
    if not site["any_path"] and path != w.transfers[k, request]["path"]:
        return False
    return w.averages[k, path]["free"] > 0.0


@njit
def ways(w: Lanes, k: int, request: int) -> tuple[int, int]:
    """How many paths a transfer may take now, and the first of them; -1 when none."""
    count, first = 0, -1
    for path in range(w.sites[w.lanes[k]["episode"]]["paths"]):
        if may_take(w, k, request, path):
            count += 1
            if first < 0:
                first = path
    return count, first


@njit
def first_in_line(w: Lanes, k: int) -> tuple[int, int]:
    """Position of the oldest that may go, and the first path that it may take; -1 and -1 when none may."""
    lane = w.lanes[k]
    if lane["free_slots"] > 0:
        for position in range(lane["waiting"]):
            _, path = ways(w, k, w.waiting[k, position])
            if path >= 0:
                return position, path
    return -1, -1


@njit
def take(w: Lanes, k: int, position: int, path: int) -> None:
    """Let one go: its codec question is open from now on."""
    lane = w.lanes[k]
    request = w.waiting[k, position]
    for place in range(position, lane["waiting"] - 1):
        w.waiting[k, place] = w.waiting[k, place + 1]
    lane["waiting"] -= 1
    lane["free_slots"] -= 1
    w.averages[k, path]["free"] -= 1.0
    w.transfers[k, request]["path"] = path
    w.open[k, lane["open"]] = request
    lane["open"] += 1


@njit
def release(w: Lanes, k: int, path: int) -> None:
    """A transfer on a path has ended."""
    w.lanes[k]["free_slots"] += 1
    w.averages[k, path]["free"] += 1.0


@njit
def may_wait(w: Lanes, k: int) -> bool:
    """Whether anything will wake who waits, and may bring something."""
    lane = w.lanes[k]
    site = w.sites[lane["episode"]]
    inside = lane["recorded"] + lane["waiting"] + lane["moving"] + lane["open"]
    if lane["moving"] > 0 or lane["open"] > 0 or inside < site["requests"]:
        return True
    return lane["quantum_s"] < np.inf and lane["now"] < w.times[lane["episode"], site["pieces"] - 1]
