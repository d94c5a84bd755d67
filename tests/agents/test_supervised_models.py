"""Supervised models: what they answer where the answer is known; files bring back the same answers."""

import numpy as np
import pytest
from scipy.stats import norm

from agents.supervised.autoencoder import Autoencoder
from agents.supervised.boosted import Boosted, BoostedConfig
from agents.supervised.calibrated import fitted_temperature, tempered
from agents.supervised.forest import IsolationForest, mean_cuts
from agents.supervised.model import Part
from agents.supervised.recurrent import RecurrentDetector
from agents.supervised.sequences import SequenceConfig
from sim.errors import InputError
from sim.randomness import stream

RNG = stream(5, "supervised models")
NOISE = RNG.standard_normal((1200, 3)).astype(np.float32)
NO_TRUTH = np.zeros((1200, 1))


BEFORE, BEGINS, ENDS, STRENGTH = 200, 0.05, 0.3, 2.0
"""Steps until a hidden chain has forgotten its start, its chances to begin and to end an event, and how far
an event moves what is seen."""


def forest():
    model = IsolationForest(["a", "b", "c"], trees=50, sample=128)
    model.fit(Part(NOISE, NO_TRUTH), Part(NOISE, NO_TRUTH), stream(1, "forest"))
    return model


def boosted():
    truth = 2.0 * NOISE[:, :1] + RNG.standard_normal((1200, 1))
    config = BoostedConfig("quantile", (0.1, 0.5, 0.9), rounds=60, depth=3)
    model = Boosted(["a", "b", "c"], ["low", "middle", "high"], config)
    model.fit(Part(NOISE[:800], truth[:800]), Part(NOISE[800:], truth[800:]), stream(1, "boosted"))
    return model


def autoencoder():
    shape = SequenceConfig(steps=8, units=6, latent=2, epochs=2)
    model = Autoencoder(["a", "b", "c"], ["error"], shape)
    windows = NOISE.reshape(150, 8, 3)
    part = Part(windows, np.zeros((150, 1)))
    model.fit(part, part, stream(1, "autoencoder"))
    return model, windows


def test_mean_cuts_are_the_harmonic_sums_of_a_search_in_a_binary_tree():
    for rows in (50, 256):
        harmonic = sum(1 / k for k in range(1, rows))
        assert mean_cuts(rows) == pytest.approx(2 * harmonic - 2 * (rows - 1) / rows, rel=3e-3)


def test_a_forest_finds_the_row_that_stands_apart():
    rows = np.vstack([NOISE, [[9.0, 9.0, 9.0]]]).astype(np.float32)
    model = IsolationForest(["a", "b", "c"], trees=50, sample=len(rows))
    model.fit(Part(rows, NO_TRUTH), Part(rows, NO_TRUTH), stream(1, "forest"))
    scores = model.predict(rows)[:, 0]
    assert scores.argmax() == len(NOISE)
    assert 0.35 < np.median(scores) < 0.55


def test_quantiles_of_gaussian_noise_hold_their_share_and_never_cross():
    model = boosted()
    fresh = stream(9, "fresh").standard_normal((4000, 3)).astype(np.float32)
    truth = 2.0 * fresh[:, 0] + stream(9, "noise").standard_normal(4000)
    said = model.predict(fresh)
    assert (np.diff(said, axis=1) >= 0).all()
    assert np.mean((said[:, 0] <= truth) & (truth <= said[:, 2])) == pytest.approx(0.8, abs=0.06)


def test_an_autoencoder_scores_a_window_unlike_all_others_highest():
    model, windows = autoencoder()
    strange = windows.copy()
    strange[17, 3:6] += 8.0
    assert model.predict(strange)[:, 0].argmax() == 17


def hidden_states(windows, steps, rng):
    """Windows of a hidden chain, seen through Gaussian noise, and which steps are of an event."""
    event = np.zeros((windows, steps + BEFORE), np.bool_)
    for step in range(1, steps + BEFORE):
        event[:, step] = rng.random(windows) < np.where(event[:, step - 1], 1 - ENDS, BEGINS)
    seen = rng.standard_normal(event.shape) + STRENGTH * event
    return seen[:, BEFORE:, None].astype(np.float32), event[:, BEFORE:].astype(float)


def filtered(rows, span):
    """Chance of an event in the last steps: the forward algorithm over the steps since the last one."""
    moves = np.zeros((span + 1, span + 1))
    moves[0, 0], moves[1:, 0] = 1 - ENDS, BEGINS
    for since in range(span + 1):
        moves[since, min(since + 1, span)] += ENDS if since == 0 else 1 - BEGINS
    chances = np.tile(np.linalg.matrix_power(moves, 1000)[0], (len(rows), 1))
    for step in range(rows.shape[1]):
        chances = chances @ moves if step else chances
        chances[:, 0] *= np.exp(STRENGTH * rows[:, step, 0] - STRENGTH**2 / 2)
        chances /= chances.sum(axis=1, keepdims=True)
    return chances[:, :span].sum(axis=1)


def test_a_recurrent_detector_says_what_the_filter_of_a_hidden_chain_says():
    rng, span = stream(6, "hidden chain"), 5
    shape = SequenceConfig(
        steps=20, units=16, epochs=25, patience=25, rate=1e-2, span=span, readers=2, one_cycle=True, clip=1e3
    )
    model = RecurrentDetector(["x"], ["chance"], shape)
    model.fit(Part(*hidden_states(4000, 20, rng)), Part(*hidden_states(500, 20, rng)), rng)
    rows, _ = hidden_states(1000, 20, rng)
    exact = filtered(rows, span)
    assert 0.2 < exact.mean() < 0.6
    assert np.abs(model.predict(rows)[:, 0] - exact).mean() < 0.03


@pytest.mark.parametrize("kind", ["forest", "boosted", "autoencoder"])
def test_a_model_read_back_gives_the_same_bits_and_refuses_another_kind(kind, tmp_path):
    rows = NOISE[:50]
    if kind == "autoencoder":
        model, rows = autoencoder()
    else:
        model = {"forest": forest, "boosted": boosted}[kind]()
    path = tmp_path / "model.npz"
    model.save(path)
    again = type(model).load(path)
    assert np.array_equal(again.predict(rows), model.predict(rows))
    assert (again.inputs, again.outputs) == (model.inputs, model.outputs)
    other = IsolationForest if kind != "forest" else Boosted
    with pytest.raises(InputError, match=r"train it again|name a file"):
        other.load(path)


def test_a_model_that_has_not_learned_says_so_and_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match="call fit or load first"):
        IsolationForest(["a"]).predict(np.zeros((1, 1), np.float32))
    with pytest.raises(ValueError, match=r"expects rows of shape \(n, 3\)"):
        forest().predict(np.zeros((1, 2), np.float32))


def test_the_temperature_undoes_a_power_that_was_put_on_true_chances():
    rng = stream(3, "chances")
    true = rng.dirichlet([2.0, 2.0, 2.0], 20_000)
    labels = (true.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    assert fitted_temperature(tempered(true, 1 / 3), labels) == pytest.approx(3.0, rel=0.05)


def test_chances_of_an_event_are_those_of_bayes_for_two_gaussians():
    rng = stream(4, "two gaussians")
    truth = rng.integers(2, size=6000)
    rows = (rng.standard_normal(6000) + 1.5 * truth)[:, None].astype(np.float32)
    model = Boosted(["x"], ["chance"], BoostedConfig("event", rounds=40, depth=3))
    part = Part(rows, truth[:, None].astype(float))
    model.fit(Part(part.rows[:4000], part.truth[:4000]), Part(part.rows[4000:], part.truth[4000:]), rng)
    at = np.array([[0.0], [0.75], [1.5]], np.float32)
    bayes = norm.pdf(at[:, 0], 1.5) / (norm.pdf(at[:, 0], 1.5) + norm.pdf(at[:, 0]))
    assert model.predict(at)[:, 0] == pytest.approx(bayes, abs=0.1)
