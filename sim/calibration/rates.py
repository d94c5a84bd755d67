"""Fits of ratios and speeds of the general codecs against the zstd-3 ratio."""

from typing import Final

import numpy as np
import pandas as pd

from sim.calibration.laws import RateLaw, RatioLaw
from sim.calibration.robust import Floats, equal_weights, least_absolute, spread
from sim.units import KIB, MB, MIB

METHODS: Final = ("lz4", "zstd1", "zstd3", "zstd6", "zstd9", "zstd12", "zstd19")
REACHES: Final = (0.01, 0.02, 0.04, 0.08, 0.12, 0.18, 0.26, 0.38)
SLICE: Final = ["payload", "offset", "size"]
"""Columns that name the same bytes in every row of the measurements."""
EXTREME_RATIO: Final = 30.0
"""Slices beyond it are nearly all zero pages and say nothing of a codec's speed on content."""


def with_ratio3(measurements: pd.DataFrame) -> pd.DataFrame:
    """The measurements with the zstd-3 ratio of the same slice beside each row, as ``ratio3``."""
    ratio3 = measurements.loc[measurements["method"] == "zstd3", [*SLICE, "ratio"]]
    return measurements.merge(ratio3.rename(columns={"ratio": "ratio3"}), on=SLICE)


def rows_of(measurements: pd.DataFrame, method: str) -> pd.DataFrame:
    """Rows of one method that a curve is fitted to."""
    return measurements[(measurements["method"] == method) & (measurements["ratio3"] < EXTREME_RATIO)]


def fit_ratio(rows: pd.DataFrame) -> RatioLaw:
    """Ratio law of one method; every payload counts the same."""
    ratio3 = rows["ratio3"].to_numpy(dtype=np.float64)
    target = np.log(rows["ratio"].to_numpy(dtype=np.float64))
    design = np.column_stack([np.log(ratio3), 1 - 1 / ratio3])
    exponent, gain = least_absolute(design, target, equal_weights(rows["payload"]))
    return RatioLaw(float(exponent), float(gain), spread(target - design @ np.array([exponent, gain])))


def fit_rate(rows: pd.DataFrame, column: str) -> RateLaw:
    """Rate law of one method from its MB/s ``column``; every payload counts the same."""
    ratio3 = rows["ratio3"].to_numpy(dtype=np.float64)
    size = rows["size"].to_numpy(dtype=np.float64)
    target = np.log(rows[column].to_numpy(dtype=np.float64) * MB)
    weights = equal_weights(rows["payload"])
    best_loss = np.inf
    for reach in REACHES:
        design = _rate_design(ratio3, size, reach)
        coefficients = least_absolute(design, target, weights)
        residual = target - design @ coefficients
        loss = float(weights @ np.abs(residual))
        if loss < best_loss:
            best_loss = loss
            level, exponent, lift, cache, call = map(float, coefficients)
            law = RateLaw(float(np.exp(level)), exponent, lift, reach, cache, call, spread(residual))
    return law


def _rate_design(ratio3: Floats, size: Floats, reach: float) -> Floats:
    """Columns of `RateLaw`, which is linear in the logarithm once the reach is given."""
    columns = [
        np.ones_like(ratio3),
        np.log(ratio3),
        np.exp((1 - ratio3) / reach),
        1 / (1 + size / (4 * MIB)),
        -1 / (1 + size / (64 * KIB)),
    ]
    return np.column_stack(columns)
