"""Runs and bundles whose figures can be worked out by hand, and a true run: the least with every stage."""

import fcntl
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from experiments.cli import main
from experiments.evidence import METRICS, Evidence
from experiments.shadow.bundle import open_bundle
from experiments.shadow.bundle_format import digest, seal
from experiments.shadow.writer import ParityRows, Told, write_bundle
from sim.errors import InputError

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
def say(monkeypatch, capsys):
    """Runs the command line in this process: code, standard output, lines of standard error."""

    def call(*words: object) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["dwcp-gym", *map(str, words)])
        try:
            main()
            code = 0
        except SystemExit as leave:
            code = int(leave.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err.splitlines()

    return call


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
  lookahead_episodes: 1
  lookahead_futures: 2
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


class Linear:
    """Bundles whose scores are ``features @ weights``: what they must answer can be worked out by hand.

    Of the last row both scores are 2 + 3 = 3 + 2 = 5: a tie, and the first action is taken.
    """

    names = ("rtt_ms", "loss", "size_mb")
    files = ("policy.onnx", "manifest.json", "parity_features.npy", "parity_actions.npy", "parity_scores.npy")
    rows = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 3, 1]], np.float32)
    weights = np.array([[1, 0], [0, 1], [3, 2]], np.float32)
    answers = np.array([0, 1, 0, 0])

    def model(self, nodes, inputs, initializers, opset=18):
        graph = helper.make_graph(
            nodes,
            "linear",
            inputs,
            [
                helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"]),
                helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 2]),
            ],
            initializers,
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        helper.set_model_props(proto, {"action_sizes": "[2]", "scores": "action_values"})
        return proto

    def graph(self, weights=None):
        """Scores are ``obs @ weights``: what it must answer can be worked out by hand."""
        nodes = [
            helper.make_node("MatMul", ["obs", "weights"], ["scores"]),
            helper.make_node("ArgMax", ["scores"], ["action"], axis=1, keepdims=0),
        ]
        weights = self.weights if weights is None else weights
        obs = helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["batch", len(weights)])
        return self.model(nodes, [obs], [numpy_helper.from_array(weights, "weights")])

    def masked_graph(self):
        nodes = [
            helper.make_node("MatMul", ["obs", "weights"], ["scores"]),
            helper.make_node("Where", ["action_mask", "scores", "least"], ["allowed"]),
            helper.make_node("ArgMax", ["allowed"], ["action"], axis=1, keepdims=0),
        ]
        inputs = [
            helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("action_mask", TensorProto.BOOL, ["batch", 2]),
        ]
        least = numpy_helper.from_array(np.array(-1e8, np.float32), "least")
        return self.model(nodes, inputs, [numpy_helper.from_array(self.weights, "weights"), least])

    def told(self, **changed):
        return Told(
            "linear",
            "other",
            "compression",
            [{"name": name, "unit": "", "low": 0, "high": None} for name in self.names],
            ["zstd", "hde"],
            {"kind": "Discrete", "sizes": [2]},
            {"seeds": {"training": 3}},
            {"cost_s": 3.5, "regret": float("nan")},
        )._replace(**changed)

    def write(self, path, graph=None, answers=None, masks=None, **changed):
        return write_bundle(
            path,
            graph or self.graph(),
            self.told(**changed),
            ParityRows(self.rows, self.answers if answers is None else answers, masks),
            np.repeat(self.rows, 25, axis=0),
        )

    def edit(self, bundle, *, resealed=True, **changed):
        path = bundle / "manifest.json"
        manifest = json.loads(path.read_text()) | changed
        if resealed:
            manifest["seal"] = seal(manifest)
        path.write_text(json.dumps(manifest))

    def put(self, bundle, name, content):
        """Exchange a file, with hash, length and seal that fit."""
        (bundle / name).write_bytes(content)
        files = json.loads((bundle / "manifest.json").read_text())["files"]
        self.edit(bundle, files=files | {name: {"sha256": digest(content), "bytes": len(content)}})

    def zipped(self, path, members, **arguments):
        with zipfile.ZipFile(path, "w", **arguments) as archive:
            for name, content in members:
                archive.writestr(name, content)
        return path

    def members(self, bundle):
        return [(name, (bundle / name).read_bytes()) for name in self.files]

    def refused(self, path, message):
        with pytest.raises(InputError, match=message) as error:
            open_bundle(path)
        assert "\n" not in str(error.value)


@pytest.fixture(scope="session")
def linear() -> Linear:
    return Linear()


@pytest.fixture(scope="session")
def intact(once, linear) -> Path:
    """A bundle to look at."""
    return once("linear-bundle", lambda folder: linear.write(folder / "linear")) / "linear"


@pytest.fixture
def bundle(intact, tmp_path) -> Path:
    """A copy of it, to spoil."""
    return Path(shutil.copytree(intact, tmp_path / "linear"))
