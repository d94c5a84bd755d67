"""Nodes and how they fail: what a service on a machine shows while the machine degrades, fails, is mended.

A node is a queue with one server (M/M/1): of a request's time T, ``P(T > t) = exp(-t (1 - rho) / S)``, with S
its service time and rho the load over what the node can serve. What degrades takes from the one, adds to the
other, or breaks requests. Counts are Poisson, measurements lognormal or normal about their means, white from
row to row; load and room temperature are correlated in time. So a detector that knew load, kind and onset
would have a matched filter, whose power follows from the column ``signal``.

Source:
    Kleinrock: Queueing Systems, volume 1, section 3.2. Wiley 1975.
"""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from sim.monitoring.courses import DOWN, Floats, Ints, Kind, State
from sim.monitoring.waves import wave
from sim.units import HOUR, MINUTE, MS

NODE_KINDS: Final = (
    Kind("memory_leak", 0.22, precursor_s=2 * HOUR, down_s=15 * MINUTE),
    Kind("disk_wear", 0.2, precursor_s=3 * HOUR, down_s=40 * MINUTE, bend=2.0),
    Kind("overheating", 0.15, precursor_s=1 * HOUR, down_s=25 * MINUTE, bend=1.5),
    Kind("overload", 0.23, precursor_s=40 * MINUTE, down_s=15 * MINUTE),
    Kind("packet_loss", 0.2, precursor_s=90 * MINUTE, down_s=20 * MINUTE, bend=2.0),
)
"""What fails with a warning. Shares, lead and repair times are assumed; that failures of disks announce
themselves, and by what, is in Pinheiro, Weber, Barroso: Failure Trends in a Large Disk Drive Population. FAST
2007."""
SUDDEN: Final = Kind("sudden", 1.0, precursor_s=0.0, down_s=25 * MINUTE)
"""Power, firmware, kernel: no sign before."""

SERVICE_S: Final = 8 * MS
SLA_S: Final = 250 * MS
TIMEOUT_S: Final = 1.0
REQUESTS_PER_S: Final = 100.0
"""Requests at a load of 1; with the two above it, of an ordinary service, assumed."""
PACKETS_PER_REQUEST: Final = 20.0
RESEND_S: Final = 0.2
"""What a lost packet costs: Linux' floor of the retransmission timeout."""
CHECKS_PER_S: Final = 0.1
ERROR_BUDGET: Final = 1e-3
"""Errors agreed: 99.9 %."""
MOST_LOAD: Final = 0.97
"""Where load is shed."""
_AVAILABILITY_S: Final = 30 * MINUTE
_DIURNAL: Final = 0.4
_LOAD_TAU_S: Final = 15 * MINUTE
_LOAD_LOG_SD: Final = 0.2
_BACKUP_HOUR: Final = 2.0
_BACKUP_S: Final = 40 * MINUTE
_THROTTLE_C: Final = 85.0


@dataclass(frozen=True, slots=True)
class HealthModel:
    """How often nodes fail, and how many failures announce themselves.

    Attributes:
        incidents_per_day: Troubles in a day of a healthy node; assumed, far more than real, so that days hold
            enough of them to learn from.
        sudden_share: Share of failures without any sign before, in [0, 1]; assumed. Of failed disks it is
            36 % (Pinheiro et al., FAST 2007).
        healing_share: Share of degradations that heal by themselves, in [0, 1); assumed.
        load: Mean load of a node, in (0, 1).
    """

    incidents_per_day: float = 0.5
    sudden_share: float = 0.1
    healing_share: float = 0.1
    load: float = 0.35

    def __post_init__(self) -> None:
        if self.incidents_per_day < 0:
            raise ValueError(f"health incidents_per_day must be at least 0, got {self.incidents_per_day}")
        for name in ("sudden_share", "healing_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"health {name} must be a share in [0, 1], got {getattr(self, name)}")
        if not 0 < self.load < 1:
            raise ValueError(f"health load must be a share in (0, 1), got {self.load}")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """All kinds, with shares such that of the failures ``sudden_share`` have no sign."""
        total = sum(kind.share for kind in NODE_KINDS)
        announced = total * (1 - self.healing_share)  # those that heal are no failures
        gentle = NODE_KINDS if self.sudden_share < 1 else ()
        sudden = announced * self.sudden_share / (1 - self.sudden_share) if gentle else 1.0
        return (*gentle, *((_share(SUDDEN, sudden),) if sudden else ()))


def _share(kind: Kind, share: float) -> Kind:
    return Kind(kind.name, share, kind.precursor_s, kind.down_s, kind.bend)


class Surroundings(NamedTuple):
    """What bears on a node besides its own health, shape (nodes, intervals).

    Attributes:
        load: Demand over what it can serve when healthy.
        room_c: Temperature of the room.
        memory: Share of the memory that its work takes.
        backup: Whether the nightly backup reads its disk.
        rtt_s: Round-trip time of its link.
        loss: Share of packets that its link loses.
    """

    load: Floats
    room_c: Floats
    memory: Floats
    backup: Floats
    rtt_s: Floats
    loss: Floats


class Means(NamedTuple):
    """Means of what is measured, shape (nodes, intervals); counts in an interval."""

    requests: Floats
    errors: Floats
    timeouts: Floats
    stay_s: Floats
    way_s: Floats
    late: Floats
    refused: Floats
    lost: Floats
    resent: Floats
    cpu: Floats
    memory: Floats
    disk_io: Floats
    disk_latency_s: Floats
    temperature_c: Floats
    failed_checks: Floats


NOISE: Final = {
    "stay_s": 0.08,
    "way_s": 0.05,
    "cpu": 0.06,
    "disk_io": 0.15,
    "disk_latency_s": 0.15,
    "memory": 0.012,
    "temperature_c": 1.0,
}
"""Standard deviation from row to row: of the logarithm for the first five, else in the unit; assumed. All
other entries of `Means` are counts, which are Poisson."""
_ABSOLUTE: Final = {"memory", "temperature_c"}


def surroundings(
    model: HealthModel,
    hours: Floats,
    rtt_s: Floats,
    loss: Floats,
    interval_s: float,
    rng: np.random.Generator,
) -> Surroundings:
    """Draw load, room and memory of every node; link conditions are handed in, shape (nodes, intervals)."""
    nodes, intervals = rtt_s.shape
    level = np.minimum(model.load * np.exp(0.25 * rng.standard_normal((nodes, 1))), 0.7)
    day = 1 + _DIURNAL * np.cos((hours - 15) * (2 * math.pi / 24))
    swing = np.stack([wave(intervals, interval_s, _LOAD_TAU_S, rng) for _ in range(nodes)])
    load = level * day * np.exp(_LOAD_LOG_SD * swing)
    room = 24 + rng.normal(0.0, 1.5, (nodes, 1)) + 2 * np.cos((hours - 16) * (2 * math.pi / 24))
    room = room + 0.7 * np.stack([wave(intervals, interval_s, 2 * HOUR, rng) for _ in range(nodes)])
    memory = rng.uniform(0.35, 0.6, (nodes, 1)) + 0.15 * load
    backup_from = (hours - _BACKUP_HOUR - rng.uniform(0, 2, (nodes, 1))) % 24
    return Surroundings(
        load=np.minimum(load, MOST_LOAD),
        room_c=room,
        memory=np.minimum(memory, 0.9),
        backup=(backup_from * HOUR < _BACKUP_S).astype(np.float64),
        rtt_s=rtt_s,
        loss=loss,
    )


def beyond(limit_s: float | Floats, stay_s: Floats) -> Floats:
    """Share of requests of an M/M/1 queue that take longer, from their mean time.

    >>> float(beyond(0.1, np.array([0.1 / np.log(2)]))[0])
    0.5
    """
    return np.asarray(np.exp(-np.maximum(limit_s, 0.0) / stay_s))


def quantile_s(share: float, stay_s: Floats) -> Floats:
    """Quantile of the time of a request of an M/M/1 queue, from its mean."""
    return -math.log1p(-share) * stay_s


def means(around: Surroundings, state: State, kinds: tuple[Kind, ...], interval_s: float) -> Means:
    """Means of everything measured, given load and health.

    Severity s works by kind: a leak fills the memory, and above 90 % paging slows every request; wear makes
    the disk up to ten times slower and breaks reads; overheating adds up to 55 degrees, and from 85 on the
    clock falls by up to half; overload adds demand up to twice what can be served; a bad transceiver loses up
    to 3 % of the packets. While down, nine in ten requests fail.
    """
    names = [kind.name for kind in kinds]

    def by(name: str) -> Floats:
        return state.severity * (state.kind == names.index(name)) if name in names else 0 * state.severity

    leak, wear, heat, demand, noise = map(by, [kind.name for kind in NODE_KINDS])
    down = state.phase == DOWN
    wanted = around.load + demand * (1.05 * MOST_LOAD - around.load)
    memory = around.memory + leak * (0.985 - around.memory)
    warm = around.room_c + 18 + 28 * np.minimum(wanted, 1.0) + 55 * heat
    throttled = np.clip((warm - _THROTTLE_C) / 15, 0.0, 1.0)
    paging = np.clip((memory - 0.9) / 0.085, 0.0, 1.0)
    disk_s = 4 * MS * (1 + 0.8 * around.backup + 9 * wear) / (1 - 0.5 * np.minimum(wanted, 1.0))
    rho = np.minimum(wanted / (1 - 0.5 * throttled), MOST_LOAD)
    service_s = SERVICE_S * (1 + 2 * paging) + 0.5 * (disk_s - 4 * MS)
    loss = around.loss + 5e-5 + 0.03 * noise
    stay_s = np.where(down, TIMEOUT_S, service_s / (1 - rho))
    way_s = around.rtt_s + PACKETS_PER_REQUEST * loss * RESEND_S
    requests = REQUESTS_PER_S * interval_s * np.minimum(wanted, 1.0) * np.where(down, 0.3, 1.0)
    timeouts = beyond(TIMEOUT_S - way_s, stay_s) + loss**2
    broken = 3e-4 + 8e-3 * wear**2 + 5e-3 * paging + 4e-3 * throttled + 2 * loss**2
    broken = np.where(down, 0.9, broken + timeouts)
    packets = PACKETS_PER_REQUEST * REQUESTS_PER_S * interval_s * np.minimum(wanted, 1.0)
    refused = 1e-4 + 0.05 * loss + 2e-3 * paging + 5e-3 * np.clip(wanted - 0.9, 0, 1)
    passed = np.where(down, 0.03, 1 - np.minimum(broken + beyond(TIMEOUT_S / 2 - way_s, stay_s), 1.0))
    return Means(
        requests=requests,
        errors=requests * broken,
        timeouts=requests * np.where(down, 0.6, timeouts),
        stay_s=stay_s,
        way_s=way_s,
        late=requests * np.maximum(beyond(SLA_S - way_s, stay_s), 1e-6),
        refused=requests * 0.1 * np.where(down, 0.95, refused),
        lost=packets * np.where(down, 0.2, loss),
        resent=packets * np.where(down, 0.25, 1.2 * loss + 1e-5),
        cpu=np.where(down, 0.04, np.clip(rho * (1 + 0.2 * paging) + 0.05, 0.02, 1.0)),
        memory=np.where(down, 0.2, memory),
        disk_io=np.where(
            down, 0.02, np.clip((0.1 + 0.3 * wanted + 0.4 * around.backup) * disk_s / 6e-3, 0, 1)
        ),
        disk_latency_s=disk_s,
        temperature_c=np.where(down, around.room_c + 15, warm - 8 * throttled),
        failed_checks=CHECKS_PER_S * interval_s * (1 - passed),
    )


def signal(now: Means, healthy: Means) -> Floats:
    """Distance of a row's means from those of a healthy node, in standard deviations of the row's noise.

    The root of the sum over measurements of ``((m1 - m0) / sd)^2``; for a count, whose root has a standard
    deviation of one half, ``4 (sqrt(m1) - sqrt(m0))^2``. Over a window of rows the squares add up to D^2, and
    of all tests with a false-positive rate a the best, the matched filter, detects with probability
    ``Phi(D - z(1 - a))``: a bound for every detector, for it knows load, kind and onset.

    Source:
        Kay: Fundamentals of Statistical Signal Processing, volume 2, section 4.3. Prentice Hall 1998.
    """
    total = np.zeros(now.cpu.shape)
    for name, one, other in zip(Means._fields, now, healthy, strict=True):
        if name not in NOISE:
            total += 4 * (np.sqrt(one) - np.sqrt(other)) ** 2
        elif name in _ABSOLUTE:
            total += ((one - other) / NOISE[name]) ** 2
        else:
            total += (np.log(one / other) / NOISE[name]) ** 2
    return np.sqrt(total)


def measure(mean: Means, interval_s: float, rng: np.random.Generator) -> dict[str, Floats | Ints]:
    """What a monitor writes down, given the means; shape (nodes, intervals) each."""
    shape = mean.cpu.shape

    def near(name: str) -> Floats:
        value = getattr(mean, name)
        if name in _ABSOLUTE:
            return np.asarray(value + NOISE[name] * rng.standard_normal(shape))
        return np.asarray(value * np.exp(NOISE[name] * rng.standard_normal(shape)))

    requests = np.maximum(rng.poisson(mean.requests), 1)
    packets = np.maximum(PACKETS_PER_REQUEST * mean.requests, 1.0)
    errors = np.minimum(rng.poisson(mean.errors), requests)
    timeouts = np.minimum(rng.poisson(mean.timeouts), requests)
    late = np.minimum(rng.poisson(mean.late), requests)
    checks = round(CHECKS_PER_S * interval_s) or 1
    failed = np.minimum(rng.poisson(mean.failed_checks), checks)
    stay_s, way_s = near("stay_s"), near("way_s")
    error_rate = errors / requests
    return {
        "requests": requests,
        "error_rate": error_rate,
        "timeout_rate": timeouts / requests,
        "latency_p50_s": way_s + quantile_s(0.5, stay_s),
        "latency_p95_s": np.minimum(way_s + quantile_s(0.95, stay_s * _spread(0.03, shape, rng)), TIMEOUT_S),
        "latency_p99_s": np.minimum(way_s + quantile_s(0.99, stay_s * _spread(0.06, shape, rng)), TIMEOUT_S),
        "sla_violations": late / requests,
        "connection_failures": rng.poisson(mean.refused),
        "packet_loss_rate": np.minimum(rng.poisson(mean.lost) / packets, 1.0),
        "retransmit_rate": np.minimum(rng.poisson(mean.resent) / packets, 1.0),
        "cpu": np.clip(near("cpu"), 0.0, 1.0),
        "memory": np.clip(near("memory"), 0.0, 1.0),
        "disk_io": np.clip(near("disk_io"), 0.0, 1.0),
        "disk_latency_s": near("disk_latency_s"),
        "temperature_c": near("temperature_c"),
        "availability": 1 - _trailing_mean(failed / checks, max(round(_AVAILABILITY_S / interval_s), 1)),
        "health_check_failures": failed,
        "error_budget_burn_rate": error_rate / ERROR_BUDGET,
    }


def _spread(log_sd: float, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    return np.exp(log_sd * rng.standard_normal(shape))


def _trailing_mean(values: Floats, window: int) -> Floats:
    """Mean of each entry and the ``window - 1`` before it, along the last axis."""
    sums = np.cumsum(values, axis=-1)
    sums[..., window:] -= sums[..., :-window].copy()
    counts = np.minimum(np.arange(1, values.shape[-1] + 1), window)
    return np.asarray(sums / counts)
