"""Who wants to move what, and when: arrivals, datasets, sizes, priorities and deadlines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.payloads import CLASS_NAMES, MIXES, draw_sizes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Arrivals = Literal["poisson", "bursty", "diurnal", "sync", "flash"]
ARRIVALS: Final = get_args(Arrivals)
"""Laws of arrival by name; see `Workload`."""
_FLASH = (1 / 3, 2 / 3)
"""The part of a flash-crowd episode (in shares of its transfers) that arrives in a rush."""
_BURST_LENGTH = 12
"""Transfers in one burst or lull of bursty arrivals."""
_BURST_SD = 0.8
"""Log standard deviation of the rate of a burst; makes about the index of dispersion of Weibull(0.7) gaps."""
SIZE_LOG_SD: Final = 0.1
"""Log standard deviation of the sizes of one dataset's transfers."""
PERIOD_JITTER: Final = 0.05
"""Standard deviation of periodic arrivals around their times, in periods."""
_ZIPF = 0.8
"""Exponent of the popularity of datasets."""


@dataclass(frozen=True)
class Workload:
    """What a site sends.

    Attributes:
        mix: Name of a mixture of payload classes, or shares by class name.
        arrivals: ``poisson``; ``bursty`` (rate changes from burst to burst); ``diurnal`` (rate follows the
            hour); ``sync`` (each dataset is sent again and again at its own period, one-offs in between);
            ``flash`` (the middle third comes ``flash_factor`` times faster).
        interval_s: Mean time between two transfers, above 0.
        datasets: Datasets that are sent more than once.
        one_off: Share of transfers that are of a dataset never sent again, in [0, 1].
        size_scale: Factor on the size of every transfer; sites differ in it.
        max_bytes: No transfer is larger.
        fixed_bytes: Size of every transfer, in place of the classes' sizes; None draws them.
        flash_factor: How much faster the rush of a flash crowd is.
        priorities: Cost of a second by tier, highest first (three tiers as in B4 and SWAN).
        priority_shares: Share of transfers by tier.
        deadlines: Share of transfers that have a deadline.
        slack: Deadline in multiples of the time the raw bytes take on the idle path: lowest and highest.
    """

    mix: str | Mapping[str, float] = "default"
    arrivals: Arrivals = "poisson"
    interval_s: float = 2.0
    datasets: int = 16
    one_off: float = 0.3
    size_scale: float = 1.0
    max_bytes: float = 8e9
    fixed_bytes: float | None = None
    flash_factor: float = 6.0
    priorities: tuple[float, ...] = (3.0, 2.0, 1.0)
    priority_shares: tuple[float, ...] = (0.2, 0.3, 0.5)
    deadlines: float = 0.4
    slack: tuple[float, float] = (1.5, 6.0)

    def __post_init__(self) -> None:
        self._check_mix()
        if self.arrivals not in ARRIVALS:
            raise ValueError(f"workload arrivals must be one of {', '.join(ARRIVALS)}, got {self.arrivals!r}")
        for name in ("interval_s", "size_scale", "max_bytes", "flash_factor"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"workload {name} must be finite and above 0, got {getattr(self, name)}")
        if self.fixed_bytes is not None and not 1 <= self.fixed_bytes < float("inf"):
            raise ValueError(f"workload fixed_bytes must be at least 1, got {self.fixed_bytes}")
        if self.datasets < 1:
            raise ValueError(f"workload datasets must be at least 1, got {self.datasets}")
        for name in ("one_off", "deadlines"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"workload {name} must be a share in [0, 1], got {getattr(self, name)}")
        shares = self.priority_shares
        if len(self.priorities) != len(shares) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
            raise ValueError(
                f"workload priority_shares must have one share a priority and sum to 1, got {shares}"
            )
        if min(self.priorities) <= 0:
            raise ValueError(f"workload priorities must be above 0, got {self.priorities}")
        if not 0 < self.slack[0] <= self.slack[1]:
            raise ValueError(f"workload slack must rise from above 0, got {self.slack}")

    def _check_mix(self) -> None:
        if isinstance(self.mix, str):
            if self.mix not in MIXES:
                raise ValueError(f"workload mix must be one of {', '.join(MIXES)}, got {self.mix!r}")
            return
        unknown = sorted(set(self.mix) - set(CLASS_NAMES))
        if unknown:
            known = ", ".join(CLASS_NAMES)
            raise ValueError(f"workload mix names unknown classes {', '.join(unknown)}; there are {known}")
        if not self.mix or min(self.mix.values()) < 0 or sum(self.mix.values()) <= 0:
            raise ValueError("workload mix needs shares of at least 0, one of them above")

    @property
    def shares(self) -> Floats:
        """Share of each payload class, in the order of `CLASS_NAMES`, summing to 1."""
        mix = MIXES[self.mix] if isinstance(self.mix, str) else self.mix
        shares: Floats = np.array([mix.get(name, 0.0) for name in CLASS_NAMES], dtype=np.float64)
        total = float(shares.sum())
        return shares / total


class Requests(NamedTuple):
    """Wishes to move, one entry a transfer, in order of arrival.

    Attributes:
        arrival_s: When.
        dataset: Which dataset; those below ``workload.datasets`` recur.
        size_bytes: Raw bytes.
        priority: Cost of a second.
        deadline_slack: Deadline in multiples of the raw bytes' time on the idle path; inf without one.
        kind_of_dataset: Payload class of each dataset, shape (datasets,).
    """

    arrival_s: Floats
    dataset: Ints
    size_bytes: Floats
    priority: Floats
    deadline_slack: Floats
    kind_of_dataset: Ints


def draw_requests(
    workload: Workload, count: int, rng: np.random.Generator, start_hour: float = 0.0
) -> Requests:
    """Draw ``count`` transfers.

    A dataset keeps its class and, within 10 %, its size; every one-off is a dataset of its own.
    """
    if workload.arrivals == "sync":
        arrival_s, dataset = _periodic(workload, count, rng)
    else:
        arrival_s = _arrivals(workload, count, rng, start_hour)
        dataset = _popular(workload, count, rng)
    once = rng.random(count) < workload.one_off
    dataset = np.where(once, workload.datasets - 1 + np.cumsum(once), dataset)
    shares = workload.shares
    kinds = _stratified(shares, workload.datasets, rng)
    one_off_kinds = _by_share(shares, count, rng)
    kind_of_dataset = np.concatenate([kinds, one_off_kinds])[: workload.datasets + int(once.sum())]
    size = draw_sizes(kind_of_dataset, rng)[dataset] * np.exp(rng.normal(0.0, SIZE_LOG_SD, count))
    size = np.clip(size * workload.size_scale, 1024.0, workload.max_bytes)
    if workload.fixed_bytes is not None:
        size = np.full(count, workload.fixed_bytes)
    tier = _by_share(workload.priority_shares, count, rng)
    slack = np.where(rng.random(count) < workload.deadlines, rng.uniform(*workload.slack, count), np.inf)
    return Requests(
        arrival_s=arrival_s,
        dataset=dataset,
        size_bytes=np.round(size),
        priority=np.asarray(workload.priorities)[tier],
        deadline_slack=slack,
        kind_of_dataset=kind_of_dataset,
    )


def draw_periods(workload: Workload, count: int, rng: np.random.Generator) -> Floats:
    """Seconds between transfers of each of ``count`` periodic datasets; together they keep the mean rate."""
    mean = workload.interval_s * workload.datasets
    periods: Floats = mean * np.exp(rng.normal(0.125, 0.5, count))  # E[1 / period] is 1 / mean
    return periods


def _stratified(shares: Floats, count: int, rng: np.random.Generator) -> Ints:
    """Classes of ``count`` datasets, as near to the shares as whole numbers go: dice would differ more."""
    points = (np.arange(count) + rng.random()) / count
    kinds = np.searchsorted(np.cumsum(shares), points, side="right")
    return rng.permutation(np.minimum(kinds, len(shares) - 1))


def _by_share(shares: ArrayLike, count: int, rng: np.random.Generator) -> Ints:
    """Rows drawn by their shares: what `rng.choice` gives, in a third of its time."""
    edges = np.cumsum(shares)
    return np.searchsorted(edges / edges[-1], rng.random(count), side="right")


def _arrivals(workload: Workload, count: int, rng: np.random.Generator, start_hour: float) -> Floats:
    gaps = rng.exponential(workload.interval_s, count)
    if workload.arrivals == "bursty":
        bursts = -(-count // _BURST_LENGTH)
        pace = np.exp(rng.normal(-(_BURST_SD**2) / 2, _BURST_SD, bursts))
        gaps *= np.repeat(pace, _BURST_LENGTH)[:count]
    elif workload.arrivals == "flash":
        first, last = (round(share * count) for share in _FLASH)
        gaps[first:last] /= workload.flash_factor
    elif workload.arrivals == "diurnal":
        hour = start_hour + np.arange(count) * workload.interval_s / 3600
        gaps /= 1.0 + 0.4 * np.cos(2 * np.pi * (hour - 14) / 24)
    return np.cumsum(gaps)


def _popular(workload: Workload, count: int, rng: np.random.Generator) -> Ints:
    weight = 1.0 / np.arange(1, workload.datasets + 1) ** _ZIPF
    ranks = _by_share(weight / weight.sum(), count, rng)
    return rng.permutation(workload.datasets)[ranks]


def _periodic(workload: Workload, count: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Timelines of all datasets, merged: each has its own period (log-sd 0.5), phase and 5 % jitter."""
    period = draw_periods(workload, workload.datasets, rng)
    rounds = max(int(2 * count * workload.interval_s / period.min()) + 2, -(-count // workload.datasets))
    times = (rng.random(workload.datasets) + np.arange(rounds)[:, None]) * period
    times += rng.normal(0.0, PERIOD_JITTER, times.shape) * period
    times = np.maximum(times, 0.0)
    order = np.argsort(times, axis=None, kind="stable")[:count]
    return times.ravel()[order], np.tile(np.arange(workload.datasets), rounds)[order]
