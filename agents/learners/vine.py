"""PPO that goes on by trying every answer: the same world forked, the same dice, one decision different."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from agents.learners.branching_lanes import BranchingLanes
from agents.learners.forward import network_policy


class _Tried(NamedTuple):
    """Decisions at which every answer was tried.

    Attributes:
        observations: Shape (n, features).
        costs: Of each answer beyond the best, in mean costs of a decision, shape (n, answers).
    """

    observations: NDArray[np.float32]
    costs: NDArray[np.float32]


class Vine(PPO):
    """PPO for a while, then the exact gradient over all answers, from worlds that differ in one decision.

    What PPO takes for the worth of a decision is the cost of all that happens after it, of which the decision
    made a small part; the rest is chance. Two runs of one episode that differ in one answer share this
    chance, and what they differ in is what the answer did. So at every ``gap``-th decision each answer is
    tried on a fork of the world, and the greedy policy goes on to the end of the episode. The network then
    learns to give its probability to what costs least: it minimises the expected cost of a decision, with
    the entropy bonus of PPO.

    Args:
        gap: Decisions between two at which all answers are tried.
        memory: Rollouts whose tries are learned from: those of older policies say nearly the same.
        branch_after: Share of the training that is plain PPO.
        cost_limit: Most that a try counts, in mean costs of a decision: a few would outweigh all others.

    Source:
        Schulman, Levine, Moritz, Jordan, Abbeel: Trust Region Policy Optimization. ICML 2015 (section 5.2,
        "vine", with common random numbers). Ross, Bagnell: Reinforcement and Imitation Learning via
        Interactive No-Regret Learning. arXiv:1406.5979, 2014 (learning from costs to go of all answers).
    """

    def __init__(
        self,
        *args: Any,
        gap: int = 4,
        memory: int = 16,
        branch_after: float = 0.5,
        cost_limit: float = 50.0,
        **kwargs: Any,
    ) -> None:
        self.gap = gap
        self.memory = memory
        self.branch_after = branch_after
        self.cost_limit = cost_limit
        self._tried: list[_Tried] = []
        super().__init__(*args, **kwargs)

    @property
    def _branches(self) -> bool:
        return 1.0 - self._current_progress_remaining >= self.branch_after

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_tried"]

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        self._tried = []  # no checkpoint holds them
        return super()._setup_learn(*args, **kwargs)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Decisions of the policy; later on with all answers tried at some of them."""
        if not self._branches:
            return super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        assert isinstance(env, BranchingLanes)
        callback.on_rollout_start()
        greedy = network_policy("", self)
        first = int(torch.randint(self.gap, (1,)))
        observations, costs = [], []
        for number in range(n_rollout_steps):
            seen = np.array(self._last_obs, np.float32)
            if number % self.gap == first:
                observations.append(seen)
                costs.append(env.branch(lambda rows: np.asarray(greedy.act(rows)), self.gamma))
            with torch.no_grad():
                actions = self.policy.get_distribution(torch.as_tensor(seen)).sample().numpy()
            after, rewards, self._last_episode_starts, _ = env.step(actions)
            self._last_obs = np.asarray(after)
            self.num_timesteps += env.num_envs
            callback.update_locals({"rewards": rewards})
            if not callback.on_step():
                return False
        tried = np.concatenate(costs)
        tried = np.minimum(tried - tried.min(axis=1, keepdims=True), self.cost_limit).astype(np.float32)
        self._tried = [*self._tried, _Tried(np.concatenate(observations), tried)][-self.memory :]
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """Gradient steps on what was collected; of tries, ``n_epochs`` passes over those remembered."""
        if not self._branches or not self._tried:
            super().train()
            return
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        observations = torch.as_tensor(np.concatenate([one.observations for one in self._tried]))
        costs = torch.as_tensor(np.concatenate([one.costs for one in self._tried]))
        drawn = torch.randint(len(costs), (self.n_epochs * len(costs),))
        losses = []
        for rows in drawn.split(self.batch_size):
            given: Any = self.policy.get_distribution(observations[rows])
            probabilities = given.distribution.probs
            expected = (probabilities * costs[rows]).sum(dim=1).mean()
            entropy = given.entropy().mean()
            loss = expected - self.ent_coef * entropy
            self.policy.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
            losses.append((loss.item(), -entropy.item()))
        self._n_updates += self.n_epochs
        mean_loss, mean_entropy_loss = np.mean(losses, axis=0)
        self.logger.record("train/loss", mean_loss)
        self.logger.record("train/entropy_loss", mean_entropy_loss)
