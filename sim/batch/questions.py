"""The questions of a lane as rows of numbers, as `sim.sender` puts them."""

import numpy as np

from sim.batch.layout import Lanes, Rows
from sim.batch.network import count_now, piece_now
from sim.batch.sender import delta_ratio, probe_row, usable_baseline
from sim.batch.stages import estimated_change
from sim.jit import njit


@njit
def codec_question(w: Lanes, k: int, question: Rows) -> None:
    """Write the codec question that stands to a row of `sim.batch.layout.CODEC_ROW`."""
    lane = w.lanes[k]
    e, now, request = lane["episode"], lane["now"], w.open[k, 0]
    site, row, transfer = w.sites[e], w.requests[e, request], w.transfers[k, request]
    path, kind = transfer["path"], row["kind"]
    given, known, kept = w.paths[e, path], w.averages[k, path], w.datasets[k, row["dataset"]]
    count_now(w, k, path)
    q = question
    q["request"], q["now_s"] = request, now
    q["hour"] = (site["start_hour"] + now / 3600.0) % 24.0
    q["kind"], q["size_bytes"], q["entropy"] = kind, row["size_bytes"], row["entropy"]
    q["sample_ratio"], q["repetition"], q["priority"] = (
        row["sample_ratio"],
        row["repetition"],
        row["priority"],
    )
    q["slack_s"], q["waited_s"] = row["deadline_s"] - now, now - row["arrival_s"]
    if usable_baseline(w, k, row["dataset"]):
        age_s = now - kept["taken_s"]
        q["has_baseline"], q["baseline_age_s"], q["deltas"] = 1.0, age_s, kept["deltas"]
        q["changed"] = estimated_change(row, age_s)
    else:
        q["has_baseline"], q["baseline_age_s"], q["deltas"], q["changed"] = 0.0, 0.0, 0.0, 1.0
    q["seen"], q["interval_s"] = kept["seen"] - 1, kept["interval_s"]
    q["delta_ratio"] = delta_ratio(w, k, row["dataset"], kind)
    probe = w.probes[e, probe_row(w, k), path]
    q["path"], q["link_type"], q["capacity"] = path, given["link_type"], given["nominal"]
    q["rtt_s"], q["jitter_s"], q["bandwidth"], q["loss"] = probe[0], probe[1], probe[2], probe[3]
    q["window_bytes"] = w.limits[e, path, 0]
    q["cores"] = site["cores"]
    q["cpu_load"] = 1.0 - (w.cores[e, piece_now(w, k)] - lane["cores_busy"]) / site["cores"]
    q["memory_pressure"] = (
        lane["baseline_bytes"] / site["baseline_memory"] if site["baseline_memory"] else 1.0
    )
    q["running"], q["waiting"], q["streams"] = lane["running"], lane["waiting"], np.floor(lane["streams"])
    q["wire_backlog_bytes"], q["core_backlog_s"] = lane["wire_bytes"], lane["core_s"]
    q["zstd_ratio"], q["hde_ratio"] = w.kinds[k, kind, 0], w.kinds[k, kind, 1]
    q["single_rate"], q["amst_rate"] = known["single_rate"], known["amst_rate"]
    q["goodput_share"] = known["goodput_share"]
