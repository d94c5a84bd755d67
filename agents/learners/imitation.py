"""An actor that begins where a rule stands: it imitates the rule first, then learns from its own costs."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.play import play
from agents.policy import Policy
from envs.base import WorldEnv
from sim.episode import Episode

_EPISODES: Final = 16
_STEPS: Final = 600
_BATCH: Final = 256
_RATE: Final = 3e-3


def imitate(
    model: BaseAlgorithm, env: WorldEnv, rule: Policy, episodes: Sequence[Episode], rng: np.random.Generator
) -> None:
    """Fit the actor of PPO to what a rule does on some episodes; the critic stays as it is.

    Args:
        model: (Maskable) PPO before its first step.
        env: What the rule answers in.
        rule: Whom to imitate.
        episodes: To draw from.
        rng: Chooses episodes and batches.

    Source:
        Pomerleau: ALVINN, an autonomous land vehicle in a neural network. NeurIPS 1988 (behaviour cloning).
    """
    chosen = rng.choice(len(episodes), min(_EPISODES, len(episodes)), replace=False)
    seen: list[tuple[Any, Any, Any]] = []
    for number in chosen:
        play(
            env,
            episodes[number],
            rule,
            watch=lambda world, observation, action: seen.append(
                (observation, action, env.action_masks() if env.masked else True)
            ),
        )
    observations, actions, masks = (torch.as_tensor(np.stack(column)) for column in zip(*seen, strict=True))
    policy: Any = model.policy
    optimizer = torch.optim.Adam(policy.parameters(), lr=_RATE)
    for _ in range(_STEPS):
        rows = torch.as_tensor(rng.integers(len(seen), size=_BATCH))
        if env.masked:
            given = policy.get_distribution(observations[rows], masks[rows].numpy())
        else:
            given = policy.get_distribution(observations[rows])
        if actions.dtype.is_floating_point:  # only the mean: the spread is there to explore
            loss = (given.distribution.mean - actions[rows]).square().mean()
        else:
            loss = -given.log_prob(actions[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
