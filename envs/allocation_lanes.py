"""`dwcp/Allocation-v0` on lanes of the compiled world."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.allocation import Allocation, weigh
from envs.allocation_features import Rows, empty_prospects, fill_share
from envs.features import scale
from envs.lanes import EnvLanes, Seen, codec_of
from sim.batch.layout import Floats, Ints, Lanes
from sim.batch.sharing import apply_shares
from sim.batch.world import OpenTo
from sim.episode import Episode
from sim.jit import njit
from sim.question_rows import QuestionRows


class _Kept(NamedTuple):
    """Who has which slot on each lane, and scratch, of which a thread uses the row of its first lane."""

    order: Ints  # places of those that move in the open question, in the order of the slots, (K, most)
    found: Rows  # scratch: PROSPECT_ROW, (K, most)
    shares: Floats  # scratch: weights on link and cores, and streams, (K, 3, most)
    counts: Floats
    several: Floats


@njit
def _answer(lanes: Ints, actions: Floats, w: Lanes, rows: QuestionRows, kept: _Kept, seen: Seen) -> None:
    link, cpu, streams = kept.shares[lanes[0], 0], kept.shares[lanes[0], 1], kept.shares[lanes[0], 2]
    for number in range(len(lanes)):
        k = lanes[number]
        if not seen.ended[k]:
            running = rows.running[k, : w.lanes[k]["carried"]]
            weigh(running, kept.order[k], actions[k], kept.counts, kept.several, link, cpu, streams)
            apply_shares(w, k, link, cpu, streams)


@njit
def _observe(lanes: Ints, rows: QuestionRows, kept: _Kept, rules: Floats, values: Floats, seen: Seen) -> None:
    for number in range(len(lanes)):
        k, scratch = lanes[number], lanes[0]
        if not seen.ended[k]:
            fill_share(rows, k, kept.several, kept.found[scratch], kept.order[k], values[scratch])
            scale(values[scratch], rules, seen.observations[k])


class AllocationLanes(EnvLanes):
    """Lanes that ask who gets how much of link and cores; arguments as of `EnvLanes`.

    Raises:
        ValueError: If the environment earns another reward than ``cost``.
    """

    env: Allocation

    def __init__(
        self, env: Allocation, count: int, pool: Sequence[Episode] = (), *, threads: int = 1
    ) -> None:
        if env.reward != "cost":
            raise ValueError(
                f"copies earn the reward 'cost', got {env.reward!r}; use the single environment, gym.make()"
            )
        codec = codec_of(env.codec, env.codecs)
        asks = OpenTo(codec, dispatch=False, share=True, control_s=env.control_s)
        super().__init__(env, count, 1, asks, pool, threads=threads)
        self._kept = self._room(0)

    def _answer(self, lanes: Ints, actions: NDArray[Any]) -> None:
        parts = actions.astype(np.float64).reshape(len(self), *self.env.parts)
        _answer(lanes, parts, self.world.arrays, self.world.rows, self._kept, self.seen)

    def _observe(self, lanes: Ints) -> None:
        most = self.world.rows.running.shape[1]
        if self._kept.order.shape[1] < most:
            old, self._kept = self._kept.order, self._room(most)
            self._kept.order[:, : old.shape[1]] = old
        _observe(lanes, self.world.rows, self._kept, self.env.features.rules, self._values, self.seen)

    def _room(self, most: int) -> _Kept:
        """Room for so many that move at once on a lane."""
        env, count = self.env, len(self)
        found, order = empty_prospects(count, most)
        return _Kept(order, found, np.zeros((count, 3, most)), env.counts, env.several)
