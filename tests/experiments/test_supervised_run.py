"""A supervised run: all stages, resumed, with a page that shows baselines, ceilings, drift; and bad input."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest

from agents.supervised.model import Part
from experiments.supervised.feedback import accuracy, watch
from experiments.supervised.nodes import METRICS, features
from experiments.supervised.registry import earlier, read_registry, register
from experiments.supervised.task import Measure, Watched
from experiments.supervised.windows import Windows, against_habit
from sim.errors import InputError
from sim.randomness import stream

QUICK = Path(__file__).parents[2] / "experiments" / "configs" / "supervised" / "quick.yaml"
TITLES = {
    "reliability": "Node reliability",
    "anomaly": "Anomaly detector",
    "consensus": "Consensus latency",
    "selector": "Compression selector",
}
PAIRS = {"links": ("reliability", "anomaly"), "groups": ("consensus", "selector")}
"""Two at a time: what one test waits for stays short on a busy machine."""


def only(pair: str) -> list[str]:
    return [word for name in PAIRS[pair] for word in ("--only", name)]


@pytest.fixture(scope="session")
def reported(once, dwcp_gym):
    """Gives the results of two models of the quick config."""

    def of(pair: str) -> Path:
        def make(folder: Path) -> None:
            done = dwcp_gym("supervised", "report", QUICK, *only(pair), "--results", folder)
            assert (done.returncode, done.stderr) == (0, "")

        return once(f"supervised-{pair}", make)

    return of


def run_of(results: Path) -> Path:
    return (results / "quick" / "latest").resolve()


@pytest.mark.parametrize("pair", PAIRS)
def test_the_page_shows_every_model_with_baseline_ceiling_latency_and_drift(reported, pair):
    run = run_of(reported(pair))
    page = (run / "report.md").read_text("utf-8")
    for name in PAIRS[pair]:
        assert f"\n## {TITLES[name]}\n" in page
    for part in ("| naive | ceiling | target |", "## Drift and feedback", "## Versions", "## Limits"):
        assert part in page
    pictures = [line.split("](")[1].rstrip(")") for line in page.splitlines() if line.startswith("![")]
    assert len(pictures) == 6
    assert all((run / picture).stat().st_size > 5000 for picture in pictures)


@pytest.mark.parametrize("pair", PAIRS)
def test_each_graph_answers_as_its_model_and_within_ten_milliseconds_at_the_median(reported, pair):
    run = run_of(reported(pair))
    for name in PAIRS[pair]:
        told = json.loads((run / name / "evaluation.json").read_text("utf-8"))
        for graph, one in told["models"].items():
            assert one["gap"] < 1e-3, graph
            assert one["p50_ms"] < 10, graph
            session = onnxruntime.InferenceSession(str(run / name / f"{graph}.onnx"))
            shape = [size if isinstance(size, int) else 3 for size in session.get_inputs()[0].shape]
            outputs = session.run(None, {"rows": np.zeros(shape, np.float32)})[0]
            assert outputs.shape == (3, len(one["outputs"]))


def test_a_run_that_is_done_does_nothing_again_and_a_missing_stage_alone_is_made_up(reported, say, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(reported("links"), results, symlinks=True)
    run = run_of(results)
    kept = (run / "reliability" / "boosted.npz").read_bytes()
    (run / "stages" / "evaluate-reliability").unlink()
    (run / "reliability" / "card.md").unlink()
    code, printed, _ = say("supervised", "report", QUICK, *only("links"), "--results", results)
    assert code == 0
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("evaluated")] == [
        "reliability"
    ]
    assert "trained" not in printed
    assert (run / "reliability" / "card.md").exists()
    assert (run / "reliability" / "boosted.npz").read_bytes() == kept


def test_feedback_records_hold_what_was_predicted_and_what_came(reported):
    table = pq.read_table(run_of(reported("links")) / "anomaly" / "feedback.parquet")
    assert table.column_names == ["model", "version", "day", "predicted", "actual", "accuracy"]
    said, came = (table[name].to_numpy() for name in ("predicted", "actual"))
    assert table["accuracy"].to_numpy() == pytest.approx(accuracy(said, came))


def test_the_registry_keeps_one_version_a_model_and_run_and_knows_the_one_before(tmp_path):
    path = tmp_path / "registry.json"
    for run, value in (("a", 0.5), ("a", 0.6), ("b", 0.7)):
        register(path, {"model": "m", "version": run, "run": run, "measures": {"recall": value}})
    assert [(one["run"], one["measures"]["recall"]) for one in read_registry(path)] == [
        ("a", 0.6),
        ("b", 0.7),
    ]
    assert earlier(path, "m", "b")["version"] == "a"
    path.write_text("{")
    with pytest.raises(InputError, match="torn or foreign"):
        read_registry(path)


def watched(shift=0.0, wrong=0.0) -> Watched:
    rng = stream(1, "watched")
    now = rng.standard_normal((2000, 4)).astype(np.float32)
    day = np.arange(2000) // 500
    now[day >= 2] += shift
    actual = np.ones(2000)
    predicted = np.where((day >= 3) & (rng.random(2000) < wrong), 0.0, 1.0)
    before = rng.standard_normal((3000, 4)).astype(np.float32)
    return Watched(["a", "b", "c", "d"], before, now, day, predicted, actual)


def test_nothing_is_to_be_trained_again_while_rows_and_answers_stay_as_they_were():
    assert watch("m", "v", watched()).retrain_on is None


def test_a_shift_of_features_or_a_fall_of_accuracy_calls_for_training_on_its_day():
    drifted, worse = watch("m", "v", watched(shift=1.0)), watch("m", "v", watched(wrong=0.4))
    assert drifted.retrain_on == 2
    assert "features drift" in drifted.days[2].reasons[0]
    assert worse.retrain_on == 3
    assert "accuracy 0.6" in worse.days[3].reasons[0]


def test_accuracy_is_one_less_the_relative_error_as_published():
    assert accuracy(np.array([90.0, 0.0, 5.0]), np.array([100.0, 0.0, -5.0])).tolist() == [0.9, 1.0, 0.0]


def test_a_target_is_met_missed_or_beyond_the_ceiling_also_where_less_is_better():
    assert Measure("a", 0.99, target=0.98).verdict == "met"
    assert Measure("a", 0.97, target=0.98, ceiling=0.99).verdict == "missed"
    assert (
        Measure("a", 0.02, target=0.01, ceiling=0.015, lower_is_better=True).verdict == "beyond the ceiling"
    )
    assert Measure("a", 0.02, target=0.05, ceiling=0.0, lower_is_better=True).verdict == "met"


def test_features_of_a_node_and_scores_against_a_habit_do_not_look_ahead():
    metrics = np.abs(stream(2, "metrics").standard_normal((1700, len(METRICS))))
    other = metrics.copy()
    other[1600:] *= 50
    assert np.allclose(features(metrics)[:1600], features(other)[:1600], atol=1e-4)
    least = np.full(len(METRICS), 0.1)
    assert np.array_equal(against_habit(metrics, least)[:1600], against_habit(other, least)[:1600])


def test_a_window_holds_an_event_from_its_first_step_to_its_last():
    event = np.zeros((1, 12), np.bool_)
    event[0, 5] = True
    open_ = np.zeros((1, 12), np.bool_)
    open_[0, 10] = True
    windows = Windows(np.arange(24, dtype=np.float32).reshape(1, 12, 2), event, open_, 4)
    assert np.flatnonzero(windows.any_event[0]).tolist() == [2, 3, 4, 5]  # ends at steps 5 to 8
    assert np.flatnonzero(~windows.counted[0]).tolist() == [7, 8]  # ends at steps 10 and 11
    assert windows.at(np.array([0]), np.array([2]))[0, :, 0].tolist() == [4, 6, 8, 10]
    assert isinstance(windows.sample(3, stream(1, "windows")), Part)
    late = windows._replace(before=3)
    assert np.flatnonzero(~late.counted[0]).tolist() == [0, 1, 2, 7, 8]
    assert late.at(np.array([0]), np.array([3]))[0, :, 0].tolist() == [0, 2, 4, 6, 8, 10, 12]
    rows, truth = late.stretches(50, stream(1, "stretches"))
    assert rows.shape == (50, 7, 2)
    assert (truth == (rows[:, :, 0] == 10)).all()  # step 5


def test_wrong_models_and_scenarios_are_refused_in_one_line(say, tmp_path):
    for words, told in (
        (["--only", "relaibility"], "--only: expected one of"),
        (["watch.scenario=nowhere"], "nowhere"),
        (["models=[reliability, reliability]"], "stands twice"),
        (["consensus.network.steps=1"], "consensus.network.steps"),
        (
            ["--only", "consensus", "consensus.detector.before=2000"],
            "consensus.detector.before: leaves no window",
        ),
    ):
        code, _, errors = say("supervised", "train", QUICK, *words, "--results", tmp_path)
        assert (code, len(errors)) == (2, 1)
        assert told in errors[0]


def test_evaluating_what_was_never_trained_says_what_to_do(say, tmp_path):
    code, _, errors = say("supervised", "evaluate", QUICK, "--results", tmp_path)
    assert code == 2
    assert "is not trained yet; `dwcp-gym supervised train` its config first" in errors[0]
