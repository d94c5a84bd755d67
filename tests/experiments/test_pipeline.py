"""A whole run, tiny but true: its files, the same bytes from one worker or two, and going on after Ctrl-C."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from envs.features import CODEC_FEATURES
from experiments.config import ExperimentConfig
from experiments.evidence import METRICS
from experiments.pipeline import check
from experiments.publish import publish
from experiments.run_folder import RunFolder
from experiments.shadow.bundle import open_bundle
from sim.catalogue import find_scenario
from sim.errors import InputError
from sim.links import LTE_CHAIN, LinkModel
from sim.scenario_file import save_scenario
from sim.scenarios import PathSpec
from sim.settings import load

ROOT = Path(__file__).parents[2]
STAGES = ("references", "training", "evaluation", "lookahead", "search", "bound", "finished")
POLICIES = {"none", "zstd", "hde", "amst", "estimate", "ensemble", "nn19", "one_step_oracle", "ppo", "dqn"}


@pytest.fixture(scope="module")
def run(finished) -> Path:
    return (finished / "tiny" / "latest").resolve()


@pytest.fixture(scope="module")
def config(tiny_config) -> ExperimentConfig:
    return load(tiny_config, ExperimentConfig)


@pytest.fixture(scope="module")
def interrupted(once, tiny_config, dwcp_gym) -> Path:
    """The same run by one worker: Ctrl-C in the middle of training, `train` to its end, then `run`."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "experiments", "run", str(tiny_config), "workers=1"]
        started = subprocess.Popen(
            [*command, "--results", str(folder)],
            cwd=ROOT,
            start_new_session=True,
            # A test run in the background inherits that Ctrl-C is ignored; a terminal's does not.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        give_up = time.monotonic() + 120
        while not list(folder.glob("tiny/*/learners/ppo-0/checkpoints/leg-*")) and time.monotonic() < give_up:
            time.sleep(0.02)
        os.killpg(started.pid, signal.SIGINT)
        before = time.monotonic()
        _, complaint = started.communicate(timeout=60)
        (run,) = (folder / "tiny").glob("*-1")
        told = {
            "code": started.returncode,
            "complaint": complaint,
            "seconds": time.monotonic() - before,
            "stages": sorted(one.name for one in (run / "stages").iterdir()),
            "unwritten": [str(path) for path in run.rglob("curves.csv") if "ppo-1" in path.parts],
        }
        trained = dwcp_gym("train", tiny_config, "workers=2", "--results", folder)
        told["trained"] = (trained.returncode, trained.stderr, trained.stdout)
        models = sorted(run.glob("learners/*/best.zip")) + sorted(run.glob("selectors/*.onnx"))
        times = {str(path.relative_to(run)): path.stat().st_mtime_ns for path in models}
        done = dwcp_gym("run", tiny_config, "workers=1", "--results", folder)
        told["done"] = (done.returncode, done.stderr)
        told["trained again"] = [name for name, at in times.items() if (run / name).stat().st_mtime_ns != at]
        told["models"] = len(times)
        (folder / "told.json").write_text(json.dumps(told))

    return once("interrupted", make)


@pytest.fixture(scope="module")
def told(interrupted) -> dict:
    return json.loads((interrupted / "told.json").read_text())


def test_ctrl_c_during_training_ends_with_130_within_seconds_and_says_how_to_go_on(told):
    assert told["code"] == 130
    assert told["seconds"] < 10
    *compiling, complaint = told["complaint"].splitlines()
    assert complaint == "dwcp-gym: interrupted; the same command goes on from here"
    assert all(line.startswith("compiling") for line in compiling)
    assert told["stages"] == ["references"]
    assert told["unwritten"] == []


def test_an_interrupted_run_goes_on_and_does_not_train_twice(told, interrupted):
    code, complaint, printed = told["trained"]
    assert (code, complaint) == (0, "")
    assert re.search(r"^trained +.*tiny/[0-9a-f]{8}-1$", printed, re.M)
    assert told["done"] == [0, ""]
    assert told["models"] == 3 + 2
    assert told["trained again"] == []
    assert [
        one.name for one in (interrupted / "tiny").iterdir() if one.is_dir() and not one.is_symlink()
    ] == [(interrupted / "tiny" / "latest").resolve().name]


@pytest.mark.parametrize("name", ["episodes.parquet", "decisions.parquet", "summary.json", "references.npz"])
def test_one_worker_interrupted_and_two_that_were_not_leave_the_same_bytes(run, interrupted, name):
    assert (run / name).read_bytes() == (interrupted / "tiny" / "latest" / name).read_bytes()


def _without_latency(report: str) -> str:
    """A report without what depends on the machine: microseconds of a decision."""
    return re.sub(r"^\| (ppo|dqn) \| [\d.]+ \| \d+ \| \d+ \|$", "", report, flags=re.M)


def test_reports_and_figures_of_both_are_the_same(run, interrupted):
    other = interrupted / "tiny" / "latest"
    assert _without_latency((run / "report.md").read_text()) == _without_latency(
        (other / "report.md").read_text()
    )
    for figure in sorted((run / "figures").iterdir()):
        assert figure.read_bytes() == (other / "figures" / figure.name).read_bytes(), figure.name
    curves = sorted(path.relative_to(run) for path in run.rglob("curves.csv"))
    assert len(curves) == 3
    assert all((run / path).read_bytes() == (other / path).read_bytes() for path in curves)


def test_every_file_that_outlives_a_run_is_there_and_nothing_half_written(run):
    for name in (
        "config.yaml",
        "versions.json",
        "seeds.json",
        "report.md",
        "summary.json",
        "episodes.parquet",
    ):
        assert (run / name).stat().st_size > 0
    assert {one.name for one in (run / "stages").iterdir()} == set(STAGES)
    for learner in ("ppo-0", "ppo-1", "dqn-0"):
        (checkpoint,) = (run / "learners" / learner / "checkpoints").iterdir()
        assert checkpoint.name == "leg-4"
        assert (checkpoint / "model.zip").exists()
        assert (checkpoint / "replay.pkl").exists() == (learner == "dqn-0")
    assert not list(run.rglob(".tmp-*"))
    assert (run.parent / "latest").resolve() == run
    assert load(run / "config.yaml", ExperimentConfig).seed == 3


def test_the_summary_is_tidy_and_names_every_policy(run):
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary) == {"rows", "paired"}
    known = {"policy", "scenario", "split", "metric", "value", "unit"}
    for row in summary["rows"]:
        assert known <= set(row) <= known | {"low", "high"}
        assert ("low" in row) == ("high" in row)
        if row.get("low") is not None:
            assert row["low"] <= row["high"]
    for row in summary["paired"]:
        assert list(row) == [
            "policy", "against", "scenario", "split", "metric", "difference", "low", "high",
            "probability_of_improvement",
        ]  # fmt: skip
        assert row["low"] <= row["difference"] <= row["high"]
        assert 0 <= row["probability_of_improvement"] <= 1
    costs = [row for row in summary["rows"] if row["metric"] == "cost_s" and row["split"] == "test"]
    (ahead,) = {row["policy"] for row in costs if row["scenario"] == "metro"} - POLICIES - {"best_found"}
    assert ahead in ("ppo_ahead", "dqn_ahead")
    assert {row["unit"] for row in costs} == {"s"}
    assert {row["against"] for row in summary["paired"]} == {"best_static", "one_step_oracle"}


def test_costs_of_the_summary_are_means_of_the_episodes(run):
    episodes = pd.read_parquet(run / "episodes.parquet")
    for row in json.loads((run / "summary.json").read_text())["rows"]:
        if row["metric"] == "cost_s" and row["scenario"] != "all":
            same = episodes[["policy", "scenario", "split"]] == [
                row[k] for k in ("policy", "scenario", "split")
            ]
            assert row["value"] == pytest.approx(episodes.loc[same.all(axis=1), "cost_s"].mean(), rel=1e-9)
    assert set(METRICS) <= set(episodes)


def test_the_report_shows_its_figures_and_every_policy(run):
    report = (run / "report.md").read_text()
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", report)
    assert {Path(one).stem for one in shown} >= {
        "learning_curves",
        "cost_by_scenario",
        "timeline",
        "confusion",
    }
    for one in shown:
        assert (run / one).read_bytes()[:4] == b"\x89PNG"
    assert all(policy in report for policy in POLICIES)
    assert "Does a run hold together?" in report
    assert str(run.parents[2]) not in report


def test_every_policy_writes_to_tensorboard_under_the_same_tags(run):
    folders = {f"{name}/seed{seed}" for name, seed in (("ppo", 0), ("ppo", 1), ("dqn", 0))}
    folders |= POLICIES - {"ppo", "dqn"}
    for folder in folders:
        events = EventAccumulator(str(run / "tensorboard" / folder))
        events.Reload()
        tags = set(events.Tags()["scalars"])
        assert {
            "eval/cost_relative",
            "test/cost_relative",
            "test/goodput_mbps",
            "held-out/cost_relative",
        } <= tags
        if "/" in folder:
            steps = [event.step for event in events.Scalars("eval/cost_relative")]
            assert steps == [512, 1024, 1536, 2048]


def test_both_bundles_verify_and_say_where_they_come_from(run):
    for name in ("ppo", "dqn"):
        bundle = open_bundle(run / "bundles" / name, CODEC_FEATURES.names)
        assert len(bundle.parity.wrong) == 0
        assert bundle.actions == ("none", "zstd", "hde", "amst")
        training = bundle.manifest["training"]
        assert training["policy"] == training["config"]["name"] == name
        assert training["data"]["experiment"] == "tiny" and training["data"]["scenarios"] == ["metro"]
        assert training["seeds"]["experiment"] == 3
        assert bundle.manifest["scores"] == {"ppo": "probabilities", "dqn": "action_values"}[name]
        assert set(bundle.manifest["metrics"]["cost_s"]) == {"metro"}
    assert [row["policy"] for row in json.loads((run / "models.json").read_text())] == ["ppo", "dqn"]


def test_another_run_of_a_finished_config_gets_a_folder_of_its_own(finished_run, config):
    root = finished_run.parents[1]
    with RunFolder.create(config, root) as again:
        assert again.path.name == finished_run.name.replace("-1", "-2")
        assert not again.stage_done("training")
    assert (finished_run.parent / "latest").resolve() == again.path


def test_a_run_without_its_last_stage_goes_on_in_the_same_folder(finished_run, config):
    (finished_run / "stages" / "finished").unlink()
    with RunFolder.create(config, finished_run.parents[1]) as again:
        assert again.path == finished_run
        assert again.stage_done("training")


def test_publishing_again_writes_the_same_bytes(finished_run, config):
    names = ["summary.json", "report.md", "figures/timeline.png", "figures/learning_curves.png"]
    before = [(finished_run / name).read_bytes() for name in names]
    shutil.rmtree(finished_run / "figures")
    publish(RunFolder(finished_run), config)
    assert [(finished_run / name).read_bytes() for name in names] == before


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"environment": {"scenarios": ["metrro"]}}, "unknown name 'metrro'; did you mean 'metro'"),
        ({"environment": {"scenarios": ["metro"], "held_out": ["losy"]}}, "did you mean 'lossy'"),
        ({"environment": {"scenarios": ["metro"], "codecs": ["none", "zst"]}}, "did you mean 'zstd'"),
        ({"policies": ["zstd", "estimat"]}, "did you mean 'estimate'"),
        ({"policies": ["zstd", "ppo"]}, "unknown name 'ppo'"),
        ({"policies": ["zstd", "best_fund"]}, "unknown name 'best_fund'"),
        (
            {"policies": ["nn19"], "environment": {"scenarios": ["metro"], "codecs": ["none", "zstd"]}},
            "nn19 chooses between hde and amst; add both",
        ),
        (
            {"policies": ["ensemble"], "evaluation": {"train_episodes": 1}},
            "expected at least 2.* add episodes",
        ),
        ({"environment": {"scenarios": ["no-such.yaml"]}}, r"no-such\.yaml"),
        ({"environment": {"scenarios": ["metro"], "traces": "no-such-folder"}}, "no-such-folder"),
    ],
)
def test_names_that_there_are_not_are_refused_before_anything_is_done(change, complaint):
    given = {
        "name": "x",
        "title": "x",
        "environment": {"scenarios": ["metro"]},
        "policies": ["zstd"],
    } | change
    if "codecs" not in given["environment"]:
        given["environment"] = {"codecs": ["none", "zstd", "hde", "amst"]} | given["environment"]
    else:
        given["policies"] = [name for name in given["policies"] if name == "nn19"] or ["none"]
    with pytest.raises(InputError, match=complaint) as refused:
        check(ExperimentConfig.model_validate(given), "x.yaml")
    assert "\n" not in str(refused.value)


PPO = {"kind": "ppo", "seeds": 1}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"learners": []}, "expected a learner without a memory"),
        ({"learners": [{"kind": "recurrent_ppo", "seeds": 1}]}, "expected a learner without a memory"),
        ({"environment": {"scenarios": ["CHAINED"]}}, "links of chained, which go by chain"),
        ({"environment": {"scenarios": ["metro"], "traces": "TRACES"}}, "no future is known of recorded"),
        (
            {"environment": {"id": "dwcp/Allocation-v0", "scenarios": ["wan"]}, "policies": ["equal"]},
            "one codec question at a time, got Allocation",
        ),
    ],
)
def test_what_cannot_look_ahead_is_refused_before_anything_is_done(tmp_path, change, complaint):
    spec = PathSpec(LinkModel(1e6, chain=LTE_CHAIN, loss=1e-7))
    chained = find_scenario("internet").with_(name="chained", paths=(spec,))
    save_scenario(chained, tmp_path / "chained.yaml")
    (tmp_path / "traces").mkdir()
    for number in range(5):
        (tmp_path / "traces" / f"{number}.csv").write_text("time_s,capacity_mbps\n0,10\n600,10\n")
    given = {
        "name": "x",
        "title": "x",
        "environment": {"scenarios": ["metro"]},
        "evaluation": {"lookahead_episodes": 1},
        "policies": ["zstd"],
        "learners": [PPO],
    } | change
    text = json.dumps(given).replace("CHAINED", str(tmp_path / "chained.yaml"))
    settings = ExperimentConfig.model_validate_json(text.replace("TRACES", str(tmp_path / "traces")))
    with pytest.raises(InputError, match=complaint) as refused:
        check(settings, "x.yaml")
    assert "evaluation.lookahead_episodes" in str(refused.value) and "set it to 0" in str(refused.value)
