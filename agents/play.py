"""The one loop in which a policy meets the world."""

from collections.abc import Callable

from agents.policy import Action, Observation, Policy
from envs.base import WorldEnv
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
