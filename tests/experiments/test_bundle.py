"""A bundle says what it holds and answers as its rows say, from a folder as from a zip."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.shadow import bundle_format
from experiments.shadow.bundle import measure_latency, open_bundle
from experiments.shadow.bundle_format import SCHEMA, faults
from experiments.shadow.loader import compare
from experiments.shadow.writer import ParityRows, write_bundle
from sim.errors import InputError


def test_an_intact_bundle_says_what_it_holds(intact, linear):
    bundle = open_bundle(intact, linear.names)
    assert (bundle.features, bundle.actions, bundle.face.sizes) == (
        tuple(linear.names),
        ("zstd", "hde"),
        (2,),
    )
    assert (bundle.parity.rows, bundle.parity.equal, bundle.manifest["opset"]) == (4, 4, {"": 18})
    assert bundle.manifest["training"]["seeds"] == {"training": 3}
    assert bundle.manifest["metrics"] == {"cost_s": 3.5, "regret": None}
    assert bundle.manifest["licence"] == "Apache-2.0"
    assert bundle.manifest["files"]["policy.onnx"]["bytes"] == (intact / "policy.onnx").stat().st_size
    loss = bundle.manifest["features"][1]
    seen = {"cuts": [0.0, 1.0, 3.0], "below": [0.5, 0.75, 1.0], "least": 0.0, "most": 3.0}
    assert loss["seen"] == seen
    assert {key: loss[key] for key in ("low", "high", "scale", "default")} == {
        "low": 0.0,
        "high": None,
        "scale": "none",
        "default": 0.5,
    }


def test_the_published_schema_is_the_one_that_is_asked(intact):
    published = json.loads((intact / "manifest.json").read_text())
    assert list(faults(published, SCHEMA, "")) == []
    stored = Path(bundle_format.__file__).with_name("bundle.schema.json")
    assert json.loads(stored.read_text()) == SCHEMA


def test_the_parity_rows_can_be_read_with_numpy_alone(intact, linear):
    assert np.load(intact / "parity_features.npy").tolist() == linear.rows.tolist()
    assert np.load(intact / "parity_actions.npy").tolist() == linear.answers.tolist()
    assert np.load(intact / "parity_scores.npy")[:, 0].tolist() == [1, 0, 3, 5]


def test_a_loaded_bundle_answers_one_row_a_batch_and_a_mask(intact, linear):
    policy = open_bundle(intact)
    assert [policy.act(row) for row in linear.rows] == linear.answers.tolist()
    assert type(policy.act(linear.rows[0])) is int
    assert policy.act(linear.rows).tolist() == linear.answers.tolist()
    assert policy.act(linear.rows[0], np.array([False, True])) == 1
    assert policy.act(linear.rows, np.array([False, True])).tolist() == [1, 1, 1, 1]
    assert policy.name == "linear"


def test_what_is_unknown_takes_its_default_by_name_and_in_the_graph(intact):
    policy = open_bundle(intact)  # medians of the columns 1 0 0 2, 0 1 0 3 and 0 0 1 1: 0.5 each
    assert policy.row({}).tolist() == [0.5, 0.5, 0.5]
    assert policy.row({"loss": 3, "rtt_ms": None, "size_mb": float("nan")}).tolist() == [0.5, 3, 0.5]
    unknown = np.array([[np.nan, 3, np.nan], [0.5, 3, 0.5]], np.float32)
    _, scores = policy.run(unknown)
    assert scores.tolist() == [[2.0, 4.0], [2.0, 4.0]]  # 0.5 + 3 * 0.5 and 3 + 2 * 0.5
    assert policy.outside(np.array([-1, np.nan, 9], np.float32)).tolist() == [True, False, False]
    for given, message in (({"rtt": 1}, "rtt: unknown"), ({"loss": "much"}, "expected a finite number")):
        with pytest.raises(ValueError, match=message):
            policy.row(given)


def test_a_scaled_feature_is_scaled_within_the_graph(tmp_path, linear):
    scaled = [
        {"name": "rtt_ms", "unit": "ms", "low": 1, "high": 100, "scale": "log"},
        {"name": "loss", "unit": "share", "low": 0, "high": 4, "scale": "linear"},
        {"name": "size_mb", "unit": "MiB", "low": 0, "high": None},
    ]
    rows = np.array([[10, 1, 2], [1000, 4, 0]], np.float32)  # to 0, -0.5, 2 and, clipped, 1, 1, 0
    told = linear.told(features=scaled)
    policy = write_bundle(tmp_path / "scaled", linear.graph(), told, ParityRows(rows, np.array([0, 0])))
    assert policy.run(rows)[1].tolist() == [[6.0, 3.5], [1.0, 1.0]]
    assert policy.outside(rows).tolist() == [[False, False, False], [True, False, False]]


def test_masks_travel_with_the_parity_rows(tmp_path, linear):
    masks = np.array([[False, True], [True, True], [True, False], [False, True]])
    folder = tmp_path / "masked"
    linear.write(folder, linear.masked_graph(), np.array([1, 1, 0, 1]), masks)
    assert np.load(folder / "parity_masks.npy").tolist() == masks.tolist()
    assert open_bundle(folder).act(linear.rows, masks).tolist() == [1, 1, 0, 1]
    linear.edit(folder, masked=False)
    linear.refused(folder, r"parity_masks\.npy: is not named in the manifest|masked: expected True")
    (folder / "parity_masks.npy").unlink()
    files = json.loads((folder / "manifest.json").read_text())["files"]
    linear.edit(folder, files={name: said for name, said in files.items() if name != "parity_masks.npy"})
    linear.refused(folder, r"masked: expected True as in policy\.onnx, got False")


def test_folder_and_zip_hold_the_same_and_two_zips_the_same_bytes(intact, tmp_path, linear):
    for name in ("first.zip", "second.zip"):
        linear.write(tmp_path / name)
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()
    assert open_bundle(tmp_path / "first.zip").manifest == open_bundle(intact).manifest
    linear.write(tmp_path / "first.zip", answers=np.array([0, 1, 0, 1]))  # an older bundle is replaced
    assert open_bundle(tmp_path / "first.zip").parity.ties == 1
    (tmp_path / "mine.zip").write_bytes(b"PK notes")
    with pytest.raises(InputError, match="expected a new name or an older bundle"):
        linear.write(tmp_path / "mine.zip")


def test_one_step_of_float32_is_a_tie_and_two_are_not():
    one = np.float32(1)
    above = np.nextafter(one, np.float32(2))
    further = np.nextafter(above, np.float32(2))
    for other, ties in ((one, 1), (above, 1), (further, 0)):
        parity = compare(np.array([0]), np.array([1]), np.array([[one, other]], np.float32), [2])
        assert (parity.ties, len(parity.wrong)) == (ties, 1 - ties)


def test_one_decision_is_timed_in_microseconds(intact, linear):
    latency = measure_latency(open_bundle(intact), np.repeat(linear.rows, 100, axis=0), rounds=2)
    assert 0.1 < latency.p50_us <= latency.p99_us < 1000
