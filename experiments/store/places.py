"""Where a store is, in one setting: a folder, a ClickHouse server, or a folder of the embedded build."""

from pathlib import Path
from typing import Final

from experiments.store.clickhouse import ClickHouseStore, EmbeddedTransport, HttpTransport
from experiments.store.holding import Store
from experiments.store.parquet_store import ParquetStore

EMBEDDED: Final = "chdb:"


def open_store(place: str) -> Store:
    """The store at a place: ``http://host:8123/database``, ``chdb:folder``, or a folder of Parquet files.

    Raises:
        InputError: If no server answers, or what the place needs is not installed.

    >>> open_store("results/telemetry").place
    'results/telemetry'
    """
    if place.startswith(("http://", "https://")):
        transport = HttpTransport(place)
        return ClickHouseStore(transport, f"{transport.place}/{transport.database}")
    if place.startswith(EMBEDDED):
        return ClickHouseStore(EmbeddedTransport(Path(place[len(EMBEDDED) :])), place)
    return ParquetStore(Path(place))
