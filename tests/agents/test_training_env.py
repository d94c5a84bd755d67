"""The environment of the learners: its rewards against the costs of whole episodes, and its chance."""

from functools import partial

import numpy as np
import pytest
from gymnasium.spaces import MultiDiscrete

from agents.catalogue import make_policy, static_policies
from agents.heuristics import Fixed
from agents.learners.training_env import PoolEnv, TrainingEpisode, training_episode
from agents.learners.training_lanes import TrainingLanes, training_envs
from agents.play import MakeEnv, play
from envs.compression import Compression
from envs.joint import Joint
from sim.catalogue import find_scenario
from sim.episode import draw_episode

UNIT = 0.05
NAMES = ("none", "zstd", "hde", "amst")
JOINT = ("backup-window", "deadline-mix", "outages", "two-links")


@pytest.fixture(scope="module")
def crowded() -> list:
    """Episodes of scenarios where transfers meet, in which costs hang on what others were given."""
    scenarios = [Compression(name).scenarios[0].with_(requests=24) for name in ("datacenter", "internet")]
    env = Compression(scenarios, NAMES)
    return [
        training_episode(env, draw_episode(one, seed), static_policies(env)[1])
        for one in scenarios
        for seed in range(3)
    ]


def environment(pool) -> PoolEnv:
    return PoolEnv(Compression([one.episode.scenario for one in pool], NAMES), pool, UNIT)


def test_rewards_of_an_episode_sum_to_the_share_saved_of_the_reference_times_decisions_and_unit(crowded):
    env, rng = environment(crowded), np.random.default_rng(1)
    for seed in range(8):
        env.reset(seed=seed)
        rewards, info, over = [], {}, False
        while not over:
            _, reward, over, truncated, info = env.step(int(rng.integers(4)))
            assert not truncated
            rewards.append(reward)
        seeds = {one.episode.seed: one for one in crowded if one.episode.scenario.name == info["scenario"]}
        reference = seeds[info["episode_seed"]].accrued[-1]
        share = (reference - info["cost_s"]) / reference
        assert sum(rewards) == pytest.approx(share * 24 * UNIT, rel=1e-9, abs=1e-12)


def test_whoever_plays_the_reference_saves_nothing_at_any_step(crowded):
    env = environment(crowded[:1])
    env.reset(seed=0)
    rewards = [env.step(NAMES.index("zstd"))[1] for _ in range(24)]
    np.testing.assert_allclose(rewards, 0.0, atol=1e-9)


def test_the_reference_ends_at_the_cost_of_its_rule_and_only_grows(crowded):
    env = Compression("wan", NAMES)
    for one in crowded:
        cost = play(env, one.episode, Fixed("zstd", NAMES.index("zstd"))).cost
        assert one.accrued[-1] == pytest.approx(cost, rel=1e-12)
        assert len(one.times) == len(one.accrued) == 24 + 1
        assert np.all(np.diff(one.times) >= 0)
        assert np.all(np.diff(one.accrued) >= 0)


def test_the_unit_of_rewards_is_the_mean_cost_of_a_decision_that_the_reference_run_took(crowded):
    at = np.arange(5.0)  # four decisions and the end, of an episode of 24 transfers
    assert crowded[0]._replace(times=at, accrued=10.0 * at / 4).mean_cost == 10.0 / 4


def _met(env: PoolEnv, seed: int, count: int) -> list[tuple[str, int]]:
    """Scenario and seed of the episodes that come after a seeded reset."""
    met = []
    for number in range(count):
        env.reset(seed=seed if number == 0 else None)
        world = env.unwrapped.world
        met.append((world.episode.scenario.name, world.episode.seed))
    return met


def test_the_same_seed_brings_the_same_episodes_and_another_seed_others(crowded):
    first, second = environment(crowded), environment(crowded)
    assert _met(first, 5, 20) == _met(second, 5, 20) == _met(first, 5, 20)
    assert _met(first, 5, 20) != _met(first, 6, 20)


def test_every_episode_of_the_pool_comes_about_equally_often(crowded):
    met = _met(environment(crowded), 3, 600)
    counts = [met.count(key) for key in set(met)]
    assert len(counts) == len(crowded)
    # 600 draws, 6 episodes: 100 each, standard deviation sqrt(600 * 1/6 * 5/6) = 9.1
    assert max(abs(count - 100) for count in counts) < 4 * 9.1


@pytest.mark.parametrize("engine", ["batch", "simpy"])
def test_environments_side_by_side_have_dice_of_their_own(pool, make_env, engine):
    envs = training_envs(pool, make_env, 4, UNIT, engine=engine)
    envs.seed(11)
    first = envs.reset()
    envs.seed(11)
    np.testing.assert_array_equal(first, envs.reset())
    assert len(np.unique(first, axis=0)) == 4


@pytest.mark.parametrize("engine", ["batch", "simpy"])
def test_the_observation_of_a_learner_is_that_of_the_bare_environment(pool, make_env, engine):
    envs = training_envs(pool[:1], make_env, 1, UNIT, engine=engine)
    bare = make_env()
    seen, _ = bare.reset(options={"episode": pool[0].episode})
    np.testing.assert_array_equal(envs.reset()[0], seen)
    np.testing.assert_array_equal(envs.step(np.array([1]))[0][0], bare.step(1)[0])


@pytest.fixture(params=["two-paths", *JOINT])
def course(request, pool, make_env) -> tuple[list[TrainingEpisode], MakeEnv]:
    """Episodes to train on and what makes the environment: of codecs alone, and of all three questions."""
    if request.param not in JOINT:
        return pool, make_env
    scenario = find_scenario(request.param).with_(requests=8)
    make_joint = partial(Joint, scenario, candidates=4, slots=3)
    env = make_joint()
    rule = make_policy("plain", env)
    return [training_episode(env, draw_episode(scenario, seed), rule) for seed in range(4)], make_joint


def test_both_engines_give_a_learner_the_same_steps(course):
    fast, slow = (training_envs(*course, 5, UNIT, engine=engine) for engine in ("batch", "simpy"))
    assert isinstance(fast, TrainingLanes)
    fast.seed(4)
    slow.seed(4)
    seen, expected = fast.reset(), slow.reset()
    space, rng, ends = fast.action_space, np.random.default_rng(0), 0
    several = isinstance(space, MultiDiscrete)
    parts = np.cumsum(space.nvec)[:-1] if several else []
    for _ in range(600):
        np.testing.assert_allclose(seen, expected, atol=1e-6)
        masks = np.stack(fast.env_method("action_masks"))
        np.testing.assert_array_equal(masks, slow.env_method("action_masks"))
        actions = np.array(
            [[rng.choice(np.flatnonzero(one)) for one in np.split(mask, parts)] for mask in masks]
        )
        actions = actions if several else actions[:, 0]
        seen, rewards, dones, infos = fast.step(actions)
        expected, its_rewards, its_dones, its_infos = slow.step(actions)
        np.testing.assert_allclose(rewards, its_rewards, rtol=1e-4, atol=1e-6)
        assert dones.tolist() == its_dones.tolist()
        for copy in np.flatnonzero(dones):
            theirs = its_infos[copy]["terminal_observation"]
            np.testing.assert_array_equal(infos[copy]["terminal_observation"], theirs)
        ends += int(dones.sum())
    assert ends >= 5
