"""What goes into a store: an estate watched for days, and transfers with their probes and decisions."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from experiments.store.holding import Store
from experiments.store.recorder import Recorder
from experiments.store.tables import METADATA, TABLES
from sim.catalogue import SCENARIOS
from sim.codecs import CODECS
from sim.episode import draw_episode
from sim.errors import InputError
from sim.monitoring.estate import Estate
from sim.monitoring.telemetry import draw_monitoring
from sim.scenarios import Scenario
from sim.telemetry_file import Decisions, decisions_table, probes_table, transfers_table
from sim.world import World


def record_estate(recorder: Recorder, estate: Estate, seed: int, duration_s: float) -> None:
    """Watch an estate and record its five tables."""
    for name, rows in draw_monitoring(estate, seed, duration_s)._asdict().items():
        recorder.add(name, rows)


def record_world(recorder: Recorder, world: World, decisions: Decisions) -> None:
    """Record the transfers of a finished world, the probes that its sender saw, and the decisions noted.

    Raises:
        ValueError: If the world has not finished.
    """
    if not world.finished:
        raise ValueError(f"expected a finished world, got one with {len(world.records)} transfers; run it on")
    recorder.add("transfers", transfers_table(world.records))
    recorder.add("probes", probes_table(world.episode.probes, world.clock.now))
    recorder.add("decisions", decisions_table(decisions))


def record_played(recorder: Recorder, scenario: Scenario, seed: int, codec: str) -> None:
    """Play one episode of a scenario with one codec for all, and record it."""
    codecs = list(CODECS.values())
    world, decisions = World(draw_episode(scenario, seed), codecs), Decisions()
    choice = list(CODECS).index(codec)
    while world.next_question() is not None:
        decisions(world, None, choice)
        world.answer(choice)
    record_world(recorder, world, decisions)


def record_files(recorder: Recorder, paths: Iterable[Path], table: str | None) -> None:
    """Record Parquet or CSV files of a table of the store; a Parquet file of ours says of which.

    Raises:
        InputError: If a file cannot be read, or is of no table.
    """
    for path in paths:
        rows = _rows(path)
        name = table or (rows.schema.metadata or {}).get(METADATA, b"").decode()
        if name not in TABLES:
            known = ", ".join(TABLES)
            raise InputError(path, "", f"does not say of which table it is; add --table with one of {known}")
        try:
            recorder.add(name, rows)
        except ValueError as error:
            raise InputError(path, "", str(error)) from error


class Rate(NamedTuple):
    """What it took to write rows: seconds by the clock and of the processors, for so many columns a row."""

    clock_s: float
    cpu_s: float
    columns: int


def write_rate(store: Store, rows: int, batch_rows: int) -> Rate:
    """Write rows of `node_metrics` to a store and delete them again; only the writing is timed."""
    estate = Estate(SCENARIOS["internet"], sites=1, nodes=40, groups=1)
    some = draw_monitoring(estate, 1, min(1 + rows / estate.nodes, 1440) * estate.interval_s).node_metrics
    many = pa.concat_tables([some] * -(-rows // len(some))).slice(0, rows).combine_chunks()
    run = f"bench-{os.getpid()}"
    try:
        clock, cpu = time.perf_counter(), time.process_time()
        with Recorder(store, run, batch_rows) as recorder:
            for start in range(0, rows, batch_rows):
                recorder.add("node_metrics", many.slice(start, batch_rows))
        return Rate(time.perf_counter() - clock, time.process_time() - cpu, len(some.schema))
    finally:
        store.drop(run)


def _rows(path: Path) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path, partitioning=None)
        if path.suffix == ".csv":
            return pa_csv.read_csv(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(path, "", f"cannot be read: {error}") from error
    raise InputError(path, "", "expected a name that ends in .parquet or .csv")
