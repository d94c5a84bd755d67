"""The fitted laws brought to the user's machine and files, each no further than its files bear out.

Every law is tried as shipped, shifted by a factor, tilted over the ratio, and fitted anew; the candidate
with the smallest error on files that were left out of its fit is taken. So a few files cannot bend a curve.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sim.calibration.classes import fit_classes
from sim.calibration.deltas import DELTA, block_deltas, fit_share, staleness_deltas
from sim.calibration.laws import Fitted, RateLaw, RatioLaw, ShareLaw
from sim.calibration.rates import METHODS, SLICE, fit_rate, fit_ratio, rows_of, with_ratio3
from sim.calibration.robust import equal_weights, least_absolute, spread
from sim.codecs import coder_rate, coder_ratio
from sim.testbed.codec_tables import Tables
from sim.units import MB, MIB

Floats = NDArray[np.float64]
Law = RateLaw | RatioLaw | ShareLaw
Fit = Callable[[pd.DataFrame], Law]

FEWEST_FILES: Final = 6
"""Files that a law is fitted anew to; to fewer it is only shifted, or tilted from `_FEWEST_TILTED` on."""
_FEWEST_TILTED: Final = 3
_MOST_FOLDS: Final = 8
_WORTH: Final = 0.97
"""A candidate with more freedom must bring the held-out error below this share of that of the one before."""


class LawFit(NamedTuple):
    """How a law came out.

    Attributes:
        name: What it is of, such as ``zstd9 encode rate``.
        law: The law that was taken.
        candidate: How: ``shipped``, ``shifted``, ``tilted`` or ``refitted``.
        files: Files behind it.
        rows: Slices behind it.
        shipped_error: Median relative error of the shipped law.
        held_out_error: Median relative error of the candidate on files left out of its fit.
        measured: What was measured, one a row.
        predicted: What the law says, one a row.
    """

    name: str
    law: Law
    candidate: str
    files: int
    rows: int
    shipped_error: float
    held_out_error: float
    measured: Floats
    predicted: Floats


class Calibration(NamedTuple):
    """All figures, how each law came out, and the classes that the files told of."""

    fitted: Fitted
    laws: list[LawFit]
    classes: list[str]


class _Kind(NamedTuple):
    """One shape of law: what it predicts of rows, and its candidates by name, with the files each needs."""

    predict: Callable[[Any, pd.DataFrame], Floats]
    candidates: Callable[[Any, str], dict[str, tuple[int, Fit]]]


def calibrate(tables: Tables, shipped: Fitted) -> Calibration:
    """Figures of this machine and these files; what they do not tell stays as shipped."""
    measurements = with_ratio3(tables.measurements)
    laws: list[LawFit] = []

    def settle(name: str, law: Any, rows: pd.DataFrame, column: str, kind: _Kind) -> Any:
        if rows.empty:
            return law
        found = _settled(name, law, rows, column, kind)
        laws.append(found)
        return found.law

    by_method = {method: rows_of(measurements, method) for method in METHODS}
    ratios = {
        method: settle(f"{method} ratio", shipped.ratios[method], by_method[method], "ratio", _RATIO)
        for method in METHODS
        if method != "zstd3"
    }
    encode = {
        method: settle(f"{method} encode rate", shipped.encode[method], rows, "c_MBps", _RATE)
        for method, rows in by_method.items()
    }
    decode = {
        method: settle(f"{method} decode rate", shipped.decode[method], rows, "d_MBps", _RATE)
        for method, rows in by_method.items()
    }
    deltas, xor = _deltas(measurements, tables.staleness), _xor(measurements)
    delta = shipped.delta._replace(
        encode=settle("hde encode rate", shipped.delta.encode, deltas, "c_MBps", _SHARE),
        decode=settle("hde decode rate", shipped.delta.decode, deltas, "d_MBps", _SHARE),
        xor_encode=settle("hde_xor encode rate", shipped.delta.xor_encode, xor, "c_MBps", _SHARE),
        xor_decode=settle("hde_xor decode rate", shipped.delta.xor_decode, xor, "d_MBps", _SHARE),
    )
    copies = measurements[measurements["method"] == "none"]
    bulk = copies[copies["size"] == copies["size"].max()]
    classes = fit_classes(measurements, delta.overhead) if (measurements["size"] >= MIB).any() else {}
    fitted = replace(
        shipped,
        ratios=ratios,
        encode=encode,
        decode=decode,
        memcpy=float(bulk["c_MBps"].median() * MB),
        delta=delta,
        classes={**shipped.classes, **classes},
    )
    return Calibration(fitted, laws, sorted(classes))


def _settled(name: str, shipped: Law, rows: pd.DataFrame, column: str, kind: _Kind) -> LawFit:
    """The candidate that tells most of files it has not seen."""
    unit = 1.0 if column == "ratio" else MB
    measured: Floats = rows[column].to_numpy(dtype=np.float64) * unit
    files = int(rows["payload"].nunique())
    best, best_error, best_fit = "shipped", _error(kind.predict(shipped, rows), measured), _constant(shipped)
    shipped_error = best_error
    for candidate, (fewest, fit) in kind.candidates(shipped, column).items():
        if files < max(fewest, 2):
            continue
        predicted = np.empty_like(measured)
        for left_out in _folds(rows):
            predicted[left_out] = kind.predict(fit(rows[~left_out]), rows[left_out])
        error = _error(predicted, measured)
        if error < _WORTH * best_error:
            best, best_error, best_fit = candidate, error, fit
    law = best_fit(rows)
    return LawFit(
        name,
        law,
        best,
        files,
        len(rows),
        shipped_error,
        best_error,
        measured,
        kind.predict(law, rows),
    )


def _constant(law: Law) -> Fit:
    return lambda rows: law


def _folds(rows: pd.DataFrame) -> Iterator[NDArray[np.bool_]]:
    """Rows to leave out, all of a file at once."""
    numbers, files = pd.factorize(rows["payload"])
    folds = min(len(files), _MOST_FOLDS)
    return ((numbers % folds) == fold for fold in range(folds))


def _error(predicted: Floats, measured: Floats) -> float:
    """Median relative error, symmetric: a factor 2 above and below count the same."""
    return float(np.expm1(np.median(np.abs(np.log(predicted / measured)))))


def _residual(
    predict: Callable[[Any, pd.DataFrame], Floats], law: Law, rows: pd.DataFrame, column: str
) -> Floats:
    unit = 1.0 if column == "ratio" else MB
    found: Floats = np.log(rows[column].to_numpy(dtype=np.float64) * unit / predict(law, rows))
    return found


def _tilt(residual: Floats, rows: pd.DataFrame, *, tilted: bool) -> tuple[float, float, float]:
    """Factor and exponent of the ratio that bring a residual to 0, and its spread then."""
    log_ratio = np.log(rows["ratio3"].to_numpy(dtype=np.float64))
    columns = [np.ones_like(log_ratio)] + ([log_ratio] if tilted else [])
    design = np.column_stack(columns)
    found = least_absolute(design, residual, equal_weights(rows["payload"]))
    return float(np.exp(found[0])), float(found[1]) if tilted else 0.0, spread(residual - design @ found)


def _rate(law: RateLaw, rows: pd.DataFrame) -> Floats:
    ratio3, size = (rows[name].to_numpy(dtype=np.float64) for name in ("ratio3", "size"))
    return coder_rate(law, ratio3, size)


def _rate_candidates(shipped: RateLaw, column: str) -> dict[str, tuple[int, Fit]]:
    def moved(rows: pd.DataFrame, *, tilted: bool) -> RateLaw:
        factor, exponent, log_sd = _tilt(_residual(_rate, shipped, rows, column), rows, tilted=tilted)
        return shipped._replace(
            scale=shipped.scale * factor, exponent=shipped.exponent + exponent, log_sd=log_sd
        )

    return {
        "shifted": (2, lambda rows: moved(rows, tilted=False)),
        "tilted": (_FEWEST_TILTED, lambda rows: moved(rows, tilted=True)),
        "refitted": (FEWEST_FILES, lambda rows: fit_rate(rows, column)),
    }


def _ratio(law: RatioLaw, rows: pd.DataFrame) -> Floats:
    return coder_ratio(law, rows["ratio3"].to_numpy(dtype=np.float64))


def _ratio_candidates(shipped: RatioLaw, column: str) -> dict[str, tuple[int, Fit]]:
    return {"refitted": (_FEWEST_TILTED, fit_ratio)}


def _share(law: ShareLaw, rows: pd.DataFrame) -> Floats:
    changed: Floats = rows["changed"].to_numpy(dtype=np.float64)
    return 1 / (1 / law.scan + changed / law.work)


def _share_candidates(shipped: ShareLaw, column: str) -> dict[str, tuple[int, Fit]]:
    def shifted(rows: pd.DataFrame) -> ShareLaw:
        residual = _residual(_share, shipped, rows, column)
        factor, _, log_sd = _tilt(residual, rows.assign(ratio3=1.0), tilted=False)
        return ShareLaw(shipped.scan * factor, shipped.work * factor, log_sd)

    return {"shifted": (2, shifted), "refitted": (_FEWEST_TILTED, lambda rows: fit_share(rows, column))}


_RATE: Final = _Kind(_rate, _rate_candidates)
_RATIO: Final = _Kind(_ratio, _ratio_candidates)
_SHARE: Final = _Kind(_share, _share_candidates)


def _deltas(measurements: pd.DataFrame, staleness: pd.DataFrame) -> pd.DataFrame:
    """Timed deltas of at least 1 MiB, of older versions and of made-up ones; a file with both counts once."""
    columns = ["payload", "changed", "c_MBps", "d_MBps"]
    blocks = block_deltas(measurements)[columns]
    if staleness.empty:
        return blocks
    stale = staleness_deltas(staleness)
    payload = stale["base"].str.rpartition("@")[0]
    return pd.concat([blocks, stale.assign(payload=payload)[columns]])


def _xor(measurements: pd.DataFrame) -> pd.DataFrame:
    rows = measurements[(measurements["method"] == "xor3") & (measurements["size"] >= MIB)]
    changed = measurements.loc[measurements["method"] == DELTA, [*SLICE, "chg4k"]]
    return rows[[*SLICE, "c_MBps", "d_MBps"]].merge(changed.rename(columns={"chg4k": "changed"}), on=SLICE)
