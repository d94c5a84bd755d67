"""An actor that begins where a rule stands: it imitates the rule first, then learns from its own costs."""

from collections.abc import Sequence
from typing import Any, Final, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from agents.learners.acting import ActingPolicy
from agents.play import play
from agents.policy import Policy
from envs.base import WorldEnv
from sim.episode import Episode

_EPISODES: Final = 48
_STEPS: Final = 2500
_BATCH: Final = 256
_RATE: Final = 3e-3


def imitate(
    model: BaseAlgorithm,
    env: WorldEnv,
    rule: Policy,
    episodes: Sequence[Episode],
    rng: np.random.Generator,
    *,
    spread: float = 0.0,
) -> None:
    """Fit the actor of PPO to what a rule does on some episodes; the critic begins at 0.

    Rewards are relative to the best rule, so 0 is about what the rule is worth. A critic that begins anywhere
    else would drive the actor away from the rule before anything is learned.

    Args:
        model: (Maskable) PPO before its first step.
        env: What the rule answers in.
        rule: Whom to imitate.
        episodes: To draw from.
        rng: Chooses episodes and batches.
        spread: Share of decisions in which it learns to take any allowed choice in one part of the action
            instead of the rule's: an actor sure of every choice would never see another. Of choices only.

    Source:
        Pomerleau: ALVINN, an autonomous land vehicle in a neural network. NeurIPS 1988 (behaviour cloning).
    """
    chosen = rng.choice(len(episodes), min(_EPISODES, len(episodes)), replace=False)
    seen: list[tuple[Any, Any, Any]] = []
    lengths = []
    for number in chosen:
        before = len(seen)
        play(
            env,
            episodes[number],
            rule,
            watch=lambda world, observation, action: seen.append(
                (observation, action, env.action_masks() if env.masked else True)
            ),
        )
        lengths.append(len(seen) - before)
    likely = np.repeat(1.0 / (len(lengths) * np.array(lengths)), lengths)  # short episodes count as long ones
    observations, actions, masks = (torch.as_tensor(np.stack(column)) for column in zip(*seen, strict=True))
    policy: Any = model.policy
    for parameter in policy.value_net.parameters():
        torch.nn.init.zeros_(parameter)
    optimizer = torch.optim.Adam(policy.parameters(), lr=_RATE)
    course = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=_STEPS)
    for _ in range(_STEPS):
        rows = torch.as_tensor(rng.choice(len(seen), _BATCH, p=likely))
        if env.masked:
            given = policy.get_distribution(observations[rows], masks[rows].numpy())
        else:
            given = policy.get_distribution(observations[rows])
        if actions.dtype.is_floating_point:  # only the mean: the spread is there to explore
            missed = (given.distribution.mean - actions[rows]).square()
            counts = policy.counts(observations[rows]) if isinstance(policy, ActingPolicy) else 1.0
            loss = (missed * counts).mean()
        else:
            wanted = actions[rows]
            if spread > 0:
                wanted = _spread(wanted, masks[rows], env, spread, rng)
            loss = -given.log_prob(wanted).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        course.step()


def _spread(actions: Tensor, masks: Tensor, env: WorldEnv, share: float, rng: np.random.Generator) -> Tensor:
    """Actions of which a share has one part, of those with a choice, drawn from what is allowed."""
    space = env.action_space
    sizes = space.nvec if isinstance(space, spaces.MultiDiscrete) else [cast(spaces.Discrete, space).n]
    parts = np.split(masks.numpy(), np.cumsum(sizes)[:-1], axis=1)
    spread = actions.numpy().reshape(len(actions), -1).copy()
    open_ = np.stack([part.sum(axis=1) > 1 for part in parts], axis=1)
    which = np.where(open_, rng.random(open_.shape), -1.0).argmax(axis=1)
    changed = rng.random(len(actions)) < share
    for number, part in enumerate(parts):
        drawn = np.where(part, rng.random(part.shape), -1.0).argmax(axis=1)
        rows = changed & (which == number)
        spread[rows, number] = drawn[rows]
    return torch.as_tensor(spread).reshape(actions.shape)
