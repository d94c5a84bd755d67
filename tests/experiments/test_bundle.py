"""A bundle that was altered in any way is refused in one line; an intact one answers as its rows say."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper

from experiments.bundle import digest, load_bundle, measure_latency, seal, verify
from experiments.export import write_bundle
from experiments.parity import compare
from sim.errors import InputError

NAMES = ["rtt_ms", "loss", "size_mb"]
FILES = ["policy.onnx", "manifest.json", "parity.parquet"]


def _graph(weights):
    """Scores are ``obs @ weights``: what it must answer can be worked out by hand."""
    actions = weights.shape[1]
    nodes = [
        helper.make_node("MatMul", ["obs", "weights"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["action"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["batch", len(weights)])],
        [
            helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", actions]),
        ],
        [numpy_helper.from_array(weights.astype(np.float32), "weights")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(proto, {"action_sizes": json.dumps([actions])})
    return proto


ROWS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 3, 1]], np.float32)
WEIGHTS = np.array([[1, 0], [0, 1], [3, 2]], np.float32)
ANSWERS = np.array([0, 1, 0, 0])  # [1 0] [0 1] [3 2] and [2+3, 3+2] = [5 5]: a tie, the first is taken


def _write(folder, graph=None, answers=ANSWERS, masks=None):
    return write_bundle(
        folder,
        graph or _graph(WEIGHTS),
        task="compression",
        action_space={"kind": "Discrete", "sizes": [2]},
        features=[{"name": name, "unit": "", "low": 0, "high": None} for name in NAMES],
        actions=["zstd", "hde"],
        provenance={"policy": "linear"},
        evaluation={"cost_s": 3.5, "regret": float("nan")},
        rows=ROWS,
        expected_actions=answers,
        masks=masks,
    )


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "linear"
    _write(folder)
    return folder


@pytest.fixture
def bundle(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "linear")


def _edit(bundle, *, resealed, **changed):
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text()) | changed
    if resealed:
        manifest["seal"] = seal(manifest)
    path.write_text(json.dumps(manifest))


def test_an_intact_bundle_says_what_it_holds(intact):
    report = verify(intact, NAMES)
    assert (report.features, report.actions, report.sizes) == (tuple(NAMES), ("zstd", "hde"), (2,))
    assert (report.parity.rows, report.parity.equal, report.opset) == (4, 4, 18)
    assert report.provenance == {"policy": "linear"}
    assert report.evaluation == {"cost_s": 3.5, "regret": None}
    assert report.size_bytes == (intact / "policy.onnx").stat().st_size
    assert json.loads((intact / "manifest.json").read_text())["features"][1] == {
        "name": "loss",
        "unit": "",
        "low": 0.0,
        "high": None,
    }


def test_the_parity_rows_can_be_read_by_name_elsewhere(intact):
    table = pq.read_table(intact / "parity.parquet").to_pandas()
    assert list(table.columns) == [*NAMES, "action:0", "score:0", "score:1"]
    assert table["action:0"].tolist() == ANSWERS.tolist()
    assert table["score:0"].tolist() == [1, 0, 3, 5]


def test_a_loaded_bundle_answers_one_row_a_batch_and_a_mask(intact):
    policy = load_bundle(intact)
    assert [policy.act(row) for row in ROWS] == ANSWERS.tolist()
    assert type(policy.act(ROWS[0])) is int
    assert policy.act(ROWS).tolist() == ANSWERS.tolist()
    assert policy.act(ROWS[0], np.array([False, True])) == 1
    assert policy.act(ROWS, np.array([False, True])).tolist() == [1, 1, 1, 1]
    assert policy.name == "linear"
    policy.reset()


def test_the_masks_of_parity_rows_stand_between_features_and_answers(tmp_path):
    plain = _graph(WEIGHTS)
    nodes = [
        helper.make_node("MatMul", ["obs", "weights"], ["scores"]),
        helper.make_node("Where", ["action_mask", "scores", "least"], ["allowed"]),
        helper.make_node("ArgMax", ["allowed"], ["action"], axis=1, keepdims=0),
    ]
    mask = helper.make_tensor_value_info("action_mask", TensorProto.BOOL, ["batch", 2])
    given = [*plain.graph.initializer, numpy_helper.from_array(np.array(-1e8, np.float32), "least")]
    inputs = [*plain.graph.input, mask]
    graph = helper.make_graph(nodes, "masked", inputs, list(plain.graph.output), given)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(proto, {"action_sizes": "[2]"})
    masks = np.array([[False, True], [True, True], [True, False], [False, True]])
    folder = tmp_path / "masked"
    _write(folder, proto, np.array([1, 1, 0, 1]), masks=masks)
    table = pq.read_table(folder / "parity.parquet").to_pandas()
    assert list(table.columns) == [*NAMES, "mask:0", "mask:1", "action:0", "score:0", "score:1"]
    assert table[["mask:0", "mask:1"]].to_numpy().tolist() == masks.tolist()
    assert verify(folder).masked
    assert load_bundle(folder).act(ROWS, masks).tolist() == [1, 1, 0, 1]
    _edit(folder, resealed=True, masked=False)
    with pytest.raises(InputError, match=r"masked: expected True as in policy\.onnx, got False"):
        verify(folder)


def test_a_file_whose_last_byte_is_flipped_is_refused(bundle):
    for name in ("policy.onnx", "parity.parquet"):
        whole = (bundle / name).read_bytes()
        (bundle / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(InputError, match=rf"{name}: expected sha256 .* the file was altered") as error:
            load_bundle(bundle)
        assert "\n" not in str(error.value)
        (bundle / name).write_bytes(whole)
    load_bundle(bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_its_name(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: .*found none"):
        load_bundle(bundle)


def test_any_flipped_byte_of_the_manifest_is_refused_or_changes_nothing(intact, tmp_path):
    bundle = shutil.copytree(intact, tmp_path / "linear")
    whole = (bundle / "manifest.json").read_bytes()
    said = json.loads(whole)
    for place in range(0, len(whole), 7):
        (bundle / "manifest.json").write_bytes(whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :])
        try:
            load_bundle(bundle)
        except InputError as error:
            assert "\n" not in str(error), place
        else:
            assert json.loads((bundle / "manifest.json").read_text()) == said


def test_a_manifest_edited_by_hand_is_refused(bundle):
    _edit(bundle, resealed=False, evaluation={"cost_s": 0.0})
    with pytest.raises(InputError, match=r"manifest\.json: seal: the manifest was changed"):
        load_bundle(bundle)


def test_another_schema_version_is_refused_before_anything_else(bundle):
    _edit(bundle, resealed=True, schema_version=3, features="other")
    with pytest.raises(InputError, match="schema_version: expected 2, got 3"):
        load_bundle(bundle)


def test_features_in_another_order_than_the_graph_was_made_for_are_refused(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    _edit(bundle, resealed=True, features=manifest["features"][::-1])
    with pytest.raises(
        InputError, match=r"features\[0\]: expected 'rtt_ms' as in policy\.onnx, got 'size_mb'"
    ):
        load_bundle(bundle)


def test_an_environment_with_other_features_is_refused(intact):
    with pytest.raises(
        InputError, match=r"features\[1\]: expected 'jitter_ms' as in the environment, got 'loss'"
    ):
        load_bundle(intact, ["rtt_ms", "jitter_ms", "size_mb"])
    with pytest.raises(InputError, match="expected 4 as in the environment, got 3"):
        load_bundle(intact, [*NAMES, "cpu"])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("actions", None, "actions: expected list, got NoneType"),
        ("task", 3, "task: expected str, got int"),
        ("sha256", [], "sha256: expected dict, got list"),
        ("action_sizes", [3], "action_sizes: expected"),
        ("features", [{"title": "rtt_ms"}] * 3, "features: expected"),
        ("features", [1, 2, 3], "features: expected"),
    ],
)
def test_a_manifest_of_another_shape_is_refused_by_its_key(bundle, key, value, message):
    _edit(bundle, resealed=True, **{key: value})
    with pytest.raises(InputError, match=message):
        load_bundle(bundle)


def test_a_manifest_that_is_no_object_is_refused(bundle):
    for text in ("[]", "{", "", "\xff"):
        (bundle / "manifest.json").write_text(text, "latin-1")
        with pytest.raises(InputError, match=r"manifest\.json"):
            load_bundle(bundle)


def test_a_graph_swapped_for_another_policy_of_the_same_shape_fails_its_parity(bundle, tmp_path):
    _write(tmp_path / "other", _graph(WEIGHTS[:, ::-1]), np.array([1, 0, 1, 0]))
    shutil.copy(tmp_path / "other" / "policy.onnx", bundle / "policy.onnx")
    hashes = json.loads((bundle / "manifest.json").read_text())["sha256"]
    other = json.loads((tmp_path / "other" / "manifest.json").read_text())["sha256"]
    _edit(bundle, resealed=True, sha256=hashes | {"policy.onnx": other["policy.onnx"]})
    with pytest.raises(InputError, match=r"parity\.parquet: row 0: expected action 0, got 1 \(3 such rows\)"):
        verify(bundle)


def test_a_graph_that_gives_other_scores_for_the_same_answers_is_refused(bundle, tmp_path):
    _write(tmp_path / "other", _graph(2 * WEIGHTS))
    shutil.copy(tmp_path / "other" / "policy.onnx", bundle / "policy.onnx")
    hashes = json.loads((bundle / "manifest.json").read_text())["sha256"]
    other = json.loads((tmp_path / "other" / "manifest.json").read_text())["sha256"]
    _edit(bundle, resealed=True, sha256=hashes | {"policy.onnx": other["policy.onnx"]})
    with pytest.raises(InputError, match="scores differ"):
        verify(bundle)


@pytest.mark.parametrize("name", ["policy.onnx", "parity.parquet"])
def test_a_file_of_nonsense_with_a_fitting_hash_is_refused(bundle, name):
    (bundle / name).write_bytes(b"nonsense")
    hashes = json.loads((bundle / "manifest.json").read_text())["sha256"]
    _edit(bundle, resealed=True, sha256=hashes | {name: digest(b"nonsense")})
    with pytest.raises(InputError, match=rf"{name}: .*expected") as error:
        load_bundle(bundle)
    assert "\n" not in str(error.value)


def _replace_parity(bundle, name, values):
    table = pq.read_table(bundle / "parity.parquet")
    pq.write_table(
        table.set_column(table.column_names.index(name), name, [values]), bundle / "parity.parquet"
    )
    hashes = json.loads((bundle / "manifest.json").read_text())["sha256"]
    parity = digest((bundle / "parity.parquet").read_bytes())
    _edit(bundle, resealed=True, sha256=hashes | {"parity.parquet": parity})


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("action:0", [0, 1, 2, 0], r"actions in \[0, size\) of \[2\]"),
        ("action:0", [0, -1, 0, 0], r"actions in \[0, size\)"),
        ("loss", [0.0, float("nan"), 0.0, 3.0], "finite numbers"),
        ("loss", ["a", "b", "c", "d"], "finite numbers"),
    ],
)
def test_parity_rows_that_cannot_be_are_refused(bundle, name, values, message):
    _replace_parity(bundle, name, values)
    with pytest.raises(InputError, match=message):
        load_bundle(bundle)


def test_one_step_of_float32_is_a_tie_and_two_are_not():
    one = np.float32(1)
    above = np.nextafter(one, np.float32(2))
    further = np.nextafter(above, np.float32(2))
    for other, ties in ((one, 1), (above, 1), (further, 0)):
        parity = compare(np.array([0]), np.array([1]), np.array([[one, other]], np.float32), [2])
        assert (parity.ties, len(parity.wrong)) == (ties, 1 - ties)


def test_one_decision_is_timed_in_microseconds(intact):
    latency = measure_latency(load_bundle(intact), np.repeat(ROWS, 100, axis=0), rounds=2)
    assert 0.1 < latency.p50_us <= latency.p99_us < 1000


def test_reading_a_bundle_loads_no_learning_library(intact):
    program = (
        "import sys; from experiments.bundle import load_bundle; load_bundle(sys.argv[1]);"
        "learning = ('torch', 'stable_baselines3', 'xgboost', 'onnx', 'gymnasium');"
        "print([name for name in learning if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(intact)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
