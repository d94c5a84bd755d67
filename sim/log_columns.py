"""What a transfer log may say: its columns, their ranges, and their values as arrays in order of arrival."""

from collections.abc import Sequence
from datetime import datetime
from math import inf, nan
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError
from sim.log_table import LogTable
from sim.payloads import CLASS_NAMES
from sim.refusals import suggestion
from sim.telemetry import TransferRecord
from sim.units import DAY

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LONGEST_S: Final = 31 * DAY
"""Conditions are drawn for every second or so of a log; those of a longer one would not fit into memory."""


class LogColumn(NamedTuple):
    """A column that a log may have.

    Attributes:
        name: Its name in the header.
        unit: Unit of its values.
        meaning: What it says.
        otherwise: What holds without the column or where its cell is empty.
        low: Smallest number; NaN for a column of words.
        high: Largest number.
    """

    name: str
    unit: str
    meaning: str
    otherwise: str
    low: float = nan
    high: float = inf


COLUMNS: Final = (
    LogColumn("arrival_s", "s", "when it was asked for, from the start of the log on", "", 0.0, LONGEST_S),
    LogColumn("timestamp", "ISO 8601", "in place of `arrival_s`: date and time; the first is time 0", ""),
    LogColumn("size_bytes", "bytes", "raw size", "", 1.0, 1e15),
    LogColumn("dataset", "", "what it is a version of, any word or number", "drawn; empty: never sent again"),
    LogColumn("kind", "", "payload class, the same for all versions of a dataset", "drawn"),
    LogColumn("path", "", "path of the scenario, by name or number from 0", "drawn"),
    LogColumn("priority", "s/s", "cost of a second until it is decoded", "drawn", 1e-9, 1e9),
    LogColumn("deadline_s", "s", "when it is late, on the clock of `arrival_s`", "drawn; empty: never", 0.0),
    LogColumn("slack_s", "s", "in place of `deadline_s`: time from arrival on", "drawn; empty: never", 0.0),
    LogColumn("ratio", "1", "zstd-3 ratio; below 1 counts as 1", "drawn; empty: as its dataset", 1e-3, 1e6),
    LogColumn("entropy", "share", "of a sample, bits per byte over 8", "drawn, by the ratio", 0.0, 1.0),
    LogColumn(
        "sample_ratio", "1", "zstd-1 ratio of a sample; below 1 counts as 1", "drawn, by the ratio", 1e-3, 1e6
    ),
    LogColumn("repetition", "share", "repeated 4 KiB blocks in a sample", "drawn", 0.0, 1.0),
    LogColumn("changed", "share", "blocks changed since its dataset was sent last", "drawn", 0.0, 1.0),
)
"""A log must have `size_bytes`, and `arrival_s` or `timestamp`; the rest may be left out."""

OUTCOMES: Final = tuple(
    name for name in TransferRecord._fields if name not in [column.name for column in COLUMNS]
)
"""Columns of telemetry that say what came of a transfer: a log may have them, and they are passed over."""

_BY_NAME: Final = {column.name: column for column in COLUMNS}
_INSTEAD: Final = (("arrival_s", "timestamp"), ("deadline_s", "slack_s"), ("deadline_s", "timestamp"))
"""Pairs of which a log may have one."""


class Logged(NamedTuple):
    """What a log says, one entry a transfer in order of arrival; NaN, -1 or None where it is silent.

    Attributes:
        hour: Local hour at time 0; None without timestamps.
        arrival_s: When each was asked for.
        size_bytes: Raw sizes.
        dataset: Name of each dataset; None as a whole when the log has no such column.
        kind: Index into `CLASS_NAMES`.
        path: Index into the scenario's paths.
        priority: Cost of a second.
        deadline_s: When each is late; inf for never.
        ratio, entropy, sample_ratio, repetition, changed: As the columns of these names say.
    """

    hour: float | None
    arrival_s: Floats
    size_bytes: Floats
    dataset: Sequence[str | None] | None
    kind: Ints
    path: Ints
    priority: Floats
    deadline_s: Floats
    ratio: Floats
    entropy: Floats
    sample_ratio: Floats
    repetition: Floats
    changed: Floats


def understand(table: LogTable, paths: Sequence[str]) -> Logged:
    """Check every cell of a log and sort it by arrival.

    Args:
        table: Its cells.
        paths: Names of the scenario's paths.

    Raises:
        InputError: If a column is missing or a cell cannot be used, with its line.
    """
    _check_columns(table)
    hour, arrival_s = _arrivals(table)
    deadline_s = _deadlines(table, arrival_s)
    kind = _words(table, "kind", CLASS_NAMES)
    dataset = _datasets(table, kind)
    order = np.argsort(arrival_s, kind="stable")
    return Logged(
        hour=hour,
        arrival_s=arrival_s[order],
        size_bytes=_numbers(table, "size_bytes")[order],
        dataset=dataset and [dataset[row] for row in order.tolist()],
        kind=kind[order],
        path=_words(table, "path", paths)[order],
        priority=_numbers(table, "priority")[order],
        deadline_s=deadline_s[order],
        ratio=np.maximum(_numbers(table, "ratio")[order], 1.0),
        entropy=_numbers(table, "entropy")[order],
        sample_ratio=np.maximum(_numbers(table, "sample_ratio")[order], 1.0),
        repetition=_numbers(table, "repetition")[order],
        changed=_numbers(table, "changed")[order],
    )


def _check_columns(table: LogTable) -> None:
    there = table.columns.keys()
    for one, other in _INSTEAD:
        if {one, other} <= there:
            problem = f"expected one of the columns {one} and {other}, got both; drop one"
            raise InputError(table.path, "", problem)
    if "size_bytes" not in there or not {"arrival_s", "timestamp"} & there:
        problem = f"expected the columns size_bytes and arrival_s (or timestamp), got {', '.join(there)}"
        raise InputError(table.path, "", problem)


def _arrivals(table: LogTable) -> tuple[float | None, Floats]:
    """Local hour at time 0, if it is known, and seconds from then on."""
    if "arrival_s" in table.columns:
        return None, _numbers(table, "arrival_s")
    times = [_moment(table, row, cell) for row, cell in enumerate(table.columns["timestamp"])]
    for row, time in enumerate(times):
        if (time.utcoffset() is None) != (times[0].utcoffset() is None):
            problem = "expected a time zone on every timestamp or on none, got"
            raise table.refusal(row, f"{problem} {_short(str(time))} after {_short(str(times[0]))}")
    first = min(times)
    arrival_s = np.array([(time - first).total_seconds() for time in times])
    last = int(arrival_s.argmax())
    if arrival_s[last] > LONGEST_S:
        problem = f"expected timestamps within 31 days, got {times[last]} after {first}"
        raise table.refusal(last, f"{problem}; cut the log into pieces")
    return first.hour + first.minute / 60 + first.second / 3600, arrival_s


def _moment(table: LogTable, row: int, cell: Any) -> datetime:
    try:
        return cell if isinstance(cell, datetime) else datetime.fromisoformat(cell)
    except (TypeError, ValueError) as error:
        problem = f"timestamp must be a date and time as 2026-03-01T14:30:00, got {_short(cell)}"
        raise table.refusal(row, problem) from error


def _deadlines(table: LogTable, arrival_s: Floats) -> Floats:
    """Moments from which transfers are late, inf for never; all NaN when the log does not speak of them."""
    for name, start_s in (("deadline_s", np.zeros(len(table))), ("slack_s", arrival_s)):
        if name in table.columns:
            known = start_s + _numbers(table, name)
            for row in np.flatnonzero(known <= arrival_s).tolist():
                came = _short(table.columns[name][row])
                problem = f"{name} must make a deadline after the arrival at {arrival_s[row]:g} s, got {came}"
                raise table.refusal(row, problem)
            return np.where(np.isnan(known), inf, known)
    return np.full(len(table), nan)


def _datasets(table: LogTable, kind: Ints) -> list[str | None] | None:
    """Names of the datasets; None for one that is never sent again, and as a whole without the column."""
    if "dataset" not in table.columns:
        return None
    names = [str(cell) or None for cell in table.columns["dataset"]]
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if name is None or kind[row] < 0:
            continue
        before = first.setdefault(name, row)
        if kind[before] != kind[row]:
            problem = f"dataset {_short(name)} is of kind '{CLASS_NAMES[kind[row]]}' here, but of kind"
            raise table.refusal(
                row, f"{problem} '{CLASS_NAMES[kind[before]]}' in {table.places[before]}; split it"
            )
    return names


def _numbers(table: LogTable, name: str) -> Floats:
    """Values of a column of numbers; NaN where a cell is empty or the column is not there."""
    column = _BY_NAME[name]
    values = np.full(len(table), nan)
    for row, cell in enumerate(table.columns.get(name, ())):
        if isinstance(cell, str) and not cell and column.otherwise:
            continue
        try:
            values[row] = nan if isinstance(cell, bool) else float(cell)
        except (TypeError, ValueError, OverflowError):
            values[row] = nan
        if not column.low <= values[row] <= column.high:
            raise table.refusal(row, f"{name} must be {_range(column)}, got {_short(cell)}{_way_out(column)}")
    return values


def _range(column: LogColumn) -> str:
    if column.high == inf:
        return f"a number of at least {column.low:g}"
    return f"a number from {column.low:g} to {column.high:g}"


def _way_out(column: LogColumn) -> str:
    if column.name == "arrival_s":
        return "; count from the start of the log, cut it at 31 days, write dates into timestamp"
    return "; write 1 % as 0.01" if column.unit == "share" else ""


def _words(table: LogTable, name: str, known: Sequence[str]) -> Ints:
    """Places of words among the known ones; -1 where a cell is empty or the column is not there."""
    codes = np.full(len(table), -1, dtype=np.int64)
    for row, cell in enumerate(table.columns.get(name, ())):
        word = str(cell)
        if word in known:
            codes[row] = known.index(word)
        elif name == "path" and word.isascii() and word.isdecimal() and int(word) < len(known):
            codes[row] = int(word)
        elif word:
            numbers = f" or 0 to {len(known) - 1}" if name == "path" else ""
            guess = suggestion(word, known)
            problem = f"{name} must be one of {', '.join(known)}{numbers}, got {_short(cell)}{guess}"
            raise table.refusal(row, problem)
    return codes


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
