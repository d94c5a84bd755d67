"""The features of a link, minute by minute."""

from typing import Final

import numpy as np

from agents.supervised.feature_windows import Floats, correlation
from agents.supervised.features import (
    HOUR_LONG,
    Column,
    Formula,
    Measured,
    Pipeline,
    Series,
    Stage,
    anomaly,
    canonical,
    staleness,
    temporal,
)
from sim.physics import MSS
from sim.units import MB, MBIT, MS

MEASURED: Final = (
    Measured(
        "bandwidth_mbps", "Mbit/s", 0.0, 4e5, "free for a new bundle of streams, by probes", "bandwidth", MBIT
    ),
    Measured("rtt_ms", "ms", 1e-3, 5e3, "round trip, by probes", "rtt_s", MS),
    Measured("jitter_ms", "ms", 0.0, 2e3, "change of the round trip from probe to probe", "jitter_s", MS),
    Measured("loss", "share", 0.0, 1.0, "packets lost", "loss"),
    Measured("utilisation", "share", 0.0, 1.0, "carried over the capacity as provisioned", "utilisation"),
    Measured("throughput_mbps", "Mbit/s", 0.0, 4e5, "carried", "throughput", MBIT, followed=False),
    Measured("backlog_mb", "MB", 0.0, 1e7, "waiting to be sent", "backlog_bytes", MB, followed=False),
    Measured("streams", "count", 0.0, 1e4, "our TCP streams", "streams", followed=False),
)
"""What link telemetry must hold."""


def _column(
    stage: Stage,
    name: str,
    unit: str,
    high: float,
    about: str,
    formula: Formula,
    *,
    window: int = 1,
    low: float = 0.0,
) -> Column:
    return Column(name, unit, low, high, window, stage, about, formula)


def _pair(first: str, second: str) -> Column:
    return _column(
        "cross",
        f"{first.removesuffix('_mbps')}_{second.removesuffix('_ms')}_correlation",
        "",
        1.0,
        f"of {first} and {second} over the hour",
        lambda link: correlation(link[first], link[second], HOUR_LONG),
        window=HOUR_LONG,
        low=-1.0,
    )


def _stream_mbps(link: Series) -> Floats:
    return MSS * 1.22 / (link["rtt_ms"] * MS) / np.sqrt(np.maximum(link["loss"], 1e-9)) / MBIT


def _health(link: Series) -> Floats:
    used = 100 * link["utilisation"]
    by_use = np.where(used <= 80, used, 160 - used)
    return 0.3 * (100 - 100 * link["loss"]) + 0.3 * np.maximum(100 - link["rtt_ms"] / 10, 0) + 0.4 * by_use


def _congestion(link: Series) -> Floats:
    return 40 * link["utilisation"] + 0.3 * np.minimum(link["rtt_ms"] / 2, 100) + 300 * link["loss"]


_CROSS: Final = (
    _column(
        "cross",
        "bdp_mbit",
        "Mbit",
        2e6,
        "bandwidth times round trip",
        lambda x: x["bandwidth_mbps"] * x["rtt_ms"] * MS,
    ),
    _column(
        "cross",
        "rtt_inflation",
        "x",
        1e3,
        "round trip over its least in the hour: queueing",
        lambda x: x["rtt_ms"] / x["rtt_ms_min60"],
        window=HOUR_LONG,
    ),
    _column(
        "cross",
        "headroom",
        "share",
        1.0,
        "bandwidth over its greatest in the hour",
        lambda x: x["bandwidth_mbps"] / np.maximum(x["bandwidth_mbps_max60"], 1e-6),
        window=HOUR_LONG,
    ),
    _column(
        "cross", "jitter_share", "x", 1e3, "jitter over round trip", lambda x: x["jitter_ms"] / x["rtt_ms"]
    ),
    _column(
        "cross",
        "stream_mbps",
        "Mbit/s",
        1e6,
        "what loss leaves one Reno stream (Mathis et al. 1997)",
        _stream_mbps,
    ),
    _column(
        "cross",
        "streams_to_fill",
        "count",
        1e4,
        "bandwidth over that",
        lambda x: x["bandwidth_mbps"] / x["stream_mbps"],
    ),
    _column(
        "cross", "load_loss", "share", 1.0, "utilisation times loss", lambda x: x["utilisation"] * x["loss"]
    ),
    _column(
        "cross",
        "backlog_s",
        "s",
        1e6,
        "backlog over bandwidth",
        lambda x: 8 * x["backlog_mb"] / np.maximum(x["bandwidth_mbps"], 1e-3),
    ),
    _pair("bandwidth_mbps", "rtt_ms"),
    _pair("utilisation", "rtt_ms"),
    _pair("utilisation", "loss"),
)

_TRANSFER: Final = (
    _column(
        "transfer", "health_score", "points", 100.0, "0.3 loss + 0.3 latency + 0.4 use, as published", _health
    ),
    _column(
        "transfer",
        "congestion_score",
        "points",
        400.0,
        "0.4 use + 0.3 latency + 300 loss, as published",
        _congestion,
    ),
    _column(
        "transfer",
        "efficiency",
        "share",
        1.0,
        "what one stream could have of the bandwidth",
        lambda x: x["stream_mbps"] / np.maximum(x["bandwidth_mbps"], 1e-6),
    ),
    _column(
        "transfer",
        "gigabyte_s",
        "s",
        1e7,
        "seconds that 1 GB takes at the mean bandwidth of 5 min",
        lambda x: 8e3 / np.maximum(x["bandwidth_mbps_mean5"], 1e-3),
        window=5,
    ),
    _column(
        "transfer",
        "stability",
        "share",
        1.0,
        "1 / (1 + std over mean) of the hour's bandwidth",
        lambda x: 1 / (1 + x["bandwidth_mbps_std60"] / np.maximum(x["bandwidth_mbps_mean60"], 1e-6)),
        window=HOUR_LONG,
    ),
    staleness("transfer"),
)

LINKS: Final = Pipeline(
    "link",
    MEASURED,
    [*canonical(MEASURED), *temporal(MEASURED), *_CROSS, *_TRANSFER, *anomaly(MEASURED)],
)
"""Every feature of a link and minute.

Source:
    Stages and scores as in the published pipelines (host telemetry to Parquet; tcp-agent-platform's
    performance predictor). Entropy: Bandt, Pompe: Permutation Entropy. Physical Review Letters 88, 2002.
"""
