"""``dwcp-gym telemetry``: write into a store, ask it, look whether it is whole."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from sim.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from experiments.store.holding import Store

app = typer.Typer(
    help="The telemetry store: Parquet files with DuckDB over them, or ClickHouse.", no_args_is_help=True
)
console = Console()

Place = Annotated[
    str, typer.Argument(help="Folder of Parquet files; http://host:8123/database; or chdb:folder.")
]
Run = Annotated[str | None, typer.Option("--run", help="Name that the rows are kept under.")]
BatchRows = Annotated[int, typer.Option(min=1, help="Rows of a table that are written together.")]
_SHOWN: Final = 40


@app.command()
def write(
    place: Place,
    scenario: Annotated[str, typer.Argument(help="Name of a scenario, or a YAML file of one's own.")],
    run: Run = None,
    days: Annotated[
        float, typer.Option(min=0.01, help="Days that links, nodes and groups are watched.")
    ] = 1.0,
    sites: Annotated[int, typer.Option(min=1, help="Sending sites, each with every path.")] = 4,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes.")] = 20,
    groups: Annotated[int, typer.Option(min=1, help="Consensus groups.")] = 3,
    episodes: Annotated[int, typer.Option(min=0, help="Episodes of transfers to play.")] = 1,
    codec: Annotated[str, typer.Option(help="Codec of these transfers.")] = "zstd",
    seed: Annotated[int, typer.Option(min=0, help="Seed of all chance; of the first episode, too.")] = 1,
    replace: Annotated[bool, typer.Option("--replace", help="Delete what the run holds already.")] = False,
    batch_rows: BatchRows = 100_000,
) -> None:
    """Watch a scenario for days and play transfers in it, and keep all of that as one run."""
    from experiments.store.recorder import Recorder
    from experiments.store.recording import record_estate, record_played
    from sim.codecs import CODECS
    from sim.monitoring.estate import Estate
    from sim.scenario_file import resolve
    from sim.units import DAY

    if codec not in CODECS:
        raise InputError("command line", "--codec", f"expected one of {', '.join(CODECS)}, got {codec!r}")
    chosen = resolve(scenario)
    estate = Estate(chosen, sites=sites, nodes=nodes, groups=groups)
    name = run or f"{chosen.name}-{seed}"
    with _opened(place) as store:
        _clear(store, _named(name), replace)
        try:
            with Recorder(store, name, batch_rows) as recorder:
                record_estate(recorder, estate, seed, days * DAY)
                for number in range(episodes):
                    record_played(recorder, chosen, seed + number, codec)
        except BaseException:
            store.drop(name)  # half a run would be taken for a whole one; the seed gives it again
            raise
    _say_written(store, name, recorder.written)


@app.command(name="import")
def import_files(
    place: Place,
    files: Annotated[list[Path], typer.Argument(help="Parquet or CSV files, of one table each.")],
    run: Run = None,
    table: Annotated[
        str | None, typer.Option(help="The table; a Parquet file of ours says it itself.")
    ] = None,
    batch_rows: BatchRows = 100_000,
) -> None:
    """Take in files of telemetry: those that the simulator writes, or one's own with the same columns."""
    from experiments.store.recorder import Recorder
    from experiments.store.recording import record_files

    name = run or files[0].stem
    with _opened(place) as store, Recorder(store, _named(name), batch_rows) as recorder:
        record_files(recorder, files, table)
    _say_written(store, name, recorder.written)


@app.command()
def query(
    place: Place,
    sql: Annotated[str | None, typer.Argument(help="A query, e.g. 'SELECT count(*) FROM probes'.")] = None,
    named: Annotated[str | None, typer.Option(help="One of the queries that are there by name.")] = None,
    out: Annotated[Path | None, typer.Option(help="A .csv or .parquet file for all rows.")] = None,
) -> None:
    """Put a query to a store; without one, list the tables and the queries that are there by name."""
    from experiments.store.dialect import reads_only
    from experiments.store.questions import QUERIES

    if sql is None and named is None:
        _list_tables()
        return
    if named is not None and named not in QUERIES:
        raise InputError("command line", "--named", f"expected one of {', '.join(QUERIES)}, got {named!r}")
    asked = QUERIES[named].sql if named is not None else str(sql)
    if not reads_only(asked):
        raise InputError("command line", "SQL", "expected one statement that reads, such as SELECT or WITH")
    _existing(place)
    with _opened(place) as store:
        found = store.query(asked)
    if out is not None:
        _save(found, out)
        console.print(f"{'rows':<12} {len(found)} in {out}", markup=False, highlight=False, soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False)
    for field in found.schema:
        table.add_column(field.name, justify="left" if str(field.type) in ("string", "bool") else "right")
    for row in found.slice(0, _SHOWN).to_pylist():
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)
    if len(found) > _SHOWN:
        console.print(f"... {len(found) - _SHOWN} more rows; --out FILE writes all", highlight=False)


@app.command()
def check(place: Place) -> None:
    """List what a store holds; read every file to its end; say what writers that died have lost."""
    from experiments.store.parquet_store import ParquetStore
    from experiments.store.recorder import mend

    _existing(place)
    with _opened(place) as store:
        lost = mend(store) if isinstance(store, ParquetStore) else []
        problems = list(store.check())
        holdings = [] if problems else store.holdings()
    table = Table(box=None, pad_edge=False)
    for title in ("run", "table", "rows", "files", "days", "MB", "bytes a row"):
        table.add_column(title, justify="left" if title in ("run", "table") else "right")
    for one in sorted(holdings, key=lambda held: (held.run, held.table)):
        days = f"{one.first_day} to {one.last_day}"
        size = f"{one.size_bytes / 1e6:.1f}", f"{one.size_bytes / max(one.rows, 1):.1f}"
        table.add_row(one.run, one.table, str(one.rows), str(one.files), days, *size)
    console.print(table)
    for line in lost:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if problems:
        raise InputError("", "", "\n".join(problems))
    console.print(f"{'whole':<12} {place}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def bench(
    place: Place,
    rows: Annotated[int, typer.Option(min=1000, help="Rows of node_metrics to write.")] = 1_000_000,
    batch_rows: BatchRows = 100_000,
) -> None:
    """Measure how many rows a second a store takes, each batch on the disk; they are deleted again."""
    from experiments.store.recording import write_rate

    with _opened(place) as store:
        found = write_rate(store, rows, batch_rows)
    console.print(f"{'rows':<12} {rows} of {found.columns} columns, {batch_rows} in a batch", highlight=False)
    console.print(f"{'by the clock':<12} {rows / found.clock_s:,.0f} rows/s", highlight=False)
    console.print(f"{'by the CPU':<12} {rows / found.cpu_s:,.0f} rows for a CPU second", highlight=False)


def _list_tables() -> None:
    from experiments.store.questions import QUERIES
    from experiments.store.tables import TABLES

    listing = Table(box=None, pad_edge=False)
    for title in ("name", "what it is"):
        listing.add_column(title)
    for table in TABLES.values():
        listing.add_row(table.name, f"table: {table.about}; {len(table.schema)} columns")
    for name, one in QUERIES.items():
        listing.add_row(f"--named {name}", f"query: {one.about}")
    console.print(listing)


def _opened(place: str) -> "contextlib.closing[Store]":
    from experiments.store.places import open_store

    return contextlib.closing(open_store(place))


def _existing(place: str) -> None:
    """Refuse a folder that is not there: an empty answer would look like an empty store."""
    folder = Path(place.removeprefix("chdb:"))
    if "://" not in place and not folder.is_dir():
        raise InputError(place, "", "there is no store; `dwcp-gym telemetry write` makes one")


def _named(run: str) -> str:
    """The name of a run, as the command line gave it."""
    from experiments.store.holding import checked_run

    try:
        return checked_run(run)
    except ValueError as error:
        raise InputError("command line", "--run", str(error)) from error


def _clear(store: "Store", run: str, replace: bool) -> None:
    """Make room for a run, or refuse when rows of that name are there."""
    if run not in store.runs():
        return
    if not replace:
        way_out = "add --replace to write it anew, or --run with another name"
        raise InputError(store.place, "", f"run {run} is there already; {way_out}")
    store.drop(run)


def _say_written(store: "Store", run: str, written: dict[str, int]) -> None:
    for table, rows in written.items():
        console.print(f"{table:<18} {rows:>9} rows", markup=False, highlight=False)
    console.print(f"{'run':<18} {run} in {store.place}", markup=False, highlight=False, soft_wrap=True)


def _save(found: "pa.Table", out: Path) -> None:
    import pyarrow.csv as pa_csv

    from sim.files import write_parquet, write_whole

    if out.suffix == ".parquet":
        write_parquet(out, found)
    elif out.suffix == ".csv":
        write_whole(out, lambda stream: pa_csv.write_csv(found, stream))
    else:
        raise InputError(out, "", "expected a name that ends in .csv or .parquet")


def _cell(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
