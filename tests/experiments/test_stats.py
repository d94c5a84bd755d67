"""Statistics against sums done by hand, theorems, scipy, and intervals that hold as often as they say."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from experiments import agreement
from experiments.resampling import Resampling
from experiments.stats import (
    interquartile_interval,
    mean_interval,
    percentiles,
    probability_of_improvement,
    relative_difference,
    share_of_gap_closed,
)


@pytest.fixture
def rng():
    return np.random.default_rng(20261121)


def test_interquartile_mean_leaves_out_a_quarter_at_each_end(rng):
    # Of 1..8 the middle four are 3, 4, 5, 6; of five values a quarter is 1.25, rounded down: 1, 2, 3 stay.
    eight, five = [[8.0, 1.0, 7.0, 2.0], [6.0, 3.0, 5.0, 4.0]], [[-100.0, 1.0, 2.0, 3.0, 100.0]]
    for scores, mean in ((eight, 4.5), (five, 2.0)):
        estimate = interquartile_interval([np.array(scores)], Resampling(rng, resamples=100))
        assert estimate.value == pytest.approx(mean, rel=1e-12)


def test_weighted_interquartile_mean_of_undrawn_scores_is_the_plain_one(rng):
    for shape in [(5, 40), (3, 7), (1, 5), (2, 3)]:
        scores = rng.gamma(2, size=shape)
        estimate = interquartile_interval([scores], Resampling(rng, resamples=100))
        assert estimate.value == pytest.approx(scipy_stats.trim_mean(scores.ravel(), 0.25), rel=1e-12)


def test_interquartile_interval_over_scenarios_counts_each_score_alike(rng):
    long, short = rng.gamma(2, size=(3, 12)), rng.gamma(2, size=(3, 4))
    pooled = np.concatenate([long.ravel(), short.ravel()])
    estimate = interquartile_interval([long, short], Resampling(rng, resamples=100))
    assert estimate.value == pytest.approx(scipy_stats.trim_mean(pooled, 0.25), rel=1e-12)
    assert estimate.low < estimate.value < estimate.high


def test_interval_of_one_run_is_as_wide_as_the_normal_theory_says(rng):
    scores = rng.normal(10, 2, size=(1, 200))
    estimate = mean_interval([scores], Resampling(rng, resamples=20_000))
    half = 1.96 * scores.std(ddof=1) / np.sqrt(200)
    assert estimate.value == pytest.approx(scores.mean())
    assert (estimate.high - estimate.low) / 2 == pytest.approx(half, rel=0.03)


def test_interval_of_runs_without_episode_noise_is_as_wide_as_students(rng):
    runs = rng.normal(10, 1, size=(12, 1))
    estimate = mean_interval([np.repeat(runs, 5, axis=1)], Resampling(rng, resamples=20_000))
    student = scipy_stats.t.interval(0.95, 11, loc=runs.mean(), scale=scipy_stats.sem(runs[:, 0]))
    assert estimate.high - estimate.low == pytest.approx(student[1] - student[0], rel=0.05)


@pytest.mark.parametrize(
    ("runs", "between_runs", "between_episodes", "least"),
    [(5, 1.0, 0.01, 0.90), (5, 0.05, 1.0, 0.90), (1, 0.0, 1.0, 0.90), (5, 0.3, 1.0, 0.92)],
)
def test_interval_at_95_percent_holds_the_truth_about_as_often(
    rng, runs, between_runs, between_episodes, least
):
    held = 0
    for _ in range(300):
        effect = between_runs * rng.normal(size=(runs, 1))
        scores = (
            10 + effect + between_episodes * rng.normal(size=(1, 30)) + 0.01 * rng.normal(size=(runs, 30))
        )
        estimate = mean_interval([scores], Resampling(rng, resamples=300))
        held += estimate.low <= 10 <= estimate.high
    assert held / 300 >= least


def test_interval_widens_when_runs_disagree_although_the_pooled_scores_are_the_same(rng):
    values = np.sort(rng.normal(10, 1, size=200))
    disagreeing = values.reshape(5, 40)
    mixed = rng.permutation(values).reshape(5, 40)
    narrow = interquartile_interval([mixed], Resampling(rng))
    wide = interquartile_interval([disagreeing], Resampling(rng))
    assert narrow.value == pytest.approx(wide.value)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_same_generator_state_gives_the_same_interval():
    scores = np.random.default_rng(1).gamma(2, size=(4, 9))
    first, second = (interquartile_interval([scores], Resampling(np.random.default_rng(7))) for _ in range(2))
    assert first == second


def test_2000_resamples_of_5_runs_and_40_episodes_take_less_than_50_ms(rng):
    scores = rng.gamma(2, size=(5, 40))
    spent = []
    for _ in range(5):
        start = time.process_time()
        interquartile_interval([scores], Resampling(rng))
        spent.append(time.process_time() - start)
    assert min(spent) < 0.05


def test_relative_difference_is_the_ratio_of_the_sums(rng):
    ours, theirs = np.array([[1.0, 3.0], [3.0, 5.0]]), np.array([[4.0, 12.0]])
    # Mean of ours 3, of theirs 8; the mean of the ratios would be (2/4 + 4/12) / 2 - 1.
    assert relative_difference([ours], [theirs], Resampling(rng)).value == pytest.approx(3 / 8 - 1)


def test_relative_difference_over_scenarios_inverts_when_policies_are_exchanged(rng):
    ours = [rng.gamma(3, size=(2, 6)), 100 * rng.gamma(3, size=(2, 9))]
    theirs = [rng.gamma(3, size=(1, 6)), 100 * rng.gamma(3, size=(1, 9))]
    there = relative_difference(ours, theirs, Resampling(rng)).value
    back = relative_difference(theirs, ours, Resampling(rng)).value
    assert (1 + there) * (1 + back) == pytest.approx(1)


def test_pairing_finds_a_small_gain_under_large_differences_between_episodes(rng):
    theirs = rng.gamma(1, size=(1, 40)) * 100 + 1
    ours = 0.97 * theirs * rng.normal(1, 0.005, size=(5, 40))
    estimate = relative_difference([ours], [theirs], Resampling(rng))
    assert estimate.value == pytest.approx(-0.03, abs=0.003)
    assert -0.04 < estimate.low < estimate.high < -0.02


@given(factor=st.floats(0.1, 10))
def test_constant_ratio_has_an_interval_without_width(factor):
    theirs = np.random.default_rng(3).gamma(2, size=(1, 12)) + 0.1
    estimate = relative_difference(
        [factor * theirs], [theirs], Resampling(np.random.default_rng(0), resamples=100)
    )
    assert estimate == pytest.approx((factor - 1,) * 3, abs=1e-9)


def test_relative_difference_refuses_costs_of_zero_and_other_episodes(rng):
    with pytest.raises(ValueError, match="above 0"):
        relative_difference([np.zeros((1, 3))], [np.ones((1, 3))], Resampling(rng))
    with pytest.raises(ValueError, match="same episodes, got 3 and 4"):
        relative_difference([np.ones((1, 4))], [np.ones((1, 3))], Resampling(rng))
    with pytest.raises(ValueError, match="finite"):
        mean_interval([np.array([[1.0, np.nan]])], Resampling(rng))
    with pytest.raises(ValueError, match="same runs"):
        mean_interval([np.ones((2, 3)), np.ones((1, 3))], Resampling(rng))


def test_probability_of_improvement_counts_pairs_with_ties_as_half(rng):
    ours, theirs = np.array([[1.0, 4.0], [2.0, 6.0]]), np.array([[2.0, 5.0]])
    # Episode 1: 1 < 2 wins, 2 = 2 ties; episode 2: 4 < 5 wins, 6 > 5 loses: (1 + 0.5 + 1 + 0) / 4.
    estimate = probability_of_improvement([ours], [theirs], Resampling(rng))
    assert estimate.value == pytest.approx(0.625)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_probability_of_improvement_agrees_with_mann_whitney_on_one_episode(rng):
    ours, theirs = rng.normal(size=(9, 1)), rng.normal(0.5, 1, size=(7, 1))
    wins = scipy_stats.mannwhitneyu(theirs[:, 0], ours[:, 0]).statistic / 63
    assert probability_of_improvement([ours], [theirs], Resampling(rng)).value == pytest.approx(wins)


def test_share_of_gap_is_1_for_the_best_0_for_the_constant_and_negative_below(rng):
    best = rng.gamma(4, size=(1, 30)) + 5
    static = best + 4
    for cost, share in ((best, 1.0), (static, 0.0), (best + 1, 0.75), (best + 6, -0.5)):
        estimate = share_of_gap_closed(cost, static, best, Resampling(rng))
        assert estimate == pytest.approx((share,) * 3)


def test_share_of_a_gap_that_may_not_exist_has_no_interval(rng):
    static = rng.normal(10, 1, size=(1, 20))
    noise = rng.normal(0, 1, size=(1, 20))
    unsure = share_of_gap_closed(
        static - 0.05, static, static - 0.01 - (noise - noise.mean()), Resampling(rng)
    )
    assert unsure.value == pytest.approx(5.0)
    assert np.isnan([unsure.low, unsure.high]).all()
    assert np.isnan(share_of_gap_closed(static, static, static + 1, Resampling(rng))).all()


def test_percentiles_lie_between_neighbours():
    assert percentiles(np.array([4.0, 1.0, 3.0, 2.0]), (0, 50, 90, 100)) == pytest.approx((1, 2.5, 3.7, 4))


def test_confusion_rows_are_the_oracle_and_scores_match_the_hand():
    oracle = [0, 0, 0, 0, 1, 1, 2, 2, 2, 2]
    chosen = [0, 0, 1, 2, 1, 0, 2, 2, 2, 0]
    counts = agreement.confusion(oracle, chosen, classes=4)
    assert counts.tolist() == [[2, 1, 1, 0], [1, 1, 0, 0], [1, 0, 3, 0], [0, 0, 0, 0]]
    assert agreement.accuracy(counts) == 0.6
    assert agreement.majority_baseline(counts) == 0.4
    scores = agreement.class_scores(counts)
    assert scores.precision == pytest.approx([2 / 4, 1 / 2, 3 / 4, 0])
    assert scores.recall == pytest.approx([2 / 4, 1 / 2, 3 / 4, 0])
    assert scores.f1 == pytest.approx([1 / 2, 1 / 2, 3 / 4, 0])
    assert scores.support.tolist() == [4, 2, 4, 0]


def test_f1_is_the_harmonic_mean_of_precision_and_recall(rng):
    counts = agreement.confusion(rng.integers(3, size=200), rng.integers(3, size=200), classes=3)
    scores = agreement.class_scores(counts)
    assert scores.f1 == pytest.approx(2 / (1 / scores.precision + 1 / scores.recall))


def test_confusion_refuses_classes_it_was_not_told_of():
    with pytest.raises(ValueError, match="expected classes 0 to 1, got 0 to 2"):
        agreement.confusion([0, 2], [0, 1], classes=2)
    with pytest.raises(ValueError, match="one class a decision"):
        agreement.confusion([0, 1], [0], classes=2)
