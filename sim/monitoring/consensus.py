"""Consensus groups over the links of a scenario: queue, quorum, elections, and four kinds of anomaly.

The leader of a group logs proposals one after the other and sends each to its replicas without waiting for
the one before, as Raft's pipeline does. So a commit takes the wait for the leader's log, the log itself, and
the time until a quorum has answered: of the replicas' round trips the one that completes it, an order
statistic. A lost packet costs a retransmission timeout. An election stops the log.

Source:
    Ongaro, Ousterhout: In Search of an Understandable Consensus Algorithm. USENIX ATC 2014 (elections of 150
    to 300 ms); pipelining: Ongaro's thesis, section 10.2.1. Alizadeh et al.: Data Center TCP. SIGCOMM 2010,
    section 2.3.3 (where buffers fill, a packet within a rack waits 1 to 14 ms).
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from sim.monitoring.courses import NONE, Bools, Courses, Floats, Ints, Kind, draw_courses
from sim.monitoring.queueing import mean_inside, quantiles, serve
from sim.monitoring.quorum import Group, answers, draw_absences, expected_s, quorum_s
from sim.randomness import stream
from sim.units import GBIT, MINUTE, MS

ANOMALIES: Final = (
    Kind("congestion", 0.25, precursor_s=0.0, down_s=12 * MINUTE),
    Kind("election_storm", 0.25, precursor_s=0.0, down_s=12 * MINUTE),
    Kind("queue_overflow", 0.25, precursor_s=0.0, down_s=12 * MINUTE),
    Kind("byzantine", 0.25, precursor_s=0.0, down_s=12 * MINUTE),
)
"""The four published kinds, equally likely as published; their lengths are assumed."""
_NAMES: Final = [kind.name for kind in ANOMALIES]
LAN_RTT_S: Final = 0.3 * MS
ELECTION_S: Final = (0.15, 0.3)
ELECTIONS_PER_S: Final = 0.1 / (5 * MINUTE)
"""Published: Poisson with mean 0.1 in a sample, of which a day has 288."""
STORM_PER_S: Final = 5.0 / MINUTE
"""At the worst; published: Poisson with mean 5 in a sample."""
_LYING: Final = 8 / 5
"""Elections for each of a storm's, where replicas lie; published: means of 8 and 5 in a sample."""
_LEAST_INTENSITY: Final = 0.15
_CROWDED: Final = 4.0
"""By so much of itself a congestion at its worst lengthens a round trip; assumed."""
PORT_QUEUE_S: Final = 14 * MS
"""And at least by so much: what a full port of a switch makes a packet wait within a site."""
_FELT: Final = 1.1
"""Trouble of links counts as a congestion of the group from where its rounds take a tenth longer; assumed."""
_AT_ONCE: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class ConsensusModel:
    """What a group is asked to agree on, and how often something is wrong with it.

    Attributes:
        proposals_per_s: Proposals at the height of the day, above 0.
        log_s: Mean time that the leader's log takes for one, above 0; all of them keep it less than busy.
        room: Proposals that may wait; more are refused.
        anomalies_per_day: Anomalies in a day of good health; 4 of 12 minutes are 4 % of the time, near the
            published 5 %.
        wide_share: Share of groups whose replicas stand at the far ends of links; published: 0.3.
    """

    proposals_per_s: float = 8.0
    log_s: float = 30 * MS
    room: int = 200
    anomalies_per_day: float = 4.0
    wide_share: float = 0.5

    def __post_init__(self) -> None:
        if self.proposals_per_s <= 0 or self.log_s <= 0 or self.proposals_per_s * self.log_s >= 1:
            raise ValueError("consensus proposals_per_s and log_s must be above 0, and their product below 1")
        if self.room < 0 or self.anomalies_per_day < 0 or not 0 <= self.wide_share <= 1:
            raise ValueError(
                "consensus room and anomalies_per_day must be at least 0, wide_share a share in [0, 1]"
            )


class Network(NamedTuple):
    """Ways from a leader to its followers, shape (intervals, followers) each.

    Attributes:
        rtt_s: Round trip.
        loss: Share of packets lost.
        calm_rtt_s: Round trip, were no link in trouble.
        calm_loss: Share of packets lost, likewise.
    """

    rtt_s: Floats
    loss: Floats
    calm_rtt_s: Floats
    calm_loss: Floats


class Trouble(NamedTuple):
    """What is wrong at each of some moments."""

    kind: Ints
    intensity: Floats

    def of(self, name: str) -> Floats:
        """Intensity of one kind, 0 elsewhere."""
        return np.asarray(self.intensity * (self.kind == _NAMES.index(name)))


def watch_group(
    model: ConsensusModel,
    group: Group,
    network: Network,
    hours: Floats,
    *,
    interval_s: float,
    seed: int,
    number: int,
) -> dict[str, object]:
    """One group over all intervals: columns of `schema.CONSENSUS_ROUNDS` but the keys.

    Args:
        model: Load and anomalies.
        group: Who has to agree.
        network: Ways to the followers. Where trouble of links slows its rounds, that is a congestion of the
            group, too; where a quorum answers without those links, nothing is wrong with it.
        hours: Local hour at the start of each interval.
        interval_s: Length of an interval.
        seed: Of all chance; normal traffic and anomalies have streams of their own.
        number: Of the group.
    """
    intervals = len(hours)
    edges = np.arange(intervals + 1) * np.float64(interval_s)
    trouble = draw_anomalies(model, float(edges[-1]), seed, number)
    rng = stream(seed, f"consensus {number}")
    arrival = _arrivals(model, hours, interval_s, edges, trouble, rng, stream(seed, f"flood {number}"))
    at = np.minimum((arrival / interval_s).astype(np.int64), intervals - 1)
    now = trouble(arrival)
    service = rng.exponential(model.log_s, len(arrival))
    elections = _elections(edges, trouble, stream(seed, f"elections {number}"))
    held = np.searchsorted(arrival, elections)
    pause = stream(seed, f"pauses {number}").uniform(*ELECTION_S, len(elections))
    when = np.minimum((elections / interval_s).astype(np.int64), intervals - 1)
    pause += group.phases * network.rtt_s.max(axis=1)[when]
    np.add.at(service, held[held < len(service)], pause[held < len(service)])
    begin = serve(arrival, service, model.room)
    fine = ~np.isnan(begin)
    middle_s = edges[:-1] + interval_s / 2
    absent = draw_absences(group, middle_s, float(edges[-1]), stream(seed, f"absences {number}"))
    lying = [trouble(moment).of("byzantine") > 0 for moment in (edges[:-1], middle_s, edges[1:])]
    absent &= ~np.any(lying, axis=0)[:, None]  # nobody restarts a replica then
    round_s = np.empty(len(arrival))
    liars = stream(seed, f"liars {number}")
    for start in range(0, len(arrival), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        trouble_now = Trouble(now.kind[some], now.intensity[some])
        ways = Network(*(column[at[some]] for column in network))
        round_s[some] = _rounds(group, ways, absent[at[some]], trouble_now, rng, liars)
    commit = begin + service + round_s
    inside = fine & (commit < edges[-1])
    row = (commit[inside] / interval_s).astype(np.int64)
    latency = quantiles((commit - arrival)[inside], row, intervals, (0.5, 0.95, 0.99))
    committed = np.bincount(row, minlength=intervals)
    sums = np.bincount(row, weights=round_s[inside], minlength=intervals)
    said = _labels(trouble(middle_s), _slowdown(group, network, absent))
    return {
        "queue_depth": mean_inside(arrival[fine], begin[fine], edges),
        "proposals_pending": mean_inside(begin[fine], commit[fine], edges),
        "proposals_committed": committed,
        "latency_p50_s": _held(latency[0]),
        "latency_p95_s": _held(latency[1]),
        "latency_p99_s": _held(latency[2]),
        "leader_changes": np.bincount(when, minlength=intervals),
        "quorum_size": np.full(intervals, group.quorum),
        "active_nodes": group.replicas - absent.sum(axis=1),
        "network_tier": np.full(intervals, int((group.links != NONE).any())),
        "consensus_type": np.full(intervals, group.protocol),
        "round_s": _held(np.where(committed > 0, sums / np.maximum(committed, 1), np.nan)),
        "rejected": np.bincount(at[~fine], minlength=intervals),
        "anomaly": np.array([*_NAMES, ""])[said.kind],
        "intensity": said.intensity,
    }


def _slowdown(group: Group, network: Network, absent: Bools) -> Floats:
    """How many times as long a round takes as it would, were no link in trouble; at least 1, (intervals,)."""
    troubled = (network.rtt_s > network.calm_rtt_s) | (network.loss > network.calm_loss)
    rows = np.asarray(troubled.any(axis=1))
    rtt_s, loss, calm_rtt_s, calm_loss = (column[rows] for column in network)
    now, calm = (
        expected_s(np.where(absent[rows], np.inf, trip), lost, group.quorum - 1)
        for trip, lost in ((rtt_s, loss), (calm_rtt_s, calm_loss))
    )
    times = np.ones(len(rows))
    times[rows] = np.maximum(now / calm, 1.0)
    return times


def _labels(own: Trouble, slowdown: Floats) -> Trouble:
    """What is wrong with a group in each interval: what befell it, else what its links' trouble does to it.

    The intensity of the latter is that of a congestion of its own which would slow its rounds as much.
    """
    slow = (own.kind == NONE) & (slowdown >= _FELT)
    kind = np.where(slow, _NAMES.index("congestion"), own.kind)
    return Trouble(kind, np.where(slow, np.minimum((slowdown - 1) / _CROWDED, 1.0), own.intensity))


class Anomalies(NamedTuple):
    """Anomalies of a group; call it with moments."""

    courses: Courses
    intensity: Floats

    def __call__(self, moments_s: Floats) -> Trouble:
        """What is wrong at these moments; `NONE` and 0 where nothing is."""
        row = np.searchsorted(self.courses.start_s, moments_s, side="right") - 1
        row[moments_s >= np.append(self.courses.end_s, -np.inf)[row]] = NONE
        return Trouble(np.append(self.courses.kind, NONE)[row], np.append(self.intensity, 0.0)[row])


def draw_anomalies(model: ConsensusModel, duration_s: float, seed: int, number: int) -> Anomalies:
    """What befalls a group of this number by itself, whatever its links do; the dice are its own."""
    rng = stream(seed, f"anomalies {number}")
    courses = draw_courses(
        ANOMALIES, model.anomalies_per_day, 0.0, entities=1, duration_s=duration_s, rng=rng
    )
    return Anomalies(courses, rng.uniform(_LEAST_INTENSITY, 1.0, len(courses.entity)))


def _arrivals(
    model: ConsensusModel,
    hours: Floats,
    interval_s: float,
    edges: Floats,
    trouble: Anomalies,
    rng: np.random.Generator,
    flood: np.random.Generator,
) -> Floats:
    """Moments of the proposals: Poisson, by the published load over the day; more in an overflow."""
    load = 0.7 + 0.3 * np.sin(2 * np.pi * hours / 24)
    usual = rng.poisson(load * model.proposals_per_s * interval_s)
    excess = trouble(edges[:-1] + interval_s / 2).of("queue_overflow")
    wanted = np.where(excess > 0, (0.9 + 0.5 * excess) / model.log_s - load * model.proposals_per_s, 0.0)
    more = flood.poisson(wanted * interval_s)
    usual_at = np.repeat(edges[:-1], usual) + rng.uniform(0, interval_s, int(usual.sum()))
    more_at = np.repeat(edges[:-1], more) + flood.uniform(0, interval_s, int(more.sum()))
    return np.sort(np.concatenate((usual_at, more_at)))


def _elections(edges: Floats, trouble: Anomalies, rng: np.random.Generator) -> Floats:
    """Moments at which the leader changes: a Poisson process, thinned where it is slower than the worst."""
    worst = ELECTIONS_PER_S + STORM_PER_S * _LYING
    moments = np.sort(rng.uniform(0, edges[-1], rng.poisson(worst * edges[-1])))
    now = trouble(moments)
    rate = ELECTIONS_PER_S + STORM_PER_S * (now.of("election_storm") + _LYING * now.of("byzantine"))
    return moments[rng.random(len(moments)) < rate / worst]


def _rounds(
    group: Group,
    network: Network,
    absent: Bools,
    now: Trouble,
    rng: np.random.Generator,
    liars: np.random.Generator,
) -> Floats:
    """Time until a quorum has answered, for each proposal; liars are the nearest replicas and never agree."""
    crowd = now.of("congestion")[:, None]
    total = np.zeros(len(absent))
    for _ in range(group.phases):
        waits = crowd * np.maximum(_CROWDED * network.rtt_s, PORT_QUEUE_S)
        answer = answers(network.rtt_s + waits, network.loss + 0.02 * crowd, 0.05, rng)
        lying = (now.of("byzantine") > 0)[:, None] & (np.arange(answer.shape[1]) < group.liars)
        total += quorum_s(np.where(lying | absent, np.inf, answer), group.quorum - 1)
    again = liars.random(len(total)) < 0.5 * now.of("byzantine")  # a round that the lies spoil is repeated
    return total * (1 + again)


def _held(values: Floats) -> Floats:
    """Values with the one before in place of a missing one; 0 before the first."""
    there = ~np.isnan(values)
    last = np.maximum.accumulate(np.where(there, np.arange(len(values)), -1))
    return np.where(last >= 0, values[np.maximum(last, 0)], 0.0)


def dwcp_mode(rtt_s: Floats, bandwidth: Floats) -> Ints:
    """0 datacenter, 1 hybrid, 2 internet, by the mean of the last 10 samples, along the last axis.

    Source:
        NovaCron, backend/core/network/dwcp/upgrade/mode_detector.go: below 10 ms and at least 1 Gbit/s; above
        50 ms or below 1 Gbit/s.
    """
    fast = _last_ten(bandwidth) >= GBIT
    rtt = _last_ten(rtt_s)
    return np.where(fast & (rtt < 10 * MS), 0, np.where(~fast | (rtt > 50 * MS), 2, 1))


def _last_ten(values: Floats) -> Floats:
    sums = np.cumsum(values, axis=-1)
    sums[..., 10:] -= sums[..., :-10].copy()
    return np.asarray(sums / np.minimum(np.arange(1, values.shape[-1] + 1), 10))
