"""Copies on the compiled world do what the single environment does, and what Gymnasium asks of vectors."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from sim.catalogue import find_scenario

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


NIGHT = find_scenario("night-shift").with_(requests=40)
OUTAGES = find_scenario("outages").with_(requests=40, slots=2)
ANY_PATH = find_scenario("hybrid").with_(requests=40, slots=3, any_path=True)
OWN_PATH = find_scenario("two-links").with_(requests=40, slots=2, any_path=False)


def scheduling(copies: int, **arguments: object) -> gym.vector.VectorEnv:
    return gym.make_vec(
        "envs:dwcp/Scheduling-v0", num_envs=copies, vectorization_mode="vector_entry_point", **arguments
    )


def allowed(masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An action that each mask allows; any, where nothing is asked."""
    return np.array([rng.choice(np.flatnonzero(mask)) if mask.any() else 0 for mask in masks])


@pytest.mark.parametrize(
    ("arguments", "mode"),
    [
        ({"scenario": NIGHT}, AutoresetMode.NEXT_STEP),
        ({"scenario": [OUTAGES, OWN_PATH], "slots": 4, "codec": "zstd"}, AutoresetMode.SAME_STEP),
        ({"scenario": [ANY_PATH, OWN_PATH], "slots": 3, "quantum_s": 20.0}, AutoresetMode.NEXT_STEP),
        ({"scenario": ["two-links", OUTAGES], "slots": 5}, AutoresetMode.SAME_STEP),
    ],
    ids=["night", "own-path", "any-path", "contended"],
)
def test_copies_that_dispatch_see_and_may_do_what_single_ones_do(
    arguments: dict[str, object], mode: AutoresetMode
) -> None:
    ours = scheduling(3, autoreset_mode=mode, **arguments)
    make = lambda: gym.make("envs:dwcp/Scheduling-v0", **arguments)  # noqa: E731
    theirs, rng, ends = SyncVectorEnv([make] * 3, autoreset_mode=mode), np.random.default_rng(2), 0
    (mine, my_infos), (its, its_infos) = ours.reset(seed=9), theirs.reset(seed=9)
    for _ in range(STEPS):
        np.testing.assert_allclose(mine, its, atol=1e-6)
        assert set(my_infos) == set(its_infos)
        for name in ("action_mask", "_action_mask"):
            np.testing.assert_array_equal(my_infos[name], its_infos[name])
        actions = allowed(my_infos["action_mask"], rng)
        mine, my_rewards, my_ends, _, my_infos = ours.step(actions)
        its, its_rewards, its_ends, _, its_infos = theirs.step(actions)
        np.testing.assert_allclose(my_rewards, its_rewards, rtol=1e-6, atol=1e-9)
        assert my_ends.tolist() == its_ends.tolist()
        ends += int(my_ends.sum())
    assert ends >= 3


def test_an_action_that_a_copy_forbids_is_refused_and_moves_none() -> None:
    copies = scheduling(2, scenario=OUTAGES, slots=4)
    _, infos = copies.reset(seed=0)
    actions = allowed(infos["action_mask"], np.random.default_rng(0))
    forbidden = int(np.argmin(infos["action_mask"][1]))
    with pytest.raises(ValueError, match=rf"copy 1 must be one that its mask allows, .* got {forbidden}"):
        copies.step(np.array([actions[0], forbidden]))
    other = scheduling(2, scenario=OUTAGES, slots=4)
    other.reset(seed=0)
    np.testing.assert_array_equal(copies.step(actions)[0], other.step(actions)[0])


def test_threads_change_nothing_for_copies_that_dispatch() -> None:
    one, two = scheduling(5, scenario=OUTAGES), scheduling(5, scenario=OUTAGES, threads=2)
    (seen, infos), (other, _), rng = one.reset(seed=1), two.reset(seed=1), np.random.default_rng(4)
    for _ in range(STEPS):
        np.testing.assert_array_equal(seen, other)
        actions = allowed(infos["action_mask"], rng)
        (seen, *_, infos), (other, *_) = one.step(actions), two.step(actions)
