"""What the tables say of each payload class: ratio, samples, repetition, changes since the older version."""

import numpy as np
import pandas as pd

from sim.calibration.deltas import DELTA
from sim.calibration.laws import ClassFigures
from sim.calibration.robust import Floats, spread
from sim.units import MIB

SMALLEST_SD = 0.15
"""Floor of the spread between payloads of a class: most classes hold one or two payloads, too few to see it.
Classes that hardly compress have 0.3 of their ln ratio instead, so that a ratio stays above 1."""
LARGEST_SD = 0.6
"""Ceiling: wider spreads come from slices that are all zeros, not from payloads."""


def one_row_a_payload(measurements: pd.DataFrame) -> pd.DataFrame:
    """Figures of whole payloads: the largest slice; for samples medians over slices of 1 MiB and more."""
    plain = measurements[measurements["method"] == "zstd3"]
    slices = plain[plain["size"] >= MIB]
    whole = slices[slices["size"] == slices.groupby("payload")["size"].transform("max")].copy()
    whole = whole.groupby("payload", as_index=False).first().set_index("payload")
    compressible = slices[
        (slices["ratio3"] > 1.05) & slices["payload"].isin(whole.index[whole["ratio3"] > 1.05])
    ]
    samples = compressible.assign(
        entropy_slack=(1 - compressible["Hs"] / 8) / (1 - 1 / compressible["ratio3"]),
        sample_exponent=np.log(compressible["z1sc"]) / np.log(compressible["ratio3"]),
    )
    for column in ("entropy_slack", "sample_exponent"):
        whole[column] = samples.groupby("payload")[column].median()
    whole["within_sd"] = slices.assign(log=np.log(slices["ratio3"])).groupby("payload")["log"].agg(spread)
    whole["delta_ratio"] = _whole_delta_ratio(measurements)
    return whole


def sample_spreads(payloads: pd.DataFrame) -> tuple[float, float]:
    """Spread between payloads of the sample exponent, and of ln entropy slack."""
    exponents: Floats = payloads["sample_exponent"].dropna().to_numpy(dtype=np.float64)
    slacks: Floats = payloads["entropy_slack"].dropna().to_numpy(dtype=np.float64)
    return float(np.std(exponents, ddof=1)), float(np.std(np.log(slacks), ddof=1))


def novelty_spread(measurements: pd.DataFrame, overhead: float) -> float:
    """Spread of ln novelty between slices of one payload of 4 MiB and more, median over payloads."""
    rows = measurements[(measurements["method"] == DELTA) & (measurements["size"] >= 4 * MIB)]
    rows = rows[(rows["miss4k"] > 0.02) & (rows["ratio"] < 1 / (2 * overhead))]
    novelty = (1 / rows["ratio"] - overhead) * rows["ratio3"] / rows["miss4k"]
    per_payload = rows.assign(log=np.log(novelty)).groupby("payload")["log"].std(ddof=0)
    return float(per_payload.median())


def fit_classes(measurements: pd.DataFrame, overhead: float) -> dict[str, ClassFigures]:
    """Figures of every class in the measurements, by name; a payload counts once in its class."""
    payloads = one_row_a_payload(measurements)
    slices = measurements[(measurements["method"] == "zstd3") & (measurements["size"] >= MIB)]
    figures = {}
    for name, members in payloads.groupby("cls"):
        logs = np.log(slices.loc[slices["cls"] == name, "ratio3"].to_numpy(dtype=np.float64))
        log_ratio3 = float(np.log(members["ratio3"]).median())
        smallest_sd = min(SMALLEST_SD, max(0.3 * log_ratio3, 0.0))
        figures[str(name)] = ClassFigures(
            log_ratio3=log_ratio3,
            log_ratio3_sd=min(max(spread(logs), smallest_sd), LARGEST_SD),
            within_sd=min(float(members["within_sd"].median()), SMALLEST_SD),
            entropy_slack=_median_or(members["entropy_slack"], payloads["entropy_slack"]),
            sample_exponent=_median_or(members["sample_exponent"], payloads["sample_exponent"]),
            repeated=float(members["rep4k"].mean()),
            zero=float(members["zero4k"].mean()),
            novelty=_class_novelty(members, overhead),
        )
    return figures


def _whole_delta_ratio(measurements: pd.DataFrame) -> "pd.Series[float]":
    """Delta ratio of each whole payload that has an older version."""
    rows = measurements[measurements["method"] == DELTA]
    whole = rows[rows["size"] == rows.groupby("payload")["size"].transform("max")]
    return whole.groupby("payload")["ratio"].first()


def _class_novelty(members: pd.DataFrame, overhead: float) -> float:
    """Geometric mean over the payloads with changes; 1 where no payload has an older version."""
    changed = members[members["miss4k"] > 0.01]
    if changed.empty:
        return 1.0
    novelty = (1 / changed["delta_ratio"] - overhead) * changed["ratio3"] / changed["miss4k"]
    return float(np.exp(np.log(novelty.clip(1e-3, 1.0)).mean()))


def _median_or(values: "pd.Series[float]", fallback: "pd.Series[float]") -> float:
    """Median of the given values, or of the fallback where a class has none."""
    return float(values.median() if values.notna().any() else fallback.median())
