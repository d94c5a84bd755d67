"""What a policy is asked on episodes that it plays itself: features in their units, and what was allowed."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.play import play
from agents.policy import Action, Observation, Policy
from envs.base import WorldEnv
from envs.features import FeatureList
from sim.episode import Episode
from sim.world import World


class Played(NamedTuple):
    """Questions in the order in which they were put.

    Attributes:
        features: In units, rounded to float32, shape (n, F).
        masks: What was allowed, shape (n, A); None where all is allowed always.
    """

    features: NDArray[np.float32]
    masks: NDArray[np.bool_] | None

    def observations(self, env: WorldEnv) -> NDArray[np.float32]:
        """What the environment shows for these features, shape (n, F)."""
        return env.features.scaled(self.features.astype(np.float64))


def finite(raw: NDArray[np.float64], features: FeatureList) -> NDArray[np.float64]:
    """Features in units, shape (..., F), with the end of the range in place of an infinity."""
    ends = features.rules[:, 0], features.rules[:, 1]
    return np.where(np.isfinite(raw), raw, np.clip(raw, *ends))


def questions(env: WorldEnv, episodes: Iterable[Episode], policy: Policy, count: int) -> Played:
    """Play episodes until ``count`` questions were put; they are repeated if there are too few.

    Args:
        env: What is asked.
        episodes: Played one after the other, as many as it takes.
        policy: Answers.
        count: How many rows are wanted.
    """
    rows: list[NDArray[np.float64]] = []
    masks: list[NDArray[np.bool_]] = []

    def keep(world: World, observation: Observation, action: Action) -> None:
        rows.append(finite(env.features.raw(world.question), env.features))
        if env.masked:
            masks.append(env.action_masks())

    for episode in episodes:
        if len(rows) >= count:
            break
        play(env, episode, policy, watch=keep)
    places = np.arange(count) % len(rows)
    features: NDArray[Any] = np.array(rows)[places].astype(np.float32)
    return Played(features, np.array(masks)[places] if env.masked else None)
