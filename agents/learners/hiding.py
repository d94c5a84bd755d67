"""Features that a learner is kept from seeing: what an ablation takes away, while all else stays the same."""

import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.learners.settings import LearnerConfig, RecurrentPPOConfig
from envs.base import WorldEnv


def hidden_places(config: LearnerConfig, env: WorldEnv) -> list[int]:
    """Where in the observation the features stand that a learner must not see.

    Raises:
        ValueError: If one of them is no feature, or the network is one whose weights cannot be told apart.
    """
    names, width = env.features.names, len(env.features)
    for name in config.hidden:
        if name not in names:
            raise ValueError(f"{env.task} has no feature '{name}'; take one of {', '.join(names)}")
    units = (config.units,) if isinstance(config, RecurrentPPOConfig) else ()
    if config.hidden and (config.shared or width in (*config.layers, *units)):
        raise ValueError(f"needs layers that are not shared and not {width} wide, as the observation is")
    return [names.index(name) for name in config.hidden]


def hide(model: BaseAlgorithm, config: LearnerConfig, env: WorldEnv) -> None:
    """Set the weights of hidden features to zero wherever a network reads the observation, and keep them so.

    A saved model says the same without this, for what has no weight says nothing; one that learns on must be
    told again.
    """
    places, width = hidden_places(config, env), len(env.features)
    if not places:
        return
    kept = torch.ones(width)
    kept[places] = 0.0
    for weight in model.policy.parameters():
        if weight.ndim == 2 and weight.shape[1] == width:
            with torch.no_grad():
                weight.mul_(kept)
            if weight.requires_grad:
                weight.register_hook(lambda gradient: gradient * kept)
