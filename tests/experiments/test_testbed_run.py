"""A run on the testbed: telemetry and tables of what was real and what was simulated, whole or not at all."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from experiments.testbed_config import TestbedConfig
from experiments.testbed_paired import plays_table
from experiments.testbed_report import label
from experiments.testbed_run import run_testbed
from sim.catalogue import find_scenario
from sim.errors import InputError
from sim.settings import load
from sim.transfer_log import read_transfer_log

ROOT = Path(__file__).parents[2]
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def sockets():
    """Skips where no path at all can be made."""
    import socket

    try:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
    except OSError as error:
        pytest.skip(f"TCP on the loopback is not allowed here: {error}")


def config(**changes):
    given = {
        "name": "tiny",
        "scenario": "internet",
        "transfers": 6,
        "interval_s": 0.2,
        "max_mb": 1.0,
        "path": {"rate_mbit": 200, "rtt_ms": 5},
        "policies": ("hde", "estimate"),
    }
    return TestbedConfig(**{**given, **changes})


def test_a_run_leaves_telemetry_of_both_and_a_table(tmp_path, sockets):
    run = run_testbed(config(), tmp_path, QUIET)
    assert run.folder == tmp_path / "tiny" / "1" and run.left_out == 0
    assert run.plays["policy"].tolist() == ["hde", "estimate"]
    assert (run.plays[["cost_s", "simulated_cost_s", "wire_bytes", "cpu_s"]] > 0).all(axis=None)
    one = run.folder / "hde-seed0-0"
    real = pd.read_parquet(one / "transfers.parquet")
    simulated = pd.read_parquet(one / "simulated-transfers.parquet")
    assert list(real.columns) == list(simulated.columns) and len(real) == len(simulated) == 6
    assert real["arrival_s"].tolist() == simulated["arrival_s"].tolist()
    decisions = pd.read_parquet(one / "decisions.parquet")
    assert decisions["codec"].tolist() == ["hde"] * 6
    assert len(read_transfer_log(one / "transfers.parquet", find_scenario("internet"), 0)) == 6
    summary = json.loads((run.folder / "summary.json").read_text("utf-8"))
    assert {row["split"] for row in summary["rows"]} == {"testbed", "simulated"}
    assert load(run.folder / "config.yaml", TestbedConfig) == config()
    assert plays_table(run.plays).row_count == 2
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["1"]


def test_a_policy_that_needs_the_simulated_world_or_training_is_refused(tmp_path):
    with pytest.raises(InputError, match="one_step_oracle: looks into the simulated world"):
        run_testbed(config(policies=("one_step_oracle",)), tmp_path, QUIET)
    with pytest.raises(InputError, match="unknown policy 'ppo'"):
        run_testbed(config(policies=("ppo",)), tmp_path, QUIET)
    assert list(tmp_path.iterdir()) == []


def test_too_short_a_time_budget_is_said_and_leaves_nothing(tmp_path, sockets):
    with pytest.raises(InputError, match="at least one play"):
        run_testbed(config(minutes=1e-4, policies=("none",)), tmp_path, QUIET)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_leaves_nothing_and_no_process(tmp_path, sockets):
    yaml = tmp_path / "slow.yaml"
    yaml.write_text(
        "name: slow\nscenario: internet\ntransfers: 30\ninterval_s: 1.0\npolicies: [none]\n"
        "path: {rate_mbit: 5, rtt_ms: 5}\n"
    )
    command = [sys.executable, "-m", "experiments", "testbed", "run", str(yaml)]
    running = subprocess.Popen(
        [*command, "--results", str(tmp_path / "results")],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for _ in range(600):
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        if not children.exists() or len(children.read_text().split()) >= 2 or running.poll() is not None:
            break
        time.sleep(0.1)
    time.sleep(1.0)
    os.kill(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130 and "nothing was written" in errors, errors
    assert not (tmp_path / "results").exists()


def test_a_bundle_is_called_by_its_folder():
    assert label("results/compression/latest/bundles/ppo/") == "bundles-ppo"
