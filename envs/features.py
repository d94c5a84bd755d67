"""The observation of a codec decision: which inputs there are, in which order, in what unit and scale."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.decisions import CodecQuestion
from sim.estimates import alone, codec_rows
from sim.jit import njit
from sim.payloads import CLASS_NAMES
from sim.physics import MSS
from sim.scenarios import LINK_TYPES
from sim.units import MBIT, MIB, MS

_FOREVER_S = 1e5
_LN_2, _LN_ROOT_2, _ROOT_2 = math.log(2.0), 0.5 * math.log(2.0), math.sqrt(2.0)
_FRACTION, _ONE = 0x000FFFFFFFFFFFFF, 0x3FF0000000000000
_EXPONENT, _TWO_TO_52, _BIAS = 0x7FF, 0x4330000000000000, 4503599627370496.0 + 1023.0
_LEAST_LOSS = 1e-18


@dataclass(frozen=True)
class Feature:
    """One input of a policy.

    Attributes:
        name: Name in tables, bundles and logs, with its unit.
        unit: Unit of the field.
        low: Value that becomes -1; smaller ones are clipped.
        high: Value that becomes +1; larger ones are clipped.
        scale: ``linear``, or ``log`` when ratios matter; then ``low`` is above 0.
        about: What it says, for the table in the docs.
    """

    name: str
    unit: str
    low: float
    high: float
    scale: Literal["linear", "log"]
    about: str

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.scale == "log" and self.low <= 0):
            raise ValueError(f"feature {self.name} needs low < high, and low above 0 on a log scale")


@njit
def _log(value: float) -> float:
    """The natural logarithm of a normal number above 0, to 4e-15; NaN of NaN.

    Without a call, a branch or a table, so that a loop over it is vectorised and takes a third of the time. A
    number is ``m 2^e`` with m in [1, 2); of ``m / sqrt(2)`` it is the series of 2 artanh, as far as doubles
    resolve it.
    """
    bits = np.float64(value).view(np.int64)
    m = np.int64(bits & _FRACTION | _ONE).view(np.float64)
    e = np.int64(bits >> 52 & _EXPONENT | _TWO_TO_52).view(np.float64) - _BIAS
    s = (m - _ROOT_2) / (m + _ROOT_2)
    z = s * s
    z2 = z * z
    z4 = z2 * z2
    high = (1 / 17 * z4 + (1 / 15 * z + 1 / 13) * z2 + (1 / 11 * z + 1 / 9)) * z4
    series = high + (1 / 7 * z + 1 / 5) * z2 + (1 / 3 * z + 1.0)
    return (e * _LN_2 + _LN_ROOT_2) + 2.0 * s * series + (value - value)


@njit
def scale(values: NDArray[np.float64], rules: NDArray[np.float64], scaled: NDArray[np.float32]) -> None:
    """Scale rows of features, flat, by their rules: low, high, whether to take logs, gain and shift."""
    for row in range(values.shape[0] // rules.shape[0]):
        first = row * rules.shape[0]
        for i in range(rules.shape[0]):
            value = min(max(values[first + i], rules[i, 0]), rules[i, 1])
            log = _log(value)
            scaled[first + i] = (log if rules[i, 2] else value) * rules[i, 3] + rules[i, 4]


class FeatureList:
    """Features in order: observes questions, scaled to [-1, 1], and prints itself as a table.

    Attributes:
        features: In the order of the observation.
        names: Theirs.
        rules: How `scale` scales them, shape (features, 5); each column lies together.

    Args:
        features: In the order of the observation.
        read: Takes their values from a question, in the same order and in their units.
    """

    def __init__(self, features: Sequence[Feature], read: Callable[[Any], ArrayLike]) -> None:
        self.features = tuple(features)
        self.names = tuple(feature.name for feature in self.features)
        if len(set(self.names)) != len(self.names):
            raise ValueError("feature names must differ from each other")
        self._read = read
        self._places = {name: place for place, name in enumerate(self.names)}
        self._log = np.array([feature.scale == "log" for feature in self.features])
        low = np.array([feature.low for feature in self.features], np.float64)
        high = np.array([feature.high for feature in self.features], np.float64)
        start = np.log(low, where=self._log, out=low.copy())
        end = np.log(high, where=self._log, out=high.copy())
        self._gain = 2.0 / (end - start)
        self._shift = -1.0 - start * self._gain
        self.rules = np.stack([low, high, self._log.astype(np.float64), self._gain, self._shift]).T

    def __len__(self) -> int:
        """Number of features."""
        return len(self.features)

    def raw(self, question: Any) -> NDArray[np.float64]:
        """The features in their units, shape (features,)."""
        values = np.asarray(self._read(question), np.float64)
        if len(values) != len(self.features):
            raise ValueError(
                f"the list has {len(self.features)} features, got {len(values)} values from its read"
            )
        return values

    def scaled(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Features in their units, shape (..., features), brought to [-1, 1]."""
        scaled = np.empty(raw.shape, np.float32)
        scale(raw.ravel(), self.rules, scaled.ravel())
        return scaled

    def unscaled(self, observation: NDArray[np.float32]) -> NDArray[np.float64]:
        """Features in their units from an observation, shape (..., features); what was clipped stays so."""
        values: NDArray[np.float64] = (observation.astype(np.float64) - self._shift) / self._gain
        np.exp(values, where=self._log, out=values)
        return values

    def observe(self, question: Any) -> NDArray[np.float32]:
        """The observation of a question, shape (features,), each entry in [-1, 1]."""
        scaled = np.empty(len(self.rules), np.float32)
        scale(self.raw(question), self.rules, scaled)
        return scaled

    def index(self, name: str) -> int:
        """Position of a feature.

        Raises:
            ValueError: If there is none of that name.
        """
        if name not in self._places:
            raise ValueError(f"unknown feature {name!r}; there are {', '.join(self.names)}")
        return self._places[name]

    def table(self) -> str:
        """Markdown table of the features, in order."""
        rows = ["| # | feature | unit | from | to | scale | what it says |", "|---|---|---|---|---|---|---|"]
        rows += [
            f"| {row} | `{one.name}` | {one.unit} | {one.low:g} | {one.high:g} | {one.scale} | {one.about} |"
            for row, one in enumerate(self.features, 1)
        ]
        return "\n".join(rows)


_PUBLISHED = (
    Feature("rtt_ms", "ms", 0.1, 500, "log", "round trip at the last probe"),
    Feature("jitter_ms", "ms", 0.01, 100, "log", "change of the round trip between probes"),
    Feature("bandwidth_mbps", "Mbit/s", 0.5, 40000, "log", "what the last probe found free"),
    Feature("loss", "share", 1e-06, 0.1, "log", "loss at the last probe"),
    Feature("link_type", "code", 0, len(LINK_TYPES) - 1, "linear", "what the configuration calls the path"),
    Feature("region", "code", 0, 7, "linear", "which path"),
    Feature("size_mb", "MiB", 0.0005, 65536, "log", "size of the payload"),
    Feature("entropy", "share", 0, 1, "linear", "bits per byte over 8 of a sample"),
    Feature("compressibility", "share", 0, 1, "linear", "1 - 1/ratio of zstd-1 on a sample"),
    Feature(
        "delta_potential",
        "share",
        0,
        1,
        "linear",
        "share of blocks that the baseline still has; 0 without one",
    ),
    Feature("data_type", "code", 0, len(CLASS_NAMES) - 1, "linear", "class of the payload"),
    Feature("cpu_usage", "share", 0, 1, "linear", "cores in use"),
    Feature("memory_pressure", "share", 0, 1, "linear", "baseline memory in use"),
    Feature("active_transfers", "count", 0, 32, "linear", "running on this path"),
    Feature("time_of_day", "h", 0, 24, "linear", "local hour"),
    Feature("recent_hde_ratio", "x", 1, 1000, "log", "average of this dataset's deltas"),
    Feature(
        "recent_amst_rate_share",
        "share",
        0.01,
        10,
        "log",
        "average rate of multi-stream transfers over the probed bandwidth",
    ),
    Feature("recent_zstd_ratio", "x", 1, 30, "log", "average of this class"),
)
"""The 18 inputs of DWCP's architecture document: network 6, data 5, system 4, history 3; all lagged."""

_STATE = (
    Feature("has_baseline", "bool", 0, 1, "linear", "a delta can be sent"),
    Feature("baseline_age_s", "s", 0, 300, "linear", "age of that baseline"),
    Feature("deltas", "count", 0, 10, "linear", "deltas sent against it"),
    Feature("changed", "share", 0.0001, 1, "log", "estimated share of blocks changed since"),
    Feature("seen", "count", 0.5, 64, "log", "earlier transfers of this dataset"),
    Feature("interval_s", "s", 0.1, _FOREVER_S, "log", "average time between them"),
    Feature("running_streams", "count", 0.5, 256, "log", "TCP streams on this path"),
    Feature("waiting", "count", 0.5, 128, "log", "transfers that wait for a slot"),
    Feature("wire_backlog_s", "s", 0.01, 1000, "log", "bytes still to send on this path over its bandwidth"),
    Feature("core_backlog_s", "s", 0.01, 1000, "log", "encoding still to do over the cores"),
    Feature("capacity_mbps", "Mbit/s", 0.5, 40000, "log", "the path as provisioned"),
    Feature("cores", "count", 1, 64, "log", "cores of the sender"),
    Feature("wire_time_s", "s", 0.001, 10000, "log", "raw bytes over the bandwidth"),
    Feature("window_share", "share", 0.001, 100, "log", "window of one stream over the bandwidth"),
    Feature("loss_share", "share", 0.001, 100, "log", "loss-limited rate of one stream over the bandwidth"),
    Feature(
        "recent_single_rate_share",
        "share",
        0.01,
        10,
        "log",
        "average rate of single-stream transfers over the bandwidth",
    ),
    Feature("goodput_share", "share", 0, 2, "linear", "recent wire rate over the probed bandwidth"),
    Feature("priority", "weight", 0, 4, "linear", "cost of a second"),
    Feature(
        "slack_s", "s", 0.01, _FOREVER_S, "log", "time to the deadline; the end of the range without one"
    ),
    Feature("waited_s", "s", 0.01, 1000, "log", "time since arrival"),
)
"""HDE state, backlog and load: what makes the choice sequential."""

_ESTIMATES = (
    Feature(
        "none_time_s", "s", 1e-3, 1e4, "log", "estimated time raw on one stream, alone on path and cores"
    ),
    *(
        Feature(f"{name}_speedup", "x", 0.1, 50, "log", f"that time over the estimated time with {name}")
        for name in ("zstd", "hde", "amst")
    ),
)
"""What the measurements come to: the sender's own estimates, see `sim.estimates`."""

_FEATURES = _PUBLISHED + _STATE + _ESTIMATES


@njit
def fill_codec(
    rows: NDArray[np.void], seconds: tuple[float, float, float, float], values: NDArray[np.float64]
) -> None:
    """Write the values of `CODEC_FEATURES`, in their order and units.

    Args:
        rows: The question is the first of them.
        seconds: What `sim.estimates.alone` says of it.
        values: Takes them.
    """
    q = rows[0]
    bandwidth = max(q["bandwidth"], 1.0)
    none_s, zstd_s, hde_s, amst_s = seconds
    values[:] = (
        # published: network
        q["rtt_s"] / MS,
        q["jitter_s"] / MS,
        q["bandwidth"] / MBIT,
        q["loss"],
        q["link_type"],
        q["path"],
        # payload
        q["size_bytes"] / MIB,
        q["entropy"],
        1.0 - 1.0 / q["sample_ratio"],
        1.0 - q["changed"],
        q["kind"],
        # system
        q["cpu_load"],
        q["memory_pressure"],
        q["running"],
        q["hour"],
        # history
        q["delta_ratio"],
        q["amst_rate"] / bandwidth,
        q["zstd_ratio"],
        # state: baseline
        q["has_baseline"],
        q["baseline_age_s"],
        q["deltas"],
        q["changed"],
        q["seen"] + 0.5,
        min(q["interval_s"], _FOREVER_S),
        # load
        q["streams"] + 0.5,
        q["waiting"] + 0.5,
        q["wire_backlog_bytes"] / bandwidth,
        q["core_backlog_s"] / q["cores"],
        # path and sender
        q["capacity"] / MBIT,
        q["cores"],
        q["size_bytes"] / bandwidth,
        q["window_bytes"] / q["rtt_s"] / bandwidth,
        MSS * 1.22 / q["rtt_s"] / np.sqrt(max(q["loss"], _LEAST_LOSS)) / bandwidth,
        q["single_rate"] / bandwidth,
        q["goodput_share"],
        # stakes
        q["priority"],
        min(q["slack_s"], _FOREVER_S),
        q["waited_s"],
        # estimates
        none_s,
        none_s / zstd_s,
        none_s / hde_s,
        none_s / amst_s,
    )


def _read(question: CodecQuestion) -> NDArray[np.float64]:
    values = np.empty(len(_FEATURES))
    rows = codec_rows(question)
    fill_codec(rows, alone(rows), values)
    return values


CODEC_FEATURES = FeatureList(_FEATURES, _read)
"""The observation of `dwcp/Compression-v0`."""
