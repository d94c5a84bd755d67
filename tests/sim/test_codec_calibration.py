"""Calibration of codecs: what is sampled and told of files, and laws that go as far as the files bear out."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("backports.zstd", reason="real codecs need the extra: pip install 'dwcp-gym[testbed]'")
pytest.importorskip("lz4.frame", reason="real codecs need the extra: pip install 'dwcp-gym[testbed]'")
pytest.importorskip("xxhash", reason="real codecs need the extra: pip install 'dwcp-gym[testbed]'")

from sim.calibration.choice import VARIABLE, choose
from sim.calibration.laws import load_fitted
from sim.calibration.rates import METHODS
from sim.codecs import coder_rate, coder_ratio
from sim.errors import InputError
from sim.payloads import CLASS_NAMES
from sim.testbed.codec_fit import calibrate
from sim.testbed.codec_tables import Budget, Tables, measure, read_tables, write_tables
from sim.testbed.codec_timing import aged
from sim.testbed.content_features import features_of
from sim.testbed.delta_coding import BLOCK_BYTES, changed_blocks
from sim.testbed.file_samples import find_sources, sample
from sim.units import KIB, MB, MIB

SHIPPED = load_fitted()


def test_files_are_paired_with_older_versions_by_their_path(tmp_path):
    for folder in ("new/a", "old/a"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "kept.bin").write_bytes(bytes(5000))
    (tmp_path / "new" / "fresh.bin").write_bytes(bytes(5000))
    (tmp_path / "new" / "tiny.txt").write_bytes(b"too small to measure")
    sources = find_sources([f"db={tmp_path / 'new'}"], tmp_path / "old")
    assert [(one.name, one.kind, one.old is not None) for one in sources] == [
        ("new/a/kept.bin", "db", True),
        ("new/fresh.bin", "db", False),
    ]


@pytest.mark.parametrize(
    ("paths", "old", "problem"),
    [
        (["missing"], None, r"missing: is not there; name files or folders, as PATH or CLASS=PATH"),
        (["dbb={there}"], None, r"expected CLASS=PATH with a payload class, got 'dbb'; did you mean 'db'\?"),
        (["{empty}"], None, r"expected a file of at least 4096 bytes, found none; name other files"),
        (["{there}"], "{empty}", r"has no file of the same path .* under the same relative paths"),
        (["{there}"], "missing", r"missing: is not there; expected the older versions"),
    ],
)
def test_what_cannot_be_sampled_is_refused_in_one_line(tmp_path, paths, old, problem):
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.bin").write_bytes(bytes(5000))
    names = {"there": tmp_path / "there.bin", "empty": tmp_path / "empty"}
    older = None if old is None else tmp_path / old.format(**names)
    with pytest.raises(InputError, match=problem) as refused:
        find_sources([path.format(**names) for path in paths], older)
    assert "\n" not in str(refused.value)


def test_a_sample_is_bounded_aligned_and_the_same_for_the_same_seed(tmp_path):
    content = np.random.default_rng(0).bytes(3 * MIB)
    for number in range(4):
        (tmp_path / f"{number}.bin").write_bytes(content)
    sources = find_sources([str(tmp_path)], None)
    one, again = (sample(sources, 4 * MIB, np.random.default_rng(1)) for _ in range(2))
    assert one == again
    assert [len(piece.new) for piece in one] == [64 * KIB, MIB, 64 * KIB, MIB, 64 * KIB, MIB, 64 * KIB]
    for piece in one:
        assert piece.offset % BLOCK_BYTES == 0
        assert piece.new == content[piece.offset : piece.offset + len(piece.new)]


def test_features_count_zero_repeated_and_changed_blocks():
    rng = np.random.default_rng(0)
    fresh, same = rng.bytes(BLOCK_BYTES), rng.bytes(BLOCK_BYTES)
    new, old = bytes(BLOCK_BYTES) + same + same + fresh, same + same + bytes(2 * BLOCK_BYTES)
    features = features_of(new, old)
    assert (features.zero4k, features.rep4k) == (0.25, 0.25)
    assert (features.chg4k, features.miss4k) == (0.75, 0.25)  # the old version holds all but the fresh block
    assert np.isnan(features_of(new, None).miss4k)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
def test_made_up_staleness_changes_the_share_it_says(share):
    content = bytes(200 * BLOCK_BYTES)
    new, flags = aged(content, share, 512, np.random.default_rng(0))
    assert flags.sum() == round(200 * share)
    assert (changed_blocks(new, content) == flags).all()


def made_up_tables(factor: float, files: int, rng: np.random.Generator) -> Tables:
    """Slices with the ratios of the shipped laws and rates that are a factor of theirs, with 1 % noise."""
    rows = []
    for number in range(files):
        ratio3 = float(rng.uniform(1.5, 6.0))
        for size in (64 * KIB, MIB, 16 * MIB):
            for method in METHODS:
                ratio = ratio3 if method == "zstd3" else coder_ratio(SHIPPED.ratios[method], ratio3)
                noise = np.exp(0.01 * rng.standard_normal(2))
                rates = [
                    factor * float(coder_rate(laws[method], ratio3, size)) / MB * float(one)
                    for laws, one in zip((SHIPPED.encode, SHIPPED.decode), noise, strict=True)
                ]
                rows.append((f"f{number}", "db", method, 0.0, size, ratio, *rates))
            rows.append((f"f{number}", "db", "none", 0.0, size, 1.0, 5000.0, 5000.0))
    names = ["payload", "cls", "method", "offset", "size", "ratio", "c_MBps", "d_MBps"]
    table = pd.DataFrame(rows, columns=names)
    samples = {"z1sc": 2.0, "Hs": 6.0, "rep4k": 0.1, "zero4k": 0.0, "chg4k": np.nan, "miss4k": np.nan}
    return Tables(table.assign(**samples), pd.DataFrame(columns=["method"]))


@pytest.mark.parametrize("files", [2, 4, 12])
def test_a_machine_of_twice_the_speed_is_recognised_from_few_files(files):
    found = calibrate(made_up_tables(2.0, files, np.random.default_rng(files)), SHIPPED)
    for method in METHODS:
        fitted, shipped = found.fitted.encode[method], SHIPPED.encode[method]
        for ratio3 in (2.0, 5.0):
            speed = coder_rate(fitted, ratio3, MIB) / coder_rate(shipped, ratio3, MIB)
            assert speed == pytest.approx(2.0, rel=0.1)
    for law in found.laws:
        if law.name.endswith("rate"):
            assert law.candidate != "shipped" and law.held_out_error < 0.05
            assert law.shipped_error == pytest.approx(1.0, abs=0.05)


def test_laws_that_hold_stay_as_shipped():
    found = calibrate(made_up_tables(1.0, 5, np.random.default_rng(0)), SHIPPED)
    assert {law.candidate for law in found.laws if law.name.endswith("ratio")} == {"shipped"}
    assert found.fitted.encode["zstd3"].scale == pytest.approx(SHIPPED.encode["zstd3"].scale, rel=0.02)
    assert found.fitted.delta == SHIPPED.delta and found.classes == ["db"]


def test_real_files_go_all_the_way_to_figures_that_can_be_loaded(tmp_path):
    rng = np.random.default_rng(0)
    words = rng.integers(97, 123, size=(100, 8), dtype=np.uint8)
    for number in range(2):
        (tmp_path / f"{number}.txt").write_bytes(words[rng.integers(100, size=MIB // 8)].tobytes())
    slices = sample(find_sources([str(tmp_path)], tmp_path), 4 * MIB, rng)
    done: list[float] = []
    tables = measure(slices, SHIPPED, Budget(seconds=3.0, repeats=1), rng, done.append)
    write_tables(tables, tmp_path / "out")
    read = read_tables(tmp_path / "out")
    assert len(read.measurements) == len(tables.measurements) > 0 and done == sorted(done)
    assert set(read.measurements["cls"]) <= set(CLASS_NAMES)
    (tmp_path / "fitted.json").write_text(calibrate(read, SHIPPED).fitted.to_json())
    assert set(load_fitted(tmp_path / "fitted.json").classes) == set(CLASS_NAMES)


def test_a_process_computes_with_the_calibration_that_it_was_started_with(tmp_path):
    own = tmp_path / "fitted.json"
    own.write_text(replace(SHIPPED, memcpy=123.0).to_json())
    asked = [sys.executable, "-c", "from sim.codecs import FITTED; print(FITTED.memcpy)"]
    for named, memcpy in ((str(own), 123.0), ("", SHIPPED.memcpy)):
        told = subprocess.run(asked, env={**os.environ, VARIABLE: named}, capture_output=True, text=True)
        assert float(told.stdout) == memcpy


def test_another_calibration_cannot_be_chosen_when_one_is_in_use(tmp_path):
    own = tmp_path / "fitted.json"
    own.write_text(replace(SHIPPED, memcpy=123.0).to_json())
    choose(None, "experiment.yaml")
    with pytest.raises(InputError, match=f"experiment.yaml: calibration: .*set {VARIABLE}="):
        choose(str(own), "experiment.yaml")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", "delta: is missing"),
        ("[1]", "expected the figures"),
        ("{", "expected the figures"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_calibration_is_refused(tmp_path, text, problem):
    if text is not None:
        (tmp_path / "mine.json").write_text(text)
    with pytest.raises(InputError, match=f"{problem}.*calibrate codecs"):
        choose(str(tmp_path / "mine.json"), "experiment.yaml")
