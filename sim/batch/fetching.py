"""Lets the processor fetch what a lane will touch while it is still at work on others.

Hundreds of lanes do not fit into the nearest caches, and each step reads a dozen rows that its lane has not
read for a while: to wait for them took a sixth of the time. Nothing is written, and nothing depends on it.
"""

from sim.batch.layout import Lanes
from sim.jit import fetch, njit


@njit
def fetch_lane(w: Lanes, k: int) -> None:
    """Long before its turn: the lane itself, and who is where."""
    fetch(w.lanes, (k,))
    fetch(w.open, (k, 0))
    fetch(w.moving, (k, 0))
    fetch(w.carried, (k, 0))
    fetch(w.waiting, (k, 0))
    fetch(w.flows, (k, 0))
    fetch(w.averages, (k, 0))


@njit
def fetch_transfers(w: Lanes, k: int) -> None:
    """After `fetch_lane`: the transfer that it is asked about, the next to come, and the conditions."""
    lane, request = w.lanes[k], w.open[k, 0]
    e, coming = lane["episode"], lane["arriving"]
    fetch(w.sites, (e,))
    fetch(w.requests, (e, request))
    fetch(w.requests, (e, coming))
    fetch(w.transfers, (k, request))
    fetch(w.transfers, (k, coming))
    fetch(w.transfers, (k, w.moving[k, 0]))
    fetch(w.flows, (k, 1))
    fetch(w.times, (e, lane["piece"]))
    fetch(w.links, (e, lane["piece"], 0, 0))
    fetch(w.steady, (e, lane["piece"], 0))
    fetch(w.by_deadline, (e, lane["deadlines_passed"]))


@njit
def fetch_datasets(w: Lanes, k: int, codec: int) -> None:
    """Just before its turn, after `fetch_transfers`: what is kept of both, and what a codec makes of one."""
    lane, request = w.lanes[k], w.open[k, 0]
    e = lane["episode"]
    fetch(w.plain, (e, request, codec))
    fetch(w.datasets, (k, w.requests[e, request]["dataset"]))
    fetch(w.datasets, (k, w.requests[e, lane["arriving"]]["dataset"]))
