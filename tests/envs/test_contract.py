"""What every registered environment promises to Gymnasium and Stable-Baselines3."""

import os
import pickle
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check
from stable_baselines3.common.env_util import make_vec_env

import envs
from envs.registration import IDS, register
from sim.catalogue import SCENARIOS, find_scenario
from sim.episode import draw_episode

KINDS = [pytest.param(name, {}, id=name) for name in IDS]
KINDS.append(pytest.param("dwcp/Compression-v0", {"action": "multi"}, id="dwcp/Compression-v0 multi"))
KINDS.append(
    pytest.param("dwcp/Allocation-v0", {"codec": "amst", "streams": (1, 8)}, id="dwcp/Allocation-v0 streams")
)
SMALL = find_scenario("wan").with_(requests=12)


def make(name: str, scenario=SMALL, **others) -> gym.Env:
    return gym.make(name, scenario=scenario, **others)


def legal(env: gym.Env, action):
    """The action, each part of it that the mask forbids turned into one that it allows."""
    if not env.unwrapped.masked:
        return action
    several = isinstance(env.action_space, gym.spaces.MultiDiscrete)
    ends = np.cumsum(env.action_space.nvec if several else [env.action_space.n])
    masks = np.split(env.unwrapped.action_masks(), ends[:-1])
    parts = [
        part if mask[part] else np.flatnonzero(mask)[part % mask.sum()]
        for part, mask in zip(np.atleast_1d(action), masks, strict=True)
    ]
    return np.array(parts) if several else int(parts[0])


def draw(env: gym.Env):
    """A random legal action."""
    return legal(env, env.action_space.sample())


def lenient(name: str, options: dict) -> gym.Env:
    """One that takes illegal actions for legal ones, for checkers that know of no mask."""
    env = make(name, render_mode="rgb_array", **options).unwrapped
    strict = env.step
    env.step = lambda action: strict(legal(env, action) if env.world else action)
    return env


def play(env: gym.Env, seed: int) -> list[tuple[bytes, float, bool]]:
    """An episode under random actions, as bytes and numbers."""
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed)
    steps = [(observation.tobytes(), 0.0, False)]
    while not steps[-1][2]:
        observation, reward, ended, _, _ = env.step(draw(env))
        steps.append((observation.tobytes(), reward, ended))
    return steps


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_gymnasiums_checker_finds_nothing_to_warn_of(name, options):
    env = lenient(name, options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check(env, skip_render_check=env.masked)  # that check makes one of its own, a strict one


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_the_checker_of_stable_baselines_finds_nothing_to_warn_of(name, options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3_check(lenient(name, options))


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_the_same_seed_gives_the_same_episode_bit_for_bit(name, options):
    first, second = make(name, **options), make(name, **options)
    assert play(first, 3) == play(second, 3)
    assert play(first, 3) == play(first, 3)
    assert play(first, 3) != play(first, 4)


@pytest.mark.parametrize("name", IDS)
def test_an_episode_does_not_depend_on_what_was_played_before(name):
    fresh, used = make(name), make(name)
    play(used, 7)
    used.reset(seed=11)
    used.step(draw(used))
    assert play(used, 3) == play(fresh, 3)


@pytest.mark.parametrize("name", IDS)
def test_episodes_after_an_unseeded_reset_differ_from_each_other(name):
    env = make(name)
    starts = [env.reset(seed=5)[0], env.reset()[0], env.reset()[0]]
    assert len({start.tobytes() for start in starts}) == 3


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_observations_stay_inside_their_space_in_every_scenario(name, scenario):
    env = make(name, scenario=scenario).unwrapped
    env.action_space.seed(1)
    observation, _ = env.reset(seed=1)
    steps, share = 0, 10_000 // len(SCENARIOS)
    while steps < share:
        assert observation.dtype == np.float32 and env.observation_space.contains(observation)
        observation, reward, ended, truncated, _ = env.step(draw(env))
        assert np.isfinite(reward) and not truncated
        steps += 1
        if ended:
            observation, _ = env.reset()


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_the_return_of_an_episode_is_minus_its_cost(name, options):
    env = make(name, "lossy", **options)
    env.action_space.seed(2)
    env.reset(seed=2)
    total, ended = 0.0, False
    while not ended:
        _, reward, ended, _, info = env.step(draw(env))
        total += reward
    world = env.unwrapped.world
    by_hand = sum(one.priority * (one.end_s - one.arrival_s) for one in world.records)
    by_hand += world.episode.scenario.cpu_price * sum(one.cpu_s for one in world.records)
    late_s = sum(max(0.0, one.end_s - one.deadline_s) for one in world.records)
    by_hand += world.episode.scenario.late_price * late_s
    assert total == pytest.approx(-by_hand, rel=1e-9)
    assert info["cost_s"] == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize("name", IDS)
def test_every_transfer_is_sent_once(name):
    env = make(name)
    play(env, 0)
    assert sorted(one.request for one in env.unwrapped.world.records) == list(range(SMALL.requests))


@pytest.mark.parametrize("name", IDS)
def test_reset_runs_the_episode_it_is_given(name):
    env, episode = make(name), draw_episode(find_scenario("metro"), 8)
    _, info = env.reset(options={"episode": episode})
    assert env.unwrapped.world.episode is episode and info["scenario"] == "metro"


@pytest.mark.parametrize("name", IDS)
def test_reset_draws_the_seed_and_scenario_it_is_asked_for(name):
    env = make(name)
    start, _ = env.reset(seed=0, options={"scenario": "metro", "episode_seed": 8})
    again, _ = env.reset(seed=1, options={"episode": draw_episode(find_scenario("metro"), 8)})
    assert start.tobytes() == again.tobytes()
    start, info = env.reset(options={"scenario": SMALL, "episode_seed": 8})
    assert info["scenario"] == "wan" and len(env.unwrapped.world.episode) == 12


@pytest.mark.parametrize("name", IDS)
def test_reset_refuses_an_option_that_it_does_not_know(name):
    with pytest.raises(ValueError, match=r"\['sed'\]; there are episode, episode_seed and scenario"):
        make(name).reset(options={"sed": 1})


@pytest.mark.parametrize("name", IDS)
def test_reset_refuses_a_scenario_that_does_not_exist(name):
    with pytest.raises(ValueError, match="did you mean 'metro'"):
        make(name).reset(options={"scenario": "metr"})


@pytest.mark.parametrize("name", IDS)
def test_render_gives_a_picture_in_the_middle_and_at_the_end(name):
    env = make(name, render_mode="rgb_array")
    env.action_space.seed(0)
    env.reset(seed=0)
    env.step(draw(env))
    middle, ended = env.render(), False
    while not ended:
        _, _, ended, _, _ = env.step(draw(env))
    for picture in (middle, env.render()):
        assert picture.dtype == np.uint8 and picture.shape == (700, 1200, 3)
    assert (middle != env.render()).any()


@pytest.mark.parametrize("name", IDS)
def test_a_step_before_the_first_reset_is_refused(name):
    with pytest.raises(RuntimeError, match=r"call reset\(\) before step\(\)"):
        make(name).unwrapped.step(0)


@pytest.mark.parametrize("name", IDS)
def test_several_scenarios_take_their_turns(name):
    env = make(name, scenario=["wan", "metro"])
    seen = {env.reset(seed=seed)[1]["scenario"] for seed in range(12)}
    assert seen == {"wan", "metro"}


@pytest.mark.parametrize("name", IDS)
def test_a_function_that_makes_one_survives_pickling(name):
    maker = partial(gym.make, f"envs:{name}", scenario=SMALL)
    for copied in (pickle.loads(pickle.dumps(maker)), cloudpickle.loads(cloudpickle.dumps(maker))):
        assert play(copied(), 3) == play(maker(), 3)
    copied = cloudpickle.loads(cloudpickle.dumps(lambda: gym.make(f"envs:{name}", scenario=SMALL)))
    assert play(copied(), 3) == play(maker(), 3)


@pytest.mark.parametrize("name", IDS)
def test_stable_baselines_runs_several_side_by_side(name):
    lanes = make_vec_env(name, n_envs=2, seed=0, env_kwargs={"scenario": SMALL})
    start = lanes.reset()
    assert start.shape == (2, lanes.observation_space.shape[0]) and (start[0] != start[1]).any()
    ends = np.zeros(2, int)
    while not ends.all():
        _, rewards, ended, infos = lanes.step(np.array([draw(env) for env in lanes.envs]))
        assert np.isfinite(rewards).all() and ["cost_s" in info for info in infos] == ended.tolist()
        ends += ended


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_finds_it_from_any_folder(name, tmp_path):
    code = f"import gymnasium as gym; env = gym.make('envs:{name}'); print(env.reset(seed=0)[0].shape)"
    away = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=away, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.strip() == str(gym.make(name).observation_space.shape)


def test_registering_twice_changes_nothing():
    before = dict(gym.registry)
    register()
    assert gym.registry == before and Path(envs.__file__).parent.name == "envs"


@pytest.mark.parametrize("name", IDS)
def test_the_episodes_that_follow_a_seeded_reset_are_always_the_same(name):
    def seeds(env: gym.Env) -> list[int]:
        env.reset(seed=5)
        found = [env.unwrapped.world.episode.seed]
        for _ in range(6):
            env.reset()
            found.append(env.unwrapped.world.episode.seed)
        return found

    env = make(name)
    first = seeds(env)
    assert seeds(env) == first == seeds(make(name)) and len(set(first)) == 7
