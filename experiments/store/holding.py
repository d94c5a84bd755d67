"""What a store holds of one table and run, and what every store can do."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa


class Holding(NamedTuple):
    """Rows of one table and run.

    Attributes:
        table: Name of the table.
        run: What the rows were written under.
        files: Files, or parts, that hold them.
        rows: How many.
        first_day: Earliest day among them.
        last_day: Latest day among them.
        size_bytes: Room that they take on the disk.
    """

    table: str
    run: str
    files: int
    rows: int
    first_day: int
    last_day: int
    size_bytes: int


def checked_run(run: str) -> str:
    """The name of a run, which is a folder in one store and a word in a query of another.

    Raises:
        ValueError: If it holds anything but letters, digits, dots, dashes and underscores.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", run):
        raise ValueError(
            f"a run must be named in letters, digits, '.', '-' and '_', got {run!r}; such as wan-1"
        )
    return run


class Store(Protocol):
    """A place for telemetry: the same tables, and the same queries, wherever it is."""

    place: str

    def append(self, table: str, run: str, rows: pa.Table) -> int:
        """Keep a batch for good; returns its rows."""

    def query(self, sql: str) -> pa.Table:
        """What a query finds."""

    def read(self, table: str, run: str | None = None) -> pa.Table:
        """All rows of a table, or those of one run."""

    def holdings(self) -> list[Holding]:
        """What there is, by table and run."""

    def runs(self) -> set[str]:
        """Runs that have rows."""

    def drop(self, run: str) -> None:
        """Delete a run from every table."""

    def check(self) -> Iterator[str]:
        """What is wrong, one line each."""

    def leftovers(self) -> list[Path]:
        """Files that a writer which died had begun."""

    def close(self) -> None:
        """Let go of what is open."""
