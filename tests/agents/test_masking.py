"""Masked DQN and QR-DQN: nothing forbidden is ever taken, and where all is allowed nothing is changed."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import QRDQN
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.learners.masking import MaskColumns, MaskedDQN, MaskedQRDQN

FEATURES, ACTIONS = 6, 5
GAMMA = 0.9
STATES = 6
ALLOWED = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 0], [0, 1, 0], [1, 0, 0]], bool)
NEXT = np.array([[1, 2, 0], [3, 0, 4], [0, 5, 3], [4, 0, 0], [0, 0, 0], [2, 0, 0]])
GAIN = np.array(
    [[0.1, 0.3, 9.0], [0.2, 9.0, 0.0], [9.0, 0.1, 0.4], [0.6, 0.2, 9.0], [9.0, 0.5, 9.0], [0.3, 9.0, 9.0]]
)
"""A gain of 9 stands where nothing may be taken: a learner whose target looks there values all too high."""


class Puzzle(gym.Env):
    """Six states, moves without chance, no end."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (STATES,), np.float32)
        self.action_space = spaces.Discrete(3)

    def action_masks(self):
        return ALLOWED[self.state]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(STATES))
        return np.eye(STATES, dtype=np.float32)[self.state], {}

    def step(self, action):
        assert ALLOWED[self.state, action]
        gain, self.state = GAIN[self.state, action], int(NEXT[self.state, action])
        return np.eye(STATES, dtype=np.float32)[self.state], float(gain), False, False, {}


class Dice(gym.Env):
    """Observations and masks by chance; episodes of 7 steps."""

    def __init__(self, allowed_share: float) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (FEATURES,), np.float32)
        self.action_space = spaces.Discrete(ACTIONS)  # one a model: it is the model's dice
        self.share = allowed_share

    def _observe(self):
        self.mask = self.np_random.random(ACTIONS) < self.share
        self.mask[self.np_random.integers(ACTIONS)] = True
        return self.np_random.uniform(-1, 1, FEATURES).astype(np.float32)

    def action_masks(self):
        return self.mask

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action):
        assert self.mask[action]
        self.steps += 1
        gain = float(action) / ACTIONS + float(self.np_random.normal())
        return self._observe(), gain, self.steps == 7, False, {}


def dice(count: int, share: float) -> DummyVecEnv:
    return DummyVecEnv([lambda: Dice(share)] * count)


SETTINGS = {
    "learning_starts": 60, "buffer_size": 500, "batch_size": 16, "train_freq": 2, "learning_rate": 3e-3,
    "target_update_interval": 40, "exploration_fraction": 0.5, "seed": 5, "device": "cpu",
}  # fmt: skip
NET = {"net_arch": [16]}
QUANTILES = {"net_arch": [16], "n_quantiles": 5}


@pytest.fixture(params=["dqn", "qrdqn"])
def kinds(request):
    """Masked class, plain class, the masked one's own arguments, network."""
    if request.param == "dqn":
        return MaskedDQN, DQN, {"double": False}, NET
    return MaskedQRDQN, QRDQN, {}, QUANTILES


def test_nothing_forbidden_is_taken_over_100_000_random_masks(kinds):
    masked, _, own, net = kinds
    model = masked("MlpPolicy", dice(1, 0.5), policy_kwargs=net, **SETTINGS, **own)
    with torch.no_grad():  # values so wide apart that the best is often one that is forbidden
        for parameter in model.policy.parameters():
            parameter.mul_(20.0)
    rng = np.random.default_rng(1)
    rows = rng.uniform(-1, 1, (100_000, FEATURES)).astype(np.float32)
    masks = rng.random((len(rows), ACTIONS)) < rng.random((len(rows), 1))
    masks[np.arange(len(rows)), rng.integers(ACTIONS, size=len(rows))] = True
    model.exploration_rate = 0.5
    for part in np.array_split(np.arange(len(rows)), 100):  # a coin a part: random or best
        taken, _ = model.predict(rows[part], action_masks=masks[part])
        assert np.all(masks[part, taken])
    best, _ = model.predict(rows, deterministic=True, action_masks=masks)
    free, _ = model.predict(rows, deterministic=True, action_masks=np.ones_like(masks))
    assert np.all(masks[np.arange(len(rows)), best])
    assert np.mean(free != best) > 0.2


def test_random_choices_are_even_among_what_is_allowed(kinds):
    masked, _, own, net = kinds
    model = masked("MlpPolicy", dice(1, 0.5), policy_kwargs=net, **SETTINGS, **own)
    model.exploration_rate = 1.0
    masks = np.tile(np.array([True, False, True, False, True]), (30_000, 1))
    taken, _ = model.predict(np.zeros((len(masks), FEATURES), np.float32), action_masks=masks)
    # 10 000 each, standard deviation sqrt(30 000 * 1/3 * 2/3) = 82
    np.testing.assert_allclose(np.bincount(taken, minlength=ACTIONS), [10_000, 0] * 2 + [10_000], atol=4 * 82)


def test_nothing_forbidden_is_taken_or_stored_in_a_training(kinds):
    masked, _, own, net = kinds
    model = masked("MlpPolicy", dice(4, 0.3), policy_kwargs=net, n_steps=3, **SETTINGS, **own)
    model.learn(1500)  # the environment asserts it, too
    replay = model.replay_buffer
    size = replay.size()
    masks = replay.observations[:size, :, FEATURES:]
    taken = np.take_along_axis(masks, replay.actions[:size].astype(int), axis=2)
    assert np.all(taken == 1.0)
    assert 0.2 < masks.mean() < 0.7
    assert np.all(replay.next_observations[:size, :, FEATURES:][replay.dones[:size] == 1] == 1.0)


@pytest.mark.parametrize("n_steps", [1, 3])
def test_where_all_is_allowed_a_training_has_the_bits_of_the_plain_algorithm(kinds, n_steps):
    masked, plain, own, net = kinds
    settings = SETTINGS | {"n_steps": n_steps}
    # one after the other: the dice of exploration and replay are numpy's own, seeded when a model is made
    ours = masked("MlpPolicy", dice(3, 1.0), policy_kwargs=dict(net), **settings, **own).learn(900)
    theirs = plain("MlpPolicy", dice(3, 1.0), policy_kwargs=dict(net), **settings).learn(900)
    size = theirs.replay_buffer.size()
    assert ours._n_updates == theirs._n_updates > 100
    np.testing.assert_array_equal(ours.replay_buffer.actions[:size], theirs.replay_buffer.actions[:size])
    expected = theirs.policy.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in ours.policy.state_dict().items())


def solved(allowed: np.ndarray) -> np.ndarray:
    """Q* of the puzzle by value iteration, if the target looks at the actions that are ``allowed``."""
    values = np.zeros((STATES, 3))
    for _ in range(1000):
        values = GAIN + GAMMA * np.where(allowed, values, -np.inf).max(axis=1)[NEXT]
    return values


@pytest.mark.parametrize(
    ("masked", "own", "net", "n_steps"),
    [
        (MaskedDQN, {"double": False}, {"net_arch": [64]}, 1),
        (MaskedDQN, {"double": True}, {"net_arch": [64]}, 1),
        (MaskedQRDQN, {}, {"net_arch": [64], "n_quantiles": 5}, 1),
        (MaskedDQN, {"double": True}, {"net_arch": [64]}, 2),
    ],
    ids=["plain target", "double", "quantiles", "two steps"],
)
def test_the_values_learned_are_those_of_value_iteration_among_allowed_actions(masked, own, net, n_steps):
    right, blind = solved(ALLOWED), solved(np.ones_like(ALLOWED))
    assert np.abs(blind - right)[ALLOWED].min() > 10  # a target that forgets the mask is far off
    model = masked(
        "MlpPolicy", DummyVecEnv([Puzzle] * 8), policy_kwargs=net, gamma=GAMMA, n_steps=n_steps,
        learning_rate=lambda left: 4e-3 * left, learning_starts=200, buffer_size=4000, batch_size=64,
        train_freq=2, gradient_steps=2, target_update_interval=80, exploration_fraction=0.3,
        exploration_final_eps=0.3, seed=2, device="cpu", **own,
    )  # fmt: skip
    model.learn(10_000)
    rows = torch.as_tensor(np.concatenate([np.eye(STATES), ALLOWED], axis=1), dtype=torch.float32)
    with torch.no_grad():
        if masked is MaskedQRDQN:
            values = model.quantile_net(rows).mean(dim=1).numpy()
        else:
            values = model.q_net(rows).numpy()
    np.testing.assert_array_equal(values.argmax(axis=1), np.where(ALLOWED, right, -np.inf).argmax(axis=1))
    if n_steps == 1:  # longer returns hold the random choices that were taken
        np.testing.assert_allclose(values[ALLOWED], right[ALLOWED], atol=0.01)


def test_a_double_target_is_the_target_networks_value_of_what_the_online_network_would_choose():
    model = MaskedDQN("MlpPolicy", dice(1, 0.5), policy_kwargs=NET, double=True, **SETTINGS)
    single = MaskedDQN("MlpPolicy", dice(1, 0.5), policy_kwargs=NET, double=False, **SETTINGS)
    with torch.no_grad():
        for parameter in model.q_net_target.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    single.policy.load_state_dict(model.policy.state_dict())
    rng = np.random.default_rng(4)
    masks = rng.random((500, ACTIONS)) < 0.6
    masks[:, 0] |= ~masks.any(axis=1)
    rows = torch.as_tensor(
        np.concatenate([rng.uniform(-1, 1, (500, FEATURES)), masks], axis=1), dtype=torch.float32
    )
    with torch.no_grad():
        online, targets, got = (
            single.q_net(rows),
            single.q_net_target(rows),
            model.q_net_target(rows).max(dim=1).values,
        )
    expected = targets.gather(1, online.argmax(dim=1, keepdim=True)).squeeze(1)
    assert torch.equal(got, expected)
    assert torch.any(got < targets.max(dim=1).values)


def test_a_model_loaded_from_a_file_still_forbids_and_still_targets_double(tmp_path):
    model = MaskedDQN("MlpPolicy", dice(2, 0.5), policy_kwargs=NET, double=True, **SETTINGS)
    model.learn(200)
    model.save(tmp_path / "model.zip")
    loaded = MaskedDQN.load(tmp_path / "model.zip", device="cpu")
    envs = MaskColumns(dice(2, 0.5))
    envs.seed(3)
    rows = torch.as_tensor(envs.reset())
    with torch.no_grad():
        for name in ("q_net", "q_net_target"):
            assert torch.equal(getattr(loaded, name)(rows), getattr(model, name)(rows))
    loaded.set_env(dice(2, 0.5))
    loaded.learn(100, reset_num_timesteps=False)
