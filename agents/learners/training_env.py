"""The environment as a learner meets it: episodes from a pool, rewards relative to a constant codec's."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.catalogue import static_policies
from agents.play import play
from agents.policy import Policy
from envs.compression import Compression
from sim.codecs import Codec
from sim.episode import Episode


class TrainingEpisode(NamedTuple):
    """An episode to train on, and how a constant fares on it.

    Attributes:
        episode: The episode.
        times: Moments of the reference run, ascending, shape (n,), in seconds.
        accrued: What the best static codec has cost by then, shape (n,), in seconds; the last is its cost of
            the episode.
    """

    episode: Episode
    times: NDArray[np.float64]
    accrued: NDArray[np.float64]


def training_episode(episode: Episode, codecs: Sequence[Codec]) -> TrainingEpisode:
    """Run every static codec over an episode and keep the cheapest run as its reference."""
    runs = [_accrual(episode, policy, codecs) for policy in static_policies(codecs)]
    times, accrued = min(runs, key=lambda run: float(run[1][-1]))
    return TrainingEpisode(episode, times, accrued)


def _accrual(
    episode: Episode, policy: Policy, codecs: Sequence[Codec]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points: list[tuple[float, float]] = []
    world = play(episode, policy, codecs, watch=lambda at, *_: points.append((at.clock.now, at.cost)))
    points.append((world.clock.now, world.cost))
    times, accrued = np.array(points).T
    return times, accrued


class PoolEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Draws its episodes from a pool and rewards what is saved beside the best static codec.

    The reward of a step is what the reference run accrued in that time minus what this run did, over the
    reference's mean cost a decision, times ``unit``. It sums to
    ``(reference cost - cost) / reference cost * decisions * unit``: a difference to the true return that no
    action changes, so what is optimal stays so, while the chance of sizes and arrivals, which both runs
    share, cancels; and scenarios weigh the same, whatever their seconds.

    Args:
        env: The environment.
        pool: Episodes to train on.
        unit: What the reference's mean cost of a decision becomes; ``1 - gamma`` keeps returns near 1.

    Source:
        Ng, Harada, Russell: Policy Invariance Under Reward Transformations. ICML 1999 (a potential that
        depends on time only). Mao, Venkatakrishnan, Schwarzkopf, Alizadeh: Variance Reduction for
        Reinforcement Learning in Input-Driven Environments. ICLR 2019.
    """

    def __init__(self, env: Compression, pool: Sequence[TrainingEpisode], unit: float) -> None:
        super().__init__(env)
        self._world_env = env
        self._pool = pool
        self._unit = unit
        self._reference = pool[0]
        self._passed = 0.0
        self._rng = np.random.default_rng(0)

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
        episode, times, accrued = self._reference
        world = self._world_env.world
        assert world is not None
        passed = float(accrued[-1] if terminated else np.interp(world.clock.now, times, accrued))
        saved = passed - self._passed + float(reward)
        self._passed = passed
        mean = float(accrued[-1]) / len(episode)
        return observation, saved / mean * self._unit, terminated, truncated, info


def training_envs(
    pool: Sequence[TrainingEpisode], codecs: Sequence[Codec], count: int, unit: float
) -> DummyVecEnv:
    """``count`` environments side by side in this process: the fastest way for cheap environments."""

    def one() -> gym.Env[Any, Any]:
        scenarios = [pool[0].episode.scenario]
        return PoolEnv(Compression(scenarios, [codec.name for codec in codecs]), pool, unit)

    return DummyVecEnv([one] * count)
