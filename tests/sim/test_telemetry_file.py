"""Telemetry files: columns are those of the world, values are exact, and the page says what they are."""

import csv
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sim.catalogue import SCENARIOS
from sim.codecs import CODECS
from sim.decisions import CodecQuestion
from sim.episode import draw_episode
from sim.errors import InputError
from sim.payloads import CLASS_NAMES
from sim.scenarios import LINK_TYPES
from sim.telemetry import TransferRecord
from sim.telemetry_file import (
    DECISIONS,
    PROBES,
    TRANSFERS,
    VERSION,
    Column,
    Decisions,
    write_decisions,
    write_probes,
    write_transfers,
)
from sim.world import World

PAGE = Path(__file__).parents[2] / "docs" / "telemetry.md"
CODEC_LIST = list(CODECS.values())


@pytest.fixture(scope="module")
def played():
    """A finished world on two paths, with its decisions noted."""
    world, decisions = World(draw_episode(SCENARIOS["hybrid"].with_(requests=30), 5), CODEC_LIST), Decisions()
    while (question := world.next_question()) is not None:
        action = question.request % len(CODEC_LIST)
        decisions(world, None, action)
        world.answer(action)
    return world, decisions


def test_the_columns_are_the_fields_of_records_and_questions_in_their_order():
    assert tuple(column.name for column in TRANSFERS) == TransferRecord._fields
    assert tuple(column.name for column in DECISIONS) == (*CodecQuestion._fields, "codec")
    arrow = {int: "int64", float: "double", str: "string", bool: "bool"}
    hints = TransferRecord.__annotations__
    assert [column.type for column in TRANSFERS] == [arrow[hints[name]] for name in TransferRecord._fields]


def test_transfers_in_parquet_are_the_records_in_order_of_arrival(played, tmp_path):
    world, _ = played
    write_transfers(world, tmp_path / "deep" / "transfers.parquet")
    table = pq.read_table(tmp_path / "deep" / "transfers.parquet")
    assert [TransferRecord(**row) for row in table.to_pylist()] == sorted(world.records)
    assert table.column("arrival_s").to_pylist() == world.episode.requests.arrival_s.tolist()


def test_units_meanings_and_version_stand_in_the_metadata(played, tmp_path):
    write_transfers(played[0], tmp_path / "transfers.parquet")
    schema = pq.read_schema(tmp_path / "transfers.parquet")
    assert schema.metadata[b"dwcp-gym telemetry"] == b"transfers"
    assert schema.metadata[b"dwcp-gym telemetry version"] == str(VERSION).encode()
    assert schema.field("size_bytes").metadata == {b"unit": b"bytes", b"meaning": b"raw size"}


def test_csv_holds_the_same_values_to_the_last_digit(played, tmp_path):
    world, _ = played
    write_transfers(world, tmp_path / "transfers.csv")
    with (tmp_path / "transfers.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["end_s"]) for row in rows] == [record.end_s for record in sorted(world.records)]
    assert [row["is_delta"] for row in rows] == [str(r.is_delta).lower() for r in sorted(world.records)]
    assert {row["deadline_s"] for row in rows if row["deadline_s"] == "inf"} == {"inf"}


def test_probes_are_all_that_was_seen_until_the_last_transfer_ended(played, tmp_path):
    world, _ = played
    write_probes(world, tmp_path / "probes.parquet")
    rows = pq.read_table(tmp_path / "probes.parquet").to_pylist()
    period_s = world.episode.probes.period_s
    end_s = max(record.end_s for record in world.records)
    assert len(rows) == 2 * (int(end_s / period_s) + 1)
    assert rows[-1]["time_s"] <= end_s < rows[-1]["time_s"] + period_s
    last = world.episode.probes.values[len(rows) // 2 - 1, 1].tolist()
    assert [rows[-1][name] for name in ("path", "rtt_s", "jitter_s", "bandwidth", "loss")] == [1, *last]


def test_decisions_are_the_questions_with_names_and_the_codec_of_the_record(played, tmp_path):
    world, decisions = played
    write_decisions(decisions, tmp_path / "decisions.parquet")
    rows = pq.read_table(tmp_path / "decisions.parquet").to_pylist()
    assert len(rows) == len(world.episode)
    codecs = {record.request: record.codec for record in world.records}
    for (question, _), row in zip(decisions.rows, rows, strict=True):
        assert row.pop("codec") == codecs[question.request]
        row["kind"], row["link_type"] = CLASS_NAMES.index(row["kind"]), LINK_TYPES.index(row["link_type"])
        assert CodecQuestion(**row) == question


def test_noting_decisions_does_not_change_what_happens(played):
    world, decisions = played
    alone = World(world.episode, CODEC_LIST)
    alone.run(lambda question: question.request % len(CODEC_LIST))
    assert alone.records == world.records
    with pytest.raises(RuntimeError, match="no open codec question to note"):
        decisions(world, None, 0)


def test_a_table_without_rows_has_its_columns(tmp_path):
    write_decisions(Decisions(), tmp_path / "decisions.parquet")
    write_decisions(Decisions(), tmp_path / "decisions.csv")
    assert pq.read_table(tmp_path / "decisions.parquet").column_names == [column.name for column in DECISIONS]
    assert (tmp_path / "decisions.csv").read_text() == ",".join(column.name for column in DECISIONS) + "\n"


def test_an_unfinished_world_and_a_foreign_ending_are_refused(played, tmp_path):
    with pytest.raises(ValueError, match="expected a finished world, got one with 0 of 30 transfers"):
        write_transfers(World(played[0].episode, CODEC_LIST), tmp_path / "transfers.csv")
    with pytest.raises(InputError, match=r"transfers\.json: expected a name that ends in \.parquet or \.csv"):
        write_transfers(played[0], tmp_path / "transfers.json")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        write_probes(played[0], tmp_path / "file" / "probes.csv")


@pytest.mark.parametrize(
    ("title", "columns"), [("Transfers", TRANSFERS), ("Probes", PROBES), ("Decisions", DECISIONS)]
)
def test_the_page_prints_the_schema_that_the_code_has(title: str, columns: tuple[Column, ...]):
    section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.M | re.S)
    assert section is not None
    rows = [line for line in section.group(1).splitlines() if line.startswith("| `")]
    assert rows == [f"| `{c.name}` | {c.type} | {c.unit} | {c.meaning} |" for c in columns]
