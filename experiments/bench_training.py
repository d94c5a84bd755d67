"""How much of the time of a PPO training goes to the environments, and how much to the learner."""

from typing import Any, Final, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.catalogue import static_policies
from agents.learners.training_env import training_episode
from agents.learners.training_lanes import training_envs
from experiments.bench_clock import Block
from experiments.bench_lanes import CARTPOLE, QUESTIONS, episodes

ENVS: Final = 256
ROLLOUT: Final = 32
"""Steps of each copy between two updates."""
_POOL: Final = 16


class Pair(NamedTuple):
    """Training steps on an environment, and of the same learner where a step costs nothing."""

    real: Block
    still: Block


def on_question(question: str, *, engine: str) -> Pair:
    """PPO, masked where the environment is, on 256 copies of it; engine ``simpy`` or ``batch``."""
    make = QUESTIONS[question]
    env = make()
    pool = [training_episode(env, one, static_policies(env)[0]) for one in episodes(env.scenarios[0], _POOL)]
    ours = training_envs(pool, make, ENVS, 0.01, engine=engine)
    return Pair(_learn(ours, env.masked), _still(ours, env.masked))


def on_cartpole() -> Pair:
    """The same on CartPole."""
    copies = DummyVecEnv([lambda: gym.make(CARTPOLE)] * ENVS)
    return Pair(_learn(copies, masked=False), _still(copies, masked=False))


def _still(like: VecEnv, masked: bool) -> Block:
    return _learn(_Still(like.num_envs, like.observation_space, like.action_space), masked)


def _learn(envs: VecEnv, masked: bool) -> Block:
    shape = {"net_arch": [64, 64]}
    settings: dict[str, Any] = {"n_steps": ROLLOUT, "batch_size": 2048, "n_epochs": 4, "seed": 0}
    algorithm: Any = MaskablePPO if masked else PPO
    model = algorithm("MlpPolicy", envs, device="cpu", policy_kwargs=shape, **settings)

    def learn(steps: int) -> int:
        before = int(model.num_timesteps)
        model.learn(steps, reset_num_timesteps=False)
        return int(model.num_timesteps) - before

    return learn


class _Still(VecEnv):
    """Environments in which nothing happens, and everything is allowed."""

    def __init__(self, count: int, seen: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
        super().__init__(count, seen, actions)
        self._seen = np.zeros((count, *(seen.shape or ())), np.float32)
        self._rest = np.zeros(count, np.float32), np.zeros(count, np.bool_)
        self._infos: list[dict[str, Any]] = [{} for _ in range(count)]
        self._allowed = list(np.ones((count, spaces.flatdim(actions)), np.bool_))

    def reset(self) -> VecEnvObs:
        return self._seen

    def step_async(self, actions: NDArray[Any]) -> None:
        pass

    def step_wait(self) -> VecEnvStepReturn:
        return self._seen, *self._rest, self._infos

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        return self._allowed

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        pass

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs

    def close(self) -> None:
        pass
