"""Best answers found by a local search over a whole episode: the stand-in for a planner on compiled lanes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.policy import Actions, Mask, Observation, Policy
from sim.codecs import Codec
from sim.episode import Episode
from sim.world import World

Answers = NDArray[np.int64]


class Sequel(Policy):
    """Plays answers that were decided beforehand, one a transfer."""

    def __init__(self, name: str, answers: Answers) -> None:
        self.name = name
        self._answers = answers
        self._next = 0

    def reset(self) -> None:
        """Start over with the first answer."""
        self._next = 0

    def act(self, observation: Observation, mask: Mask | None = None) -> int | Actions:
        """The next answer."""
        self._next += 1
        return int(self._answers[self._next - 1])


def replay_cost(episode: Episode, codecs: Sequence[Codec], answers: Answers) -> float:
    """Cost of an episode under given answers, in the order of the questions."""
    world = World(episode, codecs)
    for answer in answers:
        if world.next_question() is None:
            break
        world.answer(int(answer))
    world.next_question()
    return world.cost


def best_found(
    episode: Episode,
    codecs: Sequence[Codec],
    starts: Sequence[Answers],
    *,
    passes: int,
    rng: np.random.Generator,
) -> tuple[float, Answers]:
    """Improve the best of some answer sequences by changing one answer at a time, in random order.

    A change stays if the whole episode costs less. The answers are indexed by the order of the questions, so
    a change may shift which transfer a later answer meets only where transfers wait for slots.

    Args:
        episode: The episode, known in full.
        codecs: What the answers stand for.
        starts: Answer sequences to begin from, each of shape (transfers,).
        passes: Times over all answers; it ends early when a whole pass finds nothing.
        rng: Order of the changes.

    Returns:
        The least cost found, never above that of the best start, and its answers.
    """
    costs = [replay_cost(episode, codecs, start) for start in starts]
    cost, answers = min(costs), starts[int(np.argmin(costs))].copy()
    for _ in range(passes):
        before = cost
        for place in rng.permutation(len(answers)):
            kept = answers[place]
            for answer in rng.permutation(len(codecs)):
                if answer == kept:
                    continue
                answers[place] = answer
                tried = replay_cost(episode, codecs, answers)
                if tried < cost * (1 - 1e-9):
                    cost, kept = tried, answer
            answers[place] = kept
        if cost == before:
            break
    return cost, answers
