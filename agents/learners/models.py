"""Stable-Baselines3 models from our settings, and from their files."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from gymnasium import spaces
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from agents.learners.acting import ActingPolicy
from agents.learners.guidance import GuidedDQN
from agents.learners.masking import MaskedOffPolicy, MaskedQRDQN, with_mask_columns
from agents.learners.settings import (
    LearnerConfig,
    MaskedDQNConfig,
    OffPolicyConfig,
    OnPolicyConfig,
    PPOConfig,
    QRDQNConfig,
    RecurrentPPOConfig,
    VineConfig,
)
from agents.learners.sharing import SharedMaskablePolicy, widths
from agents.learners.vine import Vine
from envs.base import WorldEnv
from sim.errors import InputError

_ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}
_SHARED: Final[dict[str, type[BasePolicy]]] = {"ppo": ActingPolicy, "masked_ppo": SharedMaskablePolicy}
"""Policies of PPO whose slots share their weights; those of DQN know how themselves."""
_CRITIC: Final = 2
"""Width of a critic that sees all slots, over the width that an actor has for each."""


class Kind(NamedTuple):
    """An algorithm, and the environments that it can be trained on.

    Attributes:
        algorithm: The class.
        actions: Action spaces that it can fill.
        masks: Whether it keeps to action masks.
    """

    algorithm: type[BaseAlgorithm]
    actions: tuple[type[spaces.Space[Any]], ...]
    masks: bool


KINDS: Final[dict[str, Kind]] = {
    "ppo": Kind(PPO, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete), masks=False),
    "vine": Kind(Vine, (spaces.Discrete,), masks=False),
    "recurrent_ppo": Kind(RecurrentPPO, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete), masks=False),
    "dqn": Kind(DQN, (spaces.Discrete,), masks=False),
    "masked_ppo": Kind(MaskablePPO, (spaces.Discrete, spaces.MultiDiscrete), masks=True),
    "masked_dqn": Kind(GuidedDQN, (spaces.Discrete,), masks=True),
    "qrdqn": Kind(MaskedQRDQN, (spaces.Discrete,), masks=True),
}
"""Algorithms by the ``kind`` of their settings."""


def fitting_kinds(env: WorldEnv) -> tuple[str, ...]:
    """The kinds of learner that can be trained on an environment."""
    return tuple(
        name
        for name, kind in KINDS.items()
        if isinstance(env.action_space, kind.actions) and (kind.masks or not env.masked)
    )


def input_space(kind: str, env: WorldEnv) -> spaces.Space[Any]:
    """What a model of a kind has as its observation space: with the mask in it, if it travels that way."""
    if issubclass(KINDS[kind].algorithm, MaskedOffPolicy):
        return with_mask_columns(env.observation_space, env.action_space)
    return env.observation_space


def make_model(config: LearnerConfig, envs: VecEnv, seed: int) -> BaseAlgorithm:
    """A model before its first step, on the CPU: networks of this size gain nothing elsewhere."""
    slots = envs.get_attr("shown")[0] if config.shared else None
    if config.shared and slots is None:
        raise ValueError("shared needs slots, but this environment shows no transfers side by side")
    hidden = widths(slots, config.layers)
    policy: dict[str, Any] = {"net_arch": hidden, "activation_fn": _ACTIVATIONS[config.activation]}
    if slots is not None:
        policy["slots"] = slots
    if not isinstance(config, OnPolicyConfig | OffPolicyConfig):
        raise TypeError(f"no model for settings of kind {config.kind!r}")
    algorithm: Any = KINDS[config.kind].algorithm
    common: dict[str, Any] = {
        "learning_rate": _schedule(config),
        "batch_size": config.batch,
        "gamma": config.gamma,
        "max_grad_norm": config.gradient_limit,
        "policy_kwargs": policy,
        "seed": seed,
        "device": "cpu",
    }
    if isinstance(config, OnPolicyConfig):
        if slots is not None:
            policy["net_arch"] = {"pi": hidden, "vf": [_CRITIC * width for width in config.layers]}
        if isinstance(config, PPOConfig):
            policy["log_std_init"] = math.log(config.action_sd)
            if slots is not None:
                policy["acting"] = envs.get_attr("acting")[0]
        if isinstance(config, RecurrentPPOConfig):
            policy |= {"lstm_hidden_size": config.units, "enable_critic_lstm": False}
        return algorithm(
            _SHARED[config.kind] if slots is not None else _plain(algorithm),
            envs,
            n_steps=config.rollout,
            n_epochs=config.epochs,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip,
            ent_coef=config.entropy,
            vf_coef=config.value_weight,
            **common,
            **(_branching(config) if isinstance(config, VineConfig) else {}),
        )
    if isinstance(config, QRDQNConfig):
        policy["n_quantiles"] = config.quantiles
    return algorithm(
        "MlpPolicy",
        envs,
        buffer_size=config.buffer,
        learning_starts=config.learning_starts,
        train_freq=config.train_freq,
        gradient_steps=config.gradient_steps,
        target_update_interval=config.target_update,
        exploration_fraction=config.exploration_fraction,
        exploration_final_eps=config.exploration_final,
        n_steps=config.n_step,
        **common,
        **(_guided(config) if isinstance(config, MaskedDQNConfig) else {}),
    )


def _plain(algorithm: type[BaseAlgorithm]) -> str:
    """Name of the policy without shared weights."""
    return "MlpLstmPolicy" if algorithm is RecurrentPPO else "MlpPolicy"


def _branching(config: VineConfig) -> dict[str, Any]:
    """What only vine has."""
    return {name: getattr(config, name) for name in ("gap", "memory", "branch_after", "cost_limit")}


def _guided(config: MaskedDQNConfig) -> dict[str, Any]:
    """What only masked DQN has; its margin is the mean cost of a decision, in the unit of the rewards."""
    return {
        "double": config.double,
        "margin": 1.0 - config.gamma,
        "margin_weight": config.margin_weight,
    }


def load_model(kind: str, path: Path) -> BaseAlgorithm:
    """A saved model, without its environment.

    Raises:
        InputError: If the file is missing, torn or of another algorithm.
    """
    algorithm: Any = KINDS[kind].algorithm
    try:
        with warnings.catch_warnings():  # it takes its own n-step buffer, when loaded, for a foreign one
            warnings.filterwarnings("ignore", message="`n_steps=")
            model = algorithm.load(path, device="cpu")
        if type(model.policy) not in (algorithm.policy_aliases[_plain(algorithm)], _SHARED.get(kind)):
            raise ValueError(
                "policy of another algorithm"
            )  # DQN would take a masked one, and forget the mask
    except Exception as error:  # Stable-Baselines3 lets zipfile's, pickle's and torch's errors through
        expected = f"expected a saved {algorithm.__name__} model"
        raise InputError(
            path, "", f"{expected}, got {_reason(error)}; remove its folder to train again"
        ) from error
    return model


def _reason(error: Exception) -> str:
    return (
        "no file"
        if isinstance(error, FileNotFoundError)
        else f"a torn or foreign file ({type(error).__name__})"
    )


def _schedule(config: OnPolicyConfig | OffPolicyConfig) -> float | Callable[[float], float]:
    """Learning rate by the share of steps that is left; below 0 when a last rollout goes past the end."""
    rate = config.rate
    return rate if config.schedule == "constant" else lambda left: rate * max(left, 0.0)
