"""Link conditions over time: the trace, what can be cut from it, and the files it is read from."""

import gzip
import math
import os
import zlib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sim.errors import InputError
from sim.units import MBIT, MS

FloatArray = npt.NDArray[np.float64]

UNITS: Final = {"time_s": 1.0, "capacity_mbps": MBIT, "rtt_ms": MS, "loss": 1.0, "cross_streams": 1.0}
"""Columns of a trace in CSV, in the order of the fields of `Trace`, with the factor to the units inside."""
BINNED: Final = "trace,t_s,mbps"
"""Header of a file that holds several traces in bins of equal length."""
PACKET_BYTES: Final = 1500
"""Bytes of a delivery opportunity: manual page mm-link(1); the 1504 of its code count the TUN header."""
_BIN_S: Final = 0.1
"""Bins of delivery opportunities."""


class Unmeasured(NamedTuple):
    """What a file that lacks it is taken to have; 50 ms is an LTE link at rest, measured by us."""

    rtt_s: float = 0.05
    loss: float = 0.0
    cross_streams: float = 0.0


UNMEASURED: Final = Unmeasured()


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Conditions of a link, constant between breakpoints: row i holds from `time_s[i]`, the last for ever.

    Attributes:
        time_s: Breakpoints, shape (n,), from 0, strictly increasing.
        capacity: Bytes per second, shape (n,), at least 0; the last one above 0, so that every transfer ends.
        rtt_s: Round-trip time without queueing, shape (n,), above 0.
        loss: Share of packets lost at random, shape (n,), in [0, 1).
        cross_streams: TCP streams of others on the link, shape (n,), at least 0.

    Raises:
        ValueError: If shapes or values break these rules.

    >>> half = Trace([0.0, 10.0], [2e6, 1e6], [0.05, 0.05], [0.0, 0.0], [0.0, 0.0])
    >>> half.at(10.0), half.mean_capacity(20.0)
    (1, 1500000.0)
    """

    time_s: FloatArray
    capacity: FloatArray
    rtt_s: FloatArray
    loss: FloatArray
    cross_streams: FloatArray

    def __post_init__(self) -> None:
        for field in fields(self):
            values = np.ascontiguousarray(getattr(self, field.name), dtype=np.float64)
            object.__setattr__(self, field.name, values)
            if values.ndim != 1 or values.shape != self.time_s.shape or not values.size:
                raise ValueError(f"trace {field.name} must have shape (n,) like time_s, got {values.shape}")
            if not (values.min() >= 0 and values.max() < math.inf):
                raise ValueError(f"trace {field.name} must be finite and at least 0, got {values}")
        if self.time_s[0] != 0 or (self.time_s[1:] <= self.time_s[:-1]).any():
            raise ValueError(f"trace time_s must start at 0 and increase, got {self.time_s}")
        if self.capacity[-1] <= 0:
            raise ValueError("trace capacity must end above 0, for the last row holds for ever; add a row")
        if self.rtt_s.min() <= 0:
            raise ValueError(f"trace rtt_s must be above 0, got {self.rtt_s.min()}")
        if self.loss.max() >= 1:
            raise ValueError(f"trace loss must be in [0, 1), got {self.loss.max()}; write 1 % as 0.01")

    def at(self, time_s: float) -> int:
        """Row that holds at a time of at least 0."""
        return max(int(np.searchsorted(self.time_s, time_s, side="right")) - 1, 0)

    def mean_capacity(self, duration_s: float) -> float:
        """Bytes per second, averaged over the first `duration_s` seconds."""
        return float(self._integral(self.capacity, np.asarray([duration_s]))[0] / duration_s)

    def window(self, start_s: float, duration_s: float) -> "Trace":
        """The rows that hold between `start_s` and `start_s + duration_s`, with time from 0.

        A window that would end in an outage keeps the rows up to the end of that outage.
        """
        first = self.at(start_s)
        stop = max(int(np.searchsorted(self.time_s, start_s + duration_s)), first + 1)
        while self.capacity[stop - 1] == 0:
            stop += 1
        return self._rows(slice(first, stop), np.maximum(self.time_s[first:stop] - start_s, 0.0))

    def looped(self, duration_s: float) -> "Trace":
        """The trace repeated or cut to `duration_s`; a repeated last row lasts as long as the median."""
        if len(self.time_s) == 1 or duration_s <= self.time_s[-1]:
            return self.window(0.0, duration_s)
        period_s = self.time_s[-1] + np.median(np.diff(self.time_s))
        copies = math.ceil(duration_s / period_s) + 1
        starts = np.repeat(np.arange(copies) * period_s, len(self.time_s))
        rows = np.tile(np.arange(len(self.time_s)), copies)
        return self._rows(rows, self.time_s[rows] + starts).window(0.0, duration_s)

    def resample(self, step_s: float) -> "Trace":
        """Time averages over steps of `step_s`, until the last row holds; as many bytes can pass."""
        edges = np.arange(math.ceil(self.time_s[-1] / step_s) + 2) * step_s
        sums = (np.diff(self._integral(column, edges)) for column in self._columns())
        return Trace(edges[:-1], *(np.maximum(between, 0.0) / step_s for between in sums))

    def scaled(self, factor: float) -> "Trace":
        """The same link with `factor` times the capacity."""
        return Trace(self.time_s, self.capacity * factor, self.rtt_s, self.loss, self.cross_streams)

    def coalesced(self) -> "Trace":
        """The same without rows that repeat the one before: every breakpoint costs the simulator time."""
        changed = np.ones(len(self.time_s), dtype=np.bool_)
        changed[1:] = False
        for column in self._columns():
            changed[1:] |= column[1:] != column[:-1]
        return self if changed.all() else self._rows(changed, self.time_s[changed])

    def _columns(self) -> tuple[FloatArray, ...]:
        return self.capacity, self.rtt_s, self.loss, self.cross_streams

    def _rows(self, rows: slice | npt.NDArray[np.int64 | np.bool_], time_s: FloatArray) -> "Trace":
        return Trace(time_s, *(column[rows] for column in self._columns()))

    def _integral(self, column: FloatArray, until_s: FloatArray) -> FloatArray:
        """Integral of a column from 0 to each of `until_s`."""
        before = np.concatenate(([0.0], np.cumsum(column[:-1] * np.diff(self.time_s))))
        row = np.searchsorted(self.time_s, until_s, side="right") - 1
        return np.asarray(before[row] + column[row] * (until_s - self.time_s[row]))


def write_csv(trace: Trace, path: Path) -> None:
    """Write a trace in the form that `read_csv` reads; the file appears whole or not at all."""
    columns = [
        getattr(trace, field.name) / unit for field, unit in zip(fields(trace), UNITS.values(), strict=True)
    ]
    rows = [",".join(map(repr, row)) for row in np.stack(columns, axis=1).tolist()]
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text("\n".join([",".join(UNITS), *rows, ""]), encoding="utf-8")
    os.replace(part, path)


def read_csv(path: Path, unmeasured: Unmeasured = UNMEASURED) -> Trace:
    """Read `time_s,capacity_mbps[,rtt_ms,loss,cross_streams]` in any order, gzipped or plain, from any start.

    Raises:
        InputError: If the file or one of its lines cannot be used, with the line. So for every reader here.
    """
    (head_line, head), *rows = _lines(path)
    names = [name.strip() for name in head.split(",")]
    for name in names:
        if name not in UNITS or names.count(name) > 1:
            guess = "".join(f"; did you mean {close!r}?" for close in get_close_matches(name, UNITS, 1))
            problem = f"expected each of {', '.join(UNITS)} at most once, got {name[:40]!r}{guess}"
            raise InputError(path, f"line {head_line}", problem)
    if "time_s" not in names or "capacity_mbps" not in names or not rows:
        problem = "expected at least the columns time_s and capacity_mbps, and rows under them"
        raise InputError(path, f"line {head_line}", problem)
    table = _table(path, rows, names, ",")
    columns = dict(zip(names, table.T, strict=True))
    if columns["capacity_mbps"][-1] <= 0:
        problem = (
            "the last capacity holds for ever and must be above 0, got 0; add a row where the link is back"
        )
        raise InputError(path, f"line {rows[-1][0]}", problem)
    constant = {
        "rtt_ms": unmeasured.rtt_s,
        "loss": unmeasured.loss,
        "cross_streams": unmeasured.cross_streams,
    }
    rest = (columns.get(name, np.full(len(rows), value)) for name, value in constant.items())
    return Trace(columns["time_s"] - columns["time_s"][0], columns["capacity_mbps"], *rest)


def read_mahimahi(path: Path, unmeasured: Unmeasured = UNMEASURED) -> Trace:
    """Read a packet-delivery file: one integer millisecond a line, each an opportunity for 1500 bytes.

    The last line ends the trace. It is cut into equal bins of about 0.1 s, so its mean is exact.

    Source:
        Netravali et al.: Mahimahi: Accurate Record-and-Replay for HTTP. USENIX ATC 2015; mm-link(1).
    """
    lines = _lines(path)
    stamps = [0]
    for line, text in lines:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= stamps[-1]):
            problem = f"expected an integer of at least {stamps[-1]} ms, below 10^9, got {text[:40]!r}"
            raise InputError(path, f"line {line}", f"{problem}; count from the start, sorted")
        stamps.append(int(text))
    if stamps[-1] == 0:
        problem = "expected the last line above 0, for it is the length in ms, got 0"
        raise InputError(path, f"line {lines[-1][0]}", problem)
    bins = max(1, round(stamps[-1] * MS / _BIN_S))
    width_s = stamps[-1] * MS / bins
    starts_s = np.linspace(0.0, stamps[-1] * MS, bins, endpoint=False)
    index = np.maximum(np.array(stamps[1:]) * bins - 1, 0) // stamps[-1]
    opportunities = np.bincount(index, minlength=bins)
    return _measured(path, starts_s, opportunities * np.float64(PACKET_BYTES / width_s), unmeasured)


def read_log(path: Path, unmeasured: Unmeasured = UNMEASURED) -> Trace:
    """Read lines of `seconds Mbit/s`, as FCC and HSDPA traces are kept: the rate since the line before.

    The first line only says when the measurement began. Rows of rate 0 at the end are dropped.

    Source:
        Mao, Netravali, Alizadeh: Neural Adaptive Video Streaming with Pensieve. SIGCOMM 2017 (its simulator).
    """
    lines = _lines(path)
    table = _table(path, lines, ["time_s", "capacity_mbps"], None)
    if len(table) < 2:
        raise InputError(
            path, f"line {lines[0][0]}", "expected at least two lines of seconds and Mbit/s, got one"
        )
    return _measured(path, table[:-1, 0] - table[0, 0], table[1:, 1], unmeasured)


def read_binned(path: Path, unmeasured: Unmeasured = UNMEASURED) -> list[Trace]:
    """Read `trace,t_s,mbps`: several traces, returned in the order of their names; end zeros are dropped."""
    (head_line, head), *rows = _lines(path)
    if head != BINNED or not rows:
        raise InputError(
            path, f"line {head_line}", f"expected the header {BINNED} and rows, got {head[:40]!r}"
        )
    traces: dict[str, list[tuple[int, str]]] = {}
    for line, text in rows:
        name, _, values = text.partition(",")
        traces.setdefault(name, []).append((line, values))
    tables = [_table(path, lines, ["time_s", "capacity_mbps"], ",") for _, lines in sorted(traces.items())]
    return [_measured(path, table[:, 0] - table[0, 0], table[:, 1], unmeasured) for table in tables]


def read_folder(path: Path, unmeasured: Unmeasured = UNMEASURED) -> list[Trace]:
    """Read every trace in a folder, sorted by file name; the first line of a file tells its form.

    Hidden files, pages (`.md`) and folders are passed over; any other file must be a trace.
    """
    found: list[Trace] = []
    for file in sorted(path.iterdir()) if path.is_dir() else []:
        if file.is_dir() or file.name.startswith(".") or file.suffix == ".md":
            continue
        head = _lines(file)[0][1]
        if head == BINNED:
            found += read_binned(file, unmeasured)
        else:
            read = read_csv if "," in head else read_log if len(head.split()) > 1 else read_mahimahi
            found.append(read(file, unmeasured))
    if not found:
        raise InputError(
            path, "", "expected a folder with at least one trace file, found none; see docs/traces.md"
        )
    return found


def _lines(path: Path) -> list[tuple[int, str]]:
    """Lines that are not blank, with their numbers from 1."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(path, "", f"expected a readable trace file: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(path, f"byte {error.start}", "expected text, got binary content") from error
    if not text.strip() or "\0" in text:
        raise InputError(
            path, "", f"expected a trace, got {'binary content' if text.strip() else 'an empty file'}"
        )
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _table(path: Path, lines: list[tuple[int, str]], names: list[str], separator: str | None) -> FloatArray:
    """Values in the units inside, shape (lines, names), with time increasing."""
    rows: list[list[float]] = []
    for line, text in lines:
        texts = text.split(separator)
        if len(texts) != len(names):
            raise InputError(
                path, f"line {line}", f"expected {len(names)} values ({', '.join(names)}), got {len(texts)}"
            )
        row = [_value(path, line, name, text) for name, text in zip(names, texts, strict=True)]
        time = names.index("time_s")
        if rows and row[time] <= rows[-1][time]:
            problem = (
                f"time must increase, got {row[time]} s after {rows[-1][time]} s; sort rows and drop repeats"
            )
            raise InputError(path, f"line {line}", problem)
        rows.append(row)
    return np.array(rows)


def _value(path: Path, line: int, name: str, text: str) -> float:
    try:
        value = float(text) * UNITS[name]
    except ValueError:
        value = math.nan
    if not abs(value) < 1e300:
        problem = "must be a finite number"
    elif value < 0 and name != "time_s":
        problem = "must not be negative"
    elif value == 0 and name == "rtt_ms":
        problem = "must be above 0"
    elif value >= 1 and name == "loss":
        problem = "must be a share in [0, 1) (write 1 % as 0.01)"
    else:
        return value
    raise InputError(
        path, f"line {line}", f"{name} {problem}, got {text.strip()[:40]!r}; drop or mend the line"
    )


def _measured(path: Path, time_s: FloatArray, capacity: FloatArray, rest: Unmeasured) -> Trace:
    """Trace of constant RTT, loss and cross streams, up to the last row with any capacity."""
    alive = np.flatnonzero(capacity > 0)
    if not alive.size:
        raise InputError(path, "", "expected some capacity above 0, got none in a whole trace")
    rows = int(alive[-1]) + 1
    return Trace(time_s[:rows], capacity[:rows], *(np.full(rows, value) for value in rest))
