"""An episode as plain lists: the clock meets one entry at a time, and lists hold Python's numbers."""

from bisect import bisect_right
from math import isnan

from sim.episode import Episode
from sim.scenarios import LINK_TYPES


class Rows:
    """What an episode says of each transfer and of each moment.

    Attributes:
        path: Path of each transfer; a dispatcher that may choose the path writes here.
    """

    def __init__(self, episode: Episode) -> None:
        self.arrival_s: list[float] = episode.requests.arrival_s.tolist()
        self.dataset: list[int] = episode.requests.dataset.tolist()
        self.size_bytes: list[float] = episode.requests.size_bytes.tolist()
        self.priority: list[float] = episode.requests.priority.tolist()
        self.deadline_s: list[float] = episode.deadline_s.tolist()
        self.path: list[int] = episode.path.tolist()
        self.kind: list[int] = episode.payloads.kind.tolist()
        self.entropy: list[float] = episode.payloads.entropy.tolist()
        self.sample_ratio: list[float] = episode.payloads.sample_ratio.tolist()
        self.repetition: list[float] = episode.payloads.repetition.tolist()
        self.times: list[float] = episode.conditions.times.tolist()
        self.limits: list[tuple[float, float, int]] = [
            (window, queue, int(control)) for window, queue, control in episode.path_limits.tolist()
        ]
        self.nominal: list[float] = episode.nominal.tolist()
        self.link_types = [LINK_TYPES.index(spec.link_type) for spec in episode.scenario.paths]
        self._start_hour = episode.start_hour
        self._cores: list[float] = episode.conditions.cores.tolist()
        self._probes = episode.probes.values  # rows are made lists when they are read: most never are
        self._last_probe = len(self._probes) - 1
        self._probe_period_s = episode.probes.period_s
        self._break_share: list[float] = episode.faults.break_share.tolist()
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

    def probe(self, path: int, now_s: float) -> list[float]:
        """Last measurement of a path: RTT, jitter, available bandwidth, loss."""
        row: list[float] = self._probes[self._probe_row(now_s), path].tolist()
        return row

    def bandwidth(self, path: int, now_s: float) -> float:
        """Available bandwidth alone, of the same measurement."""
        return float(self._probes[self._probe_row(now_s), path, 2])

    def _probe_row(self, now_s: float) -> int:
        return min(int(now_s / self._probe_period_s), self._last_probe)

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
