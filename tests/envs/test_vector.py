"""Copies on the compiled world do what the single environment does, and what Gymnasium asks of vectors."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

SCENARIOS = ["wan", "lossy", "two-links"]
STEPS = 300


def make_vec(copies: int, **arguments: object) -> gym.vector.VectorEnv:
    return gym.make_vec(
        "envs:dwcp/Compression-v0",
        num_envs=copies,
        vectorization_mode="vector_entry_point",
        scenario=SCENARIOS,
        **arguments,
    )


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("action", ["discrete", "multi"])
def test_copies_do_what_single_environments_do_side_by_side(mode: AutoresetMode, action: str) -> None:
    ours = make_vec(3, autoreset_mode=mode, action=action)
    make = lambda: gym.make("envs:dwcp/Compression-v0", scenario=SCENARIOS, action=action)  # noqa: E731
    theirs = SyncVectorEnv([make] * 3, autoreset_mode=mode)
    ours.action_space.seed(1)
    (mine, my_infos), (its, its_infos) = ours.reset(seed=7), theirs.reset(seed=7)
    assert list(my_infos["scenario"]) == list(its_infos["scenario"])
    ends = 0
    for _ in range(STEPS):
        np.testing.assert_allclose(mine, its, atol=1e-6)
        actions = ours.action_space.sample()
        mine, my_rewards, my_ends, my_cuts, my_infos = ours.step(actions)
        its, its_rewards, its_ends, its_cuts, its_infos = theirs.step(actions)
        np.testing.assert_allclose(my_rewards, its_rewards, rtol=1e-6, atol=1e-9)
        assert my_ends.tolist() == its_ends.tolist()
        assert my_cuts.tolist() == its_cuts.tolist()
        assert set(my_infos) == set(its_infos)
        ends += int(my_ends.sum())
        for copy in np.flatnonzero(my_ends):
            last = [one.get("final_info", one) for one in (my_infos, its_infos)]
            assert last[0]["cost_s"][copy] == pytest.approx(last[1]["cost_s"][copy], rel=1e-9)
            assert last[0]["episode_seed"][copy] == last[1]["episode_seed"][copy]
    assert ends >= 3


def test_threads_change_nothing() -> None:
    one, two = make_vec(5), make_vec(5, threads=2)
    one.action_space.seed(3)
    np.testing.assert_array_equal(one.reset(seed=1)[0], two.reset(seed=1)[0])
    for _ in range(STEPS):
        actions = one.action_space.sample()
        for mine, its in zip(one.step(actions)[:3], two.step(actions)[:3], strict=True):
            np.testing.assert_array_equal(mine, its)


def test_what_was_handed_out_stays_as_it_was() -> None:
    copies = make_vec(2)
    first, _ = copies.reset(seed=0)
    kept = first.copy()
    for _ in range(5):
        copies.step(np.zeros(2, np.int64))
    np.testing.assert_array_equal(first, kept)


def test_actions_that_do_not_fit_are_refused_in_words() -> None:
    copies = make_vec(2)
    copies.reset(seed=0)
    for wrong in ([0, 4], [0], [-1, 0]):
        with pytest.raises(ValueError, match="actions must be of"):
            copies.step(np.array(wrong))
    with pytest.raises(ValueError, match="NextStep or SameStep"):
        make_vec(2, autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(ValueError, match="at least one"):
        make_vec(0)
    with pytest.raises(ValueError, match="reset options"):
        copies.reset(options={"episode_seed": 3})
