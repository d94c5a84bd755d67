"""The environment as a learner meets it: episodes from a pool, rewards relative to a fixed rule's."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.spaces.utils import flatdim
from numpy.typing import NDArray

from agents.play import play
from agents.policy import Policy
from envs.base import WorldEnv
from sim.episode import Episode


class TrainingEpisode(NamedTuple):
    """An episode to train on, and how a fixed rule fares on it.

    Attributes:
        episode: The episode.
        times: Moments of the reference run, ascending, shape (n,), in seconds: each of its decisions, and the
            end.
        accrued: What the rule has cost by then, shape (n,), in seconds; the last is its cost of
            the episode.
    """

    episode: Episode
    times: NDArray[np.float64]
    accrued: NDArray[np.float64]

    @property
    def mean_cost(self) -> float:
        """Cost a decision of the reference run, in seconds."""
        return float(self.accrued[-1]) / (len(self.times) - 1)


def training_episode(env: WorldEnv, episode: Episode, rule: Policy) -> TrainingEpisode:
    """Run a fixed rule over an episode and keep the run as its reference."""
    points: list[tuple[float, float]] = []
    world = play(env, episode, rule, watch=lambda at, *_: points.append((at.clock.now, at.cost)))
    points.append((world.clock.now, world.cost))
    times, accrued = np.array(points).T
    return TrainingEpisode(episode, times, accrued)


class PoolEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Draws its episodes from a pool and rewards what is saved beside the best fixed rule.

    The reward of a step is what the reference run accrued in that time minus what this run did, over the
    reference's mean cost a decision, times ``unit``. It sums to
    ``(reference cost - cost) / reference cost * decisions of the reference * unit``: a difference to the true
    return that no action changes, so what is optimal stays so, while the chance of sizes and arrivals, which
    both runs share, cancels; and scenarios weigh the same, whatever their seconds.

    Args:
        env: The environment.
        pool: Episodes to train on.
        unit: What the reference's mean cost of a decision becomes; ``1 - gamma`` keeps returns near 1.

    Source:
        Ng, Harada, Russell: Policy Invariance Under Reward Transformations. ICML 1999 (a potential that
        depends on time only). Mao, Venkatakrishnan, Schwarzkopf, Alizadeh: Variance Reduction for
        Reinforcement Learning in Input-Driven Environments. ICLR 2019.
    """

    def __init__(self, env: WorldEnv, pool: Sequence[TrainingEpisode], unit: float) -> None:
        super().__init__(env)
        self._world_env = env
        self._pool = pool
        self._unit = unit
        self._reference = pool[0]
        self._passed = 0.0
        self._rng = np.random.default_rng(0)

    def action_masks(self) -> NDArray[np.bool_]:
        """What the open question allows; all, where nothing is ever forbidden."""
        if not self._world_env.masked:
            return np.ones(flatdim(self.action_space), bool)
        return self._world_env.action_masks()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode of the pool, drawn evenly by a generator of its own."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._reference = self._pool[int(self._rng.integers(len(self._pool)))]
        self._passed = 0.0
        return self.env.reset(options={"episode": self._reference.episode})

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take an action; the reward is relative to the reference run."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        _, times, accrued = self._reference
        world = self._world_env.world
        assert world is not None
        passed = float(accrued[-1] if terminated else np.interp(world.clock.now, times, accrued))
        saved = passed - self._passed + float(reward)
        self._passed = passed
        return observation, saved / self._reference.mean_cost * self._unit, terminated, truncated, info
