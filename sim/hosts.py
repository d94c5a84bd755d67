"""What a sender keeps between transfers: its cores, and the baselines against which HDE sends deltas."""

from collections import OrderedDict
from dataclasses import dataclass

from sim.units import GIB, MINUTE


@dataclass(frozen=True)
class Host:
    """A sending site.

    Attributes:
        cores: Cores for encoding, above 0.
        background: Share of the cores that other work takes on average, in [0, 1).
        background_sd: Standard deviation of that share.
        baseline_memory: Bytes of baselines it can hold (DWCP's documented limit is 1 GiB).
        max_age_s: A delta is sent only against a baseline at most this old (DWCP: 5 minutes).
        max_deltas: A baseline is replaced after this many deltas (DWCP: 10).
    """

    cores: int = 4
    background: float = 0.1
    background_sd: float = 0.05
    baseline_memory: float = 16 * GIB
    max_age_s: float = 5 * MINUTE
    max_deltas: int = 10

    def __post_init__(self) -> None:
        if self.cores < 1:
            raise ValueError(f"host cores must be at least 1, got {self.cores}")
        if not 0 <= self.background < 1:
            raise ValueError(f"host background must be a share in [0, 1), got {self.background}")
        if not 0 <= self.background_sd < 1:
            raise ValueError(f"host background_sd must be in [0, 1), got {self.background_sd}")
        if self.baseline_memory < 0:
            raise ValueError(f"host baseline_memory must be at least 0 bytes, got {self.baseline_memory}")
        if self.max_age_s < 0 or self.max_deltas < 0:
            raise ValueError("host max_age_s and max_deltas must be at least 0")


@dataclass(slots=True)
class Baseline:
    """A version of a dataset that both ends hold.

    Attributes:
        taken_s: When the version was read.
        size_bytes: Memory it takes; DWCP's encoder keeps the payload whole.
        deltas: How many deltas were sent against it.
    """

    taken_s: float
    size_bytes: float
    deltas: int = 0


class BaselineStore:
    """Baselines by dataset, bounded in memory; the least recently used go first."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._kept: OrderedDict[int, Baseline] = OrderedDict()
        self.used_bytes = 0.0

    @property
    def pressure(self) -> float:
        """Share of the memory in use, in [0, 1]."""
        return self.used_bytes / self._host.baseline_memory if self._host.baseline_memory else 1.0

    def peek(self, dataset: int, now_s: float) -> Baseline | None:
        """Baseline against which a delta may be sent now, or None when there is none or it is used up."""
        baseline = self._kept.get(dataset)
        if (
            baseline is None
            or now_s - baseline.taken_s > self._host.max_age_s
            or baseline.deltas >= self._host.max_deltas
        ):
            return None
        return baseline

    def use(self, dataset: int) -> None:
        """Count a delta against the baseline of a dataset and keep it longest."""
        baseline = self._kept[dataset]
        baseline.deltas += 1
        self._kept.move_to_end(dataset)

    def put(self, dataset: int, taken_s: float, size_bytes: float) -> None:
        """Keep a new version and drop the least recently used others until it fits.

        A version too large is not kept, nor one older than the one there, whose transfer began first and took
        longer.
        """
        kept = self._kept.get(dataset)
        if kept is not None and kept.taken_s > taken_s:
            return
        self.drop(dataset)
        if size_bytes > self._host.baseline_memory:
            return
        while self.used_bytes + size_bytes > self._host.baseline_memory:
            self.drop(next(iter(self._kept)))
        self._kept[dataset] = Baseline(taken_s, size_bytes)
        self.used_bytes += size_bytes

    def drop(self, dataset: int) -> None:
        """Forget a dataset, if it is kept."""
        baseline = self._kept.pop(dataset, None)
        if baseline is not None:
            self.used_bytes -= baseline.size_bytes
            if not self._kept:
                self.used_bytes = 0.0
