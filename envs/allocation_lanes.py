"""`dwcp/Allocation-v0` on lanes of the compiled world."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.allocation import Allocation, weigh
from envs.allocation_features import Rows, empty_prospects, fill_share
from envs.codec_rule import SHORTEST as SHORTEST_RULE
from envs.features import scale
from envs.lanes import EnvLanes, Seen
from sim.batch import ledger
from sim.batch.events import start
from sim.batch.layout import NO_QUESTION, SHORTEST, Floats, Ints, Lanes
from sim.batch.sharing import apply_shares
from sim.batch.world import BatchWorld, OpenTo, put_question, run_lane
from sim.episode import Episode
from sim.jit import njit
from sim.question_rows import QuestionRows


class _Kept(NamedTuple):
    """Who has which slot on each lane, and scratch, of which a thread uses the row of its first lane."""

    order: Ints  # places of those that move in the open question, in the order of the slots, (K, most)
    found: Rows  # scratch: PROSPECT_ROW, (K, most)
    shares: Floats  # scratch: weights on link and cores, and streams, (K, 3, most)
    values: Floats  # scratch: features in their units, (K, features)
    counts: Floats
    several: Floats
    rules: Floats


@njit
def _look(
    w: Lanes, k: int, open_to: OpenTo, rows: QuestionRows, kept: _Kept, thread: int, seen: Seen
) -> None:
    asked = run_lane(w, k, open_to)
    seen.ended[k] = asked == NO_QUESTION
    if asked == NO_QUESTION:
        seen.observations[k, :] = 0.0
    else:
        put_question(w, k, rows)
        values = kept.values[thread]
        fill_share(rows, k, kept.several, kept.found[thread], kept.order[k], values)
        scale(values, kept.rules, seen.observations[k])
    seen.costs[k], seen.now_s[k] = ledger.accrued(w, k), w.lanes[k]["now"]


@njit
def _begin(
    lanes: Ints,
    places: Ints,
    quanta: Floats,
    w: Lanes,
    open_to: OpenTo,
    rows: QuestionRows,
    kept: _Kept,
    seen: Seen,
) -> None:
    for number in range(len(lanes)):
        k = lanes[number]
        start(w, k, places[number], quanta[number])
        _look(w, k, open_to, rows, kept, 0, seen)
        seen.costs[k] = 0.0  # what passes before the first question is charged to the first step


@njit
def _step(
    first: int,
    end: int,
    actions: Floats,
    w: Lanes,
    open_to: OpenTo,
    rows: QuestionRows,
    kept: _Kept,
    seen: Seen,
) -> None:
    link, cpu, streams = kept.shares[first, 0], kept.shares[first, 1], kept.shares[first, 2]
    for k in range(first, end):
        if not seen.ended[k]:
            running = rows.running[k, : w.lanes[k]["carried"]]
            weigh(running, kept.order[k], actions[k], kept.counts, kept.several, link, cpu, streams)
            apply_shares(w, k, link, cpu, streams)
            _look(w, k, open_to, rows, kept, first, seen)


class AllocationLanes(EnvLanes):
    """Lanes that ask who gets how much of link and cores; arguments as of `EnvLanes`.

    Raises:
        ValueError: If the environment earns another reward than ``cost``.
    """

    kernel = _step
    env: Allocation

    def __init__(
        self, env: Allocation, count: int, pool: Sequence[Episode] = (), *, threads: int = 1
    ) -> None:
        if env.reward != "cost":
            raise ValueError(
                f"copies earn the reward 'cost', got {env.reward!r}; use the single environment, gym.make()"
            )
        names = [codec.name for codec in env.codecs]
        codec = SHORTEST if env.codec == SHORTEST_RULE else names.index(env.codec)
        super().__init__(env, count, 1, OpenTo(codec, False, True, env.control_s), pool, threads=threads)
        self._kept = self._room(0)

    def _begin(self, world: BatchWorld, lanes: Ints, places: Ints, quanta: Floats) -> None:
        _begin(lanes, places, quanta, *self._rest(world))

    def _step(self, world: BatchWorld, actions: NDArray[Any], first: int, end: int) -> None:
        parts = actions.astype(np.float64).reshape(len(self), *self.env.parts)
        _step(first, end, parts, *self._rest(world))

    def _rest(self, world: BatchWorld) -> tuple[Lanes, OpenTo, QuestionRows, _Kept, Seen]:
        most = world.rows.running.shape[1]
        if self._kept.order.shape[1] < most:
            old, self._kept = self._kept.order, self._room(most)
            self._kept.order[:, : old.shape[1]] = old
        return world.arrays, world.open_to, world.rows, self._kept, self.seen

    def _room(self, most: int) -> _Kept:
        """Room for so many that move at once on a lane."""
        env, count = self.env, len(self)
        found, order = empty_prospects(count, most)
        shares, values = np.zeros((count, 3, most)), np.zeros((count, len(env.features)))
        return _Kept(order, found, shares, values, env.counts, env.several, env.features.rules)
