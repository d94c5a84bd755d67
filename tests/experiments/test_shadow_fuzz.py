"""Bundles and logs that were damaged or made up: refused in one line or read, never anything else."""

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.shadow.bundle import open_bundle
from experiments.shadow.bundle_format import digest, seal
from experiments.shadow.decision_log import read_log
from experiments.shadow.log_map import read_map
from sim.errors import InputError

COUNTED = settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)


def zipped(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def sealed(members):
    """The same with hashes, lengths and a seal that fit, so that damage is met further inside."""
    manifest = json.loads(members["manifest.json"])
    for name in manifest["files"]:
        manifest["files"][name] = {"sha256": digest(members[name]), "bytes": len(members[name])}
    manifest["seal"] = seal(manifest)
    return members | {"manifest.json": json.dumps(manifest).encode()}


def opened_or_refused(path):
    try:
        bundle = open_bundle(path)
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert np.isfinite(bundle.rows).any()


DAMAGE = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4)


def damaged(content, changes, cut):
    found = bytearray(content)
    for place, byte in changes:
        found[int(place * len(found))] = byte
    return bytes(found[: int(cut * len(found))]) if cut < 0.5 else bytes(found)


@given(changes=DAMAGE, cut=st.floats(0, 2))
@COUNTED
def test_a_damaged_file_is_refused(tmp_path, linear, intact, changes, cut):
    path = tmp_path / "bundle.zip"
    path.write_bytes(damaged(zipped(dict(linear.members(intact))), changes, cut))
    opened_or_refused(path)


@pytest.mark.parametrize("name", ["policy.onnx", "parity_features.npy", "parity_scores.npy"])
@given(changes=DAMAGE, cut=st.floats(0, 2))
@settings(COUNTED, max_examples=100)
def test_damage_that_bears_a_seal_is_refused_or_harmless(tmp_path, linear, intact, name, changes, cut):
    members = dict(linear.members(intact))
    members[name] = damaged(members[name], changes, cut)
    path = tmp_path / "bundle.zip"
    path.write_bytes(zipped(sealed(members)))
    opened_or_refused(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
@settings(COUNTED, max_examples=100)
def test_a_manifest_with_another_value_anywhere_is_refused_or_harmless(tmp_path, linear, intact, data):
    members = dict(linear.members(intact))
    manifest = json.loads(members["manifest.json"])
    here, key = manifest, data.draw(st.sampled_from(sorted(manifest)))
    while isinstance(here[key], dict | list) and here[key] and data.draw(st.booleans()):
        here = here[key]
        key = data.draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
    here[key] = data.draw(VALUES)
    try:
        manifest["seal"] = seal(manifest)
    except (TypeError, ValueError):
        return
    path = tmp_path / "bundle.zip"
    path.write_bytes(zipped(members | {"manifest.json": json.dumps(manifest).encode()}))
    opened_or_refused(path)


CELLS = st.sampled_from(["1", "2.5", "", "nan", "inf", "-1e400", "zstd", "hde", "true", '"', "é", "0x1"])
NAMES = st.sampled_from(
    ["rtt_ms", "loss", "size_mb", "action", "propensity", "cost_s", "oracle", "allowed_hde", "seed", "", "x"]
)


@given(
    names=st.lists(NAMES, max_size=7),
    rows=st.lists(st.lists(CELLS, max_size=8), max_size=5),
    junk=st.binary(max_size=20),
)
@COUNTED
def test_any_table_is_read_or_refused(tmp_path, intact, names, rows, junk):
    path = tmp_path / "log.csv"
    text = "\n".join(",".join(cells) for cells in [names, *rows])
    path.write_bytes(text.encode() + (junk if len(junk) > 15 else b""))
    try:
        log = read_log(path, open_bundle(intact), read_map(None))
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert len(log) == len(log.features) == len(log.actions)
