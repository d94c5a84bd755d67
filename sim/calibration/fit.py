"""Fits every curve to the measured tables and writes them down: ``python -m sim.calibration.fit``."""

from pathlib import Path

from sim.calibration.classes import fit_classes, novelty_spread, one_row_a_payload, sample_spreads
from sim.calibration.deltas import fit_delta, fit_dictionary
from sim.calibration.laws import FITTED_FILE, Fitted
from sim.calibration.rates import METHODS, fit_rate, fit_ratio, rows_of, with_ratio3
from sim.calibration.tables import DICTIONARIES, FOLDER, MEASUREMENTS, STALENESS, XOR, read_table
from sim.units import MB, MIB


def fit_tables() -> Fitted:
    """All curves, from the tables beside this file.

    Raises:
        InputError: If a table has a row that cannot be used.
    """
    measurements = with_ratio3(read_table(FOLDER / "codec_measurements.csv.gz", MEASUREMENTS))
    staleness = read_table(FOLDER / "codec_staleness.csv.gz", STALENESS)
    xor = read_table(FOLDER / "codec_xor.csv.gz", XOR)
    dictionaries = read_table(FOLDER / "codec_dict.csv.gz", DICTIONARIES)
    rows = {method: rows_of(measurements, method) for method in METHODS}
    copies = measurements[(measurements["method"] == "none") & (measurements["size"] == 16 * MIB)]
    delta = fit_delta(measurements, staleness, xor)
    exponent_sd, slack_log_sd = sample_spreads(one_row_a_payload(measurements))
    return Fitted(
        ratios={method: fit_ratio(rows[method]) for method in METHODS if method != "zstd3"},
        encode={method: fit_rate(rows[method], "c_MBps") for method in METHODS},
        decode={method: fit_rate(rows[method], "d_MBps") for method in METHODS},
        memcpy=float(copies["c_MBps"].median() * MB),
        delta=delta,
        dictionary=fit_dictionary(dictionaries),
        classes=fit_classes(measurements, delta.overhead),
        sample_exponent_sd=exponent_sd,
        entropy_slack_log_sd=slack_log_sd,
        novelty_log_sd=novelty_spread(measurements, delta.overhead),
    )


def write_fitted(fitted: Fitted, path: Path = FITTED_FILE) -> None:
    """Put the fit into its file, all of it or nothing."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(fitted.to_json(), encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    write_fitted(fit_tables())
