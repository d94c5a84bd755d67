"""What the sending site of a lane keeps: baselines and averages, as `sim.hosts` and `sim.telemetry`."""

import numpy as np

from sim.batch.layout import Lanes
from sim.jit import njit
from sim.telemetry import SMOOTHING


@njit
def usable_baseline(w: Lanes, k: int, dataset: int) -> bool:
    """Whether a delta may be sent now against the baseline of a dataset."""
    lane, kept = w.lanes[k], w.datasets[k, dataset]
    site = w.sites[lane["episode"]]
    if not kept["kept"]:
        return False
    return not (lane["now"] - kept["taken_s"] > site["max_age_s"] or kept["deltas"] >= site["max_deltas"])


@njit
def use_baseline(w: Lanes, k: int, dataset: int) -> None:
    """Count a delta against the baseline of a dataset and keep it longest."""
    lane, kept = w.lanes[k], w.datasets[k, dataset]
    kept["deltas"] += 1
    lane["used"] += 1
    kept["used"] = lane["used"]


@njit
def drop_baseline(w: Lanes, k: int, dataset: int) -> None:
    """Forget the baseline of a dataset, if there is one."""
    lane, kept = w.lanes[k], w.datasets[k, dataset]
    if kept["kept"]:
        kept["kept"] = False
        lane["baselines"] -= 1
        lane["baseline_bytes"] = lane["baseline_bytes"] - kept["size_bytes"] if lane["baselines"] else 0.0


@njit
def put_baseline(w: Lanes, k: int, dataset: int, taken_s: float, size_bytes: float) -> None:
    """Keep a new version, and drop the least recently used others until it fits."""
    lane, kept = w.lanes[k], w.datasets[k, dataset]
    memory = w.sites[lane["episode"]]["baseline_memory"]
    if kept["kept"] and kept["taken_s"] > taken_s:
        return
    drop_baseline(w, k, dataset)
    if size_bytes > memory:
        return
    while lane["baseline_bytes"] + size_bytes > memory:
        oldest = -1
        for other in range(w.datasets.shape[1]):
            if w.datasets[k, other]["kept"] and (
                oldest < 0 or w.datasets[k, other]["used"] < w.datasets[k, oldest]["used"]
            ):
                oldest = other
        drop_baseline(w, k, oldest)
    lane["used"] += 1
    kept["kept"], kept["taken_s"], kept["size_bytes"] = True, taken_s, size_bytes
    kept["deltas"], kept["used"] = 0, lane["used"]
    lane["baselines"] += 1
    lane["baseline_bytes"] += size_bytes


@njit
def memory_pressure(w: Lanes, k: int) -> float:
    """Share of the memory for baselines in use, in [0, 1]."""
    lane = w.lanes[k]
    memory = w.sites[lane["episode"]]["baseline_memory"]
    return lane["baseline_bytes"] / memory if memory > 0.0 else 1.0


@njit
def receiver_lost(w: Lanes, k: int, dataset: int, since_s: float) -> bool:
    """Whether the receiver lost its baseline of a dataset between then and now."""
    lane = w.lanes[k]
    e = lane["episode"]
    for row in range(w.sites[e]["losses"]):
        at, lost = w.losses[e, row, 0], w.losses[e, row, 1]
        if int(lost) == dataset and since_s < at <= lane["now"]:
            return True
    return False


@njit
def delta_ratio(w: Lanes, k: int, dataset: int, kind: int) -> float:
    """Average ratio of the deltas of a dataset, or of its kind before its first."""
    own = w.datasets[k, dataset]["delta_ratio"]
    return w.kinds[k, kind, 1] if np.isnan(own) else own


@njit
def note_request(w: Lanes, k: int, dataset: int) -> None:
    """A transfer of a dataset was asked for."""
    lane, known = w.lanes[k], w.datasets[k, dataset]
    now = lane["now"]
    if known["seen"] == 1:
        known["interval_s"] = now - known["last_s"]
    elif known["seen"] > 1:
        known["interval_s"] += 0.5 * (now - known["last_s"] - known["interval_s"])
    known["seen"] += 1
    known["last_s"] = now
    if lane["arrived"] > 0:
        gap_s = now - lane["last_s"]
        if lane["interval_s"] < np.inf:
            lane["interval_s"] = lane["interval_s"] + SMOOTHING * (gap_s - lane["interval_s"])
        else:
            lane["interval_s"] = gap_s
    lane["last_s"] = now


@njit
def probe_row(w: Lanes, k: int) -> int:
    """Row of the last measurement of the paths."""
    lane = w.lanes[k]
    site = w.sites[lane["episode"]]
    return min(int(lane["now"] / site["probe_period_s"]), site["probe_rows"] - 1)


@njit
def note_completion(w: Lanes, k: int, request: int) -> None:
    """A transfer ended."""
    lane, transfer = w.lanes[k], w.transfers[k, request]
    e = lane["episode"]
    row = w.requests[e, request]
    size_bytes, kind = row["size_bytes"], row["kind"]
    wire_bytes = size_bytes / transfer["ratio"]
    ratio = size_bytes / wire_bytes
    if transfer["is_delta"]:
        w.kinds[k, kind, 1] += SMOOTHING * (ratio - w.kinds[k, kind, 1])
        known = w.datasets[k, row["dataset"]]
        before = ratio if np.isnan(known["delta_ratio"]) else known["delta_ratio"]
        known["delta_ratio"] = before + 0.5 * (ratio - before)
    elif transfer["is_baseline"] or w.codecs[transfer["codec"]]["is_zstd"]:
        w.kinds[k, kind, 0] += SMOOTHING * (ratio - w.kinds[k, kind, 0])
    wire_rate = wire_bytes / (lane["now"] - transfer["start_s"])
    average = w.averages[k, transfer["path"]]
    if int(transfer["streams"]) > 1:
        average["amst_rate"] += SMOOTHING * (wire_rate - average["amst_rate"])
    else:
        average["single_rate"] += SMOOTHING * (wire_rate - average["single_rate"])
    bandwidth = w.probes[e, probe_row(w, k), transfer["path"], 2]
    share = min(4.0, wire_rate / bandwidth) if bandwidth > 0 else 0.0
    average["goodput_share"] += SMOOTHING * (share - average["goodput_share"])


@njit
def meter(w: Lanes, k: int, request: int, remaining_bytes: float, cpu_s: float) -> None:
    """Begin an interval of metering: of the part that moves, what is left and what it has used."""
    transfer = w.transfers[k, request]
    transfer["metered_s"] = w.lanes[k]["now"]
    transfer["metered_bytes"] = remaining_bytes + transfer["later_bytes"]
    transfer["metered_cpu_s"] = cpu_s


@njit
def meter_all(w: Lanes, k: int) -> None:
    """Begin the next interval of metering for all that move; they stand at now."""
    lane = w.lanes[k]
    for place in range(lane["carried"]):
        flow = w.flows[k, place]
        meter(w, k, w.carried[k, place], flow["remaining"], flow["cpu_s"])
