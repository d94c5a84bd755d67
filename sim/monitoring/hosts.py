"""Sending hosts interval by interval: what encoding, others and baselines take of cores and memory."""

import numpy as np

from sim.hosts import Host
from sim.links import remembered
from sim.monitoring.courses import Floats, Ints
from sim.monitoring.wires import WIRE_SHARE, WatchedLink, carry
from sim.workloads import Workload

ENCODE_RATE = 381e6
"""Bytes/s that a core encodes with zstd-3, median over compressible payloads of our measurements."""
_LOAD_MEMORY_S = 95.0
"""Correlation time of the background load, as in an episode: 0.9 from one 10 s step to the next."""
_MOST_ENCODING = 0.7
"""Share of the free cores that a site's codecs are chosen to take on average; the rest goes out raw."""


def watch_host(
    host: Host,
    workload: Workload,
    links: list[WatchedLink],
    interval_s: float,
    rng: np.random.Generator,
) -> dict[str, Floats | Ints]:
    """Columns of `schema.HOST_METRICS` but the keys, from the links of a site and what it sends on them."""
    requests = np.sum([link.demand.requests for link in links], axis=0)
    size = np.sum([link.demand.size_bytes for link in links], axis=0)
    intervals = len(size)
    background = _background(host, intervals, interval_s, rng)
    free = host.cores * (1 - background) * interval_s
    asked = size / ENCODE_RATE
    asked *= min(1.0, _MOST_ENCODING * float(free.mean()) / max(float(asked.mean()), 1e-9))
    used, backlog = carry(asked, free)
    mean_wire = max(float(size.sum()) * WIRE_SHARE / max(int(requests.sum()), 1), 1.0)
    active = np.sum([link.series.streams for link in links], axis=0) / 4
    active = active + np.sum([link.series.backlog_bytes for link in links], axis=0) / mean_wire
    kept = size * (1 - workload.one_off)
    window = max(round(host.max_age_s / interval_s), 1)
    sums = np.cumsum(kept)
    sums[window:] -= sums[:-window].copy()
    return {
        "cores": np.full(intervals, host.cores),
        "cpu_load": np.clip(background + used / interval_s / host.cores, 0.0, 1.0),
        "core_backlog_s": backlog,
        "memory_pressure": np.minimum(sums / max(host.baseline_memory, 1.0), 1.0),
        "requests": requests,
        "size_bytes": size,
        "active_transfers": active,
        "background": background,
    }


def _background(host: Host, intervals: int, interval_s: float, rng: np.random.Generator) -> Floats:
    """Share of the cores that other work takes: as in an episode, averaged over each interval."""
    rho = float(np.exp(-interval_s / _LOAD_MEMORY_S))
    noise = rng.standard_normal(intervals)
    noise[1:] *= (1 - rho * rho) ** 0.5
    return np.clip(host.background + host.background_sd * remembered(noise, rho), 0.0, 0.95)
