"""A trained network as a policy: matrix products in numpy, the actions of Stable-Baselines3's predict."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import DQN, PPO
from torch import nn

from agents.policy import Actions, Mask, Observation, Policy, best_allowed

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]


class NetworkPolicy(Policy):
    """The greedy policy of a fully connected network: logits of PPO, Q-values of DQN.

    Args:
        name: Catalogue name.
        layers: Weights (inputs, outputs) and bias of each layer.
        activation: ``tanh`` or ``relu``, between layers.
    """

    def __init__(self, name: str, layers: Sequence[Layer], activation: str) -> None:
        self.name = name
        self._layers = tuple(layers)
        self._tanh = activation == "tanh"

    def act(self, observation: Observation, mask: Mask | None = None) -> int | Actions:
        """The allowed action with the highest output."""
        return best_allowed(self.scores(observation), mask)

    def scores(self, observation: Observation) -> NDArray[np.float32]:
        """Outputs of the network, shape (..., actions)."""
        hidden = observation
        for weight, bias in self._layers[:-1]:
            hidden = hidden @ weight + bias
            hidden = np.tanh(hidden) if self._tanh else np.maximum(hidden, 0.0)
        weight, bias = self._layers[-1]
        return hidden @ weight + bias


def network_policy(name: str, model: PPO | DQN) -> NetworkPolicy:
    """The greedy policy of a model as it is now."""
    if isinstance(model, PPO):
        modules: list[Any] = [*model.policy.mlp_extractor.policy_net, model.policy.action_net]
    else:
        modules = list(model.policy.q_net.q_net)
    layers = [
        (module.weight.detach().numpy().T.copy(), module.bias.detach().numpy().copy())
        for module in modules
        if isinstance(module, nn.Linear)
    ]
    activation = "tanh" if any(isinstance(module, nn.Tanh) for module in modules) else "relu"
    return NetworkPolicy(name, layers, activation)
