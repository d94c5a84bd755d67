"""The telemetry store of files: what is written is read back, whole or not at all, in the version it has."""

import logging
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.store.dialect import for_clickhouse, reads_only
from experiments.store.parquet_store import ParquetStore
from experiments.store.recorder import MARKERS, Recorder, mend
from experiments.store.recording import record_played
from experiments.store.tables import TABLES, VERSION_METADATA
from sim.catalogue import SCENARIOS
from sim.errors import InputError
from sim.units import DAY

pytest.importorskip("duckdb", reason="a query needs the extra: pip install 'dwcp-gym[store]'")

ROOT = Path(__file__).parents[2]
PROBES = TABLES["probes"]


def probes(count: int, start_s: float = 0.0, step_s: float = 1.0) -> pa.Table:
    """Rows whose time tells which they are."""
    number = np.arange(count, dtype=np.float64)
    columns = [start_s + step_s * number, np.zeros(count, np.int64), *[number + k for k in range(4)]]
    return pa.table([pa.array(column) for column in columns], schema=PROBES.stored)


@pytest.fixture
def store(tmp_path: Path) -> ParquetStore:
    return ParquetStore(tmp_path / "telemetry")


def test_an_episode_comes_back_as_the_simulator_recorded_it(store: ParquetStore) -> None:
    with Recorder(store, "wan-1") as recorder:
        record_played(recorder, SCENARIOS["wan"].with_(requests=20), 1, "zstd")
    assert recorder.written["transfers"] == recorder.written["decisions"] == 20
    transfers = store.read("transfers", "wan-1")
    assert transfers.schema.equals(TABLES["transfers"].schema, check_metadata=True)
    again = store.query("SELECT count(*) AS n, min(end_s - arrival_s) AS least FROM transfers").to_pylist()[0]
    assert again["n"] == 20
    assert again["least"] > 0
    assert set(transfers.column("codec").to_pylist()) == {"zstd"}


def test_rows_lie_by_run_and_day_and_come_back_with_both(store: ParquetStore) -> None:
    store.append("probes", "a", probes(10, DAY - 5))
    store.append("probes", "b", probes(3))
    files = sorted(str(path.relative_to(store.folder)) for path in store.folder.rglob("*.parquet"))
    wanted = ["probes/run=a/day=0", "probes/run=a/day=1", "probes/run=b/day=0"]
    assert [re.sub("-[0-9a-f]{8}", "", name) for name in files] == [
        f"{folder}/00000000.parquet" for folder in wanted
    ]
    found = store.query("SELECT run, day, count(*) AS n FROM probes GROUP BY run, day ORDER BY run, day")
    assert [tuple(row.values()) for row in found.to_pylist()] == [("a", 0, 5), ("a", 1, 5), ("b", 0, 3)]
    store.drop("a")
    assert store.runs() == {"b"}


def test_batches_are_written_full_and_the_rest_at_the_end(store: ParquetStore) -> None:
    with Recorder(store, "x", batch_rows=100) as recorder:
        for start in range(0, 250, 50):
            recorder.add("probes", probes(50, start))
            whole = 100 * ((start + 50) // 100)
            assert sum(held.rows for held in store.holdings()) == whole
    assert store.read("probes").column("time_s").to_pylist() == list(range(250))
    assert [held.files for held in store.holdings()] == [3]
    assert list((store.folder / MARKERS).iterdir()) == []


def test_two_writers_of_one_run_that_choose_one_number_keep_both_files(
    store: ParquetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: iter(()))  # neither sees the other's file
    store.append("probes", "a", probes(2))
    store.append("probes", "a", probes(3, 10.0))
    monkeypatch.undo()
    assert sorted(store.read("probes").column("time_s").to_pylist()) == [0, 1, 10, 11, 12]


def test_a_table_that_is_empty_is_there_to_be_asked(store: ParquetStore) -> None:
    store.append("probes", "a", probes(1))
    assert store.query("SELECT count(*) AS n FROM consensus_rounds").to_pylist() == [{"n": 0}]
    assert len(store.read("incidents")) == 0


WRITER = """
import sys
import numpy as np
import pyarrow as pa
from pathlib import Path
from experiments.store.parquet_store import ParquetStore
from experiments.store.recorder import Recorder
from experiments.store.tables import TABLES
schema = TABLES["probes"].stored
with Recorder(ParquetStore(Path(sys.argv[1])), "killed", batch_rows=1000) as recorder:
    for start in range(0, 10**9, 250):
        number = start + np.arange(250.0)
        columns = [number / 1e4, number.astype(np.int64), *[number] * 4]
        recorder.add("probes", pa.table(columns, schema=schema))
        print(start, flush=True)
"""


def test_a_writer_killed_in_the_middle_loses_its_last_batch_alone_and_that_is_said(
    store: ParquetStore, caplog: pytest.LogCaptureFixture
) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store.folder)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert writer.stdout is not None
        given = 0
        deadline = time.monotonic() + 60
        while given < 20_000 and time.monotonic() < deadline:
            given = int(writer.stdout.readline() or 0) + 250
        writer.send_signal(signal.SIGKILL)
        said = writer.stdout.read().split()
        given = int(said[-1]) + 250 if said and said[-1].isdecimal() else given
    finally:
        writer.kill()
        writer.wait(60)
    assert given >= 20_000
    (store.folder / "probes" / "run=killed" / "day=0" / f".tmp-{writer.pid}-00009999.parquet").write_bytes(
        b"PA"
    )
    with caplog.at_level(logging.WARNING):
        (said_lost,) = mend(store)
    assert said_lost in caplog.text
    assert "at most 1000 rows of each table" in said_lost
    assert re.search("[12] of its files half written", said_lost)
    there = np.sort(store.read("probes", "killed").column("path").to_numpy())
    assert len(there) % 1000 == 0  # whole batches and nothing else
    assert there.tolist() == list(range(len(there)))
    assert given - 1000 <= len(there) <= given + 250
    assert list(store.check()) == []
    assert store.leftovers() == []
    assert mend(store) == []  # it is said once


def test_a_writer_at_work_is_not_taken_for_dead(store: ParquetStore) -> None:
    asked = (
        "import sys; from pathlib import Path; from experiments.store.recorder import mend; "
        "from experiments.store.parquet_store import ParquetStore; "
        "print(mend(ParquetStore(Path(sys.argv[1]))))"
    )
    with Recorder(store, "busy"):
        done = subprocess.run(
            [sys.executable, "-c", asked, str(store.folder)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    assert done.stdout.strip() == "[]"


def test_a_torn_file_and_one_of_another_version_are_refused_in_one_line(store: ParquetStore) -> None:
    store.append("probes", "a", probes(3))
    path = next(store.folder.rglob("*.parquet"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    with pytest.raises(InputError, match=r"\.parquet: is torn or no Parquet file"):
        store.query("SELECT * FROM probes")
    assert len(list(store.check())) == 1
    path.write_bytes(whole)
    table = pq.read_table(path, partitioning=None)
    metadata = {**table.schema.metadata, VERSION_METADATA: b"99"}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    with pytest.raises(InputError, match=r"expected probes, version 1, got probes, version 99") as error:
        store.read("probes")
    assert "\n" not in str(error.value)


def test_damage_within_a_file_is_found_by_the_check(store: ParquetStore) -> None:
    store.append("probes", "a", probes(5000))
    path = next(store.folder.rglob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (problem,) = store.check()
    assert ".parquet: damaged: " in problem


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(["loss"]), "lacks loss"),
        (lambda rows: rows.append_column("lost", rows.column("loss")), "has lost"),
        (
            lambda rows: rows.set_column(5, "loss", pa.array([None] * 3, pa.float64())),
            r"probes\.loss must not be null",
        ),
        (
            lambda rows: rows.set_column(1, "path", pa.array(["a", "b", "c"])),
            r"probes\.path must be int64, got string",
        ),
    ],
)
def test_rows_that_are_not_of_the_table_are_refused(store: ParquetStore, change, message) -> None:
    with pytest.raises(ValueError, match=message):
        store.append("probes", "a", change(probes(3)))
    assert store.runs() == set()


def test_a_run_is_named_so_that_it_can_be_a_folder_and_a_word_of_a_query(store: ParquetStore) -> None:
    for name in ("a/b", "..", "x' OR 1=1", ""):
        with pytest.raises(ValueError, match="a run must be named in letters"):
            store.append("probes", name, probes(1))


def test_a_query_only_reads_and_quantiles_are_spelt_for_either_database() -> None:
    assert reads_only("  with t as (select 1) select * from t;")
    for sql in ("DELETE FROM probes", "COPY probes TO 'x'", "SELECT 1; SELECT 2"):
        assert not reads_only(sql)
    sql = "SELECT quantile(max(a), 0.5) AS x, quantile(b, .9) FROM t"
    assert for_clickhouse(sql) == "SELECT quantileExact(0.5)(max(a)) AS x, quantileExact(.9)(b) FROM t"
