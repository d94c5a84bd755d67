"""Consensus groups: the quorum as an order statistic, the queue by Little's law, anomalies where they are."""

from dataclasses import replace

import numpy as np
import pytest

from sim.monitoring.consensus import (
    LAN_RTT_S,
    PORT_QUEUE_S,
    ConsensusModel,
    Network,
    dwcp_mode,
    watch_group,
)
from sim.monitoring.quorum import (
    FLUSH_S,
    PBFT,
    RAFT,
    TIMEOUT_FLOOR_S,
    Group,
    answers,
    draw_absences,
    expected_s,
    quorum_s,
)
from sim.units import GBIT, MBIT

MINUTES = 1440


def watched(model: ConsensusModel, group: Group, slow: int = 0, times: float = 1.0) -> dict[str, np.ndarray]:
    """A day of a group; in the first hour and a half, so many of its followers are so many times as far."""
    calm = np.full((MINUTES, group.replicas - 1), 0.05)
    rtt_s = calm.copy()
    rtt_s[:90, :slow] *= times
    seen = watch_group(
        model,
        group,
        Network(rtt_s, np.zeros_like(calm), calm, np.zeros_like(calm)),
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


def test_the_mean_time_of_a_quorum_is_that_of_many_rounds() -> None:
    rng = np.random.default_rng(4)
    rtt = np.array([0.02, 0.03, 0.05, 0.08])
    loss = np.array([0.05, 0.0, 0.02, 0.01])
    rounds = quorum_s(answers(np.tile(rtt, (400_000, 1)), np.tile(loss, (400_000, 1)), 0.0, rng), 3)
    assert expected_s(rtt[None], loss[None], 3)[0] == pytest.approx(rounds.mean(), rel=0.03)


def test_trouble_of_links_is_a_congestion_of_the_group_where_its_quorum_waits_for_them() -> None:
    seen = watched(CALM, RAFT_OF_5, slow=3, times=1.4)
    assert (seen["anomaly"][:90] == "congestion").all()
    assert (seen["anomaly"][90:] == "").all()
    longer = (0.05 * 1.4 + FLUSH_S) / (0.05 + FLUSH_S)
    assert seen["intensity"][:90] == pytest.approx(np.full(90, (longer - 1) / 4))


def test_where_a_quorum_answers_without_the_troubled_links_nothing_is_wrong() -> None:
    seen = watched(CALM, RAFT_OF_5, slow=2, times=20.0)
    assert set(seen["anomaly"]) == {""}
    assert (seen["intensity"] == 0).all()


def test_a_congestion_within_a_site_fills_the_queue_of_a_switch() -> None:
    local = np.full((MINUTES, 4), LAN_RTT_S)
    network = Network(local, np.zeros_like(local), local, np.zeros_like(local))
    hours = np.arange(MINUTES) / 60 % 24
    model = replace(CALM, anomalies_per_day=60.0)
    columns = watch_group(model, RAFT_OF_5, network, hours, interval_s=60.0, seed=1, number=0)
    kind, intensity, took = (np.asarray(columns[name]) for name in ("anomaly", "intensity", "round_s"))
    crowded = (kind == "congestion") & (intensity > 0.5)
    longer = took[crowded].mean() - took[kind == ""].mean()
    assert longer == pytest.approx(intensity[crowded].mean() * PORT_QUEUE_S, rel=0.15)


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
