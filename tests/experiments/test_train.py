"""The training stages: references, selectors and learners of a true, tiny run, and what is refused."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from agents.catalogue import static_policies
from agents.play import play
from agents.supervised.ensemble import Ensemble
from agents.supervised.two_class import TwoClassNetwork
from experiments.config import ExperimentConfig
from experiments.splits import episodes_of
from experiments.train import (
    _do,
    _Job,
    _references,
    best_seed,
    learner_folder,
    load_selector,
    selector_policy,
    trained_policy,
)
from sim.errors import InputError
from sim.settings import load


@pytest.fixture(scope="module")
def config(tiny_config) -> ExperimentConfig:
    return load(tiny_config, ExperimentConfig)


@pytest.fixture(scope="module")
def run(finished):
    return (finished / "tiny" / "latest").resolve()


def test_references_are_the_runs_of_the_constant_that_is_best_on_validation(run, config):
    episodes = episodes_of(config)
    env = episodes.make_env()
    drawn = [episodes.draw(place) for place in episodes.places("validation")]
    best = min(static_policies(env), key=lambda policy: sum(play(env, one, policy).cost for one in drawn))
    for one in _references(run, config).pool:
        assert one.accrued[-1] == pytest.approx(play(env, one.episode, best).cost, rel=1e-12)


def test_par_is_the_least_mean_validation_cost_of_a_constant(run, config):
    episodes = episodes_of(config)
    env = episodes.make_env()
    drawn = [episodes.draw(place) for place in episodes.places("validation")]
    means = [
        np.mean([play(env, episode, policy).cost for episode in drawn]) for policy in static_policies(env)
    ]
    assert _references(run, config).best_static == {"metro": pytest.approx(min(means), rel=1e-12)}


def test_a_curve_has_a_row_a_leg_in_shares_of_par(run, config):
    for name, seed in (("ppo", 0), ("ppo", 1), ("dqn", 0)):
        curve = pd.read_csv(learner_folder(run, name, seed) / "curves.csv")
        assert curve["step"].tolist() == [512, 1024, 1536, 2048]
        assert curve["policy"].unique().tolist() == [name]
        assert curve["training_seed"].unique().tolist() == [seed]
        assert curve["validation_cost"].between(0.1, 20).all()
        episodes, policy = episodes_of(config), trained_policy(run, config, name, seed)
        drawn = [episodes.draw(place) for place in episodes.places("validation")]
        cost = np.mean([play(episodes.make_env(), episode, policy).cost for episode in drawn])
        par = _references(run, config).best_static["metro"]
        assert curve["validation_cost"].min() == pytest.approx(cost / par, rel=1e-12)


def test_the_best_seed_is_that_of_the_least_validation_cost(run, config):
    costs = [
        pd.read_csv(learner_folder(run, "ppo", seed) / "curves.csv")["validation_cost"] for seed in (0, 1)
    ]
    assert best_seed(run, config, "ppo") == int(costs[1].min() < costs[0].min())


def test_two_seeds_are_two_trainings(run, config):
    curves = [pd.read_csv(learner_folder(run, "ppo", seed) / "curves.csv") for seed in (0, 1)]
    assert not curves[0]["train_reward"].equals(curves[1]["train_reward"])


def test_a_selector_answers_through_its_graph_as_it_does_itself(run, config):
    episodes = episodes_of(config)
    rows = []
    policy = trained_policy(run, config, "ensemble", -1)
    for place in episodes.places("test"):
        play(episodes.make_env(), episodes.draw(place), policy, watch=lambda _, row, __: rows.append(row))
    rows = np.array(rows)
    for name, kind in (("ensemble", Ensemble), ("nn19", TwoClassNetwork)):
        selector = load_selector(run, name)
        assert isinstance(selector, kind)
        np.testing.assert_array_equal(selector_policy(run, name).act(rows), selector.act(rows))


def test_a_learner_that_is_done_writes_its_curve_again_without_training(finished_run, config, monkeypatch):
    path = learner_folder(finished_run, "ppo", 1) / "curves.csv"
    before = path.read_bytes()
    path.unlink()
    monkeypatch.setattr("agents.learners.legs._run_leg", lambda *_: pytest.fail("it trained again"))
    _do(_Job(config, finished_run, "ppo", 1))
    assert path.read_bytes() == before


def test_selectors_that_are_there_are_not_trained_again(finished_run, config, monkeypatch):
    monkeypatch.setattr("experiments.train.label", lambda *_: pytest.fail("it labelled again"))
    _do(_Job(config, finished_run, "selectors", -1))
    shutil.rmtree(finished_run / "selectors")
    with pytest.raises(pytest.fail.Exception):
        _do(_Job(config, finished_run, "selectors", -1))


@pytest.mark.parametrize("spoil", ["truncated", "missing", "foreign", "incomplete"])
def test_torn_references_are_refused_with_the_stage_to_repeat(finished_run, config, spoil):
    path = finished_run / "references.npz"
    if spoil == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif spoil == "missing":
        path.unlink()
    elif spoil == "foreign":
        path.write_text("no archive")
    else:
        with np.load(path) as arrays:
            np.savez(path, **dict(list(arrays.items())[1:]))
    with pytest.raises(
        InputError, match=r"references\.npz: expected the reference runs .* remove"
    ) as refused:
        _references(finished_run, config)
    assert "\n" not in str(refused.value)


def test_a_torn_curve_or_model_or_graph_is_refused(finished_run, config):
    (learner_folder(finished_run, "ppo", 0) / "curves.csv").write_text("")
    with pytest.raises(InputError, match=r"curves\.csv: expected the curve of a training"):
        best_seed(finished_run, config, "ppo")
    model = learner_folder(finished_run, "dqn", 0) / "best.zip"
    model.write_bytes(model.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"best\.zip: expected a saved DQN model"):
        trained_policy(finished_run, config, "dqn", 0)
    graph = finished_run / "selectors" / "ensemble.onnx"
    graph.write_bytes(graph.read_bytes()[:500])
    with pytest.raises(InputError, match=r"ensemble\.onnx: expected a policy graph") as refused:
        selector_policy(finished_run, "ensemble")
    assert "\n" not in str(refused.value)
    graph.unlink()
    with pytest.raises(InputError, match="train it again"):
        selector_policy(finished_run, "ensemble")


def test_seeds_and_versions_stand_in_the_run(run):
    assert json.loads((run / "seeds.json").read_text()) == {
        "seed": 3,
        "learners": {"ppo": [0, 1], "dqn": [0]},
    }
    assert json.loads((run / "versions.json").read_text())["packages"]["torch"]
