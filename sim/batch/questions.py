"""The questions of a lane as rows of `sim.question_rows`, as `sim.sender` puts them."""

import numpy as np

from sim.batch.backlog import may_take, may_wait
from sim.batch.layout import Lanes, Row, Rows
from sim.batch.network import count_now, piece_now
from sim.batch.sender import delta_ratio, memory_pressure, probe_row, usable_baseline
from sim.batch.sharing import order_by_request
from sim.batch.stages import estimated_change
from sim.estimates import alone_with
from sim.jit import njit
from sim.question_rows import QuestionRows


@njit
def codec_question(w: Lanes, k: int, question: Row) -> None:
    """Write the codec question that stands to a row of `sim.question_rows.CODEC_ROW`."""
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
    q["memory_pressure"] = memory_pressure(w, k)
    q["running"], q["waiting"], q["streams"] = lane["running"], lane["waiting"], np.floor(lane["streams"])
    q["wire_backlog_bytes"], q["core_backlog_s"] = lane["wire_bytes"], lane["core_s"]
    q["zstd_ratio"], q["hde_ratio"] = w.kinds[k, kind, 0], w.kinds[k, kind, 1]
    q["single_rate"], q["amst_rate"] = known["single_rate"], known["amst_rate"]
    q["goodput_share"] = known["goodput_share"]


@njit
def estimated(w: Lanes, k: int, rows: Rows) -> tuple[float, float, float, float]:
    """What `sim.estimates.alone` says of the codec question that stands, which is the first of some rows."""
    row = w.requests[w.lanes[k]["episode"], w.open[k, 0]]
    return alone_with(rows, (row["whole_ratio"], row["sample_encode"], row["sample_decode"]))


@njit
def shortest(w: Lanes, k: int) -> int:
    """The codec with the shortest estimate for the transfer whose question stands."""
    codec_question(w, k, w.asked[k])
    seconds, best = estimated(w, k, w.asked[k : k + 1]), 0
    for number in range(1, len(w.codecs)):
        if seconds[w.codecs[number]["estimate"]] < seconds[w.codecs[best]["estimate"]]:
            best = number
    return best


@njit
def share_question(w: Lanes, k: int, rows: QuestionRows) -> None:
    """Write the share question that stands to the rows of the lane."""
    _site(w, k, rows)
    lane, site = w.lanes[k], rows.site[k]
    site["opening"], site["free_slots"], site["interval_s"], site["may_wait"] = 0, 0.0, 0.0, False
    site["waiting_bytes"] = 0.0
    for place in range(lane["waiting"]):
        site["waiting_bytes"] += w.requests[lane["episode"], w.waiting[k, place]]["size_bytes"]


@njit
def dispatch_question(w: Lanes, k: int, rows: QuestionRows) -> None:
    """Write the dispatch question that stands to the rows of the lane."""
    _site(w, k, rows)
    lane, site = w.lanes[k], rows.site[k]
    site["waiting_bytes"], site["free_slots"] = 0.0, lane["free_slots"]
    site["interval_s"], site["may_wait"] = lane["interval_s"], may_wait(w, k)
    for place in range(lane["waiting"]):
        _waiting(w, k, w.waiting[k, place], rows.waiting[k, place])
    opening = 0
    for place in range(lane["moving"] + lane["open"]):
        moves = place < lane["moving"]
        request = w.moving[k, place] if moves else w.open[k, place - lane["moving"]]
        if not moves or w.transfers[k, request]["open_at"] < np.inf:
            _waiting(w, k, request, rows.opening[k, opening])
            rows.opening[k, opening]["paths"] = 0
            opening += 1
    site["opening"] = opening


@njit
def _site(w: Lanes, k: int, rows: QuestionRows) -> None:
    """Write what both questions say: the site, its paths, its host and those that move."""
    lane = w.lanes[k]
    e, now = lane["episode"], lane["now"]
    given, site, host = w.sites[e], rows.site[k], rows.host[k]
    site["now_s"], site["hour"] = now, (given["start_hour"] + now / 3600.0) % 24.0
    site["paths"], site["running"], site["waiting"] = given["paths"], lane["carried"], lane["waiting"]
    probe = probe_row(w, k)
    for path in range(given["paths"]):
        row, known, measured = rows.paths[k, path], w.averages[k, path], w.probes[e, probe, path]
        count_now(w, k, path)
        row["link_type"], row["capacity"] = w.paths[e, path]["link_type"], w.paths[e, path]["nominal"]
        row["rtt_s"], row["jitter_s"] = measured[0], measured[1]
        row["bandwidth"], row["loss"] = measured[2], measured[3]
        row["window_bytes"] = w.limits[e, path, 0]
        row["single_rate"], row["amst_rate"] = known["single_rate"], known["amst_rate"]
        row["goodput_share"] = known["goodput_share"]
        row["running"], row["streams"] = lane["running"], np.floor(lane["streams"])
        row["wire_backlog_bytes"] = lane["wire_bytes"]
    host["cores"], host["core_backlog_s"] = given["cores"], lane["core_s"]
    host["cpu_load"] = 1.0 - (w.cores[e, piece_now(w, k)] - lane["cores_busy"]) / given["cores"]
    host["memory_pressure"] = memory_pressure(w, k)
    order_by_request(w, k)
    for rank in range(lane["carried"]):
        _running(w, k, w.order[k, rank], rows.running[k, rank])


@njit
def _running(w: Lanes, k: int, place: int, row: Row) -> None:
    """Write one that moves."""
    lane, request, flow = w.lanes[k], w.carried[k, place], w.flows[k, place]
    transfer, given, now = w.transfers[k, request], w.requests[lane["episode"], request], lane["now"]
    remaining = flow["remaining"] + transfer["later_bytes"]
    row["request"], row["kind"], row["codec"] = request, given["kind"], transfer["codec"]
    row["path"], row["priority"] = transfer["path"], given["priority"]
    row["slack_s"], row["size_bytes"] = given["deadline_s"] - now, given["size_bytes"]
    row["remaining_bytes"], row["ratio"] = remaining, transfer["ratio"]
    row["rate"], row["cores"] = 0.0, 0.0
    elapsed_s = now - transfer["metered_s"]
    if elapsed_s > 0.0:
        row["rate"] = (transfer["metered_bytes"] - remaining) / elapsed_s
        row["cores"] = (flow["cpu_s"] - transfer["metered_cpu_s"]) / elapsed_s
    row["elapsed_s"], row["streams"] = now - transfer["start_s"], np.floor(transfer["streams"])
    row["encode"], row["parallel"] = transfer["encode"], transfer["cores_max"]


@njit
def _waiting(w: Lanes, k: int, request: int, row: Row) -> None:
    """Write one that waits, or opens connections."""
    lane = w.lanes[k]
    e, now = lane["episode"], lane["now"]
    given = w.requests[e, request]
    row["request"], row["kind"], row["dataset"] = request, given["kind"], given["dataset"]
    row["size_bytes"], row["sample_ratio"] = given["size_bytes"], given["sample_ratio"]
    row["priority"], row["slack_s"] = given["priority"], given["deadline_s"] - now
    row["waited_s"], row["has_baseline"], row["changed"] = now - given["arrival_s"], 0.0, 1.0
    if usable_baseline(w, k, given["dataset"]):
        row["has_baseline"] = 1.0
        row["changed"] = estimated_change(given, now - w.datasets[k, given["dataset"]]["taken_s"])
    row["delta_ratio"] = delta_ratio(w, k, given["dataset"], given["kind"])
    row["path"], bits = w.transfers[k, request]["path"], 0
    for path in range(w.sites[e]["paths"]):
        if may_take(w, k, request, path):
            bits |= 1 << path
    row["paths"] = bits
