"""Many copies of one environment side by side on the compiled world: what vector environments are made of."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from envs.base import DRAWS, WorldEnv
from sim.batch.layout import Floats, Ints
from sim.batch.world import BatchWorld, OpenTo
from sim.episode import Episode
from sim.jit import is_compiled

_LOG: Final = logging.getLogger(__name__)


class Seen(NamedTuple):
    """What lanes have come to, an entry a lane; kernels write it in place.

    Attributes:
        observations: Shape (lanes, features); zeros at the end.
        masks: What the open questions allow, shape (lanes, actions); all, where nothing is ever forbidden.
        costs: Accrued since the start of the episode, in seconds; 0 until the first step.
        now_s: Seconds since the start of the episode.
        ended: Whether all have moved.
    """

    observations: NDArray[np.float32]
    masks: NDArray[np.bool_]
    costs: NDArray[np.float64]
    now_s: NDArray[np.float64]
    ended: NDArray[np.bool_]


class EnvLanes(ABC):
    """Copies of an environment, each on an episode of its own; a subclass turns actions into answers.

    A lane does, for the same dice and actions, what the environment itself does: observations are equal to
    float32's rounding, costs to 1e-9.

    Attributes:
        kernel: What compiles last.
        env: What is copied: question, codecs, features; it is only read.
        seen: What the lanes have come to. Two arrays of observations take turns, so that one that was handed
            out stays as it is for one step more.
        rewards: Minus the cost, in seconds, that accrued since the question before, shape (lanes,).
        places: Which episode of the pool each lane runs, shape (lanes,); without a pool, each its own.

    Args:
        env: What to copy.
        count: Lanes.
        actions: Entries of a mask.
        open_to: Which questions are put.
        pool: Episodes to run, drawn evenly, instead of new ones.
        threads: Threads among which a step divides the lanes.
    """

    kernel: ClassVar[Any]

    def __init__(
        self,
        env: WorldEnv,
        count: int,
        actions: int,
        open_to: OpenTo,
        pool: Sequence[Episode] = (),
        *,
        threads: int = 1,
    ) -> None:
        if count < 1:
            raise ValueError(f"at least one environment is needed, got num_envs={count}")
        self.env = env
        shape = (count, len(env.features))
        self.seen = Seen(
            np.zeros(shape, np.float32),
            np.ones((count, actions), np.bool_),
            np.zeros(count),
            np.zeros(count),
            np.ones(count, np.bool_),
        )
        self.rewards = np.zeros(count)
        self._other = np.zeros(shape, np.float32)
        self._open_to = open_to
        self._pool = tuple(pool)
        self._rngs = [seeding.np_random(None)[0] for _ in range(count)]
        self.places = np.arange(count)
        self._world: BatchWorld | None = None
        ends = np.linspace(0, count, threads + 1).astype(int).tolist()
        self._parts = list(pairwise(ends))
        self._threads = ThreadPoolExecutor(threads) if threads > 1 else None

    def __len__(self) -> int:
        """Number of lanes."""
        return len(self.rewards)

    @property
    def world(self) -> BatchWorld:
        """The lanes as they run."""
        if self._world is None:
            raise RuntimeError("call reset() before step()")
        return self._world

    def episode(self, lane: int) -> Episode:
        """The episode of a lane."""
        return self.world.episodes[int(self.places[lane])]

    def seed(self, seeds: Sequence[int | None]) -> None:
        """Give lanes new dice; None leaves them theirs."""
        for lane, seed in enumerate(seeds):
            if seed is not None:
                self._rngs[lane] = seeding.np_random(seed)[0]

    def begin(self, lanes: Sequence[int] | NDArray[np.int64]) -> None:
        """Start an episode on lanes: a drawn one that asks no question is drawn again."""
        chosen = np.asarray(lanes, np.int64)
        for _ in range(DRAWS):
            if not len(chosen):
                return
            for lane in chosen.tolist():
                self._draw(lane)
            quanta = np.array([self._quantum_s(self.episode(lane)) for lane in chosen.tolist()])
            self._begin(self.world, chosen, self.places[chosen], quanta)
            chosen = chosen[self.seen.ended[chosen]]
        scenario = self.episode(int(chosen[0])).scenario.name
        raise ValueError(
            f"none of {DRAWS} episodes of {scenario!r} asks dwcp/{type(self.env).__name__} a question; "
            "give the scenario more requests or larger ones"
        )

    def step(self, actions: NDArray[Any]) -> None:
        """Answer the open question of every lane and run it to its next; those at their end stay there.

        Args:
            actions: Of the environment's action space, one a lane; those of lanes at their end are ignored.
        """
        before, fresh = self.seen.costs.copy(), self._other
        self._other = self.seen.observations
        self.seen = self.seen._replace(observations=fresh)
        if self._threads is None:
            self._step(self.world, actions, 0, len(self))
        else:
            list(self._threads.map(lambda part: self._step(self.world, actions, *part), self._parts))
        np.subtract(before, self.seen.costs, out=self.rewards)

    def _draw(self, lane: int) -> None:
        """Choose or draw the next episode of a lane."""
        if self._pool:
            self.places[lane] = int(self._rngs[lane].integers(len(self._pool)))
            if self._world is None:
                self._world = self._make_world(self._pool)
        else:
            episode = self.env.draw_episode(self._rngs[lane])
            if self._world is None:
                self._world = self._make_world([episode] * len(self))
            self._world.shelve(lane, episode)

    def _make_world(self, episodes: Sequence[Episode]) -> BatchWorld:
        if not is_compiled(self.kernel):
            _LOG.warning("compiling dwcp/%s for many lanes, once, about 40 s", type(self.env).__name__)
        return BatchWorld(episodes, len(self), self.env.codecs, self._open_to)

    def _quantum_s(self, episode: Episode) -> float:
        """Longest wait, in seconds, where the dispatch question is open."""
        return float("inf")

    @abstractmethod
    def _begin(self, world: BatchWorld, lanes: Ints, places: Ints, quanta: Floats) -> None:
        """Put lanes at the start of episodes on the shelf, run them to their first questions, and look."""

    @abstractmethod
    def _step(self, world: BatchWorld, actions: NDArray[Any], first: int, end: int) -> None:
        """Answer the questions of lanes ``first`` to ``end`` that are not at their end, run on, and look."""
