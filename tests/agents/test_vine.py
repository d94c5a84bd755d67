"""Every answer tried on forks: what they cost, that copies do not notice, and that it is learned from."""

from functools import partial

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from agents.catalogue import static_policies
from agents.heuristics import Fixed
from agents.learners.branching_lanes import BranchingLanes, branching_envs
from agents.learners.checkpoints import read_checkpoint
from agents.learners.forward import network_policy
from agents.learners.legs import Plan, _described, _StopAtLegEnd, train
from agents.learners.models import load_model
from agents.learners.settings import Learner
from agents.learners.training_env import training_episode
from agents.learners.training_lanes import TrainingLanes
from agents.one_step_oracle import OneStepOracle
from agents.play import play
from agents.policy import Policy
from envs.compression import Compression
from envs.scheduling import Scheduling
from sim.episode import draw_episode

NAMES = ("none", "zstd", "hde", "amst")
ZSTD = NAMES.index("zstd")
LEG, STEPS = 320, 1024
SMALL = {
    "steps": STEPS, "envs": 4, "rollout": 16, "batch": 32, "epochs": 2, "layers": [16], "gamma": 0.9,
    "schedule": "linear",
}  # fmt: skip
KINDS = {
    "vine": SMALL | {"kind": "vine", "gap": 4, "branch_after": 0.4},
    "recurrent_ppo": SMALL | {"kind": "recurrent_ppo", "units": 8},
}


class Scripted(Policy):
    """Given answers first, then always the same one."""

    name = "scripted"

    def __init__(self, answers, then):
        self._answers, self._then = list(answers), then

    def act(self, observation, mask=None):
        return self._answers.pop(0) if self._answers else self._then


@pytest.fixture(scope="module")
def crowded():
    """Episodes in which transfers meet and baselines pay."""
    scenarios = [Compression(name).scenarios[0].with_(requests=24) for name in ("metro", "internet")]
    env = Compression(scenarios, NAMES)
    return [
        training_episode(env, draw_episode(one, seed), static_policies(env)[1])
        for one in scenarios
        for seed in range(2)
    ]


def lanes_on(kind, pool, count):
    env = Compression([one.episode.scenario for one in pool], NAMES)
    lanes = kind(env, pool, count, 1.0)
    lanes.seed(5)
    return lanes


def test_an_answer_tried_on_a_fork_costs_what_the_episode_costs_when_it_is_played_so(crowded):
    lanes = lanes_on(BranchingLanes, crowded, 3)
    lanes.reset()
    rng = np.random.default_rng(1)
    given = rng.integers(4, size=(10, 3))
    for actions in given:
        lanes.step(actions)
    found = lanes.branch(lambda rows: np.full(len(rows), ZSTD), 1.0)
    for copy, place in enumerate(lanes._lanes.places[:3]):
        one = crowded[place]
        env = Compression(one.episode.scenario, NAMES)
        scripts = [[*given[:, copy].tolist(), answer] for answer in range(4)]
        costs = np.array([play(env, one.episode, Scripted(script, ZSTD)).cost for script in scripts])
        alike = [other.mean_cost for other in crowded if other.episode.scenario is one.episode.scenario]
        beyond = (found[copy] - found[copy, 0]) * np.mean(alike)
        np.testing.assert_allclose(beyond, costs - costs[0], atol=1e-9 * costs[0])
    assert np.ptp(found, axis=1).min() > 0


def test_copies_do_not_notice_that_answers_were_tried(crowded):
    plain, branching = lanes_on(TrainingLanes, crowded, 3), lanes_on(BranchingLanes, crowded, 3)
    np.testing.assert_array_equal(plain.reset(), branching.reset())
    rng = np.random.default_rng(2)
    for number in range(60):
        if number % 7 == 3:
            branching.branch(lambda rows: np.full(len(rows), ZSTD), 0.9)
        actions = rng.integers(4, size=3)
        for one, other in zip(plain.step(actions)[:3], branching.step(actions)[:3], strict=True):
            np.testing.assert_array_equal(one, other)


def test_where_transfers_never_meet_it_finds_the_codec_of_each_path_from_few_decisions(
    pool, validation, unseen, make_env, tmp_path
):
    settings = {
        "kind": "vine", "steps": 4096, "envs": 16, "rollout": 32, "batch": 64, "epochs": 8, "rate": 3e-3,
        "branch_after": 0.0, "layers": [32, 32],
    }  # fmt: skip
    env = make_env()
    outcome = train(
        Plan(TypeAdapter(Learner).validate_python(settings), 7, 2048, make_env, {}),
        pool,
        lambda policy: sum(play(env, one, policy).cost for one in validation),
        tmp_path,
    )
    policy = network_policy("vine", load_model("vine", outcome.best))
    cost = sum(play(env, one, policy).cost for one in unseen)
    assert cost <= 1.02 * sum(play(env, one, OneStepOracle(env.codecs)).cost for one in unseen)
    assert cost < 0.9 * min(
        sum(play(env, one, Fixed("x", action)).cost for one in unseen) for action in range(len(env.codecs))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_stopped_in_a_leg_ends_with_the_bits_of_one_that_was_not(
    kind, pool, validation, make_env, tmp_path, monkeypatch
):
    plan = Plan(TypeAdapter(Learner).validate_python(KINDS[kind]), 7, LEG, make_env, {})
    env = make_env()
    run = partial(train, plan, pool, lambda policy: sum(play(env, one, policy).cost for one in validation))
    on_step = _StopAtLegEnd._on_step

    def stop(self):
        if self.num_timesteps == 2 * LEG + LEG // 2:
            raise KeyboardInterrupt
        return on_step(self)

    with monkeypatch.context() as patched:
        patched.setattr(_StopAtLegEnd, "_on_step", stop)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "stopped")
    ends = []
    for name in ("stopped", "whole"):
        outcome = run(tmp_path / name)
        stored = read_checkpoint(tmp_path / name / "checkpoints", kind, _described(plan), env)
        ends.append((outcome.curve, stored.model.policy.state_dict()))
    (curve, tensors), (expected_curve, expected) = ends
    assert [row["validation_cost"] for row in curve] == [row["validation_cost"] for row in expected_curve]
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_forks_are_refused_where_there_is_no_compiled_world_or_an_action_may_be_forbidden(crowded):
    env = Compression("metro", NAMES)
    with pytest.raises(ValueError, match="forks need the compiled world, got engine 'simpy'"):
        branching_envs(crowded, env, 2, 1.0, engine="simpy")
    with pytest.raises(
        ValueError, match="every answer can be tried where all are allowed, not in Scheduling"
    ):
        BranchingLanes(Scheduling("outages"), crowded, 2, 1.0)


def test_settings_that_cannot_be_are_refused_with_what_to_change():
    for settings, message in (
        ({"kind": "vine", "rollout": 8, "envs": 1, "batch": 8, "gap": 9}, "gap 9 must not exceed rollout 8"),
        ({"kind": "recurrent_ppo", "imitate": "hde"}, "knows neither imitate nor shared"),
    ):
        with pytest.raises(ValidationError, match=message):
            TypeAdapter(Learner).validate_python(settings)
