"""Telemetry as files: a row a transfer, a row a probe, a row a decision, as Parquet or CSV."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from sim.decisions import CodecQuestion
from sim.episode import Probes
from sim.errors import InputError
from sim.files import write_parquet, write_text
from sim.payloads import CLASS_NAMES
from sim.scenarios import LINK_TYPES
from sim.telemetry import TransferRecord
from sim.world import World

VERSION: Final = 1
"""Version of the three schemas, in the metadata of each Parquet file under ``dwcp-gym telemetry version``."""


class Column(NamedTuple):
    """One column of a table: its name, its type (an Arrow type), its unit, and what it says."""

    name: str
    type: str
    unit: str
    meaning: str


TRANSFERS: Final = (
    Column("request", "int64", "", "number of the transfer, from 0, in order of arrival"),
    Column("dataset", "int64", "", "dataset that it is a version of"),
    Column("kind", "string", "", "payload class"),
    Column("path", "int64", "", "path, from 0, in the order of the scenario"),
    Column("codec", "string", "", "codec it was sent with"),
    Column("is_delta", "bool", "", "whether it was a delta against a baseline"),
    Column("is_baseline", "bool", "", "whether it left a new baseline at both ends"),
    Column("arrival_s", "double", "s", "when it was asked for"),
    Column("start_s", "double", "s", "when it got its slot and codec"),
    Column("end_s", "double", "s", "when it was decoded"),
    Column("deadline_s", "double", "s", "when it is late; inf without a deadline"),
    Column("priority", "double", "s/s", "cost of a second until it is decoded"),
    Column("size_bytes", "double", "bytes", "raw size"),
    Column("wire_bytes", "double", "bytes", "size on the wire"),
    Column("streams", "int64", "", "TCP connections"),
    Column("cpu_s", "double", "core-s", "CPU time, both ends"),
)
"""Columns of the transfers, one row a record, in order of arrival."""

PROBES: Final = (
    Column("time_s", "double", "s", "from when on a sender sees it"),
    Column("path", "int64", "", "path, from 0, in the order of the scenario"),
    Column("rtt_s", "double", "s", "round-trip time"),
    Column("jitter_s", "double", "s", "change of the round-trip time since the last probe"),
    Column("bandwidth", "double", "bytes/s", "available to a new bundle of streams"),
    Column("loss", "double", "share", "packets lost"),
)
"""Columns of the probes, one row a measurement and path, until the last transfer ended."""

DECISIONS: Final = (
    Column("request", "int64", "", "number of the transfer, as in the transfers"),
    Column("now_s", "double", "s", "when the question was put"),
    Column("hour", "double", "h", "local hour of day, from 0 to below 24"),
    Column("kind", "string", "", "payload class"),
    Column("size_bytes", "double", "bytes", "raw size"),
    Column("entropy", "double", "share", "of a sample, bits per byte over 8"),
    Column("sample_ratio", "double", "1", "zstd-1 ratio of a scattered sample"),
    Column("repetition", "double", "share", "repeated 4 KiB blocks in the sample"),
    Column("priority", "double", "s/s", "cost of a second until it is decoded"),
    Column("slack_s", "double", "s", "time to the deadline; inf without one"),
    Column("waited_s", "double", "s", "time since it was asked for"),
    Column("has_baseline", "bool", "", "whether a delta could be sent"),
    Column("baseline_age_s", "double", "s", "age of the baseline; 0 without one"),
    Column("deltas", "int64", "", "deltas sent against the baseline"),
    Column("changed", "double", "share", "blocks changed since the baseline, estimated; 1 without one"),
    Column("seen", "int64", "", "earlier transfers of the dataset"),
    Column("interval_s", "double", "s", "average time between them; inf before the second"),
    Column("delta_ratio", "double", "1", "average ratio of the dataset's deltas"),
    Column("path", "int64", "", "path, from 0, in the order of the scenario"),
    Column("link_type", "string", "", "kind of link as the sender's configuration names it"),
    Column("capacity", "double", "bytes/s", "capacity as provisioned"),
    Column("rtt_s", "double", "s", "round-trip time, last probe"),
    Column("jitter_s", "double", "s", "change of the round-trip time, last probe"),
    Column("bandwidth", "double", "bytes/s", "available to a new bundle of streams, last probe"),
    Column("loss", "double", "share", "packets lost, last probe"),
    Column("window_bytes", "double", "bytes", "largest window of one stream"),
    Column("cores", "int64", "", "cores of the sender"),
    Column("cpu_load", "double", "share", "cores in use"),
    Column("memory_pressure", "double", "share", "baseline memory in use"),
    Column("running", "int64", "", "transfers that run on the path"),
    Column("waiting", "int64", "", "transfers that wait for a slot"),
    Column("streams", "int64", "", "TCP connections of the running transfers on the path"),
    Column("wire_backlog_bytes", "double", "bytes", "still to be sent on the path"),
    Column("core_backlog_s", "double", "core-s", "encoding still to do"),
    Column("zstd_ratio", "double", "1", "average zstd ratio of the class"),
    Column("hde_ratio", "double", "1", "average delta ratio of the class"),
    Column("single_rate", "double", "bytes/s", "average wire rate of single-stream transfers on the path"),
    Column("amst_rate", "double", "bytes/s", "average wire rate of multi-stream transfers on the path"),
    Column("goodput_share", "double", "share", "average of achieved over probed rate on the path"),
    Column("codec", "string", "", "codec that was chosen"),
)
"""Columns of the decisions: all of `CodecQuestion`, and the answer."""


class Decisions:
    """Remembers every codec question of a world with its answer; hand it to `agents.play.play` as ``watch``.

    Attributes:
        rows: Questions with the names of the chosen codecs, in the order in which they were put.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[CodecQuestion, str]] = []

    def __call__(self, world: World, observation: object, action: int) -> None:
        """Note the open question of a world and the action about to be taken."""
        question = world.question
        if not isinstance(question, CodecQuestion):
            raise RuntimeError("there is no open codec question to note; call it before the answer")
        self.rows.append((question, world.codecs[action].name))


def write_transfers(world: World, path: Path) -> None:
    """Write what a finished world has recorded; `sim.transfer_log` reads it back as a log.

    Args:
        world: A world that has run to its end.
        path: A file that ends in ``.parquet`` or ``.csv``; the end says which it becomes.

    Raises:
        ValueError: If the world has not finished.
        InputError: If the file has another ending or the file system refuses. So for every writer here.
    """
    _check_finished(world)
    write_records(world.records, path)


def write_records(records: Iterable[TransferRecord], path: Path) -> None:
    """Write records of transfers, wherever they moved."""
    _write("transfers", TRANSFERS, sorted(records), path)


def transfers_table(records: Iterable[TransferRecord]) -> pa.Table:
    """Records of transfers as a table in memory."""
    return arrow_table(arrow_schema("transfers", TRANSFERS, VERSION), sorted(records))


def probes_table(probes: Probes, until_s: float) -> pa.Table:
    """The measurements that a sender has seen until a moment, as a table in memory."""
    return arrow_table(arrow_schema("probes", PROBES, VERSION), _probe_rows(probes, until_s))


def decisions_table(decisions: Decisions) -> pa.Table:
    """The questions and answers that were noted, as a table in memory."""
    return arrow_table(arrow_schema("decisions", DECISIONS, VERSION), _decision_rows(decisions))


def write_probes(world: World, path: Path) -> None:
    """Write the measurements that a sender in a finished world has seen."""
    _check_finished(world)
    write_measurements(world.episode.probes, world.clock.now, path)


def write_measurements(probes: Probes, until_s: float, path: Path) -> None:
    """Write the measurements that a sender has seen until a moment."""
    _write("probes", PROBES, _probe_rows(probes, until_s), path)


def write_decisions(decisions: Decisions, path: Path) -> None:
    """Write the questions and answers that were noted."""
    _write("decisions", DECISIONS, _decision_rows(decisions), path)


def arrow_schema(table: str, columns: Iterable[Column], version: int) -> pa.Schema:
    """Columns as Arrow has them: none is null, each with its unit and meaning; the table and its version."""
    return pa.schema(
        [
            pa.field(
                name, pa.type_for_alias(kind), nullable=False, metadata={"unit": unit, "meaning": meaning}
            )
            for name, kind, unit, meaning in columns
        ],
        metadata={"dwcp-gym telemetry": table, "dwcp-gym telemetry version": str(version)},
    )


def arrow_table(schema: pa.Schema, rows: Iterable[Sequence[Any]]) -> pa.Table:
    """Rows as a table."""
    values = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def _probe_rows(probes: Probes, until_s: float) -> list[tuple[float, ...]]:
    seen = min(int(until_s / probes.period_s) + 1, len(probes.values))
    return [
        (number * probes.period_s, path_number, *values)
        for number, measured in enumerate(probes.values[:seen].tolist())
        for path_number, values in enumerate(measured)
    ]


def _decision_rows(decisions: Decisions) -> list[tuple[Any, ...]]:
    return [
        (
            *question._replace(
                kind=CLASS_NAMES[question.kind],  # type: ignore[arg-type]
                link_type=LINK_TYPES[question.link_type],  # type: ignore[arg-type]
            ),
            codec,
        )
        for question, codec in decisions.rows
    ]


def _check_finished(world: World) -> None:
    if not world.finished:
        moved, asked = len(world.records), len(world.episode)
        raise ValueError(f"expected a finished world, got one with {moved} of {asked} transfers; run it on")


def _write(table: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]], path: Path) -> None:
    if path.suffix == ".csv":
        lines = [",".join(column.name for column in columns)]
        lines += [",".join(map(_cell, row)) for row in rows]
        write_text(path, "\n".join([*lines, ""]))
    elif path.suffix == ".parquet":
        write_parquet(path, arrow_table(arrow_schema(table, columns, VERSION), rows))
    else:
        raise InputError(path, "", "expected a name that ends in .parquet or .csv")


def _cell(value: object) -> str:
    """Text that reads back as the same value: numbers in full, truth values as in YAML."""
    return str(value).lower() if isinstance(value, bool) else str(value)
