"""The fitted curves: the committed file, payloads they have not seen, and broken tables."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sim.calibration.deltas import staleness_deltas
from sim.calibration.fit import fit_tables, write_fitted
from sim.calibration.laws import FITTED_FILE, load_fitted
from sim.calibration.rates import METHODS, fit_rate, fit_ratio, rows_of, with_ratio3
from sim.calibration.tables import FOLDER, MEASUREMENTS, STALENESS, read_table
from sim.codecs import ZSTD_LEVELS, coder_rate, coder_ratio, delta_fraction
from sim.errors import InputError

COLUMNS = "payload,cls,method,offset,size,ratio,c_MBps,d_MBps,z1sc,Hs,rep4k,zero4k,chg4k,miss4k"
GOOD_ROW = "numpy,pkg-binary,zstd3,0,65536,2.5,300,900,2.1,6.5,0,0,,"


@pytest.fixture(scope="module")
def measurements() -> pd.DataFrame:
    return with_ratio3(read_table(FOLDER / "codec_measurements.csv.gz", MEASUREMENTS))


def array(rows: pd.DataFrame, column: str) -> np.ndarray:
    return rows[column].to_numpy(dtype=np.float64)


def ratio_errors_on_unseen_payloads(rows: pd.DataFrame) -> np.ndarray:
    errors = []
    for payload in rows["payload"].unique():
        unseen = rows[rows["payload"] == payload]
        law = fit_ratio(rows[rows["payload"] != payload])
        errors.append(np.abs(coder_ratio(law, array(unseen, "ratio3")) / array(unseen, "ratio") - 1))
    return np.concatenate(errors)


def rate_errors_on_unseen_payloads(rows: pd.DataFrame, column: str) -> np.ndarray:
    payloads = rows["payload"].unique()
    errors = []
    for fold in range(4):
        held_back = rows["payload"].isin(payloads[fold::4])
        unseen = rows[held_back]
        law = fit_rate(rows[~held_back], column)
        fitted = coder_rate(law, array(unseen, "ratio3"), array(unseen, "size"))
        errors.append(np.abs(fitted / 1e6 / array(unseen, column) - 1))
    return np.concatenate(errors)


def leaves(value: Any, path: str = "") -> dict[str, float]:
    """Every figure of nested JSON, by its path."""
    if isinstance(value, dict):
        return {
            key: leaf for name, part in value.items() for key, leaf in leaves(part, f"{path}/{name}").items()
        }
    return {path: value}


def test_the_committed_fit_is_what_the_committed_tables_give(tmp_path: Path) -> None:
    write_fitted(fit_tables(), tmp_path / "fresh.json")
    fresh, committed = (
        leaves(json.loads(file.read_text())) for file in (tmp_path / "fresh.json", FITTED_FILE)
    )
    assert fresh == pytest.approx(committed, rel=1e-3, abs=1e-4)


def test_the_figures_survive_their_file(tmp_path: Path) -> None:
    write_fitted(load_fitted(), tmp_path / "again.json")
    assert load_fitted(tmp_path / "again.json") == load_fitted()


@pytest.mark.parametrize("method", [f"zstd{level}" for level in ZSTD_LEVELS if level != 3])
def test_ratios_of_other_levels_are_within_10_percent_on_payloads_left_out(
    measurements: pd.DataFrame, method: str
) -> None:
    assert np.median(ratio_errors_on_unseen_payloads(rows_of(measurements, method))) < 0.10


def test_the_ratio_of_lz4_is_within_10_percent_on_payloads_left_out(measurements: pd.DataFrame) -> None:
    assert np.median(ratio_errors_on_unseen_payloads(rows_of(measurements, "lz4"))) < 0.10


@pytest.mark.parametrize("column", ["c_MBps", "d_MBps"])
@pytest.mark.parametrize("method", METHODS)
def test_rates_are_within_35_percent_on_payloads_left_out(
    measurements: pd.DataFrame, method: str, column: str
) -> None:
    assert np.median(rate_errors_on_unseen_payloads(rows_of(measurements, method), column)) < 0.35


def test_the_novelty_seen_at_2_percent_changed_tells_the_delta_size_at_all_other_shares() -> None:
    rows = staleness_deltas(read_table(FOLDER / "codec_staleness.csv.gz", STALENESS))
    errors = []
    for _, series in rows.groupby(["base", "mode", "run"]):
        ratio, ratio3, changed = (array(series, name) for name in ("ratio", "ratio3", "changed"))
        probe = int(np.argmin(np.abs(changed - 0.02)))
        novelty = ratio3[probe] / ratio[probe] / changed[probe]
        fitted = delta_fraction(changed, np.full_like(changed, novelty), ratio3)
        others = np.arange(len(changed)) != probe
        errors.append(np.abs(fitted * ratio - 1)[others])
    assert np.median(np.concatenate(errors)) < 0.15


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (GOOD_ROW.replace("2.5", "fast"), r"row 3: ratio must be a finite number above 0, got 'fast'"),
        (GOOD_ROW.replace("65536", "-1"), r"row 3: size must be a finite number above 0, got '-1'"),
        (GOOD_ROW.replace("6.5,", "9,"), r"row 3: Hs must be bits per byte in \[0, 8\], got '9'"),
        (GOOD_ROW[:-2] + ",1.2,", r"row 3: chg4k must be a share in \[0, 1\] or nothing, got '1.2'"),
        (GOOD_ROW.replace("numpy", ""), r"row 3: payload must be a name, got ''"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, row: str, complaint: str) -> None:
    table = tmp_path / "codec_measurements.csv.gz"
    table.write_bytes(gzip.compress("\n".join([COLUMNS, GOOD_ROW, row, GOOD_ROW]).encode()))
    with pytest.raises(InputError, match=complaint):
        read_table(table, MEASUREMENTS)


def test_a_table_without_a_needed_column_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "codec_measurements.csv.gz"
    table.write_bytes(gzip.compress(b"payload,cls\nnumpy,pkg-binary\n"))
    with pytest.raises(InputError, match="missing: method, size, ratio"):
        read_table(table, MEASUREMENTS)
