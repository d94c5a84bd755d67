"""Thresholds, trailing statistics and ceilings: against sums by hand, theorems, and other futures."""

import numpy as np
import pytest
from scipy.stats import norm

from agents.supervised.attainable import attainable
from agents.supervised.matched import best_of_both, recall_at, strengths
from agents.supervised.thresholds import area, detection, for_f1, for_false_positives, for_recall
from agents.supervised.trailing import trailing_max, trailing_mean, trailing_spread, usual
from sim.randomness import stream


def scores_of_two_gaussians(distance, count=40_000):
    rng = stream(1, "two gaussians")
    truth = np.arange(count) % 2 == 0
    return rng.standard_normal(count) + distance * truth, truth


def test_thresholds_do_on_the_rows_they_were_chosen_on_what_they_promise():
    scores, truth = scores_of_two_gaussians(2.0)
    assert detection(scores, truth, for_recall(scores, truth, 0.98)).recall == pytest.approx(0.98, abs=1e-4)
    calm = detection(scores, truth, for_false_positives(scores, truth, 0.05))
    assert 0.049 < calm.false_positive_rate <= 0.05
    best = detection(scores, truth, for_f1(scores, truth)).f1
    assert best >= max(detection(scores, truth, limit).f1 for limit in np.linspace(-1, 3, 41)) - 1e-12


def test_rows_of_equal_score_are_flagged_together_or_not_at_all():
    scores, truth = np.repeat([0.0, 1.0], [90, 10]), np.zeros(100, np.bool_)
    assert detection(scores, truth, for_false_positives(scores, truth, 0.05)).false_positive_rate == 0
    assert detection(scores, truth, for_false_positives(scores, truth, 0.1)).false_positive_rate == 0.1


def test_area_under_roc_of_two_gaussians_is_that_of_their_difference():
    assert area(*scores_of_two_gaussians(1.0)) == pytest.approx(norm.cdf(1 / np.sqrt(2)), abs=0.01)


def test_a_matched_filter_is_the_likelihood_ratio_of_two_gaussians():
    scores, truth = scores_of_two_gaussians(1.3)
    rate = 0.07
    limit = for_false_positives(scores, truth, rate)
    assert recall_at(np.array([1.3**2]), rate) == pytest.approx(
        detection(scores, truth, limit).recall, abs=0.01
    )


def test_strength_is_the_distance_over_the_noise_of_what_events_add():
    rng = stream(2, "strength")
    mixing = np.array([[1.0, 0.0], [0.8, 0.6]])
    noise = rng.standard_normal((50_000, 2)) @ mixing.T
    intensity, kind = rng.random(300), np.zeros(300, np.int64)
    added = np.stack([3.0 * intensity, 3.0 * intensity], axis=1)
    precision = np.linalg.inv(mixing @ mixing.T)
    by_hand = 9 * intensity**2 * precision.sum()
    assert strengths(added, intensity, kind, noise) == pytest.approx(by_hand, rel=0.03, abs=0.01)


def test_where_nothing_can_be_told_recall_and_precision_are_the_share_of_events():
    bound = best_of_both(np.zeros(500), 500)
    assert bound.recall == pytest.approx(0.5, abs=0.02)
    assert bound.precision == pytest.approx(0.5, abs=1e-6)


def test_of_two_equally_likely_labels_half_is_attainable_and_of_a_sure_one_all():
    draws = stream(3, "coins").integers(2, size=(400, 24))
    coins = np.stack([1.0 + draws, 2.0 - draws], axis=2)
    found = attainable(coins)
    assert found.accuracy == pytest.approx(0.5, abs=0.03)
    assert found.regret == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    "statistic",
    [
        lambda values: trailing_mean(values, 7),
        lambda values: trailing_max(values, 7),
        lambda values: usual(values, 20, 5),
    ],
)
def test_a_trailing_statistic_does_not_change_when_the_future_does(statistic):
    values = stream(4, "past").standard_normal((60, 2))
    other = values.copy()
    other[31:] = 100.0
    assert np.array_equal(statistic(values)[:31], statistic(other)[:31])


def test_trailing_statistics_are_those_of_a_loop():
    values = stream(4, "loop").standard_normal((40, 2))
    for row in range(40):
        last = values[max(0, row - 6) : row + 1]
        assert trailing_mean(values, 7)[row] == pytest.approx(last.mean(axis=0))
        assert trailing_max(values, 7)[row] == pytest.approx(last.max(axis=0))
        assert trailing_spread(values, 7)[row] == pytest.approx(last.std(axis=0), abs=1e-9)
