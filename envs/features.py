"""The observation of a codec decision: the one place that knows which inputs there are, their order, units and scales."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from envs.estimates import estimate
from sim.decisions import CodecQuestion
from sim.jit import njit
from sim.payloads import CLASS_NAMES
from sim.scenarios import LINK_TYPES
from sim.units import MBIT, MIB, MS

_FOREVER_S = 1e5


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
        read: Takes it from a question, in its unit; None for one of those that are worked out together.
    """

    name: str
    unit: str
    low: float
    high: float
    scale: Literal["linear", "log"]
    about: str
    read: Callable[[CodecQuestion], float] | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.scale == "log" and self.low <= 0):
            raise ValueError(f"feature {self.name} needs low < high, and low above 0 on a log scale")


@njit
def _scale(values: NDArray[np.float64], rules: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rows of features, flat, by their rules: low, high, whether to take the logarithm, gain and shift."""
    scaled = np.empty(values.shape[0], np.float32)
    for i in range(values.shape[0]):
        rule = rules[i % rules.shape[0]]
        value = min(max(values[i], rule[0]), rule[1])
        if rule[2]:
            value = np.log(value)
        scaled[i] = value * rule[3] + rule[4]
    return scaled


class FeatureList:
    """Features in order: observes questions, scaled to [-1, 1], and prints itself as a table.

    Args:
        features: In the order of the observation; those without ``read`` come last.
        together: Values of those without ``read``, in their order and units.
    """

    def __init__(
        self, features: Sequence[Feature], together: Callable[[CodecQuestion], Iterable[float]] = lambda question: ()
    ) -> None:
        self.features = tuple(features)
        self.names = tuple(feature.name for feature in self.features)
        if len(set(self.names)) != len(self.names):
            raise ValueError("feature names must differ from each other")
        self._read = tuple(feature.read for feature in self.features if feature.read is not None)
        self._together = together
        self._log = np.array([feature.scale == "log" for feature in self.features])
        low = np.array([feature.low for feature in self.features])
        high = np.array([feature.high for feature in self.features])
        start = np.log(low, where=self._log, out=low.copy())
        end = np.log(high, where=self._log, out=high.copy())
        self._gain = 2.0 / (end - start)
        self._shift = -1.0 - start * self._gain
        self._rules = np.stack([low, high, self._log.astype(np.float64), self._gain, self._shift], axis=1)

    def __len__(self) -> int:
        """Number of features."""
        return len(self.features)

    def raw(self, question: CodecQuestion) -> NDArray[np.float64]:
        """The features in their units, shape (features,)."""
        return np.array([*[read(question) for read in self._read], *self._together(question)], np.float64)

    def scaled(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Features in their units, shape (..., features), brought to [-1, 1]."""
        return _scale(raw.ravel(), self._rules).reshape(raw.shape)

    def unscaled(self, observation: NDArray[np.float32]) -> NDArray[np.float64]:
        """Features in their units from an observation, shape (..., features); what was clipped stays clipped."""
        values = (observation.astype(np.float64) - self._shift) / self._gain
        np.exp(values, where=self._log, out=values)
        return values

    def observe(self, question: CodecQuestion) -> NDArray[np.float32]:
        """The observation of a question, shape (features,), each entry in [-1, 1]."""
        return _scale(self.raw(question), self._rules)

    def index(self, name: str) -> int:
        """Position of a feature.

        Raises:
            ValueError: If there is none of that name.
        """
        return self.names.index(name)

    def table(self) -> str:
        """Markdown table of the features, in order."""
        rows = ["| # | feature | unit | from | to | scale | what it says |", "|---|---|---|---|---|---|---|"]
        rows += [
            f"| {number} | `{one.name}` | {one.unit} | {one.low:g} | {one.high:g} | {one.scale} | {one.about} |"
            for number, one in enumerate(self.features, 1)
        ]
        return "\n".join(rows)


def _link_type(question: CodecQuestion) -> float:
    return float(question.link_type)


def _single_share(question: CodecQuestion) -> float:
    """Window of one stream over the round trip, as a share of the bandwidth."""
    return question.window_bytes / question.rtt_s / max(question.bandwidth, 1.0)


def _loss_share(question: CodecQuestion) -> float:
    """Rate that Mathis' formula allows one stream, as a share of the bandwidth."""
    if question.loss <= 0:
        return 100.0
    return 1448 / question.rtt_s * 1.22 / question.loss**0.5 / max(question.bandwidth, 1.0)


_PUBLISHED = (
    Feature("rtt_ms", "ms", 0.1, 500, "log", "round trip at the last probe", lambda q: q.rtt_s / MS),
    Feature("jitter_ms", "ms", 0.01, 100, "log", "change of the round trip between probes", lambda q: q.jitter_s / MS),
    Feature(
        "bandwidth_mbps", "Mbit/s", 0.5, 40000, "log", "what the last probe found free", lambda q: q.bandwidth / MBIT
    ),
    Feature("loss", "share", 1e-6, 0.1, "log", "loss at the last probe", lambda q: q.loss),
    Feature("link_type", "code", 0, len(LINK_TYPES) - 1, "linear", "what the configuration calls the path", _link_type),
    Feature("region", "code", 0, 7, "linear", "which path", lambda q: q.path),
    Feature("size_mb", "MiB", 0.001, 65536, "log", "size of the payload", lambda q: q.size_bytes / MIB),
    Feature("entropy", "share", 0, 1, "linear", "bits per byte over 8 of a sample", lambda q: q.entropy),
    Feature(
        "compressibility", "share", 0, 1, "linear", "1 - 1/ratio of zstd-1 on a sample", lambda q: 1 - 1 / q.sample_ratio
    ),
    Feature(
        "delta_potential",
        "share",
        0,
        1,
        "linear",
        "share of blocks that the baseline still has; 0 without one",
        lambda q: 1 - q.changed,
    ),
    Feature("data_type", "code", 0, len(CLASS_NAMES) - 1, "linear", "class of the payload", lambda q: q.kind),
    Feature("cpu_usage", "share", 0, 1, "linear", "cores in use", lambda q: q.cpu_load),
    Feature(
        "memory_pressure", "share", 0, 1, "linear", "baseline memory in use", lambda q: q.memory_pressure
    ),
    Feature("active_transfers", "count", 0, 32, "linear", "running on this path", lambda q: q.running),
    Feature("time_of_day", "h", 0, 24, "linear", "local hour", lambda q: q.hour),
    Feature("recent_hde_ratio", "x", 1, 1000, "log", "average of this dataset's deltas", lambda q: q.delta_ratio),
    Feature(
        "recent_amst_rate_share",
        "share",
        0.01,
        10,
        "log",
        "average rate of multi-stream transfers over the probed bandwidth",
        lambda q: q.amst_rate / max(q.bandwidth, 1.0),
    ),
    Feature("recent_zstd_ratio", "x", 1, 30, "log", "average of this class", lambda q: q.zstd_ratio),
)
"""The architecture document's 18 inputs (network 6, data 5, system 4, history 3), all lagged, none of this transfer."""

_STATE = (
    Feature("has_baseline", "bool", 0, 1, "linear", "a delta can be sent", lambda q: q.has_baseline),
    Feature("baseline_age_s", "s", 0, 300, "linear", "age of that baseline", lambda q: q.baseline_age_s),
    Feature("deltas", "count", 0, 10, "linear", "deltas sent against it", lambda q: q.deltas),
    Feature("changed", "share", 1e-4, 1, "log", "estimated share of blocks changed since", lambda q: q.changed),
    Feature("seen", "count", 0.5, 64, "log", "earlier transfers of this dataset", lambda q: q.seen + 0.5),
    Feature(
        "interval_s", "s", 0.1, _FOREVER_S, "log", "average time between them", lambda q: min(q.interval_s, _FOREVER_S)
    ),
    Feature("running_streams", "count", 0.5, 256, "log", "TCP streams on this path", lambda q: q.streams + 0.5),
    Feature("waiting", "count", 0.5, 128, "log", "transfers that wait for a slot", lambda q: q.waiting + 0.5),
    Feature(
        "wire_backlog_s",
        "s",
        0.01,
        1000,
        "log",
        "bytes still to send on this path over its bandwidth",
        lambda q: q.wire_backlog_bytes / max(q.bandwidth, 1.0),
    ),
    Feature(
        "core_backlog_s", "s", 0.01, 1000, "log", "encoding still to do over the cores", lambda q: q.core_backlog_s / q.cores
    ),
    Feature("capacity_mbps", "Mbit/s", 0.5, 40000, "log", "the path as provisioned", lambda q: q.capacity / MBIT),
    Feature("cores", "count", 1, 64, "log", "cores of the sender", lambda q: q.cores),
    Feature(
        "wire_time_s", "s", 0.001, 10000, "log", "raw bytes over the bandwidth", lambda q: q.size_bytes / max(q.bandwidth, 1)
    ),
    Feature("window_share", "share", 0.001, 100, "log", "window of one stream over the bandwidth", _single_share),
    Feature("loss_share", "share", 0.001, 100, "log", "loss-limited rate of one stream over the bandwidth", _loss_share),
    Feature(
        "recent_single_rate_share",
        "share",
        0.01,
        10,
        "log",
        "average rate of single-stream transfers over the bandwidth",
        lambda q: q.single_rate / max(q.bandwidth, 1.0),
    ),
    Feature("goodput_share", "share", 0, 2, "linear", "recent wire rate over the probed bandwidth", lambda q: q.goodput_share),
    Feature("priority", "weight", 0, 4, "linear", "cost of a second", lambda q: q.priority),
    Feature(
        "slack_s",
        "s",
        0.01,
        _FOREVER_S,
        "log",
        "time to the deadline; the end of the range without one",
        lambda q: min(q.slack_s, _FOREVER_S),
    ),
    Feature("waited_s", "s", 0.01, 1000, "log", "time since arrival", lambda q: q.waited_s),
)
"""HDE state, backlog and load: what makes the choice sequential."""

_ESTIMATES = tuple(
    Feature(f"{name}_time_s", "s", 1e-4, 1e4, "log", f"estimated time with {name}, alone on path and cores")
    for name in ("none", "zstd", "hde", "amst")
)
"""What the measurements come to: the sender's own estimates, see `envs.estimates`."""

CODEC_FEATURES = FeatureList(_PUBLISHED + _STATE + _ESTIMATES, together=estimate)
"""The observation of `dwcp/Compression-v0`."""
