"""A run whose figures can be worked out by hand, and a true one: the least that has every stage, run once."""

import fcntl
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from experiments.evidence import METRICS, Evidence

KIND = {
    "zstd": "static",
    "hde": "static",
    "ensemble": "supervised",
    "ppo": "learner",
    "one_step_oracle": "oracle",
    "best_found": "search",
}
VALIDATION, TEST, SEARCHED = range(100, 104), range(200, 206), range(200, 203)
FACTORS = {
    ("wan", "validation"): {"zstd": 1.0, "hde": 1.2, "ensemble": 0.9, "ppo": 0.7, "one_step_oracle": 0.8},
    ("wan", "test"): {"zstd": 1.0, "hde": 0.95, "ensemble": 0.9, "ppo": 0.7, "one_step_oracle": 0.8},
    ("lan", "validation"): {"zstd": 1.02, "hde": 1.0, "ensemble": 1.0, "ppo": 1.1, "one_step_oracle": 1.0},
    ("lan", "test"): {"zstd": 1.02, "hde": 1.0, "ensemble": 1.0, "ppo": 1.1, "one_step_oracle": 1.0},
}
FOUND = {"wan": 0.5, "lan": 0.98}
SPREAD = {0: -0.01, 1: 0.01}
"""What a training seed adds to the learner's factor."""


def _row(policy: str, seed: int, scenario: str, split: str, episode: int, factor: float) -> dict[str, object]:
    cost = (100.0 + 10.0 * (episode % 100)) * factor
    row: dict[str, object] = dict.fromkeys(METRICS, 0.5)
    row.update(policy=policy, kind=KIND[policy], training_seed=seed, scenario=scenario, split=split)
    row.update(
        episode=episode, decisions=4, cost_s=cost, completion_cost_s=0.75 * cost, cpu_cost_s=0.25 * cost
    )
    if policy == "best_found":
        row.update(agreement=float("nan"))
    return row


@pytest.fixture
def evidence() -> Evidence:
    rows = []
    for (scenario, split), factors in FACTORS.items():
        episodes = VALIDATION if split == "validation" else TEST
        for (policy, factor), episode in itertools.product(factors.items(), episodes):
            for seed, extra in SPREAD.items() if policy == "ppo" else [(-1, 0.0)]:
                rows.append(_row(policy, seed, scenario, split, episode, factor + extra))
    for (scenario, factor), episode in itertools.product(FOUND.items(), SEARCHED):
        rows.append(_row("best_found", -1, scenario, "test", episode, factor))
    decisions = pd.DataFrame(
        {"action": ["hde", "hde", "zstd", "zstd"], "oracle_action": ["hde", "hde", "hde", "zstd"]}
    )
    decisions = decisions.assign(policy="ppo", training_seed=0, scenario="wan", episode=200, step=range(4))
    curves = pd.DataFrame(
        [
            ("ppo", seed, step, 0.9 + 10 * extra - step / 1000, -1.0)
            for seed, extra in SPREAD.items()
            for step in (0, 100)
        ],
        columns=["policy", "training_seed", "step", "validation_cost", "train_reward"],
    )
    return Evidence(pd.DataFrame(rows), decisions, curves)


ROOT = Path(__file__).parents[2]
TINY = """
name: tiny
title: Does a run hold together?
seed: 3
environment: {scenarios: [metro], held_out: [lossy], requests: 16}
evaluation:
  train_episodes: 4
  validation_episodes: 2
  test_episodes: 3
  search_episodes: 1
  search_passes: 1
  resamples: 100
  baselines: [best_static, one_step_oracle]
policies: [none, zstd, hde, amst, estimate, ensemble, nn19, one_step_oracle]
supervised:
  episodes_per_scenario: 4
  xgb: {trees: 5, depth: 3}
  network: {layers: [8], dropout: [0.1], epochs: 2}
learners:
  - {kind: ppo, seeds: 2, steps: 2048, envs: 8, rollout: 32, batch: 64, epochs: 2, layers: [16]}
  - {kind: dqn, seeds: 1, steps: 2048, envs: 8, buffer: 2000, batch: 32, learning_starts: 200, n_step: 3,
     layers: [16]}
evaluate_every: 512
export: {parity_rows: 200}
"""

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def run_command(*words: object) -> "subprocess.CompletedProcess[str]":
    """``python -m experiments`` with these words, in a process of its own; that it compiles is not told."""
    command = [sys.executable, "-m", "experiments", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    done.stderr = re.sub(r"^compiling .*\n", "", done.stderr, flags=re.MULTILINE)
    return done


@pytest.fixture(scope="session")
def dwcp_gym() -> Command:
    return run_command


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Fills a folder by a name once, also where several test processes ask for it."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared

    def fill(name: str, make: Callable[[Path], object]) -> Path:
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (shared / name).exists():
                fresh = shared / f"{name}.fresh"
                fresh.mkdir()
                make(fresh)
                fresh.rename(shared / name)
        return shared / name

    return fill


@pytest.fixture(scope="session")
def tiny_config(once) -> Path:
    """Config of the least run that has every stage."""
    return once("tiny-config", lambda folder: (folder / "tiny.yaml").write_text(TINY)) / "tiny.yaml"


@pytest.fixture(scope="session")
def finished(once, tiny_config: Path) -> Path:
    """Results folder of the tiny run, made by two workers; ``tiny/latest`` in it is the run."""

    def make(folder: Path) -> None:
        done = run_command("run", tiny_config, "workers=2", "--results", folder)
        assert (done.returncode, done.stderr) == (0, "")
        (folder / "printed.txt").write_text(done.stdout)

    return once("finished", make)


@pytest.fixture
def finished_run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run's folder, to spoil."""
    source = (finished / "tiny" / "latest").resolve()
    return Path(shutil.copytree(source, tmp_path / "results" / "tiny" / source.name))
