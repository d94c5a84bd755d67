"""The features of a node, minute by minute."""

from typing import Final

import numpy as np

from agents.supervised.features import (
    Column,
    Measured,
    Pipeline,
    anomaly,
    canonical,
    staleness,
    temporal,
)
from sim.units import MS

_MOST_MS: Final = 1e6

MEASURED: Final = (
    Measured("error_rate", "share", 0.0, 1.0, "requests that failed", "error_rate"),
    Measured("timeout_rate", "share", 0.0, 1.0, "requests that timed out", "timeout_rate"),
    Measured("latency_p50_ms", "ms", 0.0, _MOST_MS, "median latency", "latency_p50_s", MS),
    Measured("latency_p99_ms", "ms", 0.0, _MOST_MS, "slowest hundredth", "latency_p99_s", MS),
    Measured("cpu", "share", 0.0, 1.0, "cores in use", "cpu"),
    Measured("memory", "share", 0.0, 1.0, "memory in use", "memory"),
    Measured("disk_latency_ms", "ms", 0.0, _MOST_MS, "latency of the disk", "disk_latency_s", MS),
    Measured("temperature_c", "C", -20.0, 150.0, "temperature", "temperature_c"),
    Measured("packet_loss_rate", "share", 0.0, 1.0, "packets lost", "packet_loss_rate"),
    Measured(
        "latency_p95_ms", "ms", 0.0, _MOST_MS, "latency of the slowest twentieth", "latency_p95_s", MS,
        followed=False,
    ),
    Measured("retransmit_rate", "share", 0.0, 1.0, "segments sent again", "retransmit_rate", followed=False),
    Measured("disk_io", "share", 0.0, 1.0, "time the disk is busy", "disk_io", followed=False),
    Measured("sla_violations", "share", 0.0, 1.0, "requests too late", "sla_violations", followed=False),
    Measured(
        "connection_failures", "count", 0.0, 1e6, "connections refused", "connection_failures", followed=False
    ),
    Measured("availability", "share", 0.0, 1.0, "health checks passed", "availability", followed=False),
    Measured(
        "health_check_failures", "count", 0.0, 60.0, "health checks failed", "health_check_failures",
        followed=False,
    ),
)  # fmt: skip
"""What node telemetry must hold."""

_CROSS: Final = (
    Column(
        "latency_tail", "x", 0.0, 1e4, 1, "cross", "slowest hundredth over median",
        lambda node: node["latency_p99_ms"] / np.maximum(node["latency_p50_ms"], 1e-6),
    ),
    Column(
        "errors_by_load", "share", 0.0, 100.0, 1, "cross", "error rate over cores in use",
        lambda node: node["error_rate"] / np.maximum(node["cpu"], 0.01),
    ),
    Column(
        "pressure", "share", 0.0, 1.0, 1, "cross", "the fullest of cores, memory and disk",
        lambda node: np.maximum(np.maximum(node["cpu"], node["memory"]), node["disk_io"]),
    ),
    staleness("cross"),
)  # fmt: skip

NODES: Final = Pipeline(
    "node",
    MEASURED,
    [*canonical(MEASURED), *temporal(MEASURED), *_CROSS, *anomaly(MEASURED)],
)
"""Every feature of a node and minute."""
