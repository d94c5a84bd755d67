"""Estimators against sums done by hand, and against what each answer truly came to in the simulator."""

import numpy as np
import pytest

from agents.heuristics import Contention
from agents.supervised.counterfactual import Counterfactor, joined
from envs.features import CODEC_FEATURES
from experiments.shadow.off_policy import (
    Logged,
    expected_costs,
    influences,
    interval,
    overlap,
    saved,
    saved_typically,
)
from sim.catalogue import SCENARIOS
from sim.codecs import parse_codec
from sim.episode import draw_episode

CODECS = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]


def logged(actions, propensity, costs, groups=None):
    count = len(actions)
    given = (np.array(actions), np.array(propensity, float), np.array(costs, float))
    return Logged(*given, np.zeros((count, 1)), np.arange(count) if groups is None else np.array(groups))


def test_the_estimates_are_the_sums_of_their_definitions():
    log = logged([0, 1, 0, 1], [0.5, 0.25, 0.5, 0.5], [2.0, 4.0, 6.0, 8.0])
    chosen = np.array([0, 1, 1, 1])  # weights 2, 4, 0, 2
    expected = np.array([[1.0, 3.0]] * 4)
    ips, snips, dr = influences(chosen, log, expected)
    assert ips.mean() == pytest.approx((2 * 2 + 4 * 4 + 2 * 8) / 4)
    assert snips.mean() == pytest.approx((2 * 2 + 4 * 4 + 2 * 8) / (2 + 4 + 2))
    assert dr.mean() == pytest.approx(((1 + 2 * 1) + (3 + 4 * 1) + 3 + (3 + 2 * 5)) / 4)


def test_overlap_counts_what_matches_and_warns_of_what_does_not():
    log = logged([0, 1, 0, 1], [0.5, 0.25, 0.5, 0.5], [1.0] * 4)
    found = overlap(np.array([0, 1, 1, 1]), log)
    assert (found.matched, found.largest, found.mean_weight.value) == (0.75, 0.5, 2.0)
    assert found.effective == pytest.approx((2 + 4 + 2) ** 2 / (4 + 16 + 4))
    assert "only 3 effective decisions" in found.problem
    assert "never does what it would do" in overlap(np.array([2, 2, 2, 2]), log).problem
    rng = np.random.default_rng(1)
    always = logged(np.zeros(2000, int), np.full(2000, 0.5), rng.random(2000))  # the half is not there
    assert "weights average 2.00 in place of 1" in overlap(np.zeros(2000, int), always).problem
    honest = logged(rng.integers(2, size=2000), np.full(2000, 0.5), rng.random(2000))
    assert overlap(np.zeros(2000, int), honest).problem == ""


def test_rows_of_one_group_count_as_one_draw():
    rows = np.repeat([1.0, 2.0, 4.0, 7.0], 25)
    alone, together = interval(rows, np.arange(100)), interval(rows, np.repeat(np.arange(4), 25))
    # groups: t(0.975, 3) = 3.182 times the standard error of four numbers, sqrt(7) / 2
    assert together.high - together.value == pytest.approx(3.1824463 * np.sqrt(7) / 2, rel=1e-6)
    assert alone.high - alone.value < together.high - together.value
    assert together.heaviest == pytest.approx(3.5**2 / (2.5**2 + 1.5**2 + 0.5**2 + 3.5**2))


def test_a_saving_is_a_share_and_pairs_its_rows():
    base, mine = np.array([10.0, 20.0, 40.0, 30.0]), np.array([5.0, 10.0, 20.0, 15.0])
    found = saved(mine, base, np.arange(4))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    typical = saved_typically(np.log(mine), np.log(base), np.arange(4))
    assert (typical.value, typical.low, typical.high) == pytest.approx((0.5, 0.5, 0.5))
    assert saved_typically(np.log(2 * base), np.log(base), np.arange(4)).value == pytest.approx(-1.0)


def test_expected_costs_are_fitted_to_other_groups_than_they_are_asked_of():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(600, 2))
    actions = rng.integers(2, size=600)
    costs = np.exp(features[:, 0] + actions)  # a product: the logarithm fits it exactly
    log = Logged(actions, np.full(600, 0.5), costs, features, np.arange(600))
    expected = expected_costs(log, 2)
    truth = np.exp(features[:, :1] + np.arange(2))
    inside = np.abs(features[:, 0]) < 1.5
    assert np.median(np.abs(expected / truth - 1)[inside]) < 0.05
    spoilt = costs.copy()
    spoilt[0] = 1e6
    again = expected_costs(log._replace(costs=spoilt), 2)
    assert again[0].max() < 1e5  # its own cost is not known to its own model


@pytest.fixture(scope="module")
def labelled():
    counterfactor = Counterfactor(CODECS, "shortest")
    return joined([counterfactor.label(draw_episode(SCENARIOS["metro"], seed)) for seed in range(12)])


def drawn(labelled, rng, count, explore):
    """Decisions drawn from all, each taken by its rule or, with that chance, by a coin; and all truths."""
    rows = rng.integers(len(labelled.request), size=count)
    chances = np.full((count, 4), explore / 4)
    chances[np.arange(count), labelled.answer[rows]] += 1 - explore
    actions = np.minimum((rng.random((count, 1)) > chances.cumsum(axis=1)).sum(axis=1), 3)
    costs = labelled.one_step_s[rows, actions]
    features = CODEC_FEATURES.scaled(labelled.features[rows]).astype(float)
    return rows, Logged(actions, chances[np.arange(count), actions], costs, features, np.arange(count))


def test_the_intervals_hold_the_true_cost_of_another_policy_at_the_stated_rate(labelled):
    observations = CODEC_FEATURES.scaled(labelled.features)
    candidate = np.asarray(Contention(CODECS).act(observations))
    every = np.arange(len(candidate))
    assert 0.5 < np.mean(candidate == labelled.answer) < 0.95
    logs = np.log(labelled.one_step_s)
    explore = 0.4
    by_rule = logs[every, labelled.answer]
    truth = logs[every, candidate].mean()
    saving = 1 - np.exp(truth - ((1 - explore) * by_rule + explore * logs.mean(axis=1)).mean())
    rng, repeats = np.random.default_rng(7), 200
    held = dict.fromkeys(("ips", "snips", "dr", "saved ips", "saved snips", "saved dr"), 0)
    widths = dict.fromkeys(held, 0.0)
    for _ in range(repeats):
        rows, log = drawn(labelled, rng, 1500, explore)
        log = log._replace(costs=np.log(log.costs))
        found = influences(candidate[rows], log, expected_costs(log, 4))
        for name, part in found._asdict().items():
            cost = interval(part, log.groups)
            gain = saved_typically(part, log.costs, log.groups)
            held[name] += cost.low <= truth <= cost.high
            held[f"saved {name}"] += gain.low <= saving <= gain.high
            widths[name] += cost.high - cost.low
    shares = {name: count / repeats for name, count in held.items()}
    assert min(shares.values()) >= 0.90 and max(shares.values()) <= 0.995, shares  # 0.95, give or take 0.045
    assert widths["dr"] < 0.8 * widths["ips"]


def test_where_a_few_huge_costs_make_the_mean_its_interval_says_so(labelled):
    rng = np.random.default_rng(8)
    rows, log = drawn(labelled, rng, 1500, 0.4)
    base = labelled.one_step_s[rows, labelled.answer[rows]]
    assert base.max() > 50 * np.median(base)
    found = influences(labelled.answer[rows], log, expected_costs(log, 4))
    assert interval(found.ips, log.groups).heaviest > 0.05
    assert interval(np.log(base), log.groups).heaviest < 0.02
