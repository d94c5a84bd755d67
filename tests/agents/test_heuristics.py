"""Rules without training: what they answer to observations made by hand."""

import numpy as np
import pytest

from agents.heuristics import Contention, DwcpRule, Estimate, Fixed, ModeRule
from agents.play import play
from agents.policy import Policy
from envs.compression import Compression
from envs.features import CODEC_FEATURES
from sim.catalogue import find_scenario
from sim.codecs import parse_codec
from sim.episode import draw_episode

NONE, ZSTD, HDE, AMST = range(4)
CODECS = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]
RULES = [DwcpRule, ModeRule, Estimate, Contention]
PLAIN = {
    "rtt_ms": 80.0,
    "bandwidth_mbps": 400.0,
    "size_mb": 100.0,
    "entropy": 0.6,
    "compressibility": 0.7,
    "recent_hde_ratio": 10.0,
    "recent_zstd_ratio": 3.0,
    "has_baseline": 0.0,
    "active_transfers": 0.0,
    "wire_backlog_s": 0.01,
    "core_backlog_s": 0.01,
    "capacity_mbps": 1000.0,
    "cores": 4.0,
    "changed": 1.0,
    "priority": 1.0,
    "none_time_s": 10.0,
    "zstd_speedup": 1.0,
    "hde_speedup": 1.0,
    "amst_speedup": 1.0,
}


def seen(**values: float) -> np.ndarray:
    """An observation with these features, the others as in PLAIN or at the lower end of their range."""
    raw = np.array([one.low for one in CODEC_FEATURES.features], np.float64)
    for name, value in {**PLAIN, **values}.items():
        raw[CODEC_FEATURES.index(name)] = value
    return CODEC_FEATURES.scaled(raw)


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ({"rtt_ms": 0.5, "bandwidth_mbps": 9000}, AMST),
        (
            {"rtt_ms": 0.5, "bandwidth_mbps": 400},
            AMST,
        ),  # too narrow for the first branch, wide enough for the last
        ({"recent_hde_ratio": 30, "has_baseline": 1}, HDE),
        ({"recent_hde_ratio": 30, "has_baseline": 0}, AMST),
        ({"recent_hde_ratio": 8, "has_baseline": 1}, AMST),
        ({"bandwidth_mbps": 50}, HDE),
        ({}, AMST),
    ],
)
def test_dwcps_rule_follows_its_branches(values, answer):
    assert DwcpRule(CODECS).act(seen(**values)) == answer


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ({"size_mb": 1000 / 2**20}, NONE),  # 1000 bytes
        ({"entropy": 0.95, "compressibility": 0.05}, NONE),
        ({"entropy": 0.95, "compressibility": 0.3}, ZSTD),  # dense to the eye, yet zstd shrank the sample
        ({"rtt_ms": 2, "bandwidth_mbps": 2000}, AMST),
        ({"rtt_ms": 80, "bandwidth_mbps": 2000}, ZSTD),
        ({"rtt_ms": 80, "has_baseline": 1}, HDE),
        ({"rtt_ms": 30, "bandwidth_mbps": 2000, "recent_hde_ratio": 2.0}, ZSTD),
        ({"rtt_ms": 30, "bandwidth_mbps": 2000, "recent_hde_ratio": 20.0}, HDE),
    ],
)
def test_the_mode_rule_follows_its_branches(values, answer):
    assert ModeRule(CODECS).act(seen(**values)) == answer


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ({"zstd_speedup": 3.0, "hde_speedup": 2.0, "amst_speedup": 2.5}, ZSTD),
        ({"zstd_speedup": 3.0, "hde_speedup": 2.0, "amst_speedup": 5.0}, AMST),
        ({"zstd_speedup": 3.0, "hde_speedup": 9.0, "amst_speedup": 5.0}, HDE),
        ({"zstd_speedup": 0.5, "hde_speedup": 0.4, "amst_speedup": 0.9}, NONE),
    ],
)
def test_the_estimate_takes_the_largest_speedup_when_seconds_outweigh_cores(values, answer):
    assert Estimate(CODECS).act(seen(none_time_s=100.0, **values)) == answer


def test_the_estimate_spares_cores_when_they_are_dear():
    # zstd saves 10 * (1 - 1/1.2) = 1.7 s and costs 100 MiB / 330 MB/s = 0.32 core-seconds, raw bytes 0.09.
    observation = seen(zstd_speedup=1.2)
    assert Estimate(CODECS, cpu_price=0.1).act(observation) == ZSTD
    assert Estimate(CODECS, cpu_price=6.0).act(observation) == ZSTD  # 0.23 * 6 = 1.4 s
    assert Estimate(CODECS, cpu_price=9.0).act(observation) == NONE  # 0.23 * 9 = 2.1 s


def test_priority_makes_the_estimate_pay_for_cores():
    observation = seen(zstd_speedup=1.2, priority=3.0)
    assert Estimate(CODECS, cpu_price=9.0).act(observation) == ZSTD  # 3 * 1.7 = 5 s


def test_contention_agrees_with_the_estimate_where_nobody_else_is():
    for values in ({"zstd_speedup": 3.0}, {"amst_speedup": 3.0}, {"hde_speedup": 3.0}, {}):
        assert Contention(CODECS).act(seen(**values)) == Estimate(CODECS).act(seen(**values))


def test_contention_sends_fewer_bytes_when_others_wait_for_the_wire():
    # Alone AMST is best. With ten others on the wire its 100 MiB (0.84 s of the path) are taken from each.
    values = {"zstd_speedup": 3.0, "amst_speedup": 4.0, "compressibility": 0.75}
    crowd = {"active_transfers": 10.0, "wire_backlog_s": 100.0}
    assert Contention(CODECS).act(seen(**values)) == AMST
    assert Contention(CODECS).act(seen(**values, **crowd)) == ZSTD
    assert Estimate(CODECS).act(seen(**values, **crowd)) == AMST


def test_contention_compresses_less_when_others_wait_for_cores():
    values = {"zstd_speedup": 3.0, "cores": 1.0}
    crowd = {"active_transfers": 30.0, "core_backlog_s": 100.0}
    assert Contention(CODECS).act(seen(**values)) == ZSTD
    assert Contention(CODECS).act(seen(**values, **crowd)) in (NONE, AMST)


@pytest.mark.parametrize("rule", RULES)
def test_a_batch_is_answered_like_its_rows(rule):
    rng = np.random.default_rng(0)
    batch = rng.uniform(-1, 1, (16, len(CODEC_FEATURES))).astype(np.float32)
    policy = rule(CODECS)
    answers = policy.act(batch)
    assert answers.dtype == np.int64 and answers.tolist() == [policy.act(row) for row in batch]


@pytest.mark.parametrize("rule", RULES)
def test_a_masked_answer_is_never_given(rule):
    policy, observation = rule(CODECS), seen(zstd_speedup=3.0)
    for allowed in range(4):
        assert policy.act(observation, np.arange(4) == allowed) == allowed


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_answers_with_whatever_codecs_there_are(rule):
    some = [parse_codec(name) for name in ("hde_xor", "amst-4", "zstd-1")]
    assert rule(some).act(seen(zstd_speedup=3.0)) in range(3)


@pytest.mark.parametrize(
    "policy", [Fixed("hde", HDE), *(rule(CODECS) for rule in RULES)], ids=lambda one: one.name
)
def test_a_rule_plays_an_episode_to_its_end(policy: Policy):
    world = play(Compression("hybrid"), draw_episode(find_scenario("hybrid").with_(requests=20), 1), policy)
    assert world.finished and len(world.records) == 20
    if policy.name == "hde":
        assert {record.codec for record in world.records} == {"hde"}


def test_a_constant_answers_every_row_alike():
    assert Fixed("amst", AMST).act(np.zeros((3, len(CODEC_FEATURES)), np.float32)).tolist() == [3, 3, 3]
