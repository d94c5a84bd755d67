"""The tables of the store: what the simulator writes, by name, with run and day in front."""

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sim import telemetry_file
from sim.monitoring import schema as monitoring
from sim.telemetry_file import Column, arrow_schema
from sim.units import DAY

KEYS: Final = (
    Column("run", "string", "", "what the rows were written under"),
    Column("day", "int64", "", "day, from 0, 24 h each from the start"),
)
"""What the store puts in front of every row."""
METADATA: Final = b"dwcp-gym telemetry"
VERSION_METADATA: Final = b"dwcp-gym telemetry version"


class StoreTable(NamedTuple):
    """One table of the store.

    Attributes:
        name: As in queries.
        about: What a row is.
        time: Column that says when; its day is where a row is kept.
        version: Of its schema.
        columns: All but `KEYS`.
    """

    name: str
    about: str
    time: str
    version: int
    columns: tuple[Column, ...]

    @property
    def stored(self) -> pa.Schema:
        """Columns as a file of the store holds them: all but `KEYS`, which its folder says."""
        return arrow_schema(self.name, self.columns, self.version)

    @property
    def schema(self) -> pa.Schema:
        """Columns as a query sees them."""
        return arrow_schema(self.name, (*KEYS, *self.columns), self.version)

    def fit(self, rows: pa.Table) -> pa.Table:
        """Rows with exactly the stored columns, in their order and types.

        Raises:
            ValueError: If a column is missing, unknown, of another type, or has nulls.
        """
        stored = self.stored
        names = set(rows.schema.names) - {column.name for column in KEYS}
        if names != set(stored.names):
            missing, odd = sorted(set(stored.names) - names), sorted(names - set(stored.names))
            said = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(odd)}"] * bool(odd)
            expected = f"{self.name}, version {self.version}, has {len(stored)} columns"
            raise ValueError(f"{expected}; the table given {' and '.join(said)}")
        arrays = []
        for field in stored:
            column = rows.column(field.name)
            if column.null_count:
                raise ValueError(f"{self.name}.{field.name} must not be null, got {column.null_count} nulls")
            try:
                arrays.append(column if column.type == field.type else column.cast(field.type))
            except pa.ArrowInvalid as error:
                raise ValueError(
                    f"{self.name}.{field.name} must be {field.type}, got {column.type}"
                ) from error
        return pa.table(arrays, schema=stored)

    def days(self, rows: pa.Table) -> NDArray[np.int64]:
        """Day of each row: as it says itself, else by when it was."""
        if "day" in rows.schema.names:
            return np.asarray(rows.column("day").to_numpy(), np.int64)
        return np.floor(rows.column(self.time).to_numpy() / DAY).astype(np.int64)

    def keyed(self, rows: pa.Table) -> pa.Table:
        """Rows with exactly the stored columns, and the day in front.

        Raises:
            ValueError: As `fit`.
        """
        fitted = self.fit(rows)
        return fitted.add_column(0, pa.field("day", pa.int64(), nullable=False), pa.array(self.days(rows)))


def _monitored(table: monitoring.Table, time: str) -> StoreTable:
    columns = tuple(column for column in table.columns if column.name != "day")
    return StoreTable(table.name, table.about, time, monitoring.VERSION, columns)


TABLES: Final = {
    table.name: table
    for table in (
        StoreTable(
            "transfers", "one transfer", "arrival_s", telemetry_file.VERSION, telemetry_file.TRANSFERS
        ),
        StoreTable(
            "probes", "one measurement and path", "time_s", telemetry_file.VERSION, telemetry_file.PROBES
        ),
        StoreTable(
            "decisions", "one codec question", "now_s", telemetry_file.VERSION, telemetry_file.DECISIONS
        ),
        _monitored(monitoring.LINK_METRICS, "time_s"),
        _monitored(monitoring.HOST_METRICS, "time_s"),
        _monitored(monitoring.NODE_METRICS, "time_s"),
        _monitored(monitoring.INCIDENTS, "start_s"),
        _monitored(monitoring.CONSENSUS_ROUNDS, "time_s"),
    )
}
"""All tables by name."""


def find_table(name: str) -> StoreTable:
    """The table of that name.

    Raises:
        ValueError: If there is none.
    """
    if name not in TABLES:
        raise ValueError(f"unknown table '{name}'; there are {', '.join(TABLES)}")
    return TABLES[name]
