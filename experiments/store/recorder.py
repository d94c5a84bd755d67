"""Rows on their way into a store: gathered into batches, written whole, missed aloud when a writer dies."""

import json
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import pyarrow as pa

from experiments.store.holding import Store, checked_run
from experiments.store.parquet_store import ParquetStore
from experiments.store.tables import find_table
from sim.files import TEMPORARY, writing

if os.name == "posix":
    import fcntl

BATCH_ROWS: Final = 100_000
"""Rows of a table that are kept in memory until they are written together."""
MARKERS: Final = "_writers"
_LOG: Final = logging.getLogger(__name__)


class Recorder:
    """Gathers rows of one run and writes them in batches; use it as a context manager.

    What was written is on the disk; of each table at most the last ``batch_rows`` rows are not yet. A writer
    into files leaves a marker while it is at work: who opens the store next finds the marker of one that
    died, and says in the log what may be missing.

    Args:
        store: Where to.
        run: Name that the rows are kept under.
        batch_rows: Rows of a batch, at least 1.
    """

    def __init__(self, store: Store, run: str, batch_rows: int = BATCH_ROWS) -> None:
        if batch_rows < 1:
            raise ValueError(f"batch_rows must be at least 1, got {batch_rows}")
        self.run = checked_run(run)
        self.written: dict[str, int] = {}
        self._store = store
        self._batch_rows = batch_rows
        self._waiting: dict[str, list[pa.Table]] = {}
        self._marker: IO[str] | None = None

    def __enter__(self) -> Self:
        if isinstance(self._store, ParquetStore):
            mend(self._store)
            self._marker = _mark(self._store.folder, self.run, self._batch_rows)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
        if self._marker is not None:
            Path(self._marker.name).unlink(missing_ok=True)
            self._marker.close()

    def add(self, table: str, rows: pa.Table) -> None:
        """Take rows of a table; full batches are written at once.

        Raises:
            ValueError: If the table is unknown or its columns are others.
        """
        days = find_table(table).keyed(rows)
        parts = self._waiting.setdefault(table, [])
        parts.append(days)
        if sum(len(part) for part in parts) < self._batch_rows:
            return
        whole = pa.concat_tables(parts)
        full = len(whole) - len(whole) % self._batch_rows
        for start in range(0, full, self._batch_rows):
            self._write(table, whole.slice(start, self._batch_rows))
        self._waiting[table] = [whole.slice(full)] if full < len(whole) else []

    def flush(self) -> None:
        """Write what waits."""
        for table, parts in self._waiting.items():
            if parts:
                self._write(table, pa.concat_tables(parts))
        self._waiting.clear()

    def _write(self, table: str, rows: pa.Table) -> None:
        count = self._store.append(table, self.run, rows)
        self.written[table] = self.written.get(table, 0) + count


def mend(store: ParquetStore) -> list[str]:
    """Say what writers that died have lost, and clear away what they had begun.

    Returns:
        A line for each such writer, which is also in the log.
    """
    said = []
    for marker in sorted((store.folder / MARKERS).glob("*.json")):
        with marker.open("a+", encoding="utf-8") as stream:
            if not _grasp(stream):
                continue  # it is at work
            stream.seek(0)
            try:
                told = json.loads(stream.read())
                run, process, most = str(told["run"]), int(told["process"]), int(told["batch_rows"])
            except (ValueError, LookupError, TypeError):
                run, process, most = marker.stem, -1, BATCH_ROWS
            begun = [path for path in store.leftovers() if path.name.startswith(f"{TEMPORARY}{process}-")]
            for path in begun:
                path.unlink(missing_ok=True)
            there = sum(holding.rows for holding in store.holdings() if holding.run == run)
            said.append(
                f"{store.place}: the writer of run {run} (process {process}) died; its last batch is lost, "
                f"at most {most} rows of each table, {len(begun)} of its files half written; "
                f"the {there} rows before are whole"
            )
            _LOG.warning(said[-1])
            marker.unlink(missing_ok=True)
    return said


def _mark(folder: Path, run: str, batch_rows: int) -> IO[str]:
    """A file that is locked for as long as this process writes."""
    path = folder / MARKERS / f"{run}-{os.getpid()}.json"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8")
        _grasp(stream)
        stream.truncate(0)
        stream.write(json.dumps({"run": run, "process": os.getpid(), "batch_rows": batch_rows}) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    return stream


def _grasp(stream: IO[str]) -> bool:
    """Take the lock of a marker, if its writer is gone."""
    if os.name != "posix":
        return False
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
