"""The codec decision as a game: what actions mean and what is refused."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from envs.compression import DEFAULT_CODECS, Compression
from sim.catalogue import find_scenario

SMALL = find_scenario("uncoupled").with_(requests=8)


def records(env: Compression, actions) -> list[str]:
    env.reset(seed=0)
    for action in actions:
        env.step(action)
    return [one.codec for one in sorted(env.world.records, key=lambda one: one.request)]


def test_a_discrete_action_is_the_place_in_the_list_of_codecs():
    assert records(Compression(SMALL), [0, 1, 2, 3, 3, 2, 1, 0]) == [*DEFAULT_CODECS, *DEFAULT_CODECS[::-1]]


def test_a_multi_action_names_family_level_and_streams():
    env = Compression(SMALL, action="multi", levels=(1, 3, 9), streams=(4, 8, 16))
    actions = np.array(
        [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 2, 0], [2, 0, 0], [3, 0, 0], [3, 0, 1], [3, 0, 2]]
    )
    assert records(env, actions) == ["none", "zstd-1", "zstd", "zstd-9", "hde", "amst-4", "amst", "amst-16"]


def test_entries_of_a_multi_action_that_do_not_apply_are_ignored():
    env = Compression(SMALL, action="multi")
    actions = np.array([[0, 2, 1], [1, 1, 2], [2, 1, 1], [3, 2, 1]] * 2)
    assert records(env, actions) == ["none", "zstd", "hde", "amst"] * 2


def test_every_transfer_is_asked_about_once():
    env = Compression(SMALL)
    env.reset(seed=0)
    assert [env.step(1)[2] for _ in range(8)] == [False] * 7 + [True]


def test_the_action_space_has_one_action_a_codec():
    assert Compression(SMALL).action_space == spaces.Discrete(4)
    assert Compression(SMALL, ["zstd-1", "amst-32-lz4"]).action_space == spaces.Discrete(2)
    assert Compression(
        SMALL, action="multi", levels=(3,), streams=(2, 4)
    ).action_space == spaces.MultiDiscrete([4, 1, 2])


def test_both_action_kinds_tell_the_same_story():
    plain, multi = Compression(SMALL), Compression(SMALL, action="multi")
    plain.reset(seed=4), multi.reset(seed=4)
    for action, same in ((0, (0, 0, 0)), (1, (1, 1, 0)), (2, (2, 0, 0)), (3, (3, 0, 1))):
        observed, reward, *_ = plain.step(action)
        again, equal, *_ = multi.step(np.array(same))
        assert observed.tobytes() == again.tobytes() and reward == equal


def test_reward_is_the_waiting_time_of_a_single_transfer_with_its_price():
    alone = SMALL.with_(requests=1, cpu_price=0.5)
    env = Compression(alone)
    env.reset(seed=0)
    _, reward, ended, _, info = env.step(1)
    (record,) = env.world.records
    late_s = max(0.0, record.end_s - record.deadline_s)
    by_hand = (
        record.priority * (record.end_s - record.arrival_s) + 0.5 * record.cpu_s + alone.late_price * late_s
    )
    assert ended and reward == pytest.approx(-by_hand, rel=1e-12)
    assert info == {"scenario": "uncoupled", "episode_seed": env.world.episode.seed, "cost_s": -reward}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"scenario": "wann"}, "did you mean 'wan'"),
        ({"scenario": []}, "at least one scenario"),
        ({"codecs": []}, "at least one codec"),
        ({"codecs": ["zst"]}, "did you mean 'zstd'"),
        ({"action": "both"}, "action must be 'discrete' or 'multi', got 'both'"),
        ({"render_mode": "human"}, "render_mode must be 'rgb_array' or None, got 'human'"),
    ],
)
def test_an_environment_that_cannot_be_is_refused(arguments, told):
    with pytest.raises(ValueError, match=told):
        Compression(**arguments)


@pytest.mark.parametrize("action", [-1, 4])
def test_an_action_outside_the_list_is_refused(action):
    env = Compression(SMALL)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="index of the 4 codecs"):
        env.step(action)


def test_without_a_render_mode_nothing_is_drawn():
    env = gym.make("envs:dwcp/Compression-v0", scenario=SMALL).unwrapped
    env.reset(seed=0)
    assert env.render() is None
