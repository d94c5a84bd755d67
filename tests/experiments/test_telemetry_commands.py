"""The command `dwcp-gym telemetry`: from a scenario to an answer, and refusals in one line."""

from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from experiments.store.parquet_store import ParquetStore
from experiments.store.questions import QUERIES
from experiments.store.tables import TABLES
from sim.catalogue import SCENARIOS
from sim.codecs import CODECS
from sim.episode import draw_episode
from sim.telemetry_file import write_probes, write_transfers
from sim.world import World

pytest.importorskip("duckdb", reason="a query needs the extra: pip install 'dwcp-gym[store]'")

SMALL = ("--days", 0.05, "--sites", 1, "--nodes", 2, "--groups", 1)


@pytest.fixture
def telemetry(monkeypatch, say):
    """Runs `dwcp-gym telemetry` on a wide screen; gives what `say` gives."""
    monkeypatch.setenv("COLUMNS", "200")
    return partial(say, "telemetry")


@pytest.fixture
def store(telemetry, tmp_path: Path) -> Path:
    """A small store with one run."""
    assert telemetry("write", tmp_path / "store", "metro", *SMALL)[0] == 0
    return tmp_path / "store"


def test_a_scenario_is_written_checked_and_asked(telemetry, store: Path, tmp_path: Path) -> None:
    code, printed, complaints = telemetry("check", store)
    assert (code, complaints) == (0, [])
    assert all(name in printed for name in set(TABLES) - {"incidents"})
    assert f"whole        {store}" in printed
    for name in QUERIES:
        code, printed, complaints = telemetry("query", store, "--named", name)
        assert (code, complaints) == (0, [])
    code, printed, _ = telemetry("query", store, "SELECT count(*) AS n FROM node_metrics")
    assert printed.split() == ["n", str(2 * 72)]
    code, printed, _ = telemetry("query", store, "SELECT * FROM transfers", "--out", tmp_path / "all.parquet")
    assert code == 0
    assert len(pq.read_table(tmp_path / "all.parquet")) == 128


def test_a_run_is_written_twice_only_when_it_is_to_be_replaced(telemetry, store: Path) -> None:
    code, _, complaints = telemetry("write", store, "metro", *SMALL)
    way_out = "add --replace to write it anew, or --run with another name"
    assert (code, complaints) == (2, [f"dwcp-gym: {store}: run metro-1 is there already; {way_out}"])
    assert telemetry("write", store, "metro", *SMALL, "--replace")[0] == 0
    code, printed, _ = telemetry("query", store, "SELECT count(*) AS n FROM node_metrics")
    assert printed.split() == ["n", str(2 * 72)]


def test_a_run_that_is_interrupted_leaves_nothing_behind(telemetry, tmp_path: Path, monkeypatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.store.recording.record_played", stop)
    code, _, complaints = telemetry("write", tmp_path / "store", "metro", *SMALL)
    assert (code, len(complaints)) == (130, 1)
    monkeypatch.undo()
    assert ParquetStore(tmp_path / "store").runs() == set()


def test_files_of_the_simulator_are_taken_in(telemetry, tmp_path: Path) -> None:
    world = World(draw_episode(SCENARIOS["metro"].with_(requests=10), 1), list(CODECS.values()))
    while world.next_question() is not None:
        world.answer(1)
    write_transfers(world, tmp_path / "transfers.parquet")
    write_probes(world, tmp_path / "probes.csv")
    store = tmp_path / "store"
    assert telemetry("import", store, tmp_path / "transfers.parquet", "--run", "a")[0] == 0
    assert telemetry("import", store, tmp_path / "probes.csv", "--run", "a", "--table", "probes")[0] == 0
    code, printed, _ = telemetry("query", store, "SELECT count(*) AS n FROM transfers")
    assert printed.split() == ["n", "10"]
    code, _, complaints = telemetry("import", store, tmp_path / "probes.csv")
    assert code == 2
    assert complaints[0].startswith(f"dwcp-gym: {tmp_path / 'probes.csv'}: does not say of which table it is")


def test_what_cannot_be_done_is_said_in_one_line(telemetry, store: Path, tmp_path: Path) -> None:
    refused = {
        ("query", tmp_path / "none", "SELECT 1"): f"{tmp_path / 'none'}: there is no store;",
        ("query", store, "DROP TABLE probes"): "SQL: expected one statement that reads",
        ("query", store, "SELECT nothing FROM probes"): "the query cannot be answered",
        ("query", store, "--named", "lnks"): "--named: expected one of links, ",
        ("query", store, "SELECT 1 AS x", "--out", tmp_path / "x.txt"): "ends in .csv or .parquet",
        ("write", store, "metro", "--codec", "zip"): "--codec: expected one of none, ",
        ("write", store, "metro", "--run", "a b"): "--run: a run must be named in letters",
        ("write", store, "nowhere"): "nowhere",
    }
    for words, expected in refused.items():
        code, _, complaints = telemetry(*words)
        assert code == 2, words
        assert len(complaints) == 1, complaints
        assert expected in complaints[0]


def test_the_rate_of_writing_is_measured_and_leaves_nothing(telemetry, store: Path) -> None:
    code, printed, complaints = telemetry("bench", store, "--rows", 2000, "--batch-rows", 1000)
    assert (code, complaints) == (0, [])
    assert "2000 of 32 columns, 1000 in a batch" in printed
    assert "bench" not in telemetry("check", store)[1]
