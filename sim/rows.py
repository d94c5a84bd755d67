"""An episode entry by entry, as Python's numbers: lists where all are met, views where most never are."""

from bisect import bisect_right
from collections.abc import Sequence
from math import isnan

from sim.episode import Episode
from sim.scenarios import LINK_TYPES


class Rows:
    """What an episode says of each transfer and of each moment.

    Attributes:
        path: Path of each transfer; a dispatcher that may choose the path writes here.
    """

    def __init__(self, episode: Episode) -> None:
        self.arrival_s: Sequence[float] = episode.requests.arrival_s.data
        self.dataset: Sequence[int] = episode.requests.dataset.data
        self.size_bytes: Sequence[float] = episode.requests.size_bytes.data
        self.priority: Sequence[float] = episode.requests.priority.data
        self.deadline_s: Sequence[float] = episode.deadline_s.data
        self.path: list[int] = episode.path.tolist()
        self.kind: Sequence[int] = episode.payloads.kind.data
        self.entropy: Sequence[float] = episode.payloads.entropy.data
        self.sample_ratio: Sequence[float] = episode.payloads.sample_ratio.data
        self.repetition: Sequence[float] = episode.payloads.repetition.data
        self.times: list[float] = episode.conditions.times.tolist()
        self.limits: list[tuple[float, float, int]] = [
            (window, queue, int(control)) for window, queue, control in episode.path_limits.tolist()
        ]
        self.nominal: list[float] = episode.nominal.tolist()
        self.link_types = [LINK_TYPES.index(spec.link_type) for spec in episode.scenario.paths]
        self._start_hour = episode.start_hour
        self._cores: Sequence[float] = episode.conditions.cores.data
        self._probes = episode.probes.values.ravel().data
        self._last_probe = len(episode.probes.values) - 1
        self._probe_period_s = episode.probes.period_s
        self._break_share: Sequence[float] = episode.faults.break_share.data
        self._losses = list(
            zip(
                episode.faults.baseline_loss_s.tolist(),
                episode.faults.baseline_loss_dataset.tolist(),
                strict=True,
            )
        )

    def parts(self, request: int) -> tuple[float, float]:
        """Bytes of a transfer until it breaks and from there on; all of them and 0 when it does not break."""
        size_bytes, share = self.size_bytes[request], self._break_share[request]
        return (size_bytes, 0.0) if isnan(share) else (size_bytes * share, size_bytes * (1 - share))

    def probe(self, path: int, now_s: float) -> memoryview:
        """Last measurement of a path: RTT, jitter, available bandwidth, loss."""
        start = self._probe_start(path, now_s)
        return self._probes[start : start + 4]

    def bandwidth(self, path: int, now_s: float) -> float:
        """Available bandwidth alone, of the same measurement."""
        bandwidth: float = self._probes[self._probe_start(path, now_s) + 2]
        return bandwidth

    def _probe_start(self, path: int, now_s: float) -> int:
        row = min(int(now_s / self._probe_period_s), self._last_probe)
        return 4 * (row * len(self.nominal) + path)

    def hour(self, now_s: float) -> float:
        """Local hour of day, [0, 24)."""
        return (self._start_hour + now_s / 3600.0) % 24.0

    def piece(self, now_s: float) -> int:
        """Row of the conditions that hold now."""
        return bisect_right(self.times, now_s) - 1

    def cores_free(self, now_s: float) -> float:
        """Cores that other work leaves."""
        return self._cores[self.piece(now_s)]

    def receiver_lost(self, dataset: int, since_s: float, now_s: float) -> bool:
        """Whether the receiver lost its baseline of a dataset in between."""
        return any(lost == dataset and since_s < at <= now_s for at, lost in self._losses)
