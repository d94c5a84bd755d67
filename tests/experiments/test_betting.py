"""Tests by betting: right by Ville, however often one looks, and quick where there is something to find."""

import numpy as np
from scipy import stats

from experiments.rollout.betting import (
    anytime_p,
    centred,
    effect_interval,
    effect_p,
    effects,
    log_capital,
    share_p,
)
from sim.randomness import stream

MOST = np.log(4.0)


def heavy(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Log ratios with tails as of Student's t with 3 degrees of freedom, standard deviation 0.4."""
    return rng.standard_t(3, shape) * 0.4 / np.sqrt(3.0)


def test_whoever_looks_at_every_draw_is_wrong_as_rarely_as_said_and_a_t_test_is_not():
    rng = stream(1, "no effect")
    values, treated = heavy(rng, 2000, 600), rng.random((2000, 600)) < 0.25
    draws = effects(centred(values, MOST), treated, 0.25)
    ever = log_capital(draws, MOST / 0.25).max(axis=1) >= np.log(1 / 0.05)
    assert ever.mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
    looks = np.arange(20, 601, 20)
    sums, squares = np.cumsum(draws, axis=1), np.cumsum(draws**2, axis=1)
    means, counts = sums[:, looks - 1] / looks, looks
    errors = np.sqrt((squares[:, looks - 1] / counts - means**2) / counts)
    peeked = (means / errors >= stats.norm.ppf(0.95)).any(axis=1)
    assert peeked.mean() > 0.15


def test_a_gambler_who_doubles_every_stake_is_worth_what_a_hand_sum_says():
    stakes = 0.9 * 0.5 ** np.arange(9)
    by_hand = np.mean((1 + stakes) ** 3 * (1 - stakes))
    draws = np.array([0.5, 0.5, 0.5, -0.5])
    assert np.isclose(np.exp(log_capital(draws, 0.5)[-1]), by_hand)
    assert np.isclose(anytime_p(draws, 0.5), 1 / np.mean((1 + stakes) ** 3))  # its best moment counts


def test_a_true_effect_is_excluded_at_any_look_as_rarely_as_said():
    rng, effect, share = stream(2, "an effect"), -0.15, 0.25
    treated = rng.random((1000, 800)) < share
    draws = effects(centred(heavy(rng, 1000, 800) + effect * treated, MOST), treated, share)
    for sign in (1.0, -1.0):
        capital = log_capital(sign * (draws - effect), MOST / share + sign * effect)
        wrong = capital.max(axis=1) >= np.log(1 / 0.05)
        assert wrong.mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


def test_an_interval_closes_in_on_the_effect():
    rng = stream(6, "an effect")
    treated = rng.random(6000) < 0.5
    draws = effects(centred(heavy(rng, 6000) - 0.15 * treated, MOST), treated, 0.5)
    ends = [effect_interval(draws[:look], 2 * MOST, 0.01) for look in (400, 6000)]
    assert all(low < -0.15 < high for low, high in ends)
    assert ends[1][1] - ends[1][0] < 0.4 * (ends[0][1] - ends[0][0])


def test_an_effect_is_shown_on_its_own_side_only():
    rng = stream(3, "an effect")
    treated = rng.random(4000) < 0.5
    draws = effects(centred(heavy(rng, 4000) - 0.2 * treated, MOST), treated, 0.5)
    assert effect_p(draws, 2 * MOST, np.log(0.95), above=False) < 1e-6
    assert effect_p(draws, 2 * MOST, np.log(1.02), above=True) > 0.9


def test_draws_of_an_effect_average_the_effect_whatever_is_taken_off_before():
    rng = stream(4, "an effect")
    treated = rng.random((4000, 200)) < 0.05
    values = rng.uniform(-0.5, 0.5, (4000, 200)) + 0.3 * treated + np.linspace(0, 0.5, 200)
    draws = effects(centred(values, MOST), treated, 0.05)
    assert abs(draws.mean() - 0.3) < 4 * draws.std() / np.sqrt(draws.size)


def test_a_share_above_its_limit_is_found_and_one_below_is_not():
    rng = stream(5, "shares")
    wrong = rng.binomial(8, 0.08, 2000) / 8
    right = rng.binomial(8, 0.05, 2000) / 8
    assert share_p(wrong, 0.05) < 1e-4
    assert share_p(right, 0.05) > 0.01
    assert share_p(np.zeros(0), 0.05) == 1.0


def test_the_interval_of_nothing_is_everything():
    assert effect_interval(np.zeros(0), 1.0, 0.05) == (-np.inf, np.inf)
