"""What was seen is told from what was not: worked by hand, and on distributions that are known."""

import numpy as np
import pytest

from experiments.shadow.drift import drift, psi
from experiments.shadow.seen import seen_in


def feature(values, low=None, high=None):
    return {
        "name": "x",
        "low": low,
        "high": high,
        "seen": {key: np.asarray(part).tolist() for key, part in seen_in(values)._asdict().items()},
    }


def drifted(trained, now, low=None, high=None):
    return drift([feature(np.asarray(trained, np.float32), low, high)], np.asarray(now, np.float32)[:, None])[
        0
    ]


def test_the_stability_index_is_the_sum_of_its_definition():
    before, now = np.array([0.2, 0.3, 0.5]), np.array([0.4, 0.3, 0.3])
    assert psi(before, now) == pytest.approx(0.2 * np.log(2) + 0.2 * np.log(5 / 3))


def test_the_same_distribution_does_not_drift_and_a_shifted_one_does():
    rng = np.random.default_rng(1)
    trained = rng.normal(size=20_000)
    same, moved = drifted(trained, rng.normal(size=20_000)), drifted(trained, rng.normal(size=20_000) + 1)
    assert same.psi < 0.01 and same.ks < 0.02 and not same.drifted
    # the distance of two normal distributions a standard deviation apart is 2 * Phi(1/2) - 1 = 0.383
    assert moved.ks == pytest.approx(0.383, abs=0.015) and moved.drifted
    assert moved.unseen < 0.01


def test_a_feature_of_few_values_is_compared_by_their_shares():
    trained = [0.0] * 90 + [1.0] * 10
    assert drifted(trained, trained).ks == 0.0 and drifted(trained, trained).psi == pytest.approx(0.0)
    half = drifted(trained, [0.0] * 50 + [1.0] * 50)
    assert half.ks == pytest.approx(0.4)
    assert half.psi == pytest.approx(-0.4 * np.log(5 / 9) + 0.4 * np.log(5))


def test_values_that_training_never_had_are_told_and_make_it_drift():
    constant = drifted([3.0] * 100, [3.0] * 50 + [4.0] * 50)
    assert constant.unseen == 0.5 and constant.ks == pytest.approx(0.5) and constant.psi > 1


def test_what_is_cut_off_and_what_is_unknown_is_counted_apart():
    found = drifted(np.arange(100), [-5.0, 50.0, 200.0, np.nan], low=0.0, high=100.0)
    assert (found.below, found.above, found.unknown) == (0.25, 0.25, 0.25)
    assert found.unseen == pytest.approx(2 / 3)


def test_a_bundle_that_tells_no_distribution_has_ranges_only():
    (found,) = drift([{"name": "x", "low": 0.0, "high": None}], np.array([[-1.0], [1.0]], np.float32))
    assert np.isnan(found.psi) and found.below == 0.5 and not found.drifted
