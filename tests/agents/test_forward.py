"""The policy in numpy against Stable-Baselines3's own predict."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from agents.learners.forward import network_policy
from agents.learners.models import make_model
from agents.learners.settings import Learner
from agents.learners.training_env import training_envs
from envs.features import CODEC_FEATURES

ROWS = 5000
SETTINGS = {
    "ppo with tanh": {"kind": "ppo", "activation": "tanh", "layers": [64, 64]},
    "ppo with relu": {"kind": "ppo", "activation": "relu", "layers": [128, 32]},
    "dqn": {"kind": "dqn", "layers": [64, 64]},
    "dqn of one layer with tanh": {"kind": "dqn", "activation": "tanh", "layers": [24]},
}


@pytest.fixture(scope="module", params=SETTINGS.values(), ids=SETTINGS.keys())
def model(request, pool, three_codecs):
    settings = {"envs": 2, "rollout": 8, "batch": 16, "steps": 100, "learning_starts": 10} | request.param
    if settings["kind"] == "dqn":
        del settings["rollout"]
    else:
        del settings["learning_starts"]
    made = make_model(
        TypeAdapter(Learner).validate_python(settings), training_envs(pool, three_codecs, 2, 0.01), seed=3
    )
    with torch.no_grad():  # at its start PPO's last layer is a hundredth of the others: nearly all is a tie
        for parameter in made.policy.parameters():
            parameter.mul_(1.0 if parameter.ndim == 1 else 3.0).add_(0.05 * torch.randn_like(parameter))
    return made


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(2).uniform(-1, 1, (ROWS, len(CODEC_FEATURES))).astype(np.float32)


def test_actions_are_those_of_predict_on_5000_rows(model, rows):
    expected, _ = model.predict(rows, deterministic=True)
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(network_policy("x", model).act(rows), expected)


def test_a_single_row_gets_the_action_that_it_gets_in_a_batch(model, rows):
    policy = network_policy("x", model)
    single = [policy.act(row) for row in rows[:200]]
    assert all(type(action) is int for action in single)
    np.testing.assert_array_equal(single, policy.act(rows[:200]))


def test_a_policy_does_not_change_when_its_model_learns_on(model, rows):
    policy = network_policy("x", model)
    before = policy.scores(rows[:10])
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(1.0)
    np.testing.assert_array_equal(policy.scores(rows[:10]), before)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.sub_(1.0)


def test_a_mask_leaves_the_best_of_what_is_allowed(model, rows):
    policy = network_policy("x", model)
    mask = np.array([True, False, True])
    expected = np.where(mask, policy.scores(rows), -np.inf).argmax(axis=1)
    np.testing.assert_array_equal(policy.act(rows, mask), expected)
