"""The verbs of a rollout, as an operator types them: into a store, on, back, and what they refuse."""

import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from experiments.rollout.error_rates import Truth, rates
from experiments.rollout.gates import read_gates
from experiments.shadow.writer import ParityRows, Told, write_bundle
from sim.randomness import stream


def always(path, action):
    """A bundle that always gives one of two answers."""
    nodes = [
        helper.make_node("MatMul", ["obs", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "bias"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["action"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["batch", 1])],
        [
            helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 2]),
        ],
        [
            numpy_helper.from_array(np.zeros((1, 2), np.float32), "zero"),
            numpy_helper.from_array(np.eye(2, dtype=np.float32)[action], "bias"),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(proto, {"action_sizes": "[2]", "scores": "action_values"})
    features = [{"name": "size_mb", "unit": "MiB", "low": 0, "high": 9, "scale": "linear"}]
    told = Told(f"always_{action}", "rule", "compression", features, ["zstd", "hde"], {"kind": "Discrete"})
    rows = stream(0, "parity").uniform(0, 9, (20, 1)).astype(np.float32)
    return write_bundle(path, proto, told, ParityRows(rows, np.full(20, action)))


@pytest.fixture
def store(tmp_path, say):
    for action in (0, 1):
        always(tmp_path / f"{action}.zip", action)
    folder = tmp_path / "store"
    bundles = ("--incumbent", str(tmp_path / "0.zip"), "--bundle", str(tmp_path / "1.zip"))
    code, out, _ = say("shadow", "candidate", str(folder), *bundles)
    assert code == 0
    assert "always_0" in out
    assert "always_1" in out
    return folder


def test_an_operator_begins_a_rollout_looks_at_it_and_takes_it_back(store, say, tmp_path):
    code, _, err = say("shadow", "advance", str(store), "--region", "eu")
    assert (code, len(err)) == (2, 1)
    assert "validated 0 of 1" in err[0]
    because = ("--region", "eu", "--because", "the team agreed")
    code, out, _ = say("shadow", "advance", str(store), *because, "--force")
    assert code == 0
    assert "offline -> shadow (operator): the team agreed" in out
    code, out, _ = say("shadow", "status", str(store), "--history", "--json", str(tmp_path / "status.json"))
    assert code == 0
    assert "eu: shadow, 0% of the keys" in out
    assert "not yet" in out
    document = json.loads((tmp_path / "status.json").read_text("utf-8"))
    assert document["regions"][0]["stage"] == "shadow"
    assert document["steps"][0]["why"] == "the team agreed"
    code, out, _ = say("shadow", "advance", str(store), "--all")
    assert "stays" in out
    code, out, _ = say("shadow", "rollback", str(store), *because)
    assert "shadow -> offline (operator)" in out
    code, _, err = say("shadow", "rollback", str(store), *because)
    assert code == 2
    assert "nothing to take back" in err[0]


def test_gates_of_a_store_are_printed_changed_and_kept(store, say):
    code, out, _ = say("shadow", "gates", str(store), "steps.shadow.days=3")
    assert code == 0
    assert say("shadow", "gates", str(store))[1] == out
    with_days = read_gates(None, ["steps.shadow.days=3"])
    assert f"days: {with_days.steps[1].days}" in out
    code, _, err = say("shadow", "gates", str(store), "guard.accurcy=0.9")
    assert code == 2
    assert "did you mean" in err[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("shadow", "status", "nowhere"), "no store here"),
        (("shadow", "candidate", "somewhere"), "expected --bundle, --incumbent or both"),
        (("shadow", "rollback", "nowhere", "--because", "x"), "no store here"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(say, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    code, _, err = say(*words)
    assert (code, len(err)) == (2, 1)
    assert told in err[0]


def test_force_needs_a_reason_and_nothing_is_trained_before_it_is_due(store, say):
    code, _, err = say("shadow", "advance", str(store), "--force")
    assert code == 2
    assert "--because" in err[0]
    code, out, _ = say("shadow", "retrain", str(store))
    assert code == 0
    assert "not due" in out
    code, _, err = say("shadow", "retrain", str(store), "--force")
    assert code == 2
    assert "expected at least 5000 decisions with outcomes, got 0" in err[0]


def test_simulated_gates_take_bad_ones_back_and_leave_those_at_the_limits():
    gates = read_gates(None, [f"steps.{one.name}.decisions=1000" for one in read_gates().steps[1:]])
    edge = Truth(saved=-0.02, wrong=0.05, slow=0.01, silent=0.005)
    assert rates(edge, gates, 100, stream(0, "edge"), stages=("canary_50",), pushed=True).back <= 0.03
    for fault in ({"saved": -0.5}, {"wrong": 0.15}, {"slow": 0.04}, {"silent": 0.03}):
        found = rates(Truth(**fault), gates, 100, stream(0, "bad"), stages=("canary_50",), pushed=True)
        assert found.back > 0.97
        assert found.decisions < 10_000
