"""A bundle that was altered in any way is refused in one line; an intact one answers as its rows say."""

import json
import shutil
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from experiments.shadow import bundle_format
from experiments.shadow.bundle import measure_latency, open_bundle
from experiments.shadow.bundle_format import LARGEST, SCHEMA, digest, faults, seal
from experiments.shadow.loader import compare
from experiments.shadow.writer import ParityRows, Told, write_bundle
from sim.errors import InputError

NAMES = ["rtt_ms", "loss", "size_mb"]
FILES = ["policy.onnx", "manifest.json", "parity_features.npy", "parity_actions.npy", "parity_scores.npy"]
ROWS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 3, 1]], np.float32)
WEIGHTS = np.array([[1, 0], [0, 1], [3, 2]], np.float32)
ANSWERS = np.array([0, 1, 0, 0])  # [1 0] [0 1] [3 2] and [2+3, 3+2] = [5 5]: a tie, the first is taken


def _model(nodes, inputs, initializers, opset=18):
    graph = helper.make_graph(
        nodes,
        "linear",
        inputs,
        [
            helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 2]),
        ],
        initializers,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    helper.set_model_props(proto, {"action_sizes": "[2]", "scores": "action_values"})
    return proto


def _graph(weights=WEIGHTS):
    """Scores are ``obs @ weights``: what it must answer can be worked out by hand."""
    nodes = [
        helper.make_node("MatMul", ["obs", "weights"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["action"], axis=1, keepdims=0),
    ]
    obs = helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["batch", 3])
    return _model(nodes, [obs], [numpy_helper.from_array(weights, "weights")])


def _masked_graph():
    nodes = [
        helper.make_node("MatMul", ["obs", "weights"], ["scores"]),
        helper.make_node("Where", ["action_mask", "scores", "least"], ["allowed"]),
        helper.make_node("ArgMax", ["allowed"], ["action"], axis=1, keepdims=0),
    ]
    inputs = [
        helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["batch", 3]),
        helper.make_tensor_value_info("action_mask", TensorProto.BOOL, ["batch", 2]),
    ]
    least = numpy_helper.from_array(np.array(-1e8, np.float32), "least")
    return _model(nodes, inputs, [numpy_helper.from_array(WEIGHTS, "weights"), least])


def _told(**changed):
    return Told(
        "linear",
        "other",
        "compression",
        [{"name": name, "unit": "", "low": 0, "high": None} for name in NAMES],
        ["zstd", "hde"],
        {"kind": "Discrete", "sizes": [2]},
        {"seeds": {"training": 3}},
        {"cost_s": 3.5, "regret": float("nan")},
    )._replace(**changed)


def _write(path, graph=None, answers=ANSWERS, masks=None, **changed):
    return write_bundle(
        path,
        graph or _graph(),
        _told(**changed),
        ParityRows(ROWS, answers, masks),
        np.repeat(ROWS, 25, axis=0),
    )


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "linear"
    _write(folder)
    return folder


@pytest.fixture
def bundle(intact, tmp_path):
    return shutil.copytree(intact, tmp_path / "linear")


def _edit(bundle, *, resealed=True, **changed):
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text()) | changed
    if resealed:
        manifest["seal"] = seal(manifest)
    path.write_text(json.dumps(manifest))


def _put(bundle, name, content):
    """Exchange a file, with hash, length and seal that fit."""
    (bundle / name).write_bytes(content)
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    _edit(bundle, files=files | {name: {"sha256": digest(content), "bytes": len(content)}})


def _zip(path, members, **arguments):
    with zipfile.ZipFile(path, "w", **arguments) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def _members(bundle):
    return [(name, (bundle / name).read_bytes()) for name in FILES]


def refused(path, message):
    with pytest.raises(InputError, match=message) as error:
        open_bundle(path)
    assert "\n" not in str(error.value)


def test_an_intact_bundle_says_what_it_holds(intact):
    bundle = open_bundle(intact, NAMES)
    assert (bundle.features, bundle.actions, bundle.face.sizes) == (tuple(NAMES), ("zstd", "hde"), (2,))
    assert (bundle.parity.rows, bundle.parity.equal, bundle.manifest["opset"]) == (4, 4, {"": 18})
    assert bundle.manifest["training"]["seeds"] == {"training": 3}
    assert bundle.manifest["metrics"] == {"cost_s": 3.5, "regret": None}
    assert bundle.manifest["licence"] == "Apache-2.0"
    assert bundle.manifest["files"]["policy.onnx"]["bytes"] == (intact / "policy.onnx").stat().st_size
    loss = bundle.manifest["features"][1]
    assert loss["seen"] == {"cuts": [0.0, 1.0, 3.0], "below": [0.5, 0.75, 1.0]}
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


def test_the_parity_rows_can_be_read_with_numpy_alone(intact):
    assert np.load(intact / "parity_features.npy").tolist() == ROWS.tolist()
    assert np.load(intact / "parity_actions.npy").tolist() == ANSWERS.tolist()
    assert np.load(intact / "parity_scores.npy")[:, 0].tolist() == [1, 0, 3, 5]


def test_a_loaded_bundle_answers_one_row_a_batch_and_a_mask(intact):
    policy = open_bundle(intact)
    assert [policy.act(row) for row in ROWS] == ANSWERS.tolist()
    assert type(policy.act(ROWS[0])) is int
    assert policy.act(ROWS).tolist() == ANSWERS.tolist()
    assert policy.act(ROWS[0], np.array([False, True])) == 1
    assert policy.act(ROWS, np.array([False, True])).tolist() == [1, 1, 1, 1]
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


def test_a_scaled_feature_is_scaled_within_the_graph(tmp_path):
    scaled = [
        {"name": "rtt_ms", "unit": "ms", "low": 1, "high": 100, "scale": "log"},
        {"name": "loss", "unit": "share", "low": 0, "high": 4, "scale": "linear"},
        {"name": "size_mb", "unit": "MiB", "low": 0, "high": None},
    ]
    rows = np.array([[10, 1, 2], [1000, 4, 0]], np.float32)  # to 0, -0.5, 2 and, clipped, 1, 1, 0
    told = _told(features=scaled)
    policy = write_bundle(tmp_path / "scaled", _graph(), told, ParityRows(rows, np.array([0, 0])))
    assert policy.run(rows)[1].tolist() == [[6.0, 3.5], [1.0, 1.0]]
    assert policy.outside(rows).tolist() == [[False, False, False], [True, False, False]]


def test_masks_travel_with_the_parity_rows(tmp_path):
    masks = np.array([[False, True], [True, True], [True, False], [False, True]])
    folder = tmp_path / "masked"
    _write(folder, _masked_graph(), np.array([1, 1, 0, 1]), masks)
    assert np.load(folder / "parity_masks.npy").tolist() == masks.tolist()
    assert open_bundle(folder).act(ROWS, masks).tolist() == [1, 1, 0, 1]
    _edit(folder, masked=False)
    refused(folder, r"parity_masks\.npy: is not named in the manifest|masked: expected True")
    (folder / "parity_masks.npy").unlink()
    files = json.loads((folder / "manifest.json").read_text())["files"]
    _edit(folder, files={name: said for name, said in files.items() if name != "parity_masks.npy"})
    refused(folder, r"masked: expected True as in policy\.onnx, got False")


def test_folder_and_zip_hold_the_same_and_two_zips_the_same_bytes(intact, tmp_path):
    for name in ("first.zip", "second.zip"):
        _write(tmp_path / name)
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()
    assert open_bundle(tmp_path / "first.zip").manifest == open_bundle(intact).manifest
    _write(tmp_path / "first.zip", answers=np.array([0, 1, 0, 1]))  # an older bundle is replaced
    assert open_bundle(tmp_path / "first.zip").parity.ties == 1
    (tmp_path / "mine.zip").write_bytes(b"PK notes")
    with pytest.raises(InputError, match="expected a new name or an older bundle"):
        _write(tmp_path / "mine.zip")


@pytest.mark.parametrize("name", FILES)
def test_a_file_whose_last_byte_is_flipped_is_refused(bundle, name):
    whole = (bundle / name).read_bytes()
    (bundle / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(bundle, rf"{name}: (expected sha256 .* the file was altered|expected JSON)")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_its_name(bundle, name):
    (bundle / name).unlink()
    refused(bundle, rf"{name}: .*found none")


def test_any_flipped_byte_of_the_manifest_is_refused_or_changes_nothing(bundle):
    whole = (bundle / "manifest.json").read_bytes()
    said = json.loads(whole)
    for place in range(0, len(whole), 7):
        (bundle / "manifest.json").write_bytes(whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :])
        try:
            open_bundle(bundle)
        except InputError as error:
            assert "\n" not in str(error), place
        else:
            assert json.loads((bundle / "manifest.json").read_text()) == said


def test_a_manifest_edited_by_hand_is_refused(bundle):
    _edit(bundle, resealed=False, metrics={"cost_s": 0.0})
    refused(bundle, r"manifest\.json: seal: the manifest was changed")


def test_another_format_is_refused_before_anything_else(bundle):
    _edit(bundle, format="dwcp-bundle/2", features="other")
    refused(bundle, "format: expected dwcp-bundle/1, got dwcp-bundle/2")


def test_features_in_another_order_than_the_graph_was_made_for_are_refused(bundle):
    features = json.loads((bundle / "manifest.json").read_text())["features"]
    _edit(bundle, features=features[::-1])
    refused(bundle, r"features\[0\]: expected 'rtt_ms' as in policy\.onnx, got 'size_mb'")


def test_an_environment_with_other_features_is_refused(intact):
    with pytest.raises(InputError, match=r"features\[1\]: expected 'jitter_ms' as in the environment"):
        open_bundle(intact, ["rtt_ms", "jitter_ms", "size_mb"])
    with pytest.raises(InputError, match="expected 4 as in the environment, got 3"):
        open_bundle(intact, [*NAMES, "cpu"])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("actions", None, "actions: expected array, got null"),
        ("task", 3, "task: expected string, got 3"),
        ("files", [], "files: expected object"),
        ("files", {"policy.onnx": {"sha256": "ab", "bytes": 1}}, "files.policy.onnx.sha256: expected text"),
        ("action_sizes", [3], r"action_sizes: expected \[2\] as in policy.onnx, got \[3\]"),
        ("action_sizes", [True], r"action_sizes\[0\]: expected integer, got true"),
        ("actions", ["a", "b", "c"], "actions: expected 2 as in policy.onnx, got 3"),
        ("scores", "votes", "scores: expected probabilities or"),
        ("scores", "probabilities", "scores: expected action_values as in policy.onnx"),
        ("features", [{"title": "rtt_ms"}], r"features\[0\].name: expected it, found nothing"),
        ("features", [1, 2, 3], r"features\[0\]: expected object, got 1"),
        ("opset", {"": 12}, "opset: expected opsets {'': 12} as in manifest.json"),
        ("parity", {"rows": 3, "ties": 0}, r"expected <f4 of shape \(3, 3\)"),
        ("owner", "me", "owner: unknown key; known: format, name"),
    ],
)
def test_a_manifest_of_another_shape_is_refused_by_its_key(bundle, key, value, message):
    _edit(bundle, **{key: value})
    refused(bundle, message)


@pytest.mark.parametrize("text", ["[]", "{", "", "\xff", '{"format": NaN}', "[" * 100_000])
def test_a_manifest_that_is_no_object_is_refused(bundle, text):
    (bundle / "manifest.json").write_text(text, "latin-1")
    refused(bundle, r"manifest\.json")


def test_a_graph_swapped_for_another_policy_of_the_same_shape_fails_its_parity(bundle, tmp_path):
    _write(tmp_path / "other", _graph(WEIGHTS[:, ::-1].copy()), np.array([1, 0, 1, 0]))
    _put(bundle, "policy.onnx", (tmp_path / "other" / "policy.onnx").read_bytes())
    refused(bundle, r"parity_actions\.npy: row 0: expected action 0, got 1 \(3 such rows\)")
    _write(tmp_path / "double", _graph(2 * WEIGHTS))
    _put(bundle, "policy.onnx", (tmp_path / "double" / "policy.onnx").read_bytes())
    refused(bundle, "scores differ")


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.json"])
@pytest.mark.parametrize("content", [b"nonsense", b"\x93NUMPY\x01\x00\x10\x00" + b"[" * 16])
def test_a_file_of_nonsense_with_a_fitting_hash_is_refused(bundle, name, content):
    _put(bundle, name, content)
    refused(bundle, rf"{name}: .*expected")


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("parity_actions.npy", np.array([0, 1, 2, 0]), r"actions in \[0, size\) of \[2\]"),
        ("parity_actions.npy", np.array([0, -1, 0, 0]), r"actions in \[0, size\)"),
        ("parity_actions.npy", np.array(["a", "b", "c", "d"]), "expected <i8 of shape"),
        ("parity_features.npy", ROWS * np.float32("nan"), "finite numbers"),
        ("parity_features.npy", ROWS.T.copy().T, "expected <f4 of shape"),
        ("parity_features.npy", ROWS[:2], "expected <f4 of shape"),
    ],
)
def test_parity_rows_that_cannot_be_are_refused(bundle, tmp_path, name, array, message):
    np.save(tmp_path / name, array)
    _put(bundle, name, (tmp_path / name).read_bytes())
    refused(bundle, message)


def test_an_array_that_says_it_is_huge_is_refused_before_any_room_is_taken(bundle):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 1000000000000), }\n"
    _put(bundle, "parity_features.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    refused(bundle, r"parity_features\.npy: expected <f4 of shape \(4, 3\)")


def _graph_with(change):
    proto = _graph()
    change(proto)
    return proto.SerializeToString()


def _elsewhere(proto):
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../secret"


def _by_chance(proto):
    proto.graph.node.append(helper.make_node("RandomNormal", [], ["noise"], shape=[1]))


def _branches(proto):
    one = helper.make_graph([], "branch", [], [])
    proto.graph.node.append(helper.make_node("If", ["obs"], ["either"], then_branch=one, else_branch=one))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_elsewhere, "it keeps tensors in other files"),
        (_by_chance, "it has a node RandomNormal"),
        (_branches, "it has a (graph within a node|node If)"),
        (lambda proto: setattr(proto.opset_import[0], "version", 99), "opset: expected opsets"),
        (lambda proto: proto.opset_import.append(helper.make_opsetid("com.microsoft", 1)), "opset: expected"),
        (lambda proto: proto.ClearField("graph"), "it has 0 graphs"),
    ],
)
def test_a_graph_that_reaches_out_wavers_or_is_of_another_opset_is_refused(bundle, change, message):
    _put(bundle, "policy.onnx", _graph_with(change))
    refused(bundle, rf"policy\.onnx: .*{message}")


def test_a_file_that_is_too_large_is_refused_by_its_length(bundle):
    with (bundle / "policy.onnx").open("ab") as stream:
        stream.truncate(LARGEST["policy.onnx"] + 1)
    refused(bundle, "policy.onnx: expected at most 5,000,000 bytes, got 5,000,001")


@pytest.mark.parametrize(
    "name", ["../evil.npy", "/etc/evil", "sub/policy.onnx", "..\\evil", "notes.txt", "sub/"]
)
def test_a_path_outside_the_bundle_and_any_other_file_is_refused(intact, tmp_path, name):
    path = _zip(tmp_path / "slip.zip", [*_members(intact), (name, b"")])
    refused(path, "is no file of a bundle; take it out")
    assert [file.name for file in tmp_path.iterdir()] == ["slip.zip"]


def test_a_link_in_place_of_a_file_is_refused_in_a_folder_and_in_a_zip(bundle, tmp_path):
    (bundle / "policy.onnx").rename(tmp_path / "elsewhere.onnx")
    (bundle / "policy.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    refused(bundle, "policy.onnx: expected a plain file, got a link or folder")
    entry = zipfile.ZipInfo("policy.onnx")
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "link.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, "elsewhere.onnx")
    refused(path, "policy.onnx: expected a plain file, got a link or folder")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(intact, tmp_path):
    bomb = b"\0" * (LARGEST["parity_scores.npy"] + 1)
    members = [member for member in _members(intact) if member[0] != "parity_scores.npy"]
    path = _zip(
        tmp_path / "bomb.zip", [*members, ("parity_scores.npy", bomb)], compression=zipfile.ZIP_DEFLATED
    )
    assert path.stat().st_size < 200_000
    refused(path, "parity_scores.npy: expected at most 64,000,000 bytes, got 64,000,001")
    lying = bytearray(path.read_bytes())
    place = lying.rindex(b"PK\x01\x02", 0, lying.rindex(b"parity_scores.npy"))
    lying[place + 24 : place + 28] = struct.pack("<I", 1000)
    path.write_bytes(bytes(lying))
    refused(path, "bomb.zip")


def test_a_deflated_bundle_opens_and_one_with_a_file_twice_does_not(intact, tmp_path):
    deflated = _zip(tmp_path / "deflated.zip", _members(intact), compression=zipfile.ZIP_DEFLATED)
    assert open_bundle(deflated).parity.equal == 4
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = _zip(tmp_path / "twice.zip", [*_members(intact), _members(intact)[0]])
    refused(twice, "policy.onnx: stands there twice")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nonsense" * 100])
def test_a_torn_zip_is_refused(tmp_path, content):
    (tmp_path / "torn.zip").write_bytes(content)
    refused(tmp_path / "torn.zip", "torn.zip: expected a bundle, got a torn or foreign file")
    refused(tmp_path / "nowhere.zip", "nowhere.zip: cannot be read: No such file")


def test_every_cut_of_a_zip_is_refused_in_one_line(tmp_path):
    _write(tmp_path / "whole.zip")
    whole = (tmp_path / "whole.zip").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "cut.zip").write_bytes(whole[:length])
        refused(tmp_path / "cut.zip", "cut.zip")


def test_one_step_of_float32_is_a_tie_and_two_are_not():
    one = np.float32(1)
    above = np.nextafter(one, np.float32(2))
    further = np.nextafter(above, np.float32(2))
    for other, ties in ((one, 1), (above, 1), (further, 0)):
        parity = compare(np.array([0]), np.array([1]), np.array([[one, other]], np.float32), [2])
        assert (parity.ties, len(parity.wrong)) == (ties, 1 - ties)


def test_one_decision_is_timed_in_microseconds(intact):
    latency = measure_latency(open_bundle(intact), np.repeat(ROWS, 100, axis=0), rounds=2)
    assert 0.1 < latency.p50_us <= latency.p99_us < 1000
