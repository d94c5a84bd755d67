"""Consensus groups: the quorum as an order statistic, the queue by Little's law, anomalies where they are."""

from dataclasses import replace

import numpy as np
import pytest

from sim.monitoring.consensus import ConsensusModel, Network, dwcp_mode, watch_group
from sim.monitoring.quorum import (
    FLUSH_S,
    PBFT,
    RAFT,
    TIMEOUT_FLOOR_S,
    Group,
    answers,
    draw_absences,
    quorum_s,
)
from sim.units import GBIT, MBIT

MINUTES = 1440


def watched(
    model: ConsensusModel, group: Group, trouble: tuple[int, float] = (0, 0.0)
) -> dict[str, np.ndarray]:
    shape = (MINUTES, group.replicas - 1)
    slow = np.zeros(shape)
    slow[: trouble[0], 0] = trouble[1]
    seen = watch_group(
        model,
        group,
        Network(np.full(shape, 0.05), np.zeros(shape), slow),
        np.arange(MINUTES) / 60 % 24,
        interval_s=60.0,
        seed=1,
        number=0,
    )
    return {name: np.asarray(column) for name, column in seen.items()}


RAFT_OF_5 = Group(5, RAFT, np.zeros(4, np.int64))
CALM = ConsensusModel(anomalies_per_day=0.0)


def test_a_quorum_of_exponential_answers_takes_what_order_statistics_say() -> None:
    times = np.random.default_rng(1).exponential(1.0, (200_000, 6))
    for needed in (1, 3, 6):
        wanted = sum(1 / (6 - k) for k in range(needed))  # Rényi's representation
        assert quorum_s(times, needed).mean() == pytest.approx(wanted, rel=0.01)


def test_quorums_are_majorities_and_with_liars_two_thirds() -> None:
    assert [Group(n, RAFT, np.zeros(n - 1, np.int64)).quorum for n in (3, 5, 7)] == [2, 3, 4]
    assert [Group(n, PBFT, np.zeros(n - 1, np.int64)).quorum for n in (4, 7)] == [3, 5]


def test_a_lost_packet_costs_a_timeout_as_often_as_packets_are_lost() -> None:
    rtt, loss = np.full((400_000, 1), 0.01), np.full((400_000, 1), 0.1)
    extra = answers(rtt, loss, 0.0, np.random.default_rng(2)).mean() - 0.01 - FLUSH_S
    lost = 1 - 0.9**2
    assert extra == pytest.approx(lost / (1 - lost) * TIMEOUT_FLOOR_S, rel=0.02)  # mean of a geometric law


def test_a_calm_group_commits_all_and_its_queue_obeys_pollaczek_khinchine_and_little() -> None:
    seen = watched(CALM, RAFT_OF_5)
    assert set(seen["anomaly"]) == {""}
    assert seen["rejected"].sum() == 0
    rate = seen["proposals_committed"].sum() / (MINUTES * 60)
    assert rate == pytest.approx(0.7 * CALM.proposals_per_s, rel=0.01)
    peak = slice(5 * 60, 7 * 60)  # the load's sine is flat within 4 %
    lam = seen["proposals_committed"][peak].sum() / 7200
    rho = lam * CALM.log_s
    assert seen["queue_depth"][peak].mean() == pytest.approx(rho * rho / (1 - rho), rel=0.1)
    held = CALM.log_s + seen["round_s"][peak].mean()
    assert seen["proposals_pending"][peak].mean() == pytest.approx(lam * held, rel=0.03)


def test_what_the_published_anomalies_do_is_seen_where_they_are() -> None:
    calm = watched(CALM, RAFT_OF_5)
    seen = watched(replace(CALM, anomalies_per_day=60.0), RAFT_OF_5)
    kinds = seen["anomaly"]

    def during(kind: str, column: str) -> float:
        return float(seen[column][kinds == kind].mean())

    assert {*kinds} == {"", "congestion", "election_storm", "queue_overflow", "byzantine"}
    assert during("congestion", "round_s") > 1.5 * calm["round_s"].mean()
    assert during("election_storm", "leader_changes") > 10 * max(calm["leader_changes"].mean(), 0.01)
    assert during("queue_overflow", "queue_depth") > 20 * calm["queue_depth"].mean()
    assert during("byzantine", "leader_changes") > 10 * max(calm["leader_changes"].mean(), 0.01)
    assert during("byzantine", "latency_p95_s") > 1.1 * calm["latency_p95_s"].mean()
    assert during("byzantine", "active_nodes") == 5  # who lies does answer
    assert (seen["intensity"][kinds == ""] == 0).all()


def test_a_congestion_of_one_of_its_links_is_one_of_the_group() -> None:
    seen = watched(CALM, RAFT_OF_5, trouble=(90, 0.4))
    assert (seen["anomaly"][:90] == "congestion").all()
    assert (seen["intensity"][:90] == 0.4).all()
    assert (seen["anomaly"][90:] == "").all()


@pytest.mark.parametrize(("replicas", "protocol"), [(3, RAFT), (7, RAFT), (4, PBFT)])
def test_restarts_leave_a_quorum_and_come_as_often_as_they_should(replicas: int, protocol: int) -> None:
    group = Group(replicas, protocol, np.zeros(replicas - 1, np.int64))
    middle = (np.arange(100_000) + 0.5) * 60.0
    away = draw_absences(group, middle, 6e6, np.random.default_rng(3))
    assert replicas - away.sum(axis=1).max() >= group.quorum
    assert away.mean() == pytest.approx(0.5 * 8 / 1440 * np.exp(0.18), rel=0.25)  # mean of the lognormal


def test_the_mode_follows_round_trip_and_bandwidth_as_published() -> None:
    rtt, bandwidth = np.array([0.001, 0.03, 0.08, 0.001]), np.array([10, 1, 10, 0.1]) * GBIT
    modes = [int(dwcp_mode(np.full(12, r), np.full(12, b))[-1]) for r, b in zip(rtt, bandwidth, strict=True)]
    assert modes == [0, 1, 2, 2]
    assert dwcp_mode(np.full(3, 0.001), np.full(3, 999 * MBIT)).tolist() == [2, 2, 2]
