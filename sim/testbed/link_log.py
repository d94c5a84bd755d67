"""What came of transfers, read from a telemetry log: when they ran, how long, how they were encoded."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.codecs import (
    STACK_CPU_S_PER_BYTE,
    STREAM_CPU_S,
    Codec,
    decode_rate,
    delta_decode_rate,
    delta_encode_rate,
    encode_rate,
    parse_codec,
)
from sim.errors import InputError
from sim.log_columns import COLUMNS, OUTCOMES, understand
from sim.log_table import LogTable, read_table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST: Final = 40
"""Transfers that a link is fitted to: fewer cannot tell six parameters apart."""
_DELTA_RATIO3: Final = 4.0
"""zstd-3 ratio assumed of content that was sent as a delta, for the speed of its coder alone."""


class LoggedTransfers(NamedTuple):
    """Transfers in the order in which they started, from the first start on.

    Attributes:
        start_s: When each got its slot.
        seconds: From then until it was decoded.
        size_bytes: Raw sizes.
        ratio: Raw bytes over bytes on the wire.
        streams: TCP connections.
        encode_s: CPU seconds a raw byte at the sender.
        decode_s: The same at the receiver.
        kind: Place in `sim.payloads.CLASS_NAMES`, -1 where the log does not say.
    """

    start_s: Floats
    seconds: Floats
    size_bytes: Floats
    ratio: Floats
    streams: Ints
    encode_s: Floats
    decode_s: Floats
    kind: Ints

    def part(self, chosen: Any) -> "LoggedTransfers":
        """Some of the transfers, by a mask or a slice."""
        return LoggedTransfers(*(values[chosen] for values in self))


def read_link_log(path: Path, paths: Sequence[str], number: int) -> LoggedTransfers:
    """The transfers of one path of a log.

    Args:
        path: Transfers as `sim.telemetry_file` writes them, or a log of one's own with the same columns, as
            ``.csv`` or ``.parquet``: `size_bytes`, `arrival_s` (or `timestamp`) and `end_s` at least;
            `start_s`, `codec`, `wire_bytes`, `streams` and `cpu_s` where known.
        paths: Names of the paths of the scenario.
        number: Which path.

    Raises:
        InputError: If a column is missing, a cell cannot be used, or the path has too few transfers.
    """
    table = read_table(path, [*(column.name for column in COLUMNS), *OUTCOMES])
    logged = understand(table, paths)
    order = _order(table)
    missing = [name for name in ("end_s", "codec") if name not in table.columns]
    if missing:
        problem = f"expected the columns end_s and codec besides, missing: {', '.join(missing)}"
        raise InputError(path, "", f"{problem}; telemetry as `docs/telemetry.md` has it holds them")
    codecs = _codecs(table)
    end_s = _outcome(table, "end_s", np.full(len(table), np.nan))
    arrival_s = np.empty(len(table))
    arrival_s[order] = logged.arrival_s
    start_s = _outcome(table, "start_s", arrival_s)
    for row in np.flatnonzero(~(end_s > start_s)).tolist():
        raise table.refusal(row, f"end_s must be after the start at {start_s[row]:g} s, got {end_s[row]:g}")
    size = np.empty(len(table))
    size[order] = logged.size_bytes
    ratio3, kind, place = np.empty(len(table)), np.empty(len(table), np.int64), np.empty(len(table), np.int64)
    ratio3[order], kind[order], place[order] = logged.ratio, logged.kind, logged.path
    ratio = size / _outcome(table, "wire_bytes", size / _ratios(codecs, ratio3))
    streams = _outcome(table, "streams", np.array([float(codec.streams) for codec in codecs]))
    encode_s, decode_s = _coder_s(table, codecs, size, ratio, streams)
    found = LoggedTransfers(
        start_s, end_s - start_s, size, ratio, streams.astype(np.int64), encode_s, decode_s, kind
    )
    chosen = np.flatnonzero((place == number) | (place < 0))
    chosen = chosen[np.argsort(start_s[chosen], kind="stable")]
    if len(chosen) < FEWEST:
        problem = f"expected at least {FEWEST} transfers on path '{paths[number]}', got {len(chosen)}"
        raise InputError(path, "", f"{problem}; log for longer, or name another --path")
    found = found.part(chosen)
    return found._replace(start_s=found.start_s - found.start_s[0])


def _order(table: LogTable) -> Ints:
    """Rows by arrival, as `understand` has put them."""
    if "arrival_s" in table.columns:
        return np.argsort([float(cell) for cell in table.columns["arrival_s"]], kind="stable")
    cells = table.columns["timestamp"]
    moments = [cell if isinstance(cell, datetime) else datetime.fromisoformat(cell) for cell in cells]
    return np.array(sorted(range(len(moments)), key=moments.__getitem__), dtype=np.int64)


def _codecs(table: LogTable) -> list[Codec]:
    codecs = []
    for row, cell in enumerate(table.columns["codec"]):
        try:
            codecs.append(parse_codec(str(cell)))
        except ValueError as error:
            raise table.refusal(row, str(error)) from error
    return codecs


def _outcome(table: LogTable, name: str, otherwise: Floats) -> Floats:
    """Figures above 0 of a column; where it is missing or a cell is empty, what holds otherwise."""
    values = otherwise.copy()
    for row, cell in enumerate(table.columns.get(name, ())):
        if cell == "":
            continue
        try:
            values[row] = float(cell)
        except (TypeError, ValueError):
            values[row] = np.nan
        if not 0 <= values[row] < np.inf or (values[row] == 0 and name != "start_s"):
            problem = f"{name} must be a finite number above 0, got {cell!r}; leave the cell empty if unknown"
            raise table.refusal(row, problem)
    return values


def _ratios(codecs: Sequence[Codec], ratio3: Floats) -> Floats:
    """Ratio where the wire was not logged: the logged zstd-3 ratio, and 1 for what is not compressed."""
    compresses = np.array([codec.method != "none" for codec in codecs])
    return np.where(compresses & ~np.isnan(ratio3), ratio3, 1.0)


def _coder_s(
    table: LogTable, codecs: Sequence[Codec], size: Floats, ratio: Floats, streams: Floats
) -> tuple[Floats, Floats]:
    """CPU seconds a raw byte at both ends: by the fitted laws, brought to the logged CPU time, if any."""
    deltas = [str(cell).lower() == "true" for cell in table.columns.get("is_delta", [False] * len(table))]
    encode, decode = np.empty(len(size)), np.empty(len(size))
    for row, (codec, is_delta) in enumerate(zip(codecs, deltas, strict=True)):
        if is_delta:
            changed = min(1.0, _DELTA_RATIO3 / ratio[row])
            encode[row], decode[row] = delta_encode_rate(changed), delta_decode_rate(changed)
        else:
            encode[row] = encode_rate(max(ratio[row], 1.0), codec.method, size[row])
            decode[row] = decode_rate(max(ratio[row], 1.0), codec.method, size[row])
    encode_s, decode_s = 1 / encode + STACK_CPU_S_PER_BYTE / ratio, 1 / decode + STACK_CPU_S_PER_BYTE / ratio
    by_law = size * (encode_s + decode_s)
    logged = _outcome(table, "cpu_s", by_law + 2 * STREAM_CPU_S * streams) - 2 * STREAM_CPU_S * streams
    factor = np.where(logged > 0, logged / by_law, 1.0)
    return encode_s * factor, decode_s * factor
