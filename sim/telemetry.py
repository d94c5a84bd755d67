"""What is written down about transfers, and the lagged averages that a sender keeps of them."""

from typing import NamedTuple

from sim.payloads import CLASS_NAMES

SMOOTHING = 0.2
"""Weight of the newest transfer in an average; DWCP's hit rate uses 0.1, its codec averages 0.1 to 0.2."""
NEUTRAL_ZSTD = 3.0
"""Ratio assumed before the first compressed transfer of a kind."""
NEUTRAL_DELTA = 10.0
"""Ratio assumed before the first delta of a kind."""


class TransferRecord(NamedTuple):
    """One transfer that has moved. Bytes, seconds, shares; rates follow from them."""

    request: int
    dataset: int
    kind: str
    path: int
    codec: str
    is_delta: bool
    is_baseline: bool
    arrival_s: float
    start_s: float
    end_s: float
    deadline_s: float
    priority: float
    size_bytes: float
    wire_bytes: float
    streams: int
    cpu_s: float


class Averages:
    """Exponential averages of what transfers have achieved, by payload class, dataset and path.

    Attributes:
        interval_s: Average time between two requests; inf before the second.

    Args:
        bandwidth: Neutral value of the rates: provisioned capacity of each path, bytes/s.
    """

    def __init__(self, bandwidth: list[float]) -> None:
        self.zstd_ratio = [NEUTRAL_ZSTD] * len(CLASS_NAMES)
        self.hde_ratio = [NEUTRAL_DELTA] * len(CLASS_NAMES)
        self.single_rate = list(bandwidth)
        self.amst_rate = list(bandwidth)
        self.goodput_share = [1.0] * len(bandwidth)
        self._delta_ratio: dict[int, float] = {}
        self._seen: dict[int, tuple[int, float, float]] = {}
        self.interval_s = float("inf")
        self._last_s: float | None = None

    def delta_ratio(self, dataset: int, kind: int) -> float:
        """Average ratio of the deltas of a dataset, or of its kind before its first."""
        return self._delta_ratio.get(dataset, self.hde_ratio[kind])

    def history(self, dataset: int) -> tuple[int, float]:
        """How often a dataset was sent, and the average time between."""
        count, _, interval_s = self._seen.get(dataset, (0, 0.0, float("inf")))
        return count, interval_s

    def request(self, dataset: int, now_s: float) -> None:
        """A transfer of a dataset was asked for."""
        count, last_s, interval_s = self._seen.get(dataset, (0, now_s, float("inf")))
        if count == 1:
            interval_s = now_s - last_s
        elif count > 1:
            interval_s += 0.5 * (now_s - last_s - interval_s)
        self._seen[dataset] = (count + 1, now_s, interval_s)
        if self._last_s is not None:
            gap_s = now_s - self._last_s
            known = self.interval_s < float("inf")
            self.interval_s = self.interval_s + SMOOTHING * (gap_s - self.interval_s) if known else gap_s
        self._last_s = now_s

    def complete(self, record: TransferRecord, kind: int, bandwidth: float) -> None:
        """A transfer ended; ``bandwidth`` is what the last probe of its path said, bytes/s."""
        ratio = record.size_bytes / record.wire_bytes
        if record.is_delta:
            self.hde_ratio[kind] += SMOOTHING * (ratio - self.hde_ratio[kind])
            before = self._delta_ratio.get(record.dataset, ratio)
            self._delta_ratio[record.dataset] = before + 0.5 * (ratio - before)
        elif record.is_baseline or record.codec.startswith("zstd"):
            self.zstd_ratio[kind] += SMOOTHING * (ratio - self.zstd_ratio[kind])
        wire_rate = record.wire_bytes / (record.end_s - record.start_s)
        rates = self.amst_rate if record.streams > 1 else self.single_rate
        rates[record.path] += SMOOTHING * (wire_rate - rates[record.path])
        share = min(4.0, wire_rate / bandwidth) if bandwidth > 0 else 0.0
        self.goodput_share[record.path] += SMOOTHING * (share - self.goodput_share[record.path])
