"""Links over days: their conditions probe by probe, what befalls them, and what a monitor makes of it."""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from sim.links import generate
from sim.monitoring.courses import Courses, Floats, Ints, Kind, State, state_at
from sim.monitoring.waves import wave
from sim.physics import PACKET
from sim.randomness import stream
from sim.scenarios import PathSpec, Scenario
from sim.units import HOUR, MINUTE
from sim.workloads import Workload, draw_requests

LINK_KINDS: Final = (
    Kind("outage", 0.2, precursor_s=0.0, down_s=6 * MINUTE),
    Kind("drop", 0.25, precursor_s=0.0, down_s=15 * MINUTE),
    Kind("loss_burst", 0.25, precursor_s=90 * MINUTE, down_s=15 * MINUTE, bend=2.0),
    Kind("congestion", 0.3, precursor_s=30 * MINUTE, down_s=25 * MINUTE),
)
"""What befalls a link. Outages: most failures of backbone links last less than 10 minutes (Iannaccone et al.:
Analysis of link failures in an IP backbone. IMW 2002). Loss that creeps up: optics that decay (Zhuo et al.:
Understanding and mitigating packet corruption in data center networks. SIGCOMM 2017). Shares are assumed."""
OUT: Final = 0.02
DROPPED: Final = 0.1
BURST_LOSS: Final = 0.05
"""Capacity left in an outage and in a drop, loss in a burst: as of `sim.faults`."""
CROWD: Final = 12.0
"""Streams of others at the height of a congestion; assumed."""
WIRE_SHARE: Final = 1 / 3
"""Bytes on the wire for a raw byte: the zstd ratio that a sender assumes before it has seen any."""
OUR_STREAMS: Final = 4.0
"""Streams of a transfer, between the one of a plain and the eight of a split one."""
_SIZES: Final = 4096
_FLASH_HOUR: Final = 13.0
_SWING_LOG_SD: Final = 0.5
_SWING_TAU_S: Final = 5 * MINUTE
"""How demand swings; assumed, after the burst factor of cluster workloads."""


@dataclass(frozen=True, slots=True)
class LinkTrouble:
    """How often links fail, and how busy we keep them.

    Attributes:
        incidents_per_day: Troubles in a day of a healthy link; assumed, far more than real.
        healing_share: Share of degradations that heal by themselves, in [0, 1].
        load: Mean demand for our transfers over what the link has left for them, in (0, 1).
    """

    incidents_per_day: float = 0.5
    healing_share: float = 0.1
    load: float = 0.5

    def __post_init__(self) -> None:
        if self.incidents_per_day < 0 or not 0 <= self.healing_share <= 1:
            raise ValueError("link incidents_per_day must be at least 0 and healing_share in [0, 1]")
        if not 0 < self.load < 1:
            raise ValueError(f"link load must be a share in (0, 1), got {self.load}")


class Demand(NamedTuple):
    """Transfers that a site asks for on a link, shape (intervals,): how many, and their raw bytes."""

    requests: Ints
    size_bytes: Floats


class LinkSeries(NamedTuple):
    """A link interval by interval, shape (intervals,): columns of `schema.LINK_METRICS` of the same names."""

    capacity: Floats
    rtt_s: Floats
    rtt_p95_s: Floats
    jitter_s: Floats
    loss: Floats
    bandwidth: Floats
    bandwidth_min: Floats
    bandwidth_last: Floats
    throughput: Floats
    utilisation: Floats
    backlog_bytes: Floats
    bytes_sent: Floats
    retransmits: Ints
    streams: Floats
    probes: Ints
    true_bandwidth: Floats
    true_rtt_s: Floats
    true_loss: Floats
    cross_streams: Floats
    incident: Ints
    severity: Floats


class WatchedLink(NamedTuple):
    """A link over all intervals.

    Attributes:
        series: What is measured of it, and what is true.
        demand: Transfers that its site asks for on it.
        calm_rtt_s: Round trip, had nothing befallen it, (intervals,).
        calm_loss: Share of packets lost, likewise.
    """

    series: LinkSeries
    demand: Demand
    calm_rtt_s: Floats
    calm_loss: Floats


class Conditions(NamedTuple):
    """A link at each probe, shape (intervals, probes in an interval); as `sim.traces.Trace` has them."""

    capacity: Floats
    rtt_s: Floats
    loss: Floats
    cross_streams: Floats

    @property
    def available(self) -> Floats:
        """Bytes/s for a new bundle of streams beside those of others."""
        return self.capacity / (1 + self.cross_streams)


def draw_demand(
    workload: Workload, share: float, hours: Floats, interval_s: float, rng: np.random.Generator
) -> Demand:
    """Transfers by interval: Poisson at a rate that swings and follows the workload's law; its sizes."""
    pool = draw_requests(workload, _SIZES, rng).size_bytes
    swing = wave(len(hours), interval_s, _SWING_TAU_S, rng)
    pace = np.exp(_SWING_LOG_SD * swing - _SWING_LOG_SD**2 / 2)
    if workload.arrivals == "bursty":
        pace *= np.exp(rng.normal(-0.32, 0.8, len(hours)))
    elif workload.arrivals == "diurnal":
        pace *= 1 + 0.4 * np.cos((hours - 14) * (2 * math.pi / 24))
    elif workload.arrivals == "flash":
        pace[(hours >= _FLASH_HOUR) & (hours < _FLASH_HOUR + 1)] *= workload.flash_factor
    requests = rng.poisson(pace * share * interval_s / workload.interval_s)
    edges = np.concatenate(([0], np.cumsum(requests)))
    sums = np.concatenate(([0.0], np.cumsum(pool[rng.integers(len(pool), size=edges[-1])])))
    return Demand(requests, np.diff(sums[edges]))


def afflict(calm: Conditions, state: State) -> Conditions:
    """Conditions with troubles laid over them; the state is that of this link at each probe."""
    names = [kind.name for kind in LINK_KINDS]
    severity, kind = (part.reshape(calm.capacity.shape) for part in (state.severity, state.kind))
    out, drop, burst, crowd = (severity * (kind == names.index(name)) for name in names)
    left = np.where(out > 0, OUT, 1.0) * np.where(drop > 0, DROPPED, 1.0)
    return Conditions(
        capacity=calm.capacity * left,
        rtt_s=calm.rtt_s * (1 + crowd),
        loss=1 - (1 - calm.loss) * (1 - BURST_LOSS * burst) * (1 - 0.01 * crowd),
        cross_streams=calm.cross_streams + CROWD * crowd,
    )


def draw_conditions(
    spec: PathSpec, shape: tuple[int, int], period_s: float, start_hour: float, rng: np.random.Generator
) -> Conditions:
    """A link of a path's family at ``shape`` (intervals, probes in each) moments, a period apart."""
    moments = np.arange(shape[0] * shape[1]) * period_s
    trace = generate(spec.model, float(moments[-1]) + period_s, rng, start_hour)
    row = np.searchsorted(trace.time_s, moments, side="right") - 1
    columns = (trace.capacity, trace.rtt_s, trace.loss, trace.cross_streams)
    return Conditions(*(column[row].reshape(shape) for column in columns))


def watch_link(
    scenario: Scenario,
    spec: PathSpec,
    link: int,
    courses: Courses,
    hours: Floats,
    *,
    interval_s: float,
    trouble: LinkTrouble,
    seed: int,
) -> WatchedLink:
    """One link over all intervals; ``hours`` is the local hour at the start of each, ``courses`` its own."""
    intervals, per = len(hours), max(round(interval_s / scenario.probe.period_s), 1)
    period_s = interval_s / per
    rng = stream(seed, f"monitored link {link}")
    calm = draw_conditions(spec, (intervals, per), period_s, float(hours[0]), rng)
    moments = (np.arange(intervals * per) + 0.5) * np.float64(period_s)
    state = state_at(courses, LINK_KINDS, 1, moments)
    true = afflict(calm, state)
    demand = draw_demand(scenario.workload, spec.share, hours, interval_s, stream(seed, f"demand {link}"))
    left = true.available.mean(axis=1)
    mean_asked = max(float(demand.size_bytes.mean()) * WIRE_SHARE, 1.0)
    fitting = trouble.load * float(calm.available.mean()) * interval_s / mean_asked
    demand = demand._replace(size_bytes=demand.size_bytes * fitting)
    carried, backlog = carry(demand.size_bytes * WIRE_SHARE, left * interval_s)
    busy = carried / (left * interval_s)
    probes = _probe(true, busy, spec.queue_bdp, scenario.probe.noise, stream(seed, f"probes {link}"))
    packets = carried / PACKET
    counters = stream(seed, f"counters {link}")
    true_loss = true.loss.mean(axis=1)
    nominal = float(calm.capacity.mean())
    middle = slice(per // 2, None, per)
    series = LinkSeries(
        capacity=np.full(intervals, nominal),
        rtt_s=probes.rtt_s.mean(axis=1),
        rtt_p95_s=np.quantile(probes.rtt_s, 0.95, axis=1),
        jitter_s=_jitter(probes.rtt_s),
        loss=probes.loss.mean(axis=1),
        bandwidth=probes.capacity.mean(axis=1),
        bandwidth_min=probes.capacity.min(axis=1),
        bandwidth_last=probes.capacity[:, -1],
        throughput=carried / interval_s,
        utilisation=np.minimum(carried / interval_s / nominal, 1.0),
        backlog_bytes=backlog,
        bytes_sent=carried,
        retransmits=counters.poisson(packets * true_loss),
        streams=OUR_STREAMS * busy,
        probes=np.full(intervals, per),
        true_bandwidth=left,
        true_rtt_s=true.rtt_s.mean(axis=1),
        true_loss=true_loss,
        cross_streams=true.cross_streams.mean(axis=1),
        incident=state.course[0, middle],
        severity=state.severity[0].reshape(intervals, per).max(axis=1),
    )
    return WatchedLink(series, demand, calm.rtt_s.mean(axis=1), calm.loss.mean(axis=1))


def carry(asked: Floats, room: Floats) -> tuple[Floats, Floats]:
    """Bytes carried in each interval and left over after it, when what is asked for queues for the room.

    A fluid queue: what is left is ``max(0, left before + asked - room)``, solved by the reflection of the
    running sum at its running minimum (Harrison: Brownian Motion and Stochastic Flow Systems, section 2.2).

    >>> [part.tolist() for part in carry(np.array([5.0, 0.0, 0.0]), np.array([3.0, 3.0, 3.0]))]
    [[3.0, 2.0, 0.0], [2.0, 0.0, 0.0]]
    """
    free = np.cumsum(asked - room)
    left = free - np.minimum(np.minimum.accumulate(free), 0.0)
    left = np.where(left < 1e-9 * np.abs(free), 0.0, left)
    before = np.concatenate(([0.0], left[:-1]))
    return np.clip(before + asked - left, 0.0, room), left


def _probe(
    true: Conditions, busy: Floats, queue_bdp: float, noise: float, rng: np.random.Generator
) -> Conditions:
    """What probes say: noise as of an episode's probes, and the queue that our own transfers keep.

    While transfers run, a drop-tail queue swings between empty and full; a probe that meets them waits for a
    uniform part of it. Loss comes from counters of 100 000 packets.
    """
    shape = true.capacity.shape
    first, second, third = rng.standard_normal((3, *shape))
    queued = (rng.random(shape) < busy[:, None]) * rng.random(shape) * queue_bdp
    return Conditions(
        capacity=true.available * np.exp(noise * second - noise**2 / 2),
        rtt_s=true.rtt_s * (1 + 0.2 * noise * np.abs(first) + queued),
        loss=np.maximum(0.0, true.loss + np.sqrt(true.loss / 1e5) * third),
        cross_streams=true.cross_streams,
    )


def _jitter(rtt_s: Floats) -> Floats:
    """Mean change from probe to probe within each interval and from the one before."""
    flat = rtt_s.ravel()
    change = np.abs(np.diff(flat, prepend=flat[:1]))
    return np.asarray(change.reshape(rtt_s.shape).mean(axis=1))


def local_hours(start_hour: float, intervals: int, interval_s: float) -> Floats:
    """Local hour at the start of each interval, from 0 to below 24."""
    return np.asarray((start_hour + np.arange(intervals) * (interval_s / HOUR)) % 24)
