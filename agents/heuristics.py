"""Rules that need no training: constants, the published DWCP rules, and estimates from lagged averages."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.policy import Actions, Mask, Observation, Policy, best_allowed
from envs.features import CODEC_FEATURES, FeatureList
from sim.codecs import Codec
from sim.units import MBIT, MIB

ENCODE_RATE = {"none": 1.2e9, "amst": 1.2e9, "zstd": 330e6, "hde": 300e6, "hde_xor": 300e6}
"""Raw bytes per core-second that a sender may take for granted (medians of the measured classes)."""
DELTA_SCAN_RATE = 9e9
"""Bytes per core-second at which unchanged blocks are passed over."""


SPEEDUP = {
    "none": "",
    "zstd": "zstd_speedup",
    "hde": "hde_speedup",
    "hde_xor": "hde_speedup",
    "amst": "amst_speedup",
}
"""Feature that estimates each family of codecs."""
MEAN_PRIORITY = 1.7
"""Priority of the others, who are not known one by one: the mean of the default tiers."""

Scores = NDArray[np.float64]


class Fixed(Policy):
    """Always the same codec."""

    def __init__(self, name: str, action: int) -> None:
        self.name = name
        self._action = action

    def act(self, observation: Observation, mask: Mask | None = None) -> int | Actions:
        """The one action, whatever is seen."""
        if observation.ndim == 1:
            return self._action
        return np.full(len(observation), self._action, np.int64)


class Seen:
    """An observation by feature name, in the features' units.

    Args:
        observation: Shape (F,); what follows the features is left out.
        features: The question's own, or those with forecasts.
    """

    def __init__(self, observation: Observation, features: FeatureList = CODEC_FEATURES) -> None:
        self._features = features
        self._values = features.unscaled(observation[..., : len(features)])

    def __getitem__(self, name: str) -> float:
        return float(self._values[self._features.index(name)])


class Rule(Policy):
    """A rule that scores every codec from one observation; the highest score wins.

    Args:
        codecs: What the actions stand for.
    """

    def __init__(self, codecs: Sequence[Codec]) -> None:
        self._codecs = tuple(codecs)

    def act(self, observation: Observation, mask: Mask | None = None) -> int | Actions:
        """The codec with the highest score."""
        if observation.ndim == 1:
            return best_allowed(self._scores(self._seen(observation)), mask)
        count = len(observation)
        masks = [None] * count if mask is None else np.broadcast_to(mask, (count, len(self._codecs)))
        return np.array([int(self.act(*row)) for row in zip(observation, masks, strict=True)], np.int64)

    def _seen(self, observation: Observation) -> Seen:
        return Seen(observation)

    def _scores(self, seen: Seen) -> Scores:
        raise NotImplementedError

    def _prefer(self, *families: str) -> Scores:
        """Scores that pick the first of the named families that there is."""
        order = {family: len(families) - rank for rank, family in enumerate(families)}
        return np.array([float(order.get(codec.family, 0)) for codec in self._codecs])


class DwcpRule(Rule):
    """DWCP's fallback rule: HDE where deltas have paid or bandwidth is small, else AMST.

    Source:
        NovaCron, the Go selector's rule when no model answers: RTT below 1 ms and above 500 Mbit/s: AMST;
        delta ratio above 10 at a hit rate above 80 %: HDE; below 100 Mbit/s: HDE; else AMST. A held baseline
        is the hit here.
    """

    name = "dwcp_rule"

    def _scores(self, seen: Seen) -> Scores:
        if seen["rtt_ms"] < 1 and seen["bandwidth_mbps"] > 500:
            return self._prefer("amst", "none")
        if (seen["recent_hde_ratio"] > 10 and seen["has_baseline"] > 0.5) or seen["bandwidth_mbps"] < 100:
            return self._prefer("hde", "zstd")
        return self._prefer("amst", "none")


class ModeRule(Rule):
    """DWCP's mode rules: tiny or dense payloads raw, no compression in a data centre, zstd on the internet.

    Source:
        NovaCron, hybrid orchestrator and mode detector: data centre below 10 ms at 1 Gbit/s or more; internet
        above 50 ms or below 1 Gbit/s; between them the ratios seen so far decide. Entropy above 0.85 is raw.
    """

    name = "mode_rule"

    def _scores(self, seen: Seen) -> Scores:
        if seen["size_mb"] * MIB < 1024 or (seen["entropy"] > 0.85 and seen["compressibility"] < 0.1):
            return self._prefer("none")
        if seen["rtt_ms"] < 10 and seen["bandwidth_mbps"] >= 1000:
            return self._prefer("amst", "none")
        if seen["rtt_ms"] > 50 or seen["bandwidth_mbps"] < 1000:
            return self._prefer("hde" if seen["has_baseline"] > 0.5 else "zstd", "zstd")
        return self._prefer("hde" if seen["recent_hde_ratio"] > seen["recent_zstd_ratio"] else "zstd", "zstd")


class Estimate(Rule):
    """Take the codec with the shortest time, as the sender estimates it for itself; blind to others.

    Args:
        codecs: What the actions stand for.
        cpu_price: Cost of a core-second, in seconds.

    Attributes:
        cpu_price: The same.
    """

    name = "estimate"

    def __init__(self, codecs: Sequence[Codec], cpu_price: float = 0.1) -> None:
        super().__init__(codecs)
        self.cpu_price = cpu_price

    def _scores(self, seen: Seen) -> Scores:
        return -np.array([self._cost(codec, seen) for codec in self._codecs])

    def _cost(self, codec: Codec, seen: Seen) -> float:
        return seen["priority"] * self._alone_s(codec, seen) + self.cpu_price * self._core_s(codec, seen)

    def _alone_s(self, codec: Codec, seen: Seen) -> float:
        speedup = SPEEDUP[codec.family]
        return seen["none_time_s"] / (seen[speedup] if speedup else 1.0)

    def _core_s(self, codec: Codec, seen: Seen) -> float:
        """Core-seconds of encoding."""
        size_bytes, encode = seen["size_mb"] * MIB, ENCODE_RATE[codec.family]
        if codec.keeps_baseline and seen["has_baseline"] > 0.5:
            return size_bytes * (1.0 / DELTA_SCAN_RATE + seen["changed"] / encode)
        return size_bytes / encode


class Contention(Estimate):
    """The same estimate, with the wait that a transfer has from others and causes to them.

    Whoever joins n others on a shared resource takes its own work from each of them: it counts n times more.
    """

    name = "contention"

    def _cost(self, codec: Codec, seen: Seen) -> float:
        others = seen["active_transfers"]
        wire_backlog, core_backlog = seen["wire_backlog_s"], seen["core_backlog_s"]
        at_cores = others * core_backlog / (wire_backlog + core_backlog)
        at_wire = others - at_cores
        core_s = self._core_s(codec, seen)
        wire, cores = self._wire_s(codec, seen), core_s / seen["cores"]
        own = self._own_s(codec, seen, wire * (1 + at_wire), cores * (1 + at_cores))
        caused = wire * at_wire + cores * at_cores
        return seen["priority"] * own + MEAN_PRIORITY * caused + self.cpu_price * core_s

    def _own_s(self, codec: Codec, seen: Seen, wire_s: float, cores_s: float) -> float:
        """Seconds until it is decoded, given those that its path and cores take with the others there."""
        return max(self._alone_s(codec, seen), wire_s, cores_s)

    def _wire_s(self, codec: Codec, seen: Seen) -> float:
        """Seconds for which the whole path is busy with it."""
        ratio = 1.0
        if codec.keeps_baseline and seen["has_baseline"] > 0.5:
            ratio = seen["recent_hde_ratio"]
        elif codec.level:
            ratio = 1.0 / max(1e-3, 1.0 - seen["compressibility"])
        return seen["size_mb"] * MIB / ratio / (seen["capacity_mbps"] * MBIT)
