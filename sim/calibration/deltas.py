"""Fits of the delta codecs and of dictionaries: what they send and how fast they work."""

from typing import Final

import numpy as np
import pandas as pd

from sim.calibration.laws import DeltaLaws, DictionaryLaw, ShareLaw
from sim.calibration.rates import SLICE
from sim.calibration.robust import Floats, equal_weights, least_absolute, spread
from sim.units import KIB, MB, MIB

DELTA: Final = "hde2_4_3"
"""Block delta of 4 KiB blocks, literals by zstd-3 with the old blocks as prefix."""
SHIFTED_PAYLOADS: Final = frozenset(
    ["numpy", "pandas", "scipy", "django", "typescript", "parquet_none", "parquet_snappy", "csv", "jsonday"]
)
"""Payloads of the XOR table in which insertions move the content off its old place."""
IN_PLACE_CLASSES: Final = frozenset(["vm-ram", "vm-disk", "heap", "db"])
SELF_SIMILAR_SETS: Final = frozenset(
    ["json_iperf_10k", "py_source", "jsonl_row_250B", "accesslog_4k", "sqlite_page_4k"]
)
"""Sets of small records that resemble one another; pages of RAM and disk gain nothing."""
DICTIONARY_KB: Final = 64


def block_deltas(measurements: pd.DataFrame) -> pd.DataFrame:
    """Delta rows of at least 1 MiB; ``changed`` is the share of blocks that the baseline does not hold."""
    rows = measurements[(measurements["method"] == DELTA) & (measurements["size"] >= MIB)]
    return rows.rename(columns={"miss4k": "changed"})


def staleness_deltas(staleness: pd.DataFrame) -> pd.DataFrame:
    """Delta rows of the staleness table; ``ratio3`` is that of the changed blocks alone."""
    rows = staleness[staleness["method"] == DELTA].rename(columns={"dirty4": "changed"})
    return rows.assign(payload="staleness " + rows["base"], ratio3=1 / rows["z3_lit"])


def fit_delta(measurements: pd.DataFrame, staleness: pd.DataFrame, xor: pd.DataFrame) -> DeltaLaws:
    """All figures of `DeltaLaws`; every payload counts the same."""
    blocks, stale = block_deltas(measurements), staleness_deltas(staleness)
    timed = pd.concat([rows[["payload", "changed", "c_MBps"]] for rows in (blocks, stale)])
    # Small slices decode from the cache, which a bulk transfer never does.
    bulk = blocks[blocks["size"] >= 4 * MIB]
    decoded = pd.concat([rows[["payload", "changed", "d_MBps"]] for rows in (bulk, stale)])
    joined = _xor_with_changes(xor, measurements)
    shifted = _largest(xor[xor["payload"].isin(SHIFTED_PAYLOADS)])
    in_place = joined[joined["cls"].isin(IN_PLACE_CLASSES) & (joined["changed"] > 0.03)]
    xor_overhead = float((1 / xor.loc[(xor["ratio"] > 20_000), "ratio"]).median())
    return DeltaLaws(
        overhead=fit_overhead(stale),
        encode=fit_share(timed, "c_MBps"),
        decode=fit_share(decoded, "d_MBps"),
        xor_overhead=xor_overhead,
        xor_floor=_fit_floor(_largest(in_place), xor_overhead),
        xor_exponent=_fit_exponent(shifted),
        xor_encode=fit_share(joined, "c_MBps"),
        xor_decode=fit_share(joined, "d_MBps"),
    )


def fit_overhead(stale: pd.DataFrame) -> float:
    """Compressed share of an unchanged payload: what makes one novelty explain all shares of one series."""
    groups = stale.groupby(["base", "mode", "run"])
    changed = stale["changed"] / stale["ratio3"]
    losses = []
    candidates = np.arange(0, 2.05e-5, 1e-6)
    for overhead in candidates:
        novelty = (1 / stale["ratio"] - overhead) / changed
        typical = novelty.groupby([groups.ngroup()]).transform("median")
        errors = np.log(((typical * changed + overhead) * stale["ratio"]).to_numpy(dtype=np.float64))
        losses.append(float(np.abs(errors).mean()))
    return float(candidates[int(np.argmin(losses))])


def fit_share(rows: pd.DataFrame, column: str) -> ShareLaw:
    """Seconds a byte as ``1/scan + changed/work``: the grid point with the least absolute log error."""
    changed = rows["changed"].to_numpy(dtype=np.float64)
    target = np.log(rows[column].to_numpy(dtype=np.float64) * MB)
    weights = equal_weights(rows["payload"])
    scans, works = np.geomspace(1e9, 2e10, 61), np.geomspace(1e8, 5e9, 81)
    model = -np.log(1 / scans[:, None, None] + changed / works[None, :, None])
    losses = np.abs(target - model) @ weights
    best_scan, best_work = np.unravel_index(int(np.argmin(losses)), losses.shape)
    residual = target - model[best_scan, best_work]
    return ShareLaw(float(scans[best_scan]), float(works[best_work]), spread(residual))


def fit_dictionary(dictionaries: pd.DataFrame) -> DictionaryLaw:
    """Half sizes that tell the gain of a trained dictionary over plain zstd-3 on self-similar records."""
    kept = dictionaries["set"].isin(SELF_SIMILAR_SETS) & (dictionaries["dict_kb"] == DICTIONARY_KB)
    rows = dictionaries[kept & (dictionaries["level"] == 3)]
    size = rows["mean_size"].to_numpy(dtype=np.float64)
    plain, trained = (rows[name].to_numpy(dtype=np.float64) for name in ("ratio_nodict", "ratio_dict"))
    without, with_ = np.geomspace(KIB, 16 * KIB, 81), np.geomspace(32, 4 * KIB, 81)
    gain = (size + without[:, None, None]) / (size + with_[None, :, None])
    losses = np.abs(np.log((1 + (plain - 1) * gain) / trained)).mean(axis=-1)
    best, best_with = np.unravel_index(int(np.argmin(losses)), losses.shape)
    return DictionaryLaw(float(without[best]), float(with_[best_with]))


def _xor_with_changes(xor: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    """XOR rows of slices whose changes were counted, with ``changed`` and ``novelty`` beside them."""
    deltas = measurements.loc[measurements["method"] == DELTA, [*SLICE, "chg4k", "ratio", "ratio3"]]
    deltas = deltas.rename(columns={"chg4k": "changed", "ratio": "delta_ratio"})
    joined = xor.merge(deltas, on=SLICE)
    return joined.assign(
        novelty=joined["ratio3"] / joined["delta_ratio"] / joined["changed"].clip(lower=1e-9)
    )


def _largest(rows: pd.DataFrame) -> pd.DataFrame:
    """The largest slice of each payload, which is all of it."""
    return rows[rows["size"] == rows.groupby("payload")["size"].transform("max")]


def _fit_floor(rows: pd.DataFrame, overhead: float) -> float:
    """Median floor of what XOR leaves of a block changed in place, at most 1."""
    left = (1 / rows["ratio"] - overhead) * rows["ratio3"] / rows["changed"]
    fresh = rows["novelty"].clip(upper=0.99)
    return float(((left - fresh) / (1 - fresh)).clip(0, 1).median())


def _fit_exponent(rows: pd.DataFrame) -> float:
    """Exponent of the zstd-3 ratio that remains when XOR mixes content with shifted content."""
    design: Floats = np.log(rows[["ratio_zstd3"]].to_numpy(dtype=np.float64))
    target: Floats = np.log(rows["ratio"].to_numpy(dtype=np.float64))
    return float(least_absolute(design, target, equal_weights(rows["payload"]))[0])
