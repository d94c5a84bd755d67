"""Training environments side by side: on the compiled world, or on SimPy's, ten times as slow."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.learners.training_env import PoolEnv, TrainingEpisode
from agents.play import MakeEnv
from envs.base import WorldEnv
from envs.lanes import Seen
from envs.vector import has_lanes, lanes_of
from sim.jit import njit

Floats = NDArray[np.float64]


def training_envs(
    pool: Sequence[TrainingEpisode], make_env: MakeEnv, count: int, unit: float, *, engine: str
) -> VecEnv:
    """``count`` environments side by side in this process: the same episodes and rewards on either engine.

    Args:
        pool: Episodes to train on.
        make_env: Makes the environment.
        count: Copies.
        unit: What the reference's mean cost of a decision becomes; see `PoolEnv`.
        engine: ``batch``, where the environment has copies on the compiled world, or ``simpy``.
    """
    env = make_env()
    if engine == "batch" and has_lanes(env):
        return TrainingLanes(env, pool, count, unit)
    return DummyVecEnv([lambda: PoolEnv(make_env(), pool, unit)] * count)


class TrainingLanes(VecEnv):
    """Copies of an environment that draw their episodes from a pool and are rewarded as `PoolEnv` is.

    Observations are handed over as they are, without a copy: one stays as it is until the second step after.

    Args:
        env: What to copy.
        pool: Episodes to train on.
        count: Copies.
        unit: What the reference's mean cost of a decision becomes.
    """

    def __init__(self, env: WorldEnv, pool: Sequence[TrainingEpisode], count: int, unit: float) -> None:
        self._env = env
        self._lanes = lanes_of(env, count, [one.episode for one in pool])
        self._reference = _reference(pool, unit)
        self._passed = np.zeros(count)
        self._rows = np.zeros(count, np.int64)
        self._actions: NDArray[Any] = np.zeros(0)
        self._nothing: list[dict[str, Any]] = [{} for _ in range(count)]
        super().__init__(count, env.observation_space, env.action_space)

    def reset(self) -> VecEnvObs:
        """Start an episode on every copy."""
        self._lanes.seed(self._seeds)
        self._reset_seeds()
        self._begin(np.arange(self.num_envs))
        return self._lanes.seen.observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take actions, to be carried out by `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Carry them out; an ended copy starts anew at once."""
        lanes = self._lanes
        lanes.step(self._actions)
        seen = lanes.seen
        rewards = np.empty(len(lanes), np.float32)
        _reward(self._reference, lanes.places, seen, lanes.rewards, self._rows, self._passed, rewards)
        dones = seen.ended[: self.num_envs].copy()
        infos = self._nothing
        if dones.any():
            ended = np.flatnonzero(dones)
            infos = infos.copy()
            for copy in ended.tolist():
                infos[copy] = {"terminal_observation": seen.observations[copy].copy()}
            self._begin(ended)
        return seen.observations, rewards[: self.num_envs], dones, infos

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Masks of the open questions, for `sb3_contrib`; there is no other method of a single copy."""
        if method_name != "action_masks":
            raise AttributeError(f"copies have no method {method_name!r}, only action_masks")
        return [self._lanes.seen.masks[copy] for copy in self._indices(indices)]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the environment, which all copies share."""
        return [getattr(self._env, attr_name) for _ in self._indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: copies share one environment, which is only read."""
        raise AttributeError(f"{attr_name} cannot be set: all copies share one environment")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Copies have no wrappers."""
        return [False for _ in self._indices(indices)]

    def has_attr(self, attr_name: str) -> bool:
        """Whether copies have an attribute; ``action_masks`` is one of them."""
        return hasattr(self._env, attr_name)

    def close(self) -> None:
        """Nothing to let go."""

    def _indices(self, indices: Any) -> Iterable[int]:
        return self._get_indices(indices)

    def _begin(self, copies: NDArray[np.int64]) -> None:
        self._lanes.begin(copies)
        self._passed[copies] = 0.0
        self._rows[copies] = 0


class _Reference(NamedTuple):
    """What the reference runs of a pool had cost by when; rows are as long as the longest run.

    Attributes:
        times: Of decisions and of the end, in seconds, shape (episodes, longest).
        accrued: Cost by then, in seconds, shape (episodes, longest).
        lengths: Entries of a row that count, shape (episodes,).
        scale: Reward for a second saved, shape (episodes,).
    """

    times: Floats
    accrued: Floats
    lengths: NDArray[np.int64]
    scale: Floats


def _reference(pool: Sequence[TrainingEpisode], unit: float) -> _Reference:
    lengths = np.array([len(one.times) for one in pool])
    times = np.full((len(pool), lengths.max()), np.inf)
    accrued = np.zeros(times.shape)
    for number, one in enumerate(pool):
        times[number, : len(one.times)] = one.times
        accrued[number, : len(one.times)] = one.accrued
    return _Reference(times, accrued, lengths, np.array([unit / one.mean_cost for one in pool]))


@njit
def _reward(
    reference: _Reference,
    places: NDArray[np.int64],
    seen: Seen,
    costs: Floats,
    rows: NDArray[np.int64],
    passed: Floats,
    rewards: NDArray[np.float32],
) -> None:
    """Write what was saved beside the reference since the step before.

    ``rows``, how many entries of each lane's reference lie behind it, and ``passed``, what that had cost by
    then, are moved to now.
    """
    for lane in range(len(places)):
        place, now_s = places[lane], seen.now_s[lane]
        times, accrued = reference.times[place], reference.accrued[place]
        after, length = rows[lane], reference.lengths[place]
        while after < length and times[after] <= now_s:
            after += 1
        rows[lane] = after
        if seen.ended[lane] or after == length:
            by_now = accrued[length - 1]
        elif now_s <= times[0]:
            by_now = accrued[0]
        else:
            start, begun = times[after - 1], accrued[after - 1]
            slope = (accrued[after] - begun) / (times[after] - start)
            by_now = slope * (now_s - start) + begun
        rewards[lane] = (by_now - passed[lane] + costs[lane]) * reference.scale[place]
        passed[lane] = by_now
