"""The loops in which a policy meets the world: one episode to be looked at, or many for their cost."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from agents.policy import Action, Observation, Policy
from envs.base import WorldEnv
from envs.vector import has_lanes, lanes_of
from sim.episode import Episode
from sim.world import World

MakeEnv = Callable[[], WorldEnv]
"""Makes an environment of its own for each caller: same question, same codecs, same observation."""

Watcher = Callable[[World, Observation, Action], None]
"""Sees the world at an open question, what was observed, and the action about to be taken."""


def play(env: WorldEnv, episode: Episode, policy: Policy, *, watch: Watcher | None = None) -> World:
    """Run an episode to its end with a policy that answers every question the environment leaves open.

    Args:
        env: The question; what it did before does not matter.
        episode: What chance has decided.
        policy: Is reset, bound to the world if it needs it, then asked at every question, with the mask of
            the allowed actions where the environment has one.
        watch: Called at every question, before the answer.

    Returns:
        The finished world with its records and cost.
    """
    observation, _ = env.reset(options={"episode": episode})
    world = env.world
    assert world is not None  # since the reset
    policy.reset()
    if policy.needs_world:
        policy.bind(world)
    ended = False
    while not ended:
        action = policy.act(observation, env.action_masks() if env.masked else None)
        if watch is not None:
            watch(world, observation, action)
        observation, _, ended, _, _ = env.step(action)
    return world


def played_costs(env: WorldEnv, episodes: Sequence[Episode], policy: Policy) -> NDArray[np.float64]:
    """Cost of each of some episodes, shape (episodes,), in seconds.

    Where the environment has copies on the compiled world, all are played there side by side, thirty times as
    fast; elsewhere one after the other.

    Args:
        env: The question.
        episodes: What chance has decided.
        policy: One that takes batches; of an episode it remembers the row.
    """
    if policy.needs_world or not has_lanes(env):
        return np.array([play(env, episode, policy).cost for episode in episodes])
    lanes = lanes_of(env, len(episodes))
    lanes.begin_with(episodes)
    policy.reset()
    while not lanes.seen.ended.all():
        seen = lanes.seen
        masks = seen.masks | seen.ended[:, None] if env.masked else None
        lanes.step(np.asarray(policy.act(seen.observations, masks)))
    return lanes.seen.costs.copy()
