"""Stable-Baselines3 models from our settings, and from their files."""

import warnings
from collections.abc import Callable
from pathlib import Path

from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from agents.learners.settings import DQNConfig, LearnerConfig, PPOConfig
from sim.errors import InputError

_ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


def make_model(config: LearnerConfig, envs: VecEnv, seed: int) -> PPO | DQN:
    """A model before its first step, on the CPU: networks of this size gain nothing elsewhere."""
    policy = {"net_arch": list(config.layers), "activation_fn": _ACTIVATIONS[config.activation]}
    if isinstance(config, PPOConfig):
        return PPO(
            "MlpPolicy",
            envs,
            learning_rate=_schedule(config),
            n_steps=config.rollout,
            batch_size=config.batch,
            n_epochs=config.epochs,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip,
            ent_coef=config.entropy,
            vf_coef=config.value_weight,
            max_grad_norm=config.gradient_limit,
            policy_kwargs=policy,
            seed=seed,
            device="cpu",
        )
    if isinstance(config, DQNConfig):
        return DQN(
            "MlpPolicy",
            envs,
            learning_rate=_schedule(config),
            buffer_size=config.buffer,
            learning_starts=config.learning_starts,
            batch_size=config.batch,
            gamma=config.gamma,
            train_freq=config.train_freq,
            gradient_steps=config.gradient_steps,
            target_update_interval=config.target_update,
            exploration_fraction=config.exploration_fraction,
            exploration_final_eps=config.exploration_final,
            n_steps=config.n_step,
            max_grad_norm=config.gradient_limit,
            policy_kwargs=policy,
            seed=seed,
            device="cpu",
        )
    raise TypeError(f"no model for settings of kind {config.kind!r}")


def load_model(kind: str, path: Path) -> PPO | DQN:
    """A saved model, without its environment.

    Raises:
        InputError: If the file is missing, torn or of another algorithm.
    """
    algorithm: type[PPO] | type[DQN] = PPO if kind == "ppo" else DQN
    try:
        with warnings.catch_warnings():  # it takes its own n-step buffer, when loaded, for a foreign one
            warnings.filterwarnings("ignore", message="`n_steps=")
            return algorithm.load(path, device="cpu")
    except Exception as error:  # Stable-Baselines3 lets zipfile's, pickle's and torch's errors through
        expected = f"expected a saved {kind.upper()} model"
        raise InputError(
            path, "", f"{expected}, got {_reason(error)}; remove its folder to train again"
        ) from error


def _reason(error: Exception) -> str:
    return (
        "no file"
        if isinstance(error, FileNotFoundError)
        else f"a torn or foreign file ({type(error).__name__})"
    )


def _schedule(config: PPOConfig | DQNConfig) -> float | Callable[[float], float]:
    """Learning rate by the share of steps that is left; below 0 when a last rollout goes past the end."""
    rate = config.rate
    return rate if config.schedule == "constant" else lambda left: rate * max(left, 0.0)
