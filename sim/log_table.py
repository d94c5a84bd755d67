"""A table from outside, as CSV or Parquet: its cells, and for each row the place to name in a refusal."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from sim.errors import InputError
from sim.refusals import suggestion


class LogTable(NamedTuple):
    """Cells of a file as they stand there: text in CSV, values in Parquet; an empty one is an empty text.

    Attributes:
        path: The file.
        places: "line 7" of CSV or "row 6" of Parquet, one a row.
        columns: The cells of each column by its name.
    """

    path: Path
    places: Sequence[str]
    columns: dict[str, list[Any]]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.places)

    def refusal(self, row: int, problem: str) -> InputError:
        """The error that names a row."""
        return InputError(self.path, self.places[row], problem)


def read_table(path: Path, known: Sequence[str]) -> LogTable:
    """Read a file that ends in ``.csv`` (with a header) or ``.parquet``.

    Args:
        path: The file.
        known: Columns that it may have.

    Raises:
        InputError: If the file cannot be read, is torn, has no rows, or has a column twice or one that is not
            known, with the nearest known one.
    """
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise InputError(path, "", "expected a name that ends in .csv or .parquet")
    names, places, rows = readers[path.suffix](path)
    head = "line 1" if path.suffix == ".csv" else ""
    for name in names:
        if name not in known:
            way_out = suggestion(name, known) or f"; known: {', '.join(known)}"
            raise InputError(path, head, f"unknown column {name[:40]!r}{way_out}")
        if names.count(name) > 1:
            raise InputError(path, head, f"column '{name}' stands there twice; keep one of them")
    if not rows:
        raise InputError(path, "", "expected at least one row, got none")
    return LogTable(path, places, {name: [row[n] for row in rows] for n, name in enumerate(names)})


def _read_csv(path: Path) -> tuple[list[str], list[str], list[Sequence[Any]]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror}; name an existing file") from error
    except UnicodeDecodeError as error:
        raise InputError(path, f"byte {error.start}", "expected UTF-8 text; is this CSV?") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] = []
    places: list[str] = []
    rows: list[Sequence[Any]] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not names:
                names = cells
                continue
            if len(cells) != len(names):
                problem = f"expected {len(names)} cells as in the header, got {len(cells)}"
                raise InputError(path, f"line {reader.line_num}", problem)
            places.append(f"line {reader.line_num}")
            rows.append(cells)
    except csv.Error as error:
        raise InputError(path, f"line {reader.line_num}", f"not CSV: {error}") from error
    if not names:
        raise InputError(path, "", "expected a header and rows, got an empty file")
    return names, places, rows


def _read_parquet(path: Path) -> tuple[list[str], list[str], list[Sequence[Any]]]:
    try:
        table = pq.read_table(path)
        columns = [column.to_pylist() for column in table.columns]
    except FileNotFoundError as error:
        problem = "cannot be read: No such file or directory; name an existing file"
        raise InputError(path, "", problem) from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(path, "", f"not Parquet: {' '.join(str(error).split())[:200]}") from error
    rows: list[Sequence[Any]] = [
        tuple("" if cell is None else cell for cell in row) for row in zip(*columns, strict=True)
    ]
    names = [str(name) for name in table.column_names]
    return names, [f"row {number}" for number in range(len(rows))], rows
