"""All kinds of learner on the action spaces they fill: with masks, with several parts, with shares."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from pydantic import TypeAdapter
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.learners.checkpoints import read_checkpoint
from agents.learners.forward import network_policy
from agents.learners.legs import Plan, _described, _StopAtLegEnd, train
from agents.learners.models import KINDS, fitting_kinds, load_model, make_model
from agents.learners.settings import Learner
from agents.learners.training_env import PoolEnv
from agents.play import play
from envs.compression import Compression
from sim.errors import InputError

LEG, STEPS = 320, 960
_OFF_POLICY = {
    "steps": STEPS, "envs": 4, "buffer": 1000, "batch": 16, "learning_starts": 100, "train_freq": 2,
    "gradient_steps": 1, "target_update": 64, "layers": [16], "n_step": 3, "gamma": 0.9,
}  # fmt: skip
_ON_POLICY = {
    "steps": STEPS, "envs": 4, "rollout": 16, "batch": 32, "epochs": 2, "layers": [16], "gamma": 0.9,
}  # fmt: skip
SMALL = {
    "masked_ppo": _ON_POLICY | {"kind": "masked_ppo"},
    "masked_dqn": _OFF_POLICY | {"kind": "masked_dqn"},
    "qrdqn": _OFF_POLICY | {"kind": "qrdqn", "quantiles": 5},
}


class NeverTwice(Compression):
    """No codec may be chosen twice in a row."""

    masked = True

    def reset(self, **given):
        self._last = None
        return super().reset(**given)

    def _mask(self, question):
        return np.arange(self.action_space.n) != self._last

    def _answer(self, question, action):
        assert action != self._last
        self._last = int(action)
        return super()._answer(question, action)


class Still(gym.Env):
    """Spaces, and all that a model asks of them before its first step."""

    def __init__(self, action_space: spaces.Space) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.action_space = action_space


class TwoParts(NeverTwice):
    """A codec, not twice in a row, and a second choice of which only one is allowed, in turns."""

    def __init__(self, *given):
        super().__init__(*given)
        self.action_space = spaces.MultiDiscrete([len(self.codecs), 2])

    def _mask(self, question):
        turn = 0 if self._last is None else self._last % 2
        return np.append(np.arange(len(self.codecs)) != self._last, np.arange(2) == turn)

    def _answer(self, question, action):
        assert self.action_masks()[[action[0], len(self.codecs) + action[1]]].all()
        return super()._answer(question, action[0])


class Shares(Compression):
    """The codec with the greatest share."""

    def __init__(self, *given):
        super().__init__(*given)
        self.action_space = spaces.Box(-1, 1, (len(self.codecs),), np.float32)

    def _answer(self, question, action):
        assert self.action_space.contains(action)
        return super()._answer(question, np.argmax(action))


@pytest.fixture(scope="module")
def make_rationed(two_paths, three_codecs):
    return partial(NeverTwice, two_paths, [codec.name for codec in three_codecs])


@pytest.fixture(scope="module", params=list(SMALL))
def plan(request, make_rationed) -> Plan:
    config = TypeAdapter(Learner).validate_python(SMALL[request.param])
    return Plan(config, 7, LEG, make_rationed, {"never": "twice"})


@pytest.fixture(scope="module")
def validate(validation, make_rationed):
    env = make_rationed()
    return lambda policy: sum(play(env, one, policy).cost for one in validation)


@pytest.fixture(scope="module")
def whole(plan, pool, validate, tmp_path_factory):
    """Folder of a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp(f"whole-{plan.config.kind}")
    train(plan, pool, validate, folder)
    return folder


def state(plan: Plan, folder):
    """Curve, tensors of networks and optimiser, replay."""
    stored = read_checkpoint(folder / "checkpoints", plan.config.kind, _described(plan), plan.make_env())
    tensors = list(stored.model.policy.state_dict().values())
    for slots in stored.model.policy.optimizer.state_dict()["state"].values():
        tensors += [torch.as_tensor(slot) for slot in slots.values()]
    replay = getattr(stored.model, "replay_buffer", None)
    if replay is not None:
        names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
        tensors += [torch.as_tensor(getattr(replay, name)) for name in names]
    return stored.curve, tensors


def test_a_masked_training_stopped_in_the_middle_of_leg_2_ends_with_the_bits_of_one_that_was_not(
    plan, whole, pool, validate, tmp_path, monkeypatch
):
    on_step = _StopAtLegEnd._on_step

    def stop(self):
        if self.num_timesteps == LEG + LEG // 2:
            raise KeyboardInterrupt
        return on_step(self)

    with monkeypatch.context() as patched:
        patched.setattr(_StopAtLegEnd, "_on_step", stop)
        with pytest.raises(KeyboardInterrupt):
            train(plan, pool, validate, tmp_path)
    assert [one.name for one in (tmp_path / "checkpoints").iterdir()] == ["leg-1"]
    train(plan, pool, validate, tmp_path)
    (curve, tensors), (expected_curve, expected) = state(plan, tmp_path), state(plan, whole)
    assert curve == expected_curve
    assert len(tensors) == len(expected) > 8
    assert all(torch.equal(*pair) for pair in zip(tensors, expected, strict=True))


def test_a_learned_policy_keeps_to_the_mask_where_its_first_choice_is_forbidden(plan, whole, unseen):
    policy = network_policy("x", load_model(plan.config.kind, whole / "best.zip"))
    env = plan.make_env()
    chosen, wanted = [], []
    for episode in unseen:
        play(
            env,
            episode,
            policy,
            watch=lambda world, row, action: (chosen.append(action), wanted.append(policy.act(row))),
        )
    assert chosen != wanted


def test_the_file_of_any_other_kind_is_refused(plan, whole):
    for other in KINDS.keys() - {plan.config.kind}:
        with pytest.raises(InputError, match=f"expected a saved {KINDS[other].algorithm.__name__} model"):
            load_model(other, whole / "best.zip")


def test_a_checkpoint_of_an_environment_with_other_actions_is_refused(plan, whole, pool, validate, two_paths):
    def two_codecs():
        return NeverTwice(two_paths, ["none", "zstd"])

    with pytest.raises(InputError, match=r"expected actions of Discrete\(2\), got Discrete\(3\); remove"):
        train(plan._replace(make_env=two_codecs), pool, validate, whole)


def test_a_checkpoint_of_an_environment_with_other_features_is_refused(
    plan, whole, pool, validate, make_rationed
):
    def fewer_features():
        env = make_rationed()
        env.observation_space = spaces.Box(-1, 1, (40,), np.float32)
        return env

    with pytest.raises(
        InputError, match=r"expected observations of shape \(4[03],\), got \(4[25],\); remove"
    ):
        train(plan._replace(make_env=fewer_features), pool, validate, whole)


@pytest.mark.parametrize(("kind", "env"), [("masked_ppo", TwoParts), ("ppo", Shares)])
def test_actions_of_several_parts_and_of_shares_are_trained_and_played(
    kind, env, pool, unseen, validation, two_paths, three_codecs, tmp_path
):
    make_env = partial(env, two_paths, [codec.name for codec in three_codecs])
    config = TypeAdapter(Learner).validate_python(_ON_POLICY | {"kind": kind, "steps": LEG})
    outcome = train(
        Plan(config, 7, LEG, make_env, {}),
        pool,
        lambda policy: play(make_env(), validation[0], policy).cost,
        tmp_path,
    )
    assert ("train/std" in outcome.curve[0]) == (env is Shares)
    policy = network_policy(kind, load_model(kind, outcome.best))
    assert len(play(make_env(), unseen[0], policy).records) == len(unseen[0])


def test_settings_of_one_kind_alone_reach_its_model():
    def model(action_space, **settings):
        config = TypeAdapter(Learner).validate_python(settings)
        return make_model(config, DummyVecEnv([lambda: Still(action_space)]), seed=1)

    shares, choice = spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(3)
    ppo = model(shares, kind="ppo", action_sd=0.5, envs=1, batch=256)
    assert ppo.policy.log_std.exp().tolist() == pytest.approx([0.5, 0.5])
    assert model(choice, kind="masked_dqn").double
    assert not model(choice, kind="masked_dqn", double=False).double
    assert model(choice, kind="qrdqn", quantiles=7).quantile_net.n_quantiles == 7


@pytest.mark.parametrize(
    ("actions", "masked", "kinds"),
    [
        (
            spaces.Discrete(3),
            False,
            {"ppo", "vine", "recurrent_ppo", "dqn", "masked_ppo", "masked_dqn", "qrdqn"},
        ),
        (spaces.Discrete(3), True, {"masked_ppo", "masked_dqn", "qrdqn"}),
        (spaces.MultiDiscrete([3, 2]), False, {"ppo", "recurrent_ppo", "masked_ppo"}),
        (spaces.MultiDiscrete([3, 2]), True, {"masked_ppo"}),
        (spaces.Box(-1, 1, (4,)), False, {"ppo", "recurrent_ppo"}),
    ],
)
def test_only_learners_that_fill_the_action_space_and_keep_to_its_masks_fit(actions, masked, kinds, make_env):
    env = make_env()
    env.action_space, env.masked = actions, masked
    assert set(fitting_kinds(env)) == kinds


def test_a_learner_without_masks_is_refused_where_actions_are_forbidden(make_rationed, pool, tmp_path):
    config = TypeAdapter(Learner).validate_python(_ON_POLICY | {"kind": "ppo"})
    with pytest.raises(ValueError, match="compression can train masked_ppo, masked_dqn, qrdqn, got ppo"):
        train(Plan(config, 7, LEG, make_rationed, {}), pool, lambda policy: 0.0, tmp_path)


def test_where_nothing_is_ever_forbidden_all_is_allowed(make_env, pool):
    env = PoolEnv(make_env(), pool, 0.01)
    assert env.action_masks().tolist() == [True, True, True]
