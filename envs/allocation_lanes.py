"""`dwcp/Allocation-v0` on lanes of the compiled world."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.allocation import Allocation, weigh
from envs.allocation_features import Rows, empty_prospects, fill_share
from envs.features import scale
from envs.lanes import EnvLanes, Seen, codec_of
from sim.batch.layout import ASK_SHARE, Floats, Ints, Lanes
from sim.batch.sharing import apply_shares
from sim.batch.world import OpenTo
from sim.episode import Episode
from sim.jit import njit
from sim.question_rows import QuestionRows


class Kept(NamedTuple):
    """Who has which slot on each lane, and scratch."""

    order: Ints  # places of those that move in the open question, in the order of the slots, (K, most)
    found: Rows  # scratch: PROSPECT_ROW, (most,)
    shares: Floats  # scratch: weights on link and cores, and streams, (3, most)
    counts: Floats
    several: Floats


def no_room(env: Allocation, lanes: int) -> Kept:
    """What there is before the first question: room for none."""
    return _room(lanes, 0, env.counts, env.several)


def with_room(kept: Kept, most: int) -> Kept:
    """The same, with room for so many that move at once on a lane."""
    lanes, had = kept.order.shape
    if most <= had:
        return kept
    larger = _room(lanes, most, kept.counts, kept.several)
    larger.order[:, :had] = kept.order
    return larger


def _room(lanes: int, most: int, counts: Floats, several: Floats) -> Kept:
    found, order = empty_prospects(lanes, most)
    return Kept(order, found[0], np.zeros((3, most)), counts, several)


@njit
def answer_shares(lanes: Ints, actions: Floats, w: Lanes, rows: QuestionRows, kept: Kept, seen: Seen) -> None:
    """Answer the share questions among those that stand on some lanes; see `envs.allocation.weigh`.

    Args:
        lanes: Which.
        actions: Of all lanes, shape (lanes, 2 or 3, slots).
        w: The lanes as they run.
        rows: The questions.
        kept: As `observe_shares` left it.
        seen: Tells which question stands.
    """
    link, cpu, streams = kept.shares[0], kept.shares[1], kept.shares[2]
    for number in range(len(lanes)):
        k = lanes[number]
        if seen.asked[k] == ASK_SHARE:
            running = rows.running[k, : w.lanes[k]["carried"]]
            weigh(running, kept.order[k], actions[k], kept.counts, kept.several, link, cpu, streams)
            apply_shares(w, k, link, cpu, streams)


@njit
def observe_shares(
    lanes: Ints, rows: QuestionRows, kept: Kept, rules: Floats, first: int, values: Floats, seen: Seen
) -> None:
    """Write what is seen of the share questions among those that stand on some lanes.

    Args:
        lanes: Which.
        rows: The questions.
        kept: Takes who has which slot.
        rules: How `scale` scales what is seen.
        first: Where it starts in an observation.
        values: Scratch.
        seen: Takes what is seen.
    """
    width = len(rules)
    for number in range(len(lanes)):
        k = lanes[number]
        if seen.asked[k] == ASK_SHARE:
            fill_share(rows, k, kept.several, kept.found, kept.order[k], values[:width])
            scale(values[:width], rules, seen.observations[k, first : first + width])


class AllocationLanes(EnvLanes):
    """Lanes that ask who gets how much of link and cores; arguments as of `EnvLanes`.

    Raises:
        ValueError: If the environment earns another reward than ``cost``.
    """

    env: Allocation

    def __init__(self, env: Allocation, count: int, pool: Sequence[Episode] = ()) -> None:
        if env.reward != "cost":
            raise ValueError(
                f"copies earn the reward 'cost', got {env.reward!r}; use the single environment, gym.make()"
            )
        codec = codec_of(env.codec, env.codecs)
        asks = OpenTo(codec, dispatch=False, share=True, control_s=env.control_s)
        super().__init__(env, count, 1, asks, pool)
        self._kept = no_room(env, count)

    def _advance(self, lanes: Ints, actions: NDArray[Any] | None) -> None:
        if actions is not None:
            parts = actions.astype(np.float64).reshape(len(self), *self.env.parts)
            answer_shares(lanes, parts, self.world.arrays, self.world.rows, self._kept, self.seen)
        self._run(lanes)
        rows, rules = self.world.rows, self.env.features.rules
        self._kept = with_room(self._kept, rows.running.shape[1])
        observe_shares(lanes, rows, self._kept, rules, 0, self._values, self.seen)
