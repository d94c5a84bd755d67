"""Training lanes that can try every answer to the questions that stand on them, with the same dice."""

from collections.abc import Sequence

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.learners.training_env import TrainingEpisode
from agents.learners.training_lanes import TrainingLanes
from envs.base import WorldEnv
from envs.lanes import Choose
from envs.vector import has_lanes


def branching_envs(
    pool: Sequence[TrainingEpisode], env: WorldEnv, count: int, unit: float, *, engine: str
) -> VecEnv:
    """Training environments with lanes for every answer; arguments as of `training_envs`.

    Raises:
        ValueError: If the environment has no copies on the compiled world, or SimPy's is asked for.
    """
    if engine != "batch" or not has_lanes(env):
        raise ValueError(f"forks need the compiled world, got engine {engine!r} of {type(env).__name__}")
    return BranchingLanes(env, pool, count, unit)


class BranchingLanes(TrainingLanes):
    """Copies of an environment as `TrainingLanes` has them, and beside each one a lane for every answer.

    Args:
        env: What to copy: of discrete actions, all of them always allowed.
        pool: Episodes to train on.
        count: Copies.
        unit: What the reference's mean cost of a decision becomes.
    """

    def __init__(self, env: WorldEnv, pool: Sequence[TrainingEpisode], count: int, unit: float) -> None:
        if not isinstance(env.action_space, spaces.Discrete) or env.masked:
            raise ValueError(f"every answer can be tried where all are allowed, not in {type(env).__name__}")
        self.answers = int(env.action_space.n)
        super().__init__(env, pool, count * (1 + self.answers), unit)
        self.num_envs = count
        self._lanes.places[count:] = 0
        self._means = _scenario_means(pool)

    def reset(self) -> VecEnvObs:
        """Start an episode on every copy."""
        return super().reset()[: self.num_envs]  # type: ignore[index]

    def step_wait(self) -> VecEnvStepReturn:
        """Carry actions out on the copies; the lanes for answers stand still, at their end."""
        actions = np.zeros(len(self._lanes), np.int64)
        actions[: self.num_envs] = self._actions
        self._actions = actions
        observations, rewards, dones, infos = super().step_wait()
        return observations[: self.num_envs], rewards, dones, infos  # type: ignore[index]

    def branch(self, choose: Choose, discount: float) -> NDArray[np.float64]:
        """What each answer to the questions that stand on the copies leads to, if another goes on after it.

        Args:
            choose: Answers all later questions, to the end of the episode.
            discount: What a cost counts for each question that comes before it, in (0, 1].

        Returns:
            Cost from the question on with each answer, over the mean cost of a decision in the reference runs
            of its scenario, shape (copies, answers). Only differences between answers say something.
        """
        lanes, count = self._lanes, self.num_envs
        costs, weight = np.zeros(len(lanes) - count), 1.0
        for rewards in lanes.try_all(np.arange(count), np.arange(count, len(lanes)), choose):
            costs -= weight * rewards
            weight *= discount
        scaled: NDArray[np.float64] = (
            costs.reshape(count, self.answers) / self._means[lanes.places[:count], None]
        )
        return scaled


def _scenario_means(pool: Sequence[TrainingEpisode]) -> NDArray[np.float64]:
    """Of each episode, the mean cost of a decision in the reference runs of its scenario, in seconds.

    Not of the episode: policies are judged by sums over episodes, where a decision in a dear one counts more.
    """
    names = np.array([one.episode.scenario.name for one in pool])
    means = np.array([one.mean_cost for one in pool])
    by_name = {name: means[names == name].mean() for name in set(names.tolist())}
    return np.array([by_name[name] for name in names.tolist()])
