"""What of a continuous action is ignored has no part in learning; what starts from a rule is scored there."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.catalogue import make_policy
from agents.learners import imitation
from agents.learners.acting import ActingPolicy
from agents.learners.forward import NetworkPolicy
from agents.learners.imitation import imitate
from agents.learners.legs import Outcome, Plan, train
from agents.learners.models import load_model, make_model
from agents.learners.settings import PPOConfig
from agents.learners.training_env import training_episode
from envs.allocation import Allocation
from sim.catalogue import find_scenario
from sim.episode import draw_episode

SPREAD = 0.5
CONFIG = PPOConfig(
    kind="ppo", shared=True, layers=(8, 8), envs=1, rollout=64, batch=64, steps=128, action_sd=SPREAD
)
CROWD = find_scenario("flash-crowd").with_(requests=32)


@pytest.fixture
def env() -> Allocation:
    return Allocation(CROWD, slots=4, streams=(1, 8))


@pytest.fixture
def policy(env) -> ActingPolicy:
    return make_model(CONFIG, DummyVecEnv([lambda: env]), 0).policy


@pytest.fixture
def brief(monkeypatch) -> None:
    """Few steps of imitation: how well it is done does not matter here."""
    monkeypatch.setattr(imitation, "_STEPS", 40)


def test_an_action_is_as_likely_as_those_of_its_entries_that_count(env, policy):
    observation, _ = env.reset(seed=3)
    seen = torch.as_tensor(observation[None])
    here = env.features.unscaled(observation[None])[0]
    present = [here[env.features.index(f"present_{slot}")] > 0.5 for slot in range(1, 5)]
    several = [here[env.features.index(f"multi_stream_{slot}")] > 0.5 for slot in range(1, 5)]
    counted = np.array([*present, *present, *several])
    assert 0 < counted.sum() < len(counted)
    mean = policy.get_distribution(seen).distribution.mean.detach().numpy()[0]
    off = np.linspace(-1.0, 1.0, 12)
    each = -0.5 * (off / SPREAD) ** 2 - math.log(SPREAD * math.sqrt(2 * math.pi))  # a normal density
    _, log_prob, entropy = policy.evaluate_actions(
        seen, torch.as_tensor(mean + off[None], dtype=torch.float32)
    )
    assert log_prob.item() == pytest.approx(each[counted].sum(), rel=1e-4)
    assert entropy.item() == pytest.approx(
        counted.sum() * math.log(SPREAD * math.sqrt(2 * math.pi * math.e)), rel=1e-5
    )


def test_what_is_drawn_is_as_likely_then_as_when_it_is_looked_at_again(env, policy):
    observation, _ = env.reset(seed=1)
    seen = torch.as_tensor(observation[None])
    torch.manual_seed(0)
    actions, _, log_prob = policy.forward(seen)
    torch.testing.assert_close(policy.evaluate_actions(seen, actions)[1], log_prob)


def test_who_imitates_begins_with_no_hope_of_saving_anything(env, brief):
    model = make_model(CONFIG, DummyVecEnv([lambda: env]), 0)
    episodes = [draw_episode(CROWD, seed) for seed in range(2)]
    imitate(model, env, make_policy("wsrpt", env), episodes, np.random.default_rng(0))
    seen = torch.as_tensor(env.reset(seed=0)[0][None])
    assert model.policy.predict_values(seen).item() == 0.0


def trained(folder: Path, costs: Iterator[float]) -> Outcome:
    """A training that imitates first, scored as given."""
    env = Allocation(CROWD, slots=4, streams=(1, 8))
    rule = make_policy("wsrpt", env)
    pool = [training_episode(env, draw_episode(CROWD, seed), rule) for seed in range(2)]
    config = CONFIG.model_copy(update={"imitate": "wsrpt"})

    def score(policy: NetworkPolicy) -> float:
        cost = next(costs, None)
        if cost is None:
            raise KeyboardInterrupt
        return cost

    make_env = lambda: Allocation(CROWD, slots=4, streams=(1, 8))  # noqa: E731
    return train(Plan(config, 0, 64, make_env, {}), pool, score, folder)


def test_who_imitates_is_scored_before_the_first_step(tmp_path, brief):
    outcome = trained(tmp_path, iter([1.0, 2.0, 3.0]))  # what follows is worse, so the start is kept
    assert [row["step"] for row in outcome.curve] == [0, 64, 128]
    assert load_model("ppo", outcome.best).num_timesteps == 0


@pytest.mark.parametrize("done", [1, 2])
def test_who_imitates_goes_on_after_an_interruption_as_if_there_had_been_none(tmp_path, brief, done):
    whole = trained(tmp_path / "whole", iter([3.0, 2.0, 1.0]))
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", iter([3.0, 2.0][:done]))
    again = trained(tmp_path / "broken", iter([3.0, 2.0, 1.0][done:]))
    assert again.curve == whole.curve
    ours, theirs = (load_model("ppo", one.best).policy.state_dict() for one in (again, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
