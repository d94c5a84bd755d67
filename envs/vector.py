"""Vector environments on the compiled world, for ``gymnasium.make_vec("envs:dwcp/...", num_envs=256)``."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.allocation import Allocation
from envs.allocation_lanes import AllocationLanes
from envs.base import WorldEnv
from envs.codec_lanes import CodecLanes
from envs.compression import Compression
from envs.joint import Joint
from envs.joint_lanes import JointLanes
from envs.lanes import EnvLanes
from envs.scheduling import Scheduling
from envs.scheduling_lanes import SchedulingLanes
from sim.episode import Episode

LANES: Final[dict[type[WorldEnv], Any]] = {
    Compression: CodecLanes,
    Allocation: AllocationLanes,
    Scheduling: SchedulingLanes,
    Joint: JointLanes,
}
"""Lanes by the environment that they copy; a subclass may do otherwise, and has none."""


def has_lanes(env: WorldEnv) -> bool:
    """Whether an environment has copies on the compiled world; these know no reward but the cost."""
    return type(env) in LANES and getattr(env, "reward", "cost") == "cost"


def lanes_of(env: WorldEnv, count: int, pool: Sequence[Episode] = ()) -> EnvLanes:
    """So many copies of an environment side by side; arguments as of `envs.lanes.EnvLanes`."""
    lanes: EnvLanes = LANES[type(env)](env, count, pool)
    return lanes


class WorldVector(VectorEnv[NDArray[np.float32], NDArray[Any], NDArray[Any]]):
    """Copies of an environment, stepped together: what each does is what it would do alone.

    A copy seeded with s draws the episodes that the single environment seeded with s draws; copies of one
    seed have s, s + 1, ...

    Args:
        env: What to copy.
        num_envs: How many.
        autoreset_mode: ``NextStep`` (an ended copy starts anew in the next step, whose action it ignores) or
            ``SameStep`` (at once; its last observation is in ``infos["final_obs"]``).
    """

    def __init__(
        self,
        env: WorldEnv,
        num_envs: int,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    ) -> None:
        self._mode = AutoresetMode(autoreset_mode)
        if self._mode == AutoresetMode.DISABLED:
            raise ValueError("autoreset_mode must be NextStep or SameStep: ended copies start anew")
        self._lanes = lanes_of(env, num_envs)
        self.num_envs = num_envs
        self.render_mode = None
        self.metadata = {"autoreset_mode": self._mode}
        self.single_observation_space = env.observation_space
        self.single_action_space = env.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._masked = env.masked

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode on every copy."""
        if options:
            raise ValueError(
                f"copies know no reset options, got {sorted(options)}; use the single environment"
            )
        if seed is not None:
            seeds = [seed + copy for copy in range(self.num_envs)] if isinstance(seed, int) else list(seed)
            self._lanes.seed(seeds)
        every = np.arange(self.num_envs)
        self._lanes.begin(every)
        return self._lanes.seen.observations.copy(), self._begun(every)

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[
        NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Answer every copy's question; the reward is minus the cost, in seconds, accrued since."""
        actions = np.asarray(actions)
        if not self._take(actions):
            raise ValueError(f"actions must be of {self.action_space}, got {actions!r}")
        before = np.flatnonzero(self._lanes.seen.ended)
        self._lanes.step(actions)
        seen = self._lanes.seen
        infos: dict[str, Any] = {}
        if self._mode == AutoresetMode.NEXT_STEP and len(before):
            self._lanes.begin(before)
            self._lanes.rewards[before] = 0.0
            infos |= self._begun(before)
        ended = seen.ended.copy()
        if ended.any():
            done = np.flatnonzero(ended)
            last = {copy: self._last(copy) for copy in done.tolist()}
            if self._mode == AutoresetMode.SAME_STEP:
                finals = seen.observations[done].copy()
                self._lanes.begin(done)
                infos = self._begun(done)
                for copy, final in zip(done.tolist(), finals, strict=True):
                    info = {"final_obs": final, "final_info": last[copy]}
                    infos = self._add_info(infos, info, copy)
            else:
                for copy in done.tolist():
                    infos = self._add_info(infos, last[copy], copy)
        if self._masked and not seen.ended.all():
            infos["action_mask"], infos["_action_mask"] = seen.masks.copy(), ~seen.ended
        rewards = self._lanes.rewards.copy()
        return seen.observations.copy(), rewards, ended, np.zeros(self.num_envs, np.bool_), infos

    def _take(self, actions: NDArray[Any]) -> bool:
        """Whether actions fit; those beyond a Box are cut off, as in the single environment."""
        space = self.action_space
        if isinstance(space, spaces.Box) and actions.shape == space.shape:
            actions = np.clip(actions, space.low, space.high)
        return space.contains(actions.astype(space.dtype))

    def _begun(self, copies: NDArray[np.int64]) -> dict[str, Any]:
        """What is said of copies that start: the names of their scenarios."""
        names = np.full(self.num_envs, None, object)
        which = np.zeros(self.num_envs, np.bool_)
        which[copies] = True
        for copy in copies.tolist():
            names[copy] = self._lanes.episode(copy).scenario.name
        infos: dict[str, Any] = {"scenario": names, "_scenario": which}
        if self._masked:
            infos["action_mask"], infos["_action_mask"] = self._lanes.seen.masks.copy(), which
        return infos

    def _last(self, copy: int) -> dict[str, Any]:
        """What is said of a copy at its end."""
        episode = self._lanes.episode(copy)
        cost_s = float(self._lanes.seen.costs[copy])
        return {"scenario": episode.scenario.name, "episode_seed": episode.seed, "cost_s": cost_s}


def compression(num_envs: int, **arguments: Any) -> WorldVector:
    """Copies of `dwcp/Compression-v0`; arguments as of `envs.compression.Compression` and `WorldVector`."""
    return _vector(Compression, num_envs, arguments)


def allocation(num_envs: int, **arguments: Any) -> WorldVector:
    """Copies of `dwcp/Allocation-v0`; arguments as of `envs.allocation.Allocation` and `WorldVector`."""
    return _vector(Allocation, num_envs, arguments)


def scheduling(num_envs: int, **arguments: Any) -> WorldVector:
    """Copies of `dwcp/Scheduling-v0`; arguments as of `envs.scheduling.Scheduling` and `WorldVector`."""
    return _vector(Scheduling, num_envs, arguments)


def joint(num_envs: int, **arguments: Any) -> WorldVector:
    """Copies of `dwcp/Joint-v0`; arguments as of `envs.joint.Joint` and `WorldVector`."""
    return _vector(Joint, num_envs, arguments)


def _vector(make: type[WorldEnv], num_envs: int, arguments: dict[str, Any]) -> WorldVector:
    own = {name: arguments.pop(name) for name in ("autoreset_mode",) if name in arguments}
    return WorldVector(make(**arguments), num_envs, **own)
