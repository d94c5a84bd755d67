"""Trained networks as policies: matrix products in numpy, the actions of Stable-Baselines3's predict."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib import QRDQN, MaskablePPO, RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from agents.policy import Action, Actions, Mask, Observation, Policy, best_allowed

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]


class NetworkPolicy(Policy):
    """The greedy policy of a fully connected network.

    Args:
        name: Catalogue name.
        layers: Weights (inputs, outputs) and bias of each layer.
        activation: ``tanh`` or ``relu``, between layers.
        action_space: What the outputs stand for: a score of each action (Discrete), of each action of each
            part, side by side (MultiDiscrete), or the action itself (Box of one dimension).
    """

    def __init__(
        self, name: str, layers: Sequence[Layer], activation: str, action_space: spaces.Space[Any]
    ) -> None:
        self.name = name
        self._layers = tuple(layers)
        self._tanh = activation == "tanh"
        self._action_space = action_space

    def act(self, observation: Observation, mask: Mask | None = None) -> Action:
        """The allowed action with the highest score, of each part of its own; of a Box the mean, clipped."""
        scores = self.scores(observation)
        if isinstance(self._action_space, spaces.Box):
            return np.clip(scores, self._action_space.low, self._action_space.high)
        if isinstance(self._action_space, spaces.MultiDiscrete):
            return _best_of_parts(scores, self._action_space.nvec, mask)
        return best_allowed(scores, mask)

    def scores(self, observation: Observation) -> NDArray[np.float32]:
        """Outputs of the network, shape (..., outputs): logits of PPO, values of DQN, means of a Box."""
        hidden = observation
        for weight, bias in self._layers[:-1]:
            hidden = hidden @ weight + bias
            hidden = np.tanh(hidden) if self._tanh else np.maximum(hidden, 0.0)
        weight, bias = self._layers[-1]
        return hidden @ weight + bias


class RecurrentPolicy(Policy):
    """The greedy policy of an LSTM that a fully connected network reads.

    It remembers an episode's decisions until it is reset. The rows of a batch are as many episodes side by
    side; a batch of another size begins them anew.

    Args:
        cell: Weights (inputs + units, 4 units) and bias of the LSTM: input, forget, cell and output gate.
        head: Reads the units.
    """

    remembers = True

    def __init__(self, cell: Layer, head: NetworkPolicy) -> None:
        self.name = head.name
        self._weight, self._bias = cell
        self._head = head
        self._units: NDArray[np.float32] | None = None
        self._cells: NDArray[np.float32] = np.zeros(0, np.float32)

    def reset(self) -> None:
        """Forget the episode."""
        self._units = None

    def act(self, observation: Observation, mask: Mask | None = None) -> Action:
        """The head's choice, after this observation is remembered, too."""
        shape = (*observation.shape[:-1], len(self._bias) // 4)
        if self._units is None or self._units.shape != shape:
            self._units, self._cells = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        gates = np.concatenate([observation, self._units], axis=-1) @ self._weight + self._bias
        into, kept, fresh, out = np.split(gates, 4, axis=-1)
        self._cells = _sigmoid(kept) * self._cells + _sigmoid(into) * np.tanh(fresh)
        self._units = _sigmoid(out) * np.tanh(self._cells)
        return self._head.act(self._units, mask)


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return 0.5 * np.tanh(0.5 * values) + 0.5


def _best_of_parts(scores: NDArray[np.float32], sizes: NDArray[np.int64], mask: Mask | None) -> Actions:
    """The best allowed action of each part, shape (..., parts)."""
    ends = np.cumsum(sizes)[:-1]
    parts = np.split(scores, ends, axis=-1)
    masks = [None] * len(parts) if mask is None else np.split(mask, ends, axis=-1)
    return np.stack([best_allowed(*part) for part in zip(parts, masks, strict=True)], axis=-1)


def network_policy(name: str, model: BaseAlgorithm) -> NetworkPolicy | RecurrentPolicy:
    """The greedy policy of a model as it is now."""
    policy: Any = model.policy
    if isinstance(model, PPO | MaskablePPO | RecurrentPPO):
        modules: list[Any] = [*policy.mlp_extractor.policy_net, policy.action_net]
    else:
        modules = list(policy.quantile_net.quantile_net if isinstance(model, QRDQN) else policy.q_net.q_net)
    layers = [
        (module.weight.detach().numpy().T.copy(), module.bias.detach().numpy().copy())
        for module in modules
        if isinstance(module, nn.Linear)
    ]
    if isinstance(model, QRDQN):
        layers[-1] = _mean_over_quantiles(*layers[-1], model.n_quantiles)
    activation = "tanh" if any(isinstance(module, nn.Tanh) for module in modules) else "relu"
    network = NetworkPolicy(name, layers, activation, model.action_space)
    return RecurrentPolicy(_cell(policy.lstm_actor), network) if isinstance(model, RecurrentPPO) else network


def _cell(lstm: nn.LSTM) -> Layer:
    """Weights and bias of an LSTM of one layer, those of input and units one above the other."""
    of: dict[str, torch.Tensor] = dict(lstm.named_parameters())
    weight = torch.cat([of["weight_ih_l0"], of["weight_hh_l0"]], dim=1)
    bias = of["bias_ih_l0"] + of["bias_hh_l0"]
    return weight.detach().numpy().T.copy(), bias.detach().numpy().copy()


def _mean_over_quantiles(weight: NDArray[np.float32], bias: NDArray[np.float32], quantiles: int) -> Layer:
    """The last layer of QR-DQN, outputs (quantiles, actions), as one of action values: a mean is linear."""
    return weight.reshape(len(weight), quantiles, -1).mean(axis=1), bias.reshape(quantiles, -1).mean(axis=0)
