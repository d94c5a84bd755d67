"""The same rows and queries in files, on a ClickHouse server, and in its embedded build."""

import importlib.util
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.store.clickhouse import ClickHouseStore, HttpTransport
from experiments.store.places import open_store
from experiments.store.recorder import Recorder
from experiments.store.recording import record_played
from experiments.store.tables import TABLES
from sim.catalogue import SCENARIOS
from sim.errors import InputError
from sim.monitoring.estate import Estate
from sim.monitoring.telemetry import draw_monitoring
from sim.units import HOUR

pytest.importorskip("duckdb", reason="a query needs the extra: pip install 'dwcp-gym[store]'")

ROOT = Path(__file__).parents[2]
SERVER = "CLICKHOUSE_URL"
"""Variable that names a server to test with, such as http://localhost:8123/default."""


def fill(place: str) -> dict[str, object]:
    """Write the same into a store, and ask it everything; what came of it, to compare."""
    from experiments.store.questions import QUERIES

    store = open_store(place)
    estate = Estate(SCENARIOS["wan"], sites=2, nodes=4, groups=2)
    store.drop("same")
    with Recorder(store, "same", batch_rows=500) as recorder:
        for name, rows in draw_monitoring(estate, 5, 6 * HOUR)._asdict().items():
            recorder.add(name, rows)
        record_played(recorder, SCENARIOS["wan"].with_(requests=21), 1, "zstd")
    found: dict[str, object] = {
        name: [row for row in store.query(one.sql).to_pylist() if row["run"] == "same"]
        for name, one in QUERIES.items()
    }
    found["held"] = sorted((held.table, held.rows) for held in store.holdings() if held.run == "same")
    node = store.read("node_metrics", "same").to_pandas().sort_values(["node", "time_s"])
    found["sums"] = {name: float(node[name].clip(upper=1e9).sum()) for name in node.select_dtypes("number")}
    found["schemas"] = [str(store.read(name, "same").schema) for name in TABLES]
    found["problems"] = list(store.check())
    store.drop("same")
    found["left"] = sorted(held.table for held in store.holdings() if held.run == "same")
    store.close()
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def near(one: object, other: object) -> bool:
    """Equal, floats to 1e-9; a quantile of an even number of rows may be the next one of them."""
    if isinstance(one, dict) and isinstance(other, dict):
        quantiles = ("median_s", "p99_s", "worst_rtt_s", "typical_p99_s")
        return set(one) == set(other) and all(near(one[key], other[key]) or key in quantiles for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(near, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9) or one == other
    return one == other


@pytest.fixture(scope="module")
def in_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return fill(str(tmp_path_factory.mktemp("files") / "telemetry"))


@pytest.fixture(scope="module")
def server(address: str) -> Iterator[str]:
    """A database of our own on a server, dropped at the end."""
    name = f"dwcp_test_{os.getpid()}"
    send = HttpTransport(address)
    send(f"CREATE DATABASE {name}")
    try:
        yield f"{address.rsplit('/', 1)[0]}/{name}"
    finally:
        send(f"DROP DATABASE {name}")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server: the one that the environment names, else one that is installed, started here."""
    if SERVER in os.environ:
        yield os.environ[SERVER]
        return
    program = shutil.which("clickhouse-server") or shutil.which("clickhouse-server", path="/usr/sbin")
    if program is None:
        pytest.skip(f"no ClickHouse server: install clickhouse-server, or name one in {SERVER}")
    folder = tmp_path_factory.mktemp("clickhouse")
    with socket.socket() as free, socket.socket() as other:
        free.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, tcp_port = free.getsockname()[1], other.getsockname()[1]
    (folder / "config.xml").write_text(
        f"<yandex><logger><level>warning</level><console>1</console></logger><http_port>{port}</http_port>"
        f"<tcp_port>{tcp_port}</tcp_port><listen_host>127.0.0.1</listen_host><path>{folder}/store/</path>"
        f"<tmp_path>{folder}/tmp/</tmp_path><users_config>{folder}/users.xml</users_config>"
        "<default_profile>default</default_profile><default_database>default</default_database>"
        "<mark_cache_size>5368709</mark_cache_size></yandex>"
    )
    (folder / "users.xml").write_text(
        "<yandex><profiles><default></default></profiles><quotas><default></default></quotas><users><default>"
        "<password></password><networks><ip>::/0</ip></networks><profile>default</profile>"
        "<quota>default</quota></default></users></yandex>"
    )
    with (folder / "server.log").open("w") as log:
        running = subprocess.Popen(
            [program, f"--config-file={folder}/config.xml"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/ping", running)
        yield f"http://127.0.0.1:{port}/default"
    finally:
        running.kill()
        running.wait(60)


def _wait_for(url: str, running: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if running.poll() is not None:
            pytest.skip("the ClickHouse server that is installed does not start")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the ClickHouse server did not answer within 120 s")


def test_a_server_answers_as_the_files_do(server: str, in_files: dict[str, object]) -> None:
    found = fill(server)
    assert [key for key in in_files if not near(in_files[key], found[key])] == []
    assert found["problems"] == found["left"] == []


def test_a_server_with_tables_of_another_version_is_refused(server: str) -> None:
    store = open_store(server)
    assert isinstance(store, ClickHouseStore)
    store.append("probes", "old", TABLES["probes"].stored.empty_table())
    store._send("INSERT INTO schema_versions VALUES ('probes', 99)")
    fresh = open_store(server)
    with pytest.raises(InputError, match="expected probes, version 1, got version 99"):
        fresh.query("SELECT * FROM probes")
    assert len(list(open_store(server).check())) == 1
    store._send("DROP TABLE schema_versions")
    store._send("DROP TABLE probes")


def test_a_query_that_a_server_refuses_is_told_in_one_line(server: str) -> None:
    with pytest.raises(InputError, match="ClickHouse refused: ") as error:
        open_store(server).query("SELECT nonsense FROM probes")
    assert "\n" not in str(error.value)


def test_the_embedded_build_answers_as_the_files_do(tmp_path: Path, in_files: dict[str, object]) -> None:
    if importlib.util.find_spec("chdb") is None:
        pytest.skip("no embedded ClickHouse: pip install 'dwcp-gym[clickhouse]'")
    code = (
        "import importlib.util, json, sys\n"
        f"spec = importlib.util.spec_from_file_location('here', {__file__!r})\n"
        "here = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(here)\n"
        f"print(json.dumps(here.fill('chdb:{tmp_path}/store')))\n"
    )
    done = subprocess.run(  # one process, one session
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert [key for key in in_files if not near(in_files[key], found[key])] == []
    assert found["problems"] == found["left"] == []


def test_where_no_server_answers_one_line_says_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=r"no ClickHouse answers: .*; start it, or name a folder"):
        open_store(f"http://127.0.0.1:{port}/default")
