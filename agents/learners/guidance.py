"""Masked DQN that keeps to a rule as long as its own values give no reason to leave it."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from agents.learners.masking import MaskedDQN
from agents.policy import Policy


class GuidedDQN(MaskedDQN):
    """Masked DQN that keeps to a rule where its values tell no action from another; without one, masked DQN.

    When to hold a transfer back shows in the cost of many decisions later: most differences between values
    are smaller than their errors, and the best of them is the best by chance. A guide breaks such ties.
    Beside its own loss the network has one that asks the value of the guide's action to lead those of all
    others by a margin; its weight falls linearly to 0. Another action is taken where its value leads by
    more than that can hold, and at the end nothing is left of the guide but what was learned. As a guide is
    a rule, it can be asked in every state that is replayed, not only in those of its own runs.

    Args:
        margin: By how much the guide's action is to lead, in the unit of the rewards.
        margin_weight: Weight of that loss beside that of the temporal differences, at the start.

    Attributes:
        guide: Acts on a batch of observations with masks and keeps no state; None for none. It is not saved
            with the model: who loads one sets it again.

    Source:
        Hester et al.: Deep Q-learning from Demonstrations. AAAI 2018.
    """

    def __init__(self, *args: Any, margin: float = 0.02, margin_weight: float = 0.3, **kwargs: Any) -> None:
        self.margin = margin
        self.margin_weight = margin_weight
        self.guide: Policy | None = None
        super().__init__(*args, **kwargs)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Gradient steps; with a guide, its margin stands beside the temporal differences."""
        if self.guide is None:
            super().train(gradient_steps, batch_size)
            return
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses = [self._guided_step(batch_size) for _ in range(gradient_steps)]
        self._n_updates += gradient_steps
        self.logger.record("train/loss", np.mean(losses))

    def _guided_step(self, batch_size: int) -> float:
        """One gradient step; the loss of the temporal differences, as `stable_baselines3.DQN` has it."""
        replayed = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)  # type: ignore[union-attr]
        discounts = self.gamma if replayed.discounts is None else replayed.discounts
        with torch.no_grad():
            following = self.q_net_target(replayed.next_observations).max(dim=1, keepdim=True).values
            targets = replayed.rewards + (1 - replayed.dones) * discounts * following
        values = self.q_net(replayed.observations)
        differences = functional.smooth_l1_loss(values.gather(1, replayed.actions.long()), targets)
        advised = torch.as_tensor(self._advice(replayed.observations.numpy()))
        weight = self.margin_weight * self._current_progress_remaining
        loss = differences + weight * margin_loss(values, advised, self.margin)
        self.policy.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        return differences.item()

    def _advice(self, rows: NDArray[np.float32]) -> NDArray[np.int64]:
        """What the guide would do, shape (N,), in states (N, F) whose last columns are their masks."""
        assert self.guide is not None
        count = int(self.action_space.n)  # type: ignore[attr-defined]
        return np.asarray(self.guide.act(rows[:, :-count], rows[:, -count:] > 0.5), np.int64)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "guide"]


def margin_loss(values: Tensor, advised: Tensor, margin: float) -> Tensor:
    """By how much the advised actions fail to lead all others by a margin, at least 0, in the mean.

    Args:
        values: Shape (N, A).
        advised: The action that is to lead in each row, shape (N,).
        margin: By how much, in the unit of the values.

    Source:
        Piot, Geist, Pietquin: Boosted Bellman Residual Minimization Handling Expert Demonstrations. ECML
        2014; Hester et al., AAAI 2018, equation 2.

    >>> values = torch.tensor([[1.0, 3.0, 2.5], [1.0, 3.0, 2.5]])
    >>> round(float(margin_loss(values, torch.tensor([1, 1]), margin=0.75)), 6)
    0.25
    >>> round(float(margin_loss(values, torch.tensor([1, 2]), margin=0.75)), 6)
    0.75
    """
    others = torch.full_like(values, margin).scatter(1, advised.unsqueeze(1), 0.0)
    led = (values + others).max(dim=1).values
    return (led - values.gather(1, advised.unsqueeze(1)).squeeze(1)).mean()
