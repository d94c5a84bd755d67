"""A rule guides masked DQN: what it knows is learned at once, and what it does not know is learned, too."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from pydantic import TypeAdapter
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.catalogue import make_policy, static_policies
from agents.learners.checkpoints import read_checkpoint
from agents.learners.forward import network_policy
from agents.learners.guidance import GuidedDQN, margin_loss
from agents.learners.legs import Plan, _described, train
from agents.learners.masking import MaskedDQN
from agents.learners.settings import Learner
from agents.learners.training_env import training_episode
from agents.play import play
from agents.policy import Policy
from envs.scheduling import Scheduling
from sim.catalogue import find_scenario
from sim.episode import draw_episode

LENGTH = 12
SETTINGS = {
    "learning_starts": 100, "buffer_size": 4000, "batch_size": 64, "train_freq": 2, "learning_rate": 3e-3,
    "gradient_steps": 1, "target_update_interval": 100, "exploration_fraction": 0.5, "gamma": 0.9,
    "n_steps": 3, "exploration_final_eps": 0.1, "seed": 5, "device": "cpu",
    "policy_kwargs": {"net_arch": [32]},
}  # fmt: skip
SMALL = {
    "kind": "masked_dqn", "imitate": "wspt_reserve", "steps": 1024, "envs": 4,
    "buffer": 1000, "batch": 16, "learning_starts": 100, "train_freq": 2, "gradient_steps": 1,
    "target_update": 64, "layers": [16], "n_step": 3, "gamma": 0.9,
}  # fmt: skip


class Lock(gym.Env):
    """Twelve wheels, each with its own right one of two numbers; a third opens nothing and is forbidden.

    A wrong number ends the episode. Behind the last wheel wait two prizes, 1 and 3.
    """

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (LENGTH + 1,), np.float32)
        self.action_space = spaces.Discrete(3)

    def action_masks(self):
        return np.array([True, True, False])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.wheel = 0
        return self._seen(), {}

    def step(self, action):
        if self.wheel == LENGTH:
            return self._seen(), (1.0, 3.0)[action], True, False, {}
        right = action == self.wheel % 2
        self.wheel += int(right)
        return self._seen(), 0.0, not right, False, {}

    def _seen(self):
        return np.eye(LENGTH + 1, dtype=np.float32)[self.wheel]


class KnowsTheNumbers(Policy):
    """Opens every wheel, then takes the smaller prize."""

    name = "knows_the_numbers"

    def act(self, observation, mask=None):
        wheel = np.argmax(observation, axis=-1)
        return np.where(wheel == LENGTH, 0, wheel % 2)


def locks(count: int = 4) -> DummyVecEnv:
    return DummyVecEnv([Lock] * count)


def taken(model: MaskedDQN) -> list[int]:
    """The greedy action at each wheel and at the prizes."""
    masks = np.tile([True, True, False], (LENGTH + 1, 1))
    return model.predict(np.eye(LENGTH + 1), deterministic=True, action_masks=masks)[0].tolist()


def test_without_a_guide_a_training_has_the_bits_of_masked_dqn():
    ours = GuidedDQN("MlpPolicy", locks(), margin_weight=1.0, **SETTINGS).learn(1500)
    theirs = MaskedDQN("MlpPolicy", locks(), **SETTINGS).learn(1500)
    assert ours._n_updates == theirs._n_updates > 100
    expected = theirs.policy.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in ours.policy.state_dict().items())


def test_what_chance_does_not_find_is_learned_from_the_guide_and_then_more_than_it_knows():
    right = [wheel % 2 for wheel in range(LENGTH)]
    alone = MaskedDQN("MlpPolicy", locks(), **SETTINGS).learn(6000)
    assert taken(alone)[:LENGTH] != right  # by chance a lock opens once in 4096 episodes
    model = GuidedDQN("MlpPolicy", locks(), margin=0.1, margin_weight=0.01, **SETTINGS)
    model.guide = KnowsTheNumbers()
    model.learn(6000)
    assert taken(model) == [*right, 1]


def test_the_margin_alone_teaches_the_guides_choice_of_every_state():
    model = GuidedDQN("MlpPolicy", locks(), margin=0.1, margin_weight=100.0, **SETTINGS)
    model.guide = KnowsTheNumbers()
    model.learn(1500)
    assert taken(model) == [*(wheel % 2 for wheel in range(LENGTH)), 0]


def test_the_loss_asks_the_advised_value_to_lead_all_others_by_the_margin_and_no_more():
    values = torch.tensor([[5.0, 4.0, -1e8], [5.0, 4.75, -1e8], [4.0, 5.0, -1e8]], requires_grad=True)
    loss = margin_loss(values, torch.tensor([0, 0, 0]), margin=0.5)
    assert loss.item() == pytest.approx((0.0 + 0.25 + 1.5) / 3)
    loss.backward()
    third = 1 / 3
    np.testing.assert_allclose(values.grad, [[0, 0, 0], [-third, third, 0], [-third, third, 0]], rtol=1e-6)


def test_the_guide_does_not_travel_with_the_model(tmp_path):
    model = GuidedDQN("MlpPolicy", locks(), **SETTINGS)
    model.guide = KnowsTheNumbers()
    model.learn(200)
    model.save(tmp_path / "model.zip")
    loaded = GuidedDQN.load(tmp_path / "model.zip", device="cpu")
    assert loaded.guide is None
    assert taken(loaded) == taken(model)


@pytest.fixture(scope="module")
def shift():
    """A small site, and a pool of its episodes."""
    scenario = find_scenario("night-shift").with_(requests=16)

    def make_env() -> Scheduling:
        return Scheduling(scenario, slots=3)

    env = make_env()
    pool = [training_episode(env, draw_episode(scenario, seed), static_policies(env)[0]) for seed in range(4)]
    return make_env, pool


def test_a_guided_training_stopped_and_gone_on_with_ends_with_the_same_bits(shift, tmp_path):
    make_env, pool = shift
    plan = Plan(TypeAdapter(Learner).validate_python(SMALL), 7, 320, make_env, {})
    env, calls = make_env(), []

    def validate(policy):
        return play(env, pool[0].episode, policy).cost

    def stop_the_second_time(policy):
        calls.append(policy)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return validate(policy)

    train(plan, pool, validate, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(plan, pool, stop_the_second_time, tmp_path / "stopped")
    train(plan, pool, validate, tmp_path / "stopped")
    ends = [
        read_checkpoint(tmp_path / name / "checkpoints", "masked_dqn", _described(plan), env)
        for name in ("whole", "stopped")
    ]
    assert ends[0].curve == ends[1].curve
    states = [end.model.policy.state_dict() for end in ends]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert pickle.dumps(ends[0].model.replay_buffer.actions) == pickle.dumps(
        ends[1].model.replay_buffer.actions
    )


def test_a_rule_named_in_the_settings_is_imitated_more_closely_than_chance_learns_it(shift, tmp_path):
    make_env, pool = shift
    agreement = {}
    for rule in ("wspt_reserve", None):
        settings = SMALL | {"imitate": rule, "margin_weight": 10.0, "gradient_steps": 4}
        plan = Plan(TypeAdapter(Learner).validate_python(settings), 7, 1024, make_env, {})
        train(plan, pool, lambda policy: 0.0, tmp_path / str(rule))
        env, same = make_env(), []
        folder = tmp_path / str(rule) / "checkpoints"
        model = read_checkpoint(folder, "masked_dqn", _described(plan), env).model
        learned = network_policy("masked_dqn", model)

        def compare(world, observation, action, env=env, learned=learned, same=same):
            same.append(learned.act(observation, env.action_masks()) == action)

        play(env, pool[0].episode, make_policy("wspt_reserve", env), watch=compare)
        agreement[rule] = np.mean(same)
    assert agreement["wspt_reserve"] > max(0.8, agreement[None] + 0.1)
