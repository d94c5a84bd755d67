"""Telemetry in ClickHouse: a server over HTTP, or the embedded build; tables and queries as in files."""

import base64
import importlib
import io
import os
import re
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from experiments.store.dialect import for_clickhouse
from experiments.store.holding import Holding, checked_run
from experiments.store.tables import KEYS, TABLES, StoreTable, find_table
from sim.errors import InputError

PASSWORD: Final = "CLICKHOUSE_PASSWORD"
"""Variable of the environment that holds the password; one in a URL would stand in the shell's history."""
_TIMEOUT_S: Final = 120.0
_TYPES: Final = {"string": "String", "int64": "Int64", "double": "Float64", "bool": "UInt8"}
_ARROW: Final = {
    "Float64": pa.float64(),
    "Float32": pa.float64(),
    "Int64": pa.int64(),
    "Int32": pa.int64(),
    "UInt64": pa.int64(),
    "UInt32": pa.int64(),
    "UInt16": pa.int64(),
    "UInt8": pa.int64(),
    "Bool": pa.bool_(),
}
_AT_ONCE: Final = 100_000
"""Rows of one insert: the server takes fewer than a million as one block, whole or not at all."""


class Transport(Protocol):
    """A way to a ClickHouse."""

    def __call__(self, sql: str) -> bytes:
        """Send a statement; what it answers."""

    def insert(self, table: str, rows: pa.Table) -> None:
        """Insert rows, in the order of the table's columns, as one block."""

    def close(self) -> None:
        """Let go."""


class HttpTransport:
    """A server's HTTP interface.

    Args:
        url: ``http://user@host:8123/database``; user and database may be left out.
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self.place = f"{parts.scheme}://{parts.hostname}:{parts.port or 8123}"
        self.database = parts.path.strip("/") or "default"
        user, password = parts.username or "default", parts.password or os.environ.get(PASSWORD, "")
        self._token = base64.b64encode(f"{user}:{password}".encode()).decode()

    def __call__(self, sql: str) -> bytes:
        """Send a statement; what it answers."""
        return self._post({}, sql.encode())

    def insert(self, table: str, rows: pa.Table) -> None:
        """Insert rows as CSV, which servers of every age read."""
        lines = io.BytesIO()
        pa_csv.write_csv(rows, lines, pa_csv.WriteOptions(include_header=False))
        self._post({"query": f"INSERT INTO {table} FORMAT CSV"}, lines.getvalue())

    def _post(self, asked: dict[str, str], body: bytes) -> bytes:
        asked = {"database": self.database} | asked
        request = urllib.request.Request(
            f"{self.place}/?{urllib.parse.urlencode(asked)}",
            data=body,
            headers={"Authorization": f"Basic {self._token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace").strip().splitlines() or [str(error)]
            raise InputError(self.place, "", f"ClickHouse refused: {said[0][:300]}") from error
        except (urllib.error.URLError, OSError) as error:
            why = getattr(error, "reason", error)
            problem = f"no ClickHouse answers: {why}; start it, or name a folder for Parquet files"
            raise InputError(self.place, "", problem) from error

    def close(self) -> None:
        """Each statement is a connection of its own."""


class EmbeddedTransport:
    """The embedded build, which keeps its tables in a folder.

    Raises:
        InputError: If it is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            session = importlib.import_module("chdb.session")
        except ImportError as error:
            problem = "needs chdb; pip install 'dwcp-gym[clickhouse]', or name a folder for Parquet files"
            raise InputError(folder, "", problem) from error
        self.place = f"chdb:{folder}"
        folder.mkdir(parents=True, exist_ok=True)
        self._session: Any = session.Session(str(folder))
        self._session.query("CREATE DATABASE IF NOT EXISTS telemetry ENGINE = Atomic")
        self._session.query("USE telemetry")

    def __call__(self, sql: str) -> bytes:
        """Send a statement; what it answers."""
        try:
            answer = self._session.query(sql, "TSVWithNamesAndTypes")
        except (
            Exception
        ) as error:  # the library raises RuntimeError and its own kinds for a refused statement
            raise InputError(
                self.place, "", f"ClickHouse refused: {str(error).splitlines()[0][:300]}"
            ) from error
        return bytes(answer.bytes() or b"") if answer is not None else b""

    def insert(self, table: str, rows: pa.Table) -> None:
        """Insert rows by way of a Parquet file, which takes a tenth of the time of text."""
        with tempfile.TemporaryDirectory() as passing:
            path = Path(passing) / "rows.parquet"
            pq.write_table(rows, path, compression="none")
            self(f"INSERT INTO {table} SELECT * FROM file('{path}', Parquet)")

    def close(self) -> None:
        """Close the session: a process can have only one."""
        self._session.close()


class ClickHouseStore:
    """Tables of MergeTree, a partition a run; made when first written to.

    Args:
        transport: The way to the ClickHouse.
        place: What people call it.
    """

    def __init__(self, transport: Transport, place: str) -> None:
        self.place = place
        self._send = transport
        self._send("CREATE TABLE IF NOT EXISTS schema_versions (name String, version Int64) ENGINE = Log")
        self._known: set[str] = set()

    def append(self, table: str, run: str, rows: pa.Table) -> int:
        """Insert a batch; it is there when this returns."""
        of = find_table(table)
        days, fitted = of.days(rows), of.fit(rows)
        self._make(of)
        keys = [pa.array([checked_run(run)] * len(fitted)), pa.array(days)]
        whole = pa.table([*keys, *fitted.columns], names=of.schema.names)
        for place, field in enumerate(whole.schema):
            if field.type == pa.bool_():
                whole = whole.set_column(place, field.name, whole.column(place).cast(pa.int8()))
        for start in range(0, len(whole), _AT_ONCE):
            self._send.insert(table, whole.slice(start, _AT_ONCE))
        return len(fitted)

    def query(self, sql: str) -> pa.Table:
        """What a query finds."""
        for table in TABLES.values():
            if re.search(rf"\b{table.name}\b", sql, re.I):
                self._make(table)
        return _parsed(self._send(f"{for_clickhouse(sql)} FORMAT TSVWithNamesAndTypes"))

    def read(self, table: str, run: str | None = None) -> pa.Table:
        """All rows of a table, or those of one run, as `StoreTable.schema` has them."""
        schema = find_table(table).schema
        only = "" if run is None else f" WHERE run = '{checked_run(run)}'"
        found = self.query(f"SELECT {', '.join(schema.names)} FROM {table}{only}")
        columns = [found.column(field.name).cast(field.type) for field in schema]
        return pa.table(columns, schema=schema)

    def holdings(self) -> list[Holding]:
        """What there is, by table and run."""
        found = []
        for name in TABLES:
            if not self._exists(name):
                continue
            rows = self.query(
                f"SELECT run, count() AS n, min(day) AS a, max(day) AS b FROM {name} GROUP BY run"
            )
            parts = self.query(
                "SELECT partition, count() AS n, sum(bytes_on_disk) AS size FROM system.parts "
                f"WHERE active AND table = '{name}' AND database = currentDatabase() GROUP BY partition"
            ).to_pylist()
            by_run = {part["partition"].strip("'"): (int(part["n"]), int(part["size"])) for part in parts}
            for row in rows.to_pylist():
                files, size = by_run.get(row["run"], (0, 0))
                found.append(Holding(name, row["run"], files, int(row["n"]), row["a"], row["b"], size))
        return found

    def runs(self) -> set[str]:
        """Runs that have rows in any table."""
        return {holding.run for holding in self.holdings()}

    def drop(self, run: str) -> None:
        """Delete a run from every table."""
        for name in TABLES:
            if self._exists(name):
                self._send(f"ALTER TABLE {name} DROP PARTITION '{checked_run(run)}'")

    def check(self) -> Iterator[str]:
        """Tables that are of another version."""
        for table in TABLES.values():
            if self._exists(table.name):
                try:
                    self._make(table)
                except InputError as error:
                    yield str(error)

    def leftovers(self) -> list[Path]:
        """None: an insert is whole or not there."""
        return []

    def close(self) -> None:
        """Let go of the ClickHouse."""
        self._send.close()

    def _exists(self, name: str) -> bool:
        return self._send(f"EXISTS TABLE {name} FORMAT TSV").strip()[-1:] == b"1"

    def _make(self, table: StoreTable) -> None:
        """Make a table, or refuse one of another version."""
        if table.name in self._known:
            return
        version = f"SELECT max(version) AS v FROM schema_versions WHERE name = '{table.name}'"
        if not self._exists(table.name):
            columns = ", ".join(f"{column.name} {_TYPES[column.type]}" for column in (*KEYS, *table.columns))
            made = f"CREATE TABLE {table.name} ({columns}) ENGINE = MergeTree() "
            self._send(f"{made}PARTITION BY run ORDER BY (run, day, {table.time})")
            self._send(f"INSERT INTO schema_versions VALUES ('{table.name}', {table.version})")
        found = _parsed(self._send(f"{version} FORMAT TSVWithNamesAndTypes")).column("v")[0].as_py()
        if found != table.version:
            way_out = "use another database, or write the runs anew"
            problem = f"expected {table.name}, version {table.version}, got version {found}; {way_out}"
            raise InputError(self.place, table.name, problem)
        self._known.add(table.name)


def _parsed(answer: bytes) -> pa.Table:
    """An answer with names and types in its first two lines, as a table."""
    if not answer.strip():
        return pa.table({})
    names_line, types_line, rest = answer.split(b"\n", 2)
    names = names_line.decode().split("\t")
    said = [_bare(kind) for kind in types_line.decode().split("\t")]
    types = {name: _ARROW.get(kind, pa.string()) for name, kind in zip(names, said, strict=True)}
    if not rest:
        return pa.table({name: pa.array([], kind) for name, kind in types.items()})
    return pa_csv.read_csv(
        io.BytesIO(rest),
        read_options=pa_csv.ReadOptions(column_names=names),
        parse_options=pa_csv.ParseOptions(delimiter="\t", quote_char=False, escape_char="\\"),
        convert_options=pa_csv.ConvertOptions(
            column_types=types, null_values=["\\N"], strings_can_be_null=False
        ),
    )


def _bare(kind: str) -> str:
    """A type without what stands around it."""
    found = re.fullmatch(r"(?:Nullable|LowCardinality)\((.*)\)", kind)
    return _bare(found[1]) if found else kind
