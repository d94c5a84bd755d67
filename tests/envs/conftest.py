"""Copies on the compiled world: how tests make them, act on them, and hold them against single ones."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

Draw = Callable[[VectorEnv, dict[str, Any], np.random.Generator], NDArray[Any]]
MakeCopies = Callable[..., VectorEnv]
_STEPS = 300


@pytest.fixture
def make_copies() -> MakeCopies:
    """Copies of an environment on the compiled world: its name, how many, then its arguments."""

    def make(name: str, copies: int, **arguments: Any) -> VectorEnv:
        return gym.make_vec(
            f"envs:dwcp/{name}-v0", num_envs=copies, vectorization_mode="vector_entry_point", **arguments
        )

    return make


@pytest.fixture
def draw_actions() -> Draw:
    """Random actions that copies allow, given their infos; some are beyond a Box, which cuts them off."""

    def draw(copies: VectorEnv, infos: dict[str, Any], rng: np.random.Generator) -> NDArray[Any]:
        space, count = copies.single_action_space, copies.num_envs
        if isinstance(space, spaces.Box):
            return rng.uniform(-1.5, 1.5, copies.action_space.shape)
        heads = space.nvec if isinstance(space, spaces.MultiDiscrete) else [space.n]
        masks = infos.get("action_mask", np.ones((count, sum(heads)), np.bool_))
        actions = [
            [
                rng.choice(np.flatnonzero(head)) if head.any() else 0
                for head in np.split(mask, np.cumsum(heads)[:-1])
            ]
            for mask in masks
        ]
        return np.array(actions) if len(heads) > 1 else np.array(actions)[:, 0]

    return draw


@pytest.fixture
def check_beside_single_ones(make_copies: MakeCopies, draw_actions: Draw) -> Callable[..., int]:
    """Plays 3 copies beside three single environments, which must see, may do, earn and end the same.

    Takes name, arguments and autoreset mode; returns how many episodes ended.
    """

    def check(name: str, arguments: dict[str, Any], mode: AutoresetMode, steps: int = _STEPS) -> int:
        ours = make_copies(name, 3, autoreset_mode=mode, **arguments)
        make = lambda: gym.make(f"envs:dwcp/{name}-v0", **arguments)  # noqa: E731
        theirs = SyncVectorEnv([make] * 3, autoreset_mode=mode)
        rng, ends = np.random.default_rng(1), 0
        (mine, my_infos), (its, its_infos) = ours.reset(seed=7), theirs.reset(seed=7)
        assert list(my_infos["scenario"]) == list(its_infos["scenario"])
        for _ in range(steps):
            np.testing.assert_allclose(mine, its, atol=1e-6)
            assert set(my_infos) == set(its_infos)
            for key in {"action_mask", "_action_mask"} & set(my_infos):
                np.testing.assert_array_equal(my_infos[key], its_infos[key])
            actions = draw_actions(ours, my_infos, rng)
            mine, my_rewards, my_ends, my_cuts, my_infos = ours.step(actions)
            its, its_rewards, its_ends, its_cuts, its_infos = theirs.step(actions)
            np.testing.assert_allclose(my_rewards, its_rewards, rtol=1e-6, atol=1e-8)
            assert my_ends.tolist() == its_ends.tolist()
            assert my_cuts.tolist() == its_cuts.tolist()
            for copy in np.flatnonzero(my_ends):
                last = [one.get("final_info", one) for one in (my_infos, its_infos)]
                assert last[0]["cost_s"][copy] == pytest.approx(last[1]["cost_s"][copy], rel=1e-9)
                assert last[0]["episode_seed"][copy] == last[1]["episode_seed"][copy]
            ends += int(my_ends.sum())
        return ends

    return check
