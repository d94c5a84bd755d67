"""Calibration tables from the user's files, measured under a budget, beside what they were measured on."""

import math
import platform
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from backports import zstd

from sim.calibration.laws import Fitted
from sim.calibration.tables import MEASUREMENTS, STALENESS, TableSchema, read_table
from sim.errors import InputError
from sim.files import write_json, write_whole
from sim.testbed.codec_timing import measure_slice, measure_staleness
from sim.testbed.file_samples import Slice
from sim.units import MIB

MEASUREMENTS_FILE: Final = "codec_measurements.csv.gz"
STALENESS_FILE: Final = "codec_staleness.csv.gz"
MACHINE_FILE: Final = "machine.json"
_MOST_STALE: Final = 8
"""Slices that baselines are made up for."""


class Budget(NamedTuple):
    """How long to measure.

    Attributes:
        seconds: Wall time after which no slice is begun; the first of all is measured in any case.
        repeats: Runs behind a median, besides the first.
    """

    seconds: float = 120.0
    repeats: int = 5


class Tables(NamedTuple):
    """What was measured: slices of files, and made-up baselines; columns as ``sim/calibration`` has them."""

    measurements: pd.DataFrame
    staleness: pd.DataFrame


def measure(
    slices: Sequence[Slice],
    shipped: Fitted,
    budget: Budget,
    rng: np.random.Generator,
    tick: Callable[[float], None],
) -> Tables:
    """Measure slices one after the other until the time is up.

    Args:
        slices: In the order in which they matter.
        shipped: Figures of classes, to tell the class of files that were given none.
        budget: How long, and how often.
        rng: Where baselines are changed.
        tick: Told the share that is done after each slice, of the slices or of the time.
    """
    rows: list[dict[str, Any]] = []
    stale: list[dict[str, Any]] = []
    start_s, left = time.monotonic(), _MOST_STALE
    for number, piece in enumerate(slices, start=1):
        spent = (time.monotonic() - start_s) / budget.seconds
        tick(max(number / len(slices), min(spent, 1.0)))
        if rows and spent > 1:
            break
        rows += measure_slice(piece, budget.repeats)
        if left and len(piece.new) >= MIB:
            stale += measure_staleness(piece, budget.repeats, rng)
            left -= 1
    return Tables(with_classes(pd.DataFrame(rows), shipped), pd.DataFrame(stale))


def with_classes(measurements: pd.DataFrame, shipped: Fitted) -> pd.DataFrame:
    """The rows with a class on every file: the given one, else the shipped class that is nearest.

    Nearest in the zstd-3 ratio, in units of the spread of the class, and in the shares of repeated and of
    zero blocks; by the largest slice of the file.
    """
    zstd3 = measurements[measurements["method"] == "zstd3"].sort_values("size")
    guessed: dict[str, str] = {}
    for row in zstd3.to_dict("records"):
        distances = {
            name: abs(math.log(row["ratio"]) - figures.log_ratio3) / max(figures.log_ratio3_sd, 0.1)
            + abs(row["rep4k"] - figures.repeated)
            + abs(row["zero4k"] - figures.zero)
            for name, figures in shipped.classes.items()
        }
        guessed[str(row["payload"])] = min(distances, key=distances.__getitem__)
    return measurements.assign(cls=measurements["cls"].fillna(measurements["payload"].map(guessed)))


def write_tables(tables: Tables, folder: Path) -> None:
    """Put the tables and the machine into a folder, each file whole or not at all."""
    for table, name in ((tables.measurements, MEASUREMENTS_FILE), (tables.staleness, STALENESS_FILE)):
        if len(table):
            _write(table, folder / name)
    write_json(folder / MACHINE_FILE, machine())


def _write(table: pd.DataFrame, path: Path) -> None:
    options = {"method": "gzip", "mtime": 0}
    write_whole(
        path,
        lambda stream: table.to_csv(stream, index=False, float_format="%.6g", compression=options),
    )


def read_tables(folder: Path) -> Tables:
    """Read what `write_tables` has written, every figure checked.

    Raises:
        InputError: If there are no measurements, or a row cannot be used.
    """
    stale = folder / STALENESS_FILE
    return Tables(
        _checked(folder / MEASUREMENTS_FILE, MEASUREMENTS),
        _checked(stale, STALENESS) if stale.exists() else pd.DataFrame(columns=list(_columns(STALENESS))),
    )


def _checked(path: Path, schema: TableSchema) -> pd.DataFrame:
    if not path.exists():
        raise InputError(path, "", "is not there; `dwcp-gym calibrate codecs` writes it")
    return read_table(path, schema)


def _columns(schema: TableSchema) -> tuple[str, ...]:
    return (*schema.labels, *schema.above_zero, *schema.shares, *schema.bits, *schema.not_negative)


def machine() -> dict[str, Any]:
    """What the figures hold for: processor, system, versions."""
    return {
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "libzstd": ".".join(map(str, zstd.zstd_version_info)),
        **{name: metadata.version(name) for name in ("backports.zstd", "lz4", "xxhash", "numpy")},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor() or "unknown"
