"""The policy in numpy against Stable-Baselines3's own predict."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from pydantic import TypeAdapter
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.learners.forward import network_policy
from agents.learners.models import make_model
from agents.learners.settings import Learner

ROWS, FEATURES = 5000, 42
CHOICE = spaces.Discrete(3)
PARTS = spaces.MultiDiscrete([4, 2, 3])
SHARES = spaces.Box(-0.2, 0.2, (4,), np.float32)
SETTINGS = {
    "ppo with tanh": (CHOICE, {"kind": "ppo", "activation": "tanh", "layers": [64, 64]}),
    "ppo with relu": (CHOICE, {"kind": "ppo", "activation": "relu", "layers": [128, 32]}),
    "ppo of several parts": (PARTS, {"kind": "ppo", "layers": [32]}),
    "ppo of shares": (SHARES, {"kind": "ppo", "layers": [32, 32], "action_sd": 0.5}),
    "masked ppo": (CHOICE, {"kind": "masked_ppo", "layers": [64]}),
    "masked ppo of several parts": (PARTS, {"kind": "masked_ppo", "layers": [64]}),
    "dqn": (CHOICE, {"kind": "dqn", "layers": [64, 64]}),
    "dqn of one layer with tanh": (CHOICE, {"kind": "dqn", "activation": "tanh", "layers": [24]}),
    "masked dqn": (CHOICE, {"kind": "masked_dqn", "layers": [64, 64]}),
    "qrdqn": (CHOICE, {"kind": "qrdqn", "layers": [64], "quantiles": 25}),
}


class Still(gym.Env):
    """Spaces, and all that a model asks of them before its first step."""

    def __init__(self, action_space: spaces.Space) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (FEATURES,), np.float32)
        self.action_space = action_space

    def action_masks(self):
        raise NotImplementedError


def made(action_space: spaces.Space, settings: dict):
    config = TypeAdapter(Learner).validate_python(settings | {"envs": 2, "seeds": 1})
    model = make_model(config, DummyVecEnv([lambda: Still(action_space)] * 2), seed=3)
    with torch.no_grad():  # at its start PPO's last layer is a hundredth of the others: nearly all is a tie
        noise = torch.Generator().manual_seed(1)
        for parameter in model.policy.parameters():
            factor = 1.0 if parameter.ndim == 1 else 3.0
            parameter.mul_(factor).add_(0.05 * torch.randn(parameter.shape, generator=noise))
    return model


@pytest.fixture(scope="module", params=SETTINGS)
def model(request):
    return made(*SETTINGS[request.param])


@pytest.fixture(scope="module", params=[name for name in SETTINGS if "masked" in name or "qr" in name])
def masked(request):
    return made(*SETTINGS[request.param])


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(2).uniform(-1, 1, (ROWS, FEATURES)).astype(np.float32)


def masks_of(action_space: spaces.Space) -> np.ndarray:
    """Masks by chance that leave at least one action of each part."""
    rng, parts = np.random.default_rng(3), []
    for size in getattr(action_space, "nvec", [getattr(action_space, "n", 0)]):
        part = rng.random((ROWS, size)) < 0.5
        part[np.arange(ROWS), rng.integers(size, size=ROWS)] = True
        parts.append(part)
    return np.concatenate(parts, axis=1)


def best(model, rows) -> np.ndarray:
    """SB3's own answer where all is allowed."""
    if model.observation_space.shape == (FEATURES,):
        return model.predict(rows, deterministic=True)[0]
    everything = np.ones((len(rows), model.action_space.n), bool)
    return model.predict(rows, deterministic=True, action_masks=everything)[0]


def test_actions_are_those_of_predict_on_5000_rows(model, rows):
    expected, actions = best(model, rows), network_policy("x", model).act(rows)
    assert len(np.unique(expected, axis=0)) > 1
    assert actions.dtype == expected.dtype
    if isinstance(model.action_space, spaces.Box):
        np.testing.assert_allclose(actions, expected, atol=2e-6)  # sums in another order
        assert 0.1 < np.mean(np.abs(expected) == SHARES.high) < 0.9  # many are clipped, many are not
    else:
        np.testing.assert_array_equal(actions, expected)


def test_actions_under_masks_are_those_of_predict_under_masks_on_5000_rows(masked, rows):
    masks = masks_of(masked.action_space)
    expected, _ = masked.predict(rows, deterministic=True, action_masks=masks)
    np.testing.assert_array_equal(network_policy("x", masked).act(rows, masks), expected)
    assert np.any(expected != best(masked, rows))


def test_a_single_row_gets_the_action_that_it_gets_in_a_batch(model, rows):
    policy = network_policy("x", model)
    single = [policy.act(row) for row in rows[:200]]
    if isinstance(model.action_space, spaces.Discrete):
        assert all(type(action) is int for action in single)
    else:
        assert all(action.shape == model.action_space.shape for action in single)
        assert all(model.action_space.contains(action) for action in single)
    np.testing.assert_allclose(single, policy.act(rows[:200]), atol=1e-6)


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


def test_a_mask_leaves_the_best_of_what_is_allowed(rows):
    policy = network_policy("x", made(*SETTINGS["dqn"]))
    mask = np.array([True, False, True])
    expected = np.where(mask, policy.scores(rows), -np.inf).argmax(axis=1)
    np.testing.assert_array_equal(policy.act(rows, mask), expected)


@pytest.mark.parametrize("action_space", [CHOICE, PARTS, SHARES])
def test_a_recurrent_policy_answers_as_predict_does_that_is_handed_its_own_memory(action_space, rows):
    model = made(action_space, {"kind": "recurrent_ppo", "layers": [32], "units": 16})
    policy = network_policy("x", model)
    for episode in range(3):
        policy.reset()
        state, begins, actions = None, np.ones(1, bool), []
        for row in rows[50 * episode : 50 * (episode + 1)]:
            expected, state = model.predict(row, state=state, episode_start=begins, deterministic=True)
            begins = np.zeros(1, bool)
            actions.append(policy.act(row))
            np.testing.assert_allclose(actions[-1], expected, atol=5e-6)
        assert len(np.unique(actions, axis=0)) > 1
