"""Copies of Allocation on the compiled world do what the single environment does."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

STEPS = 300


def make_vec(copies: int, **arguments: object) -> gym.vector.VectorEnv:
    return gym.make_vec(
        "envs:dwcp/Allocation-v0", num_envs=copies, vectorization_mode="vector_entry_point", **arguments
    )


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize(
    "arguments",
    [
        {"scenario": ["wan", "flash-crowd", "two-links"]},
        {"scenario": ["lossy", "flash-crowd"], "codec": "amst", "streams": (1, 4, 16), "slots": 3},
        {"scenario": ["backup-window", "cpu-starved"], "codecs": ("zstd", "amst", "hde"), "control_s": 0.5},
    ],
    ids=["shortest", "streams", "other codecs"],
)
def test_copies_do_what_single_environments_do_side_by_side(
    mode: AutoresetMode, arguments: dict[str, object]
) -> None:
    ours = make_vec(3, autoreset_mode=mode, **arguments)
    theirs = SyncVectorEnv(
        [lambda: gym.make("envs:dwcp/Allocation-v0", **arguments)] * 3, autoreset_mode=mode
    )
    rng = np.random.default_rng(1)
    (mine, my_infos), (its, its_infos) = ours.reset(seed=7), theirs.reset(seed=7)
    assert list(my_infos["scenario"]) == list(its_infos["scenario"])
    ends = 0
    for _ in range(STEPS):
        np.testing.assert_allclose(mine, its, atol=1e-6)
        actions = rng.uniform(-1.5, 1.5, ours.action_space.shape)  # some beyond the space: cut off
        mine, my_rewards, my_ends, my_cuts, my_infos = ours.step(actions)
        its, its_rewards, its_ends, its_cuts, its_infos = theirs.step(actions)
        np.testing.assert_allclose(my_rewards, its_rewards, rtol=1e-6, atol=1e-8)
        assert my_ends.tolist() == its_ends.tolist()
        assert my_cuts.tolist() == its_cuts.tolist()
        assert set(my_infos) == set(its_infos)
        ends += int(my_ends.sum())
        for copy in np.flatnonzero(my_ends):
            last = [one.get("final_info", one) for one in (my_infos, its_infos)]
            assert last[0]["cost_s"][copy] == pytest.approx(last[1]["cost_s"][copy], rel=1e-9)
            assert last[0]["episode_seed"][copy] == last[1]["episode_seed"][copy]
    assert ends >= 1


def test_threads_change_nothing() -> None:
    one, two = make_vec(5, scenario="flash-crowd"), make_vec(5, scenario="flash-crowd", threads=2)
    one.action_space.seed(3)
    np.testing.assert_array_equal(one.reset(seed=1)[0], two.reset(seed=1)[0])
    for _ in range(STEPS):
        actions = one.action_space.sample()
        for mine, its in zip(one.step(actions)[:3], two.step(actions)[:3], strict=True):
            np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("reward", ["published", "utility"])
def test_a_reward_that_copies_do_not_earn_is_refused_with_the_way_out(reward: str) -> None:
    with pytest.raises(ValueError, match=f"reward 'cost', got '{reward}'; use the single environment"):
        make_vec(2, reward=reward)


@pytest.mark.parametrize("wrong", [np.zeros((2, 19)), np.zeros(20), np.full((2, 20), np.nan)])
def test_actions_that_do_not_fit_are_refused_in_words(wrong: np.ndarray) -> None:
    copies = make_vec(2)
    copies.reset(seed=0)
    with pytest.raises(ValueError, match="actions must be of"):
        copies.step(wrong)
