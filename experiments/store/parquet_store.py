"""Telemetry as a folder of Parquet files, one folder a table, run and day, and DuckDB to query them."""

import functools
import importlib
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.store.holding import Holding, checked_run
from experiments.store.tables import METADATA, TABLES, VERSION_METADATA, StoreTable, find_table
from sim.errors import InputError
from sim.files import TEMPORARY, write_whole, writing

_NAME: Final = re.compile(r"(\d{8})-[0-9a-f]{8}\.parquet")


class ParquetStore:
    """``<folder>/<table>/run=<run>/day=<day>/<number>-<mark>.parquet``; each file is whole or not there.

    The mark is another in every file, so that no two writers of a run can overwrite each other.

    Args:
        folder: Where the store is, or will be: the first batch makes it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = str(folder)

    def append(self, table: str, run: str, rows: pa.Table) -> int:
        """Write a batch, on the disk when this returns; a file for each of its days.

        Returns:
            How many rows were written.

        Raises:
            ValueError: If the table is unknown or its columns are others.
            InputError: If the file system refuses.
        """
        of = find_table(table)
        fitted, days = of.fit(rows), of.days(rows)
        for day in np.unique(days).tolist():
            here = days == day
            part = fitted if here.all() else fitted.filter(pa.array(here))
            folder = self._run(table, checked_run(run)) / f"day={day}"
            write_whole(folder / self._next(folder), functools.partial(_write, part))
        return len(fitted)

    def query(self, sql: str) -> pa.Table:
        """What a query finds; every table of the store is there under its name, with `run` and `day`.

        Raises:
            InputError: If the query cannot be answered, or a file is torn or of another version.
        """
        duckdb = _duckdb()
        connection = duckdb.connect(":memory:", config={"threads": 1})
        try:
            for table in TABLES.values():
                if re.search(rf"\b{table.name}\b", sql, re.I):
                    self._view(connection, table)
            return connection.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            said = "; ".join(
                line.strip() for line in str(error).split("\n\n")[0].splitlines() if line.strip()
            )
            raise InputError(self.place, "", f"the query cannot be answered: {said}") from error
        finally:
            connection.close()

    def read(self, table: str, run: str | None = None) -> pa.Table:
        """All rows of a table, or those of one run, as `StoreTable.schema` has them."""
        of = find_table(table)
        only = "" if run is None else f" WHERE run = '{checked_run(run)}'"
        found = self.query(f"SELECT * FROM {table}{only}")
        return pa.table([found.column(name) for name in of.schema.names], schema=of.schema)

    def holdings(self) -> list[Holding]:
        """What there is, by table and run."""
        found: dict[tuple[str, str], Holding] = {}
        for table in TABLES.values():
            for path in self._files(table.name):
                run, day = path.parts[-3][len("run=") :], int(path.parts[-2][len("day=") :])
                _check_file(path, table)
                rows = pq.read_metadata(path).num_rows
                old = found.get((table.name, run), Holding(table.name, run, 0, 0, day, day, 0))
                found[table.name, run] = Holding(
                    table.name,
                    run,
                    old.files + 1,
                    old.rows + rows,
                    min(old.first_day, day),
                    max(old.last_day, day),
                    old.size_bytes + path.stat().st_size,
                )
        return list(found.values())

    def runs(self) -> set[str]:
        """Runs that have rows in any table."""
        return {path.name[len("run=") :] for path in self.folder.glob("*/run=*")}

    def drop(self, run: str) -> None:
        """Delete a run from every table."""
        with writing(self.folder):
            for folder in (self._run(table, checked_run(run)) for table in TABLES):
                if folder.exists():
                    shutil.rmtree(folder)

    def check(self) -> Iterator[str]:
        """What is wrong with each file: torn, foreign or of another version; nothing is kept open."""
        for table in TABLES.values():
            for path in self._files(table.name):
                try:
                    _check_file(path, table)
                    pq.read_table(path, partitioning=None, page_checksum_verification=True)
                except (InputError, pa.ArrowException, OSError) as error:
                    yield (
                        str(error)
                        if isinstance(error, InputError)
                        else f"{path}: damaged: {str(error).splitlines()[0]}; take it out of the store"
                    )

    def leftovers(self) -> list[Path]:
        """Files that a writer which died had begun."""
        return sorted(self.folder.glob(f"*/run=*/day=*/{TEMPORARY}*"))

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _run(self, table: str, run: str) -> Path:
        return self.folder / table / f"run={run}"

    def _next(self, folder: Path) -> str:
        """Name of the next file in a folder: they are read in the order in which they were written."""
        numbers = [
            int(found[1]) for path in folder.glob("*.parquet") if (found := _NAME.fullmatch(path.name))
        ]
        return f"{max(numbers, default=-1) + 1:08d}-{secrets.token_hex(4)}.parquet"

    def _files(self, table: str) -> list[Path]:
        return sorted(
            path for path in (self.folder / table).glob("run=*/day=*/*.parquet") if _NAME.fullmatch(path.name)
        )

    def _view(self, connection: Any, table: StoreTable) -> None:
        files = self._files(table.name)
        if not files:
            connection.register(table.name, table.schema.empty_table())
            return
        for path in files:
            _check_file(path, table)
        columns = ", ".join(f'"{name}"' for name in table.schema.names)
        paths = ", ".join("'" + str(path).replace("'", "''") + "'" for path in files)
        options = "hive_partitioning = true, hive_types = {'run': VARCHAR, 'day': BIGINT}"
        connection.execute(
            f"CREATE VIEW {table.name} AS SELECT {columns} FROM read_parquet([{paths}], {options})"
        )


def _duckdb() -> Any:
    """The database, or what to install; only queries need it, writing does not."""
    try:
        return importlib.import_module("duckdb")
    except ImportError as error:
        raise InputError("query", "", "needs DuckDB; pip install 'dwcp-gym[store]'") from error


def _write(rows: pa.Table, stream: Any) -> None:
    words = [field.name for field in rows.schema if field.type == pa.string()]
    pq.write_table(
        rows, stream, compression="zstd", compression_level=1, use_dictionary=words, write_page_checksum=True
    )


def _check_file(path: Path, table: StoreTable) -> None:
    """Refuse a file that is not of this table and version."""
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            path, "", f"is torn or no Parquet file: {error}; move it out of the store"
        ) from error
    metadata = schema.metadata or {}
    version = metadata.get(VERSION_METADATA, b"none").decode()
    if metadata.get(METADATA, b"").decode() != table.name or version != str(table.version):
        got = f"{metadata.get(METADATA, b'no table').decode()}, version {version}"
        way_out = "read it with the version that wrote it, or write the run anew"
        raise InputError(path, "", f"expected {table.name}, version {table.version}, got {got}; {way_out}")
    if not schema.equals(table.stored):
        odd = sorted(set(map(str, schema)) ^ set(map(str, table.stored)))
        raise InputError(path, "", f"its columns are not those of {table.name}: {', '.join(odd)}")
