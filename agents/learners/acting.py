"""A policy of PPO for continuous actions whose ignored entries have no part in learning."""

from collections.abc import Sequence
from typing import Any

import torch
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor

from agents.learners.sharing import SharedPolicy


class ActingPolicy(SharedPolicy):
    """Shared weights, and a probability of those entries of an action that change something.

    An environment that shows slots ignores what is said of empty ones. Drawn all the same, such entries would
    make the ratio of probabilities, which PPO holds near 1, mostly a matter of chance.

    Args:
        acting: Of each entry of the action, the entry of the observation that is above 0 where it counts.
    """

    def __init__(self, *args: Any, acting: Sequence[int], **kwargs: Any) -> None:
        self._acting = list(acting)
        super().__init__(*args, **kwargs)

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Actions, values, and log-probabilities of what counts of the actions."""
        actions, values, _ = super().forward(obs, deterministic)
        return actions, values, self._log_prob(obs, actions)

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values, and log-probabilities and entropies of what counts of the actions."""
        values, _, _ = super().evaluate_actions(obs, actions)
        given: Any = self.action_dist
        entropy = (given.distribution.entropy() * self.counts(obs)).sum(dim=1)
        return values, self._log_prob(obs, actions), entropy

    def counts(self, obs: Any) -> Tensor:
        """1 where an entry of the action changes something, else 0, shape (N, entries)."""
        return (obs[:, self._acting] > 0.0).to(torch.float32)

    def _log_prob(self, obs: Any, actions: Tensor) -> Tensor:
        given: Any = self.action_dist  # as the call before has left it
        log_prob: Tensor = (given.distribution.log_prob(actions) * self.counts(obs)).sum(dim=1)
        return log_prob
