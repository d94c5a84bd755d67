"""Lets the processor fetch what a lane will touch while it is still at work on others.

Hundreds of lanes do not fit into the nearest caches, and each step reads two dozen rows that its lane has not
read for a while: to wait for them took a quarter of the time. Nothing is written, and nothing depends on it.
"""

import numpy as np

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
def fetch_transfers(w: Lanes, k: int, codec: int) -> None:
    """After `fetch_lane`: the transfer it is asked about, the next to come and to end, and the conditions."""
    lane, request, first = w.lanes[k], w.open[k, 0], w.moving[k, 0]
    e, coming, piece = lane["episode"], lane["arriving"], lane["piece"]
    fetch(w.sites, (e,))
    fetch(w.requests, (e, request))
    fetch(w.requests, (e, coming))
    fetch(w.requests, (e, coming + 1))
    fetch(w.requests, (e, first))
    fetch(w.transfers, (k, request))
    fetch(w.transfers, (k, coming))
    fetch(w.transfers, (k, lane["opening"]))
    fetch(w.plain, (e, request, codec))
    fetch(w.gaps, (e, request, 0))
    for place in range(lane["carried"]):
        fetch(w.flows, (k, place + 1))
        fetch(w.transfers, (k, w.carried[k, place]))
    fetch(w.times, (e, piece))
    fetch(w.links, (e, piece, 0, 0))
    fetch(w.steady, (e, piece, 0))
    fetch(w.cores, (e, piece))
    fetch(w.by_deadline, (e, lane["deadlines_passed"]))


@njit
def fetch_known(w: Lanes, k: int) -> None:
    """Just before its turn, after `fetch_transfers`: what is known of their datasets, and the next probe."""
    lane = w.lanes[k]
    e, at = lane["episode"], lane["arrival_at"]
    row, coming = w.requests[e, w.open[k, 0]], w.requests[e, lane["arriving"]]
    first = w.requests[e, w.moving[k, 0]]
    fetch(w.datasets, (k, row["dataset"]))
    fetch(w.datasets, (k, coming["dataset"]))
    fetch(w.datasets, (k, first["dataset"]))
    fetch(w.kinds, (k, coming["kind"], 0))
    fetch(w.kinds, (k, first["kind"], 0))
    if at < np.inf:
        fetch(w.probes, (e, int(at / w.sites[e]["probe_period_s"]), 0, 0))
