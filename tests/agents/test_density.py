"""The network that says a density: what it says, against distributions with a known best answer."""

import numpy as np
import pytest

from agents.supervised.density import DensityConfig, train_density
from agents.supervised.model import Part
from sim.randomness import stream

CONFIG = DensityConfig(units=16, dropout=0.0, epochs=25, batch=128)


def part(factors, name):
    rng = stream(1, name)
    rows = rng.standard_normal((len(factors), 3)).astype(np.float32)
    rows[::7, 1] = np.nan
    return Part(rows, np.log(factors)[:, None])


def test_of_two_peaks_the_likelier_is_said_and_not_their_middle():
    factors = np.where(np.arange(1500) % 5 < 3, 1.0, 3.0)
    both = part(factors, "peaks")
    network = train_density(both, CONFIG, seed=1)
    assert np.median(np.exp(network.likeliest(both.rows))) == pytest.approx(1.0, abs=0.1)
    right = np.abs(np.exp(network.likeliest(both.rows)) / factors - 1) < 0.2
    assert np.mean(right) == pytest.approx(0.6, abs=0.05)


def test_equal_seeds_give_equal_bits_and_rows_do_not_depend_on_each_other():
    both = part(np.exp(stream(2, "spread").standard_normal(300) / 4), "bits")
    one, other = (train_density(both, DensityConfig(units=8, epochs=2), seed=4) for _ in range(2))
    said = one.likeliest(both.rows)
    np.testing.assert_array_equal(said, other.likeliest(both.rows))
    np.testing.assert_allclose(one.likeliest(both.rows[5:6]), said[5:6], rtol=1e-9)
    assert len(one.likeliest(both.rows[:0])) == 0
