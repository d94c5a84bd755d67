"""The one loop in which a policy meets the world."""

from collections.abc import Callable, Sequence

from agents.policy import Observation, Policy
from envs.features import CODEC_FEATURES, FeatureList
from sim.codecs import Codec
from sim.episode import Episode
from sim.world import World

Watcher = Callable[[World, Observation, int], None]
"""Sees the world at an open question, what was observed, and the action about to be taken."""


def play(
    episode: Episode,
    policy: Policy,
    codecs: Sequence[Codec],
    *,
    features: FeatureList = CODEC_FEATURES,
    watch: Watcher | None = None,
) -> World:
    """Run an episode to its end with a policy that answers every codec question.

    Args:
        episode: What chance has decided.
        policy: Is reset, bound to the world if it needs it, then asked at every question.
        codecs: What its actions stand for.
        features: What it observes.
        watch: Called at every question, before the answer.

    Returns:
        The finished world with its records and cost.
    """
    world = World(episode, codecs)
    policy.reset()
    if policy.needs_world:
        policy.bind(world)
    while (question := world.next_question()) is not None:
        observation = features.observe(question)
        action = int(policy.act(observation))
        if watch is not None:
            watch(world, observation, action)
        world.answer(action)
    return world
