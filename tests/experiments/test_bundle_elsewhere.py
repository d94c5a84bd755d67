"""The same bundle gives the same actions elsewhere: with NumPy and onnxruntime alone, and in Node."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO

from agents.learners.masking import MaskedDQN
from agents.supervised.ensemble import Ensemble
from agents.supervised.network import Layer, NetworkConfig
from agents.supervised.trees import TreesConfig
from envs.compression import Compression
from experiments.actions import action_names, described
from experiments.bundles import rule_bundle
from experiments.onnx_graphs import sb3_graph, selector_graph
from experiments.shadow import single_file
from experiments.shadow.single_file import write_single_file
from experiments.shadow.writer import ParityRows, Told, write_bundle
from sim.catalogue import find_scenario

ENV = Compression([find_scenario("metro").with_(requests=24), find_scenario("wan").with_(requests=24)])
LOW, HIGH = ENV.features.rules[:, 0], ENV.features.rules[:, 1]
ROWS = 500


def told(name, kind):
    features = [vars(one) for one in ENV.features.features]
    return Told(name, kind, "compression", features, action_names(ENV), described(ENV))


def anywhere(rng):
    """Features anywhere in their ranges and beyond: even on their scales."""
    observations = rng.uniform(-1.1, 1.1, (ROWS, len(LOW))).astype(np.float32)
    return np.clip(ENV.features.unscaled(observations), -1e30, 1e30).astype(np.float32)


def learned(folder, name, model, masked):
    rng = np.random.default_rng(2)
    rows = anywhere(rng)
    observations = ENV.features.scaled(rows.astype(np.float64))
    masks = rng.random((ROWS, 4)) < 0.5
    masks[np.arange(ROWS), np.arange(ROWS) % 4] = True
    given = {"action_masks": masks} if masked else {}
    expected = model.predict(observations, deterministic=True, **given)[0]
    checked = ParityRows(rows, expected, masks if masked else None)
    write_bundle(folder / f"{name}.zip", sb3_graph(model, masked=masked), told(name, "learner"), checked)


@pytest.fixture(scope="session")
def bundles(once):
    """A bundle of each kind: PPO, masked PPO, masked DQN, the ensemble and two rules."""

    def make(folder):
        given = {"seed": 1, "device": "cpu"}
        learned(folder, "ppo", PPO("MlpPolicy", ENV, **given), masked=False)
        learned(folder, "masked_ppo", MaskablePPO("MlpPolicy", ENV, **given), masked=True)
        learned(folder, "masked_dqn", MaskedDQN("MlpPolicy", ENV, buffer_size=10, **given), masked=True)
        rng = np.random.default_rng(3)
        rows = anywhere(rng)
        observations = ENV.features.scaled(rows.astype(np.float64))
        labels = 2 * (observations[:, 0] > 0) + (observations[:, 6] > 0)
        network = NetworkConfig(layers=(Layer(32),), epochs=2)
        ensemble = Ensemble(4, trees=TreesConfig(rounds=20), network=network)
        held = observations[400:], labels[400:]
        ensemble.fit(observations[:400], labels[:400], None, validation=held, rng=rng)
        checked = ParityRows(rows, ensemble.act(observations))
        write_bundle(
            folder / "ensemble.zip", selector_graph(ensemble), told("ensemble", "supervised"), checked
        )
        for name in ("estimate", "mode_rule"):
            rule_bundle(folder / f"{name}.zip", name, ENV, range(8), ROWS)

    return once("bundles", make)


def _run(command, **given):
    return subprocess.run(command, capture_output=True, text=True, check=False, **given)


@pytest.fixture(scope="session")
def bare_python(once):
    """A Python that has NumPy and onnxruntime, and what they need."""

    def make(folder):
        venv.create(folder / "venv", with_pip=True)
        versions = [f"{one.__name__}=={one.__version__}" for one in (np, onnxruntime)]
        installed = _run([folder / "venv" / "bin" / "python", "-m", "pip", "install", "-q", *versions])
        (folder / "error.txt").write_text("" if installed.returncode == 0 else installed.stderr)

    folder = once("bare-python", make)
    if error := (folder / "error.txt").read_text():
        pytest.skip(f"pip cannot install NumPy and onnxruntime here: {error.strip().splitlines()[-1]}")
    return folder / "venv" / "bin" / "python"


def test_one_file_reads_every_bundle_where_there_is_nothing_but_numpy_and_onnxruntime(
    bundles, bare_python, tmp_path
):
    write_single_file(tmp_path / "dwcp_loader.py")
    program = (
        "import sys, dwcp_loader\n"
        "for path in sys.argv[1:]:\n"
        "    policy = dwcp_loader.load(path)\n"
        "    action = policy.act(policy.row({'rtt_ms': 80, 'bandwidth_mbps': 200, 'size_mb': 64}))\n"
        "    print(policy.name, *policy.parity[:3], policy.actions[action])\n"
        "foreign = {'sim', 'envs', 'agents', 'experiments', 'pyarrow', 'pandas', 'onnx', 'torch', 'scipy'}\n"
        "assert not foreign & set(sys.modules), foreign & set(sys.modules)\n"
    )
    paths = sorted(bundles.glob("*.zip"))
    assert len(paths) == 6
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = _run([bare_python, "-c", program, *paths], cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    for path, line in zip(paths, done.stdout.splitlines(), strict=True):
        name, rows, equal, ties, action = line.split()
        assert (name, rows, int(equal) + int(ties)) == (path.stem, str(ROWS), ROWS)
        assert action in action_names(ENV)
    (tmp_path / "torn.zip").write_bytes(paths[0].read_bytes()[:5000])
    refused = _run([bare_python, "-c", program, tmp_path / "torn.zip"], cwd=tmp_path, env=environment)
    assert refused.returncode == 1 and "dwcp_loader.BundleError: " in refused.stderr.splitlines()[-1]


def test_reading_a_bundle_loads_no_learning_library(bundles):
    program = (
        "import sys; from experiments.shadow.bundle import open_bundle; open_bundle(sys.argv[1]);"
        "learning = ('torch', 'stable_baselines3', 'xgboost', 'onnx', 'pyarrow');"
        "print([name for name in learning if name in sys.modules])"
    )
    done = _run([sys.executable, "-c", program, bundles / "ppo.zip"], cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "[]", done.stderr


@pytest.fixture(scope="session")
def node(once):
    """A folder in which Node finds onnxruntime-web and the script."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no node or no npm here")

    def make(folder):
        installed = _run(["npm", "install", "--no-audit", "--no-fund", "onnxruntime-web@1.30.0"], cwd=folder)
        (folder / "error.txt").write_text("" if installed.returncode == 0 else installed.stderr)
        shutil.copy(Path(single_file.__file__).with_name("check.mjs"), folder)

    folder = once("node", make)
    if error := (folder / "error.txt").read_text():
        pytest.skip(f"npm cannot install onnxruntime-web here: {error.strip().splitlines()[0]}")
    return folder


@pytest.mark.parametrize("name", ["ppo", "masked_ppo", "masked_dqn", "ensemble", "estimate", "mode_rule"])
def test_every_parity_row_comes_out_the_same_in_node(bundles, node, name):
    done = _run(["node", "check.mjs", bundles / f"{name}.zip"], cwd=node)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["rows"], found["equal"]) == (ROWS, ROWS)
    assert found["score_error"] < 1e-5


def test_node_refuses_an_altered_file_and_reads_a_folder(bundles, node, tmp_path):
    shutil.unpack_archive(bundles / "ppo.zip", tmp_path / "ppo")
    assert _run(["node", "check.mjs", tmp_path / "ppo"], cwd=node).returncode == 0
    whole = (tmp_path / "ppo" / "policy.onnx").read_bytes()
    (tmp_path / "ppo" / "policy.onnx").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    done = _run(["node", "check.mjs", tmp_path / "ppo"], cwd=node)
    assert done.returncode == 1 and "policy.onnx: expected sha256" in done.stderr
