"""Policies of one question each, put together in a config: from the catalogue and from bundles."""

import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from pydantic import ValidationError

from agents.catalogue import make_policy
from agents.play import play
from envs.compression import Compression
from envs.joint import Joint
from experiments.compositions import composed
from experiments.config import CompositionConfig, ExperimentConfig
from experiments.pipeline import check, evaluate_stages, train_stages
from experiments.publish import publish
from experiments.run_folder import RunFolder
from experiments.shadow.writer import ParityRows, Told, write_bundle
from sim.catalogue import find_scenario
from sim.episode import draw_episode
from sim.errors import InputError

SITE = find_scenario("flash-crowd").with_(requests=24, slots=2)
ENV = Joint(SITE)
RULES = {"dispatch": "wspt", "share": "wsrpt"}


def always(folder, env, chosen):
    """A bundle for the codec question that gives one and the same answer."""
    count, features = int(env.action_space.n), env.features
    nodes = [
        helper.make_node("MatMul", ["obs", "weights"], ["nothing"]),
        helper.make_node("Add", ["nothing", "bias"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["action"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "always",
        [helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["batch", len(features)])],
        [
            helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", count]),
        ],
        [
            numpy_helper.from_array(np.zeros((len(features), count), np.float32), "weights"),
            numpy_helper.from_array(np.eye(count, dtype=np.float32)[chosen], "bias"),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(proto, {"action_sizes": json.dumps([count]), "scores": "probabilities"})
    told = Told(
        "always",
        "static",
        "compression",
        [{"name": one.name, "unit": "", "low": None, "high": None} for one in features.features],
        [codec.name for codec in env.codecs],
        {"kind": "Discrete", "sizes": [count]},
    )
    write_bundle(
        folder, proto, told, ParityRows(np.zeros((3, len(features)), np.float32), np.full(3, chosen))
    )
    return str(folder)


def test_a_bundle_in_a_composition_answers_as_the_rule_it_holds(tmp_path):
    folder = always(tmp_path / "hde", Compression(SITE), 2)
    episode = draw_episode(SITE, 3)
    learned = composed(CompositionConfig(name="learned", codec=folder, **RULES), ENV)
    assert learned.name == "learned"
    cost = play(ENV, episode, learned).cost
    assert cost == play(ENV, episode, make_policy("hde_wspt_wsrpt", ENV)).cost
    by_name = composed(CompositionConfig(name="by_name", codec="hde", **RULES), ENV)
    assert cost == play(ENV, episode, by_name).cost


def test_a_bundle_of_other_codecs_or_another_question_is_refused(tmp_path):
    folder = always(tmp_path / "few", Compression(SITE, ["none", "zstd"]), 1)
    with pytest.raises(InputError, match="expected the actions none, zstd, hde, amst, got none, zstd; train"):
        composed(CompositionConfig(name="few", codec=folder, **RULES), ENV)
    with pytest.raises(InputError, match=r"expected 'c0_present' as in the environment, got 'rtt_ms'"):
        composed(CompositionConfig(name="few", codec="hde", dispatch=folder, share="equal"), ENV)


@pytest.mark.parametrize(
    ("policies", "complaint"),
    [
        (
            {"codec": "estimat"},
            r"compositions\.trial\.codec: unknown policy 'estimat' .* did you mean 'estim",
        ),
        ({"codec": "ppo"}, r"compositions\.trial\.codec: unknown policy 'ppo'"),
        ({"dispatch": "hde"}, r"compositions\.trial\.dispatch: unknown policy 'hde'"),
        ({"share": "bundles/none"}, "bundles/none: cannot be read: No such file"),
    ],
)
def test_an_unknown_policy_is_refused_in_one_line(policies, complaint):
    with pytest.raises(InputError, match=complaint) as refused:
        composed(CompositionConfig.model_validate({"name": "trial", "codec": "hde"} | RULES | policies), ENV)
    assert "\n" not in str(refused.value)


def config_of(**changed):
    given = {
        "name": "composed",
        "title": "Does a composition run?",
        "environment": {"id": "dwcp/Joint-v0", "scenarios": ["metro"], "requests": 10},
        "evaluation": {"train_episodes": 1, "validation_episodes": 1, "test_episodes": 2, "resamples": 100}
        | {"baselines": ["best_static", "own"]},
        "policies": ["plain"],
        "compositions": [{"name": "own", "codec": "contention", "dispatch": "edf", "share": "srpt"}],
    }
    return ExperimentConfig.model_validate(given | changed)


class SameProcess:
    """A crew of one."""

    def map(self, stage, function, tasks, units=None):
        return [function(task) for task in tasks]


def test_a_composition_stands_in_the_comparison_and_others_may_be_set_against_it(tmp_path):
    config = config_of()
    check(config, "trial.yaml")
    with RunFolder.create(config, tmp_path) as run:
        train_stages(run, config, SameProcess())
        evaluate_stages(run, config, SameProcess())
        summary = publish(run, config)
    of_own = [row for row in summary["rows"] if row["policy"] == "own" and row["metric"] == "cost_s"]
    assert {row["split"] for row in of_own} == {"validation", "test"}
    assert any((pair["policy"], pair["against"]) == ("plain", "own") for pair in summary["paired"])


def test_names_must_differ_and_only_the_joint_environment_takes_compositions():
    own = config_of().compositions[0].model_dump()
    with pytest.raises(ValidationError, match="'own' names two rows of the comparison"):
        config_of(compositions=[own, own])
    with pytest.raises(ValidationError, match="compositions answer all three questions; leave them out"):
        config_of(environment={"id": "dwcp/Compression-v0", "scenarios": ["metro"]}, policies=["zstd"])
