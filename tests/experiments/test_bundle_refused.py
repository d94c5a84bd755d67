"""A bundle that was altered, is torn, too large or reaches outside of itself is refused in one line."""

import json
import stat
import struct
import zipfile

import numpy as np
import pytest
from onnx import TensorProto, helper

from experiments.shadow.bundle import open_bundle
from experiments.shadow.bundle_format import LARGEST
from sim.errors import InputError

FILES = ["policy.onnx", "manifest.json", "parity_features.npy", "parity_actions.npy", "parity_scores.npy"]
ROWS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 3, 1]], np.float32)


@pytest.mark.parametrize("name", FILES)
def test_a_file_whose_last_byte_is_flipped_is_refused(bundle, name, linear):
    whole = (bundle / name).read_bytes()
    (bundle / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    linear.refused(bundle, rf"{name}: (expected sha256 .* the file was altered|expected JSON)")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_its_name(bundle, name, linear):
    (bundle / name).unlink()
    linear.refused(bundle, rf"{name}: .*found none")


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


def test_a_manifest_edited_by_hand_is_refused(bundle, linear):
    linear.edit(bundle, resealed=False, metrics={"cost_s": 0.0})
    linear.refused(bundle, r"manifest\.json: seal: the manifest was changed")


def test_another_format_is_refused_before_anything_else(bundle, linear):
    linear.edit(bundle, format="dwcp-bundle/2", features="other")
    linear.refused(bundle, "format: expected dwcp-bundle/1, got dwcp-bundle/2")


def test_features_in_another_order_than_the_graph_was_made_for_are_refused(bundle, linear):
    features = json.loads((bundle / "manifest.json").read_text())["features"]
    linear.edit(bundle, features=features[::-1])
    linear.refused(bundle, r"features\[0\]: expected 'rtt_ms' as in policy\.onnx, got 'size_mb'")


def test_an_environment_with_other_features_is_refused(intact, linear):
    with pytest.raises(InputError, match=r"features\[1\]: expected 'jitter_ms' as in the environment"):
        open_bundle(intact, ["rtt_ms", "jitter_ms", "size_mb"])
    with pytest.raises(InputError, match="expected 4 as in the environment, got 3"):
        open_bundle(intact, [*linear.names, "cpu"])


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
def test_a_manifest_of_another_shape_is_refused_by_its_key(bundle, key, value, message, linear):
    linear.edit(bundle, **{key: value})
    linear.refused(bundle, message)


@pytest.mark.parametrize("text", ["[]", "{", "", "\xff", '{"format": NaN}', "[" * 100_000])
def test_a_manifest_that_is_no_object_is_refused(bundle, text, linear):
    (bundle / "manifest.json").write_text(text, "latin-1")
    linear.refused(bundle, r"manifest\.json")


def test_a_graph_swapped_for_another_policy_of_the_same_shape_fails_its_parity(bundle, tmp_path, linear):
    linear.write(tmp_path / "other", linear.graph(linear.weights[:, ::-1].copy()), np.array([1, 0, 1, 0]))
    linear.put(bundle, "policy.onnx", (tmp_path / "other" / "policy.onnx").read_bytes())
    linear.refused(bundle, r"parity_actions\.npy: row 0: expected action 0, got 1 \(3 such rows\)")
    linear.write(tmp_path / "double", linear.graph(2 * linear.weights))
    linear.put(bundle, "policy.onnx", (tmp_path / "double" / "policy.onnx").read_bytes())
    linear.refused(bundle, "scores differ")


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.json"])
@pytest.mark.parametrize("content", [b"nonsense", b"\x93NUMPY\x01\x00\x10\x00" + b"[" * 16])
def test_a_file_of_nonsense_with_a_fitting_hash_is_refused(bundle, name, content, linear):
    linear.put(bundle, name, content)
    linear.refused(bundle, rf"{name}: .*expected")


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
def test_parity_rows_that_cannot_be_are_refused(bundle, tmp_path, name, array, message, linear):
    np.save(tmp_path / name, array)
    linear.put(bundle, name, (tmp_path / name).read_bytes())
    linear.refused(bundle, message)


def test_an_array_that_says_it_is_huge_is_refused_before_any_room_is_taken(bundle, linear):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 1000000000000), }\n"
    linear.put(bundle, "parity_features.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    linear.refused(bundle, r"parity_features\.npy: expected <f4 of shape \(4, 3\)")


def _graph_with(linear, change):
    proto = linear.graph()
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
def test_a_graph_that_reaches_out_wavers_or_is_of_another_opset_is_refused(bundle, change, message, linear):
    linear.put(bundle, "policy.onnx", _graph_with(linear, change))
    linear.refused(bundle, rf"policy\.onnx: .*{message}")


def test_a_file_that_is_too_large_is_refused_by_its_length(bundle, linear):
    with (bundle / "policy.onnx").open("ab") as stream:
        stream.truncate(LARGEST["policy.onnx"] + 1)
    linear.refused(bundle, "policy.onnx: expected at most 5,000,000 bytes, got 5,000,001")


@pytest.mark.parametrize(
    "name", ["../evil.npy", "/etc/evil", "sub/policy.onnx", "..\\evil", "notes.txt", "sub/"]
)
def test_a_path_outside_the_bundle_and_any_other_file_is_refused(intact, tmp_path, name, linear):
    path = linear.zipped(tmp_path / "slip.zip", [*linear.members(intact), (name, b"")])
    linear.refused(path, "is no file of a bundle; take it out")
    assert [file.name for file in tmp_path.iterdir()] == ["slip.zip"]


def test_a_link_in_place_of_a_file_is_refused_in_a_folder_and_in_a_zip(bundle, tmp_path, linear):
    (bundle / "policy.onnx").rename(tmp_path / "elsewhere.onnx")
    (bundle / "policy.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    linear.refused(bundle, "policy.onnx: expected a plain file, got a link or folder")
    entry = zipfile.ZipInfo("policy.onnx")
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "link.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, "elsewhere.onnx")
    linear.refused(path, "policy.onnx: expected a plain file, got a link or folder")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(intact, tmp_path, linear):
    bomb = b"\0" * (LARGEST["parity_scores.npy"] + 1)
    members = [member for member in linear.members(intact) if member[0] != "parity_scores.npy"]
    path = linear.zipped(
        tmp_path / "bomb.zip", [*members, ("parity_scores.npy", bomb)], compression=zipfile.ZIP_DEFLATED
    )
    assert path.stat().st_size < 200_000
    linear.refused(path, "parity_scores.npy: expected at most 64,000,000 bytes, got 64,000,001")
    lying = bytearray(path.read_bytes())
    place = lying.rindex(b"PK\x01\x02", 0, lying.rindex(b"parity_scores.npy"))
    lying[place + 24 : place + 28] = struct.pack("<I", 1000)
    path.write_bytes(bytes(lying))
    linear.refused(path, "bomb.zip")


def test_a_deflated_bundle_opens_and_one_with_a_file_twice_does_not(intact, tmp_path, linear):
    deflated = linear.zipped(
        tmp_path / "deflated.zip", linear.members(intact), compression=zipfile.ZIP_DEFLATED
    )
    assert open_bundle(deflated).parity.equal == 4
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = linear.zipped(tmp_path / "twice.zip", [*linear.members(intact), linear.members(intact)[0]])
    linear.refused(twice, "policy.onnx: stands there twice")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nonsense" * 100])
def test_a_torn_zip_is_refused(tmp_path, content, linear):
    (tmp_path / "torn.zip").write_bytes(content)
    linear.refused(tmp_path / "torn.zip", "torn.zip: expected a bundle, got a torn or foreign file")
    linear.refused(tmp_path / "nowhere.zip", "nowhere.zip: cannot be read: No such file")


def test_every_cut_of_a_zip_is_refused_in_one_line(tmp_path, linear):
    linear.write(tmp_path / "whole.zip")
    whole = (tmp_path / "whole.zip").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "cut.zip").write_bytes(whole[:length])
        linear.refused(tmp_path / "cut.zip", "cut.zip")
