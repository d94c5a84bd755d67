"""Models of numbers as bundles: the loader says what the model says, windows and unknown values included."""

import numpy as np
import pytest

from agents.supervised.boosted import Boosted, BoostedConfig
from agents.supervised.forecaster import INPUTS, OUTPUTS, Forecaster
from agents.supervised.model import Part
from agents.supervised.sequences import SequenceConfig
from experiments.shadow.loader import load
from experiments.supervised.bundle import forecaster_bundle
from sim.randomness import stream


def near(said, expected):
    np.testing.assert_allclose(said, expected, rtol=1e-4, atol=1e-4 * expected.std(axis=0).min())


def test_a_forecaster_of_windows_answers_from_named_steps(tmp_path):
    rng = stream(0, "windows")
    steps = np.exp(rng.normal(1.0, 0.5, (400, 6, 7)))
    part = Part(steps[:, :5].astype(np.float32), steps[:, 5, :4])
    model = Forecaster(INPUTS, OUTPUTS, SequenceConfig(5, units=4, epochs=2, batch=64))
    model.fit(part, part, rng)
    forecaster_bundle(tmp_path / "f.zip", "next minute", "bandwidth", model, part.rows[:100], {})
    bundle = load(tmp_path / "f.zip")
    assert bundle.features[:2] == ("bandwidth_mbps 4 back", "rtt_ms 4 back")
    assert bundle.features[-7:] == INPUTS
    assert bundle.manifest["features"][1]["unit"] == "ms"
    assert bundle.manifest["actions"] == list(OUTPUTS)
    near(bundle.act(part.rows[100:150].reshape(50, -1)), model.predict(part.rows[100:150]))


@pytest.mark.parametrize("zipped", [False, True])
def test_what_trees_do_not_know_counts_as_usual(tmp_path, zipped):
    rng = stream(0, "trees")
    rows = rng.normal(size=(500, 3)).astype(np.float32)
    model = Boosted(("a", "b", "c"), ("sum",), BoostedConfig("squared", rounds=20, depth=3))
    part = Part(rows, rows.sum(axis=1, keepdims=True).astype(np.float64))
    model.fit(part, part, rng)
    rows[7, 1] = np.nan
    path = tmp_path / ("trees.zip" if zipped else "trees")
    forecaster_bundle(path, "sum", "sums", model, rows, {"data": {"rows": 500}})
    bundle = load(path)
    told = rows[7].copy()
    told[1] = np.nanmedian(rows[:, 1])
    near(bundle.act(rows[7:8]), model.predict(told[None]))
    assert bundle.manifest["training"]["data"] == {"rows": 500}
