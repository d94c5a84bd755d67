"""Many copies of one environment side by side on the compiled world: what vector environments are made of."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from envs.base import DRAWS, WorldEnv
from envs.codec_rule import SHORTEST as SHORTEST_RULE
from sim.batch import ledger
from sim.batch.events import start
from sim.batch.layout import NO_QUESTION, SHORTEST, Floats, Ints, Lanes
from sim.batch.world import BatchWorld, OpenTo, copy_lane, put_question, run_lane
from sim.codecs import Codec
from sim.episode import Episode
from sim.jit import announce, njit
from sim.question_rows import QuestionRows

Choose = Callable[[NDArray[np.float32]], NDArray[np.int64]]
"""Actions (N,) for observations (N, features)."""


class Seen(NamedTuple):
    """What lanes have come to, an entry a lane; kernels write it in place.

    Attributes:
        observations: Shape (lanes, features); zeros at the end.
        masks: What the open questions allow, shape (lanes, actions); all, where nothing is ever forbidden.
        costs: Accrued since the start of the episode, in seconds; 0 until the first step.
        now_s: Seconds since the start of the episode.
        ended: Whether all have moved.
        asked: Which question stands: ``ASK_CODEC``, ``ASK_DISPATCH`` or ``ASK_SHARE`` of `sim.batch.layout`,
            or ``NO_QUESTION`` at the end.
    """

    observations: NDArray[np.float32]
    masks: NDArray[np.bool_]
    costs: NDArray[np.float64]
    now_s: NDArray[np.float64]
    ended: NDArray[np.bool_]
    asked: NDArray[np.int64]


@njit
def note(w: Lanes, k: int, asked: int, seen: Seen) -> None:
    """Write what a lane has come to: which question stands, or that it is at its end, and when."""
    seen.asked[k] = asked
    if asked == NO_QUESTION:
        seen.ended[k] = True
        seen.observations[k, :] = 0.0
    seen.costs[k], seen.now_s[k] = ledger.accrued(w, k), w.lanes[k]["now"]


@njit
def run_lanes(lanes: Ints, w: Lanes, open_to: OpenTo, rows: QuestionRows, seen: Seen) -> None:
    """Run lanes that are not at their end to their next questions, and put these."""
    for number in range(len(lanes)):
        k = lanes[number]
        if not seen.ended[k]:
            note(w, k, run_lane(w, k, open_to), seen)
            put_question(w, k, rows)


@njit
def _start(lanes: Ints, places: Ints, quanta: Floats, w: Lanes, seen: Seen) -> None:
    """Put lanes at the start of episodes on the shelf."""
    for number in range(len(lanes)):
        k = lanes[number]
        start(w, k, places[number], quanta[number])
        seen.ended[k], seen.asked[k] = False, NO_QUESTION


@njit
def _fork(sources: Ints, targets: Ints, w: Lanes, seen: Seen) -> None:
    """Copy lanes with what they have come to, but for the observation."""
    for number in range(len(sources)):
        source, target = sources[number], targets[number]
        copy_lane(w, source, target)
        seen.asked[target], seen.ended[target] = seen.asked[source], False
        seen.costs[target] = seen.costs[source]


def codec_of(rule: str, codecs: Sequence[Codec]) -> int:
    """The rule of `envs.codec_rule.codec_rule` of that name, as `sim.batch.world.OpenTo` has it."""
    return SHORTEST if rule == SHORTEST_RULE else [codec.name for codec in codecs].index(rule)


class EnvLanes(ABC):
    """Copies of an environment, each on an episode of its own; a subclass answers and observes.

    A lane does, for the same dice and actions, what the environment itself does: observations are equal to
    float32's rounding, costs to 1e-9.

    Attributes:
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
    """

    def __init__(
        self, env: WorldEnv, count: int, actions: int, open_to: OpenTo, pool: Sequence[Episode] = ()
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
            np.full(count, NO_QUESTION),
        )
        self.rewards = np.zeros(count)
        self._other = self.seen._replace(observations=np.zeros(shape, np.float32))
        self._open_to = open_to
        self._pool = tuple(pool)
        self._rngs = [seeding.np_random(None)[0] for _ in range(count)]
        self.places = np.arange(count)
        self._world: BatchWorld | None = None
        self._values = np.zeros(len(env.features))  # scratch
        self._every = np.arange(count)

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
            self._start(chosen)
            self.seen.costs[chosen] = (
                0.0  # what passes before the first question is charged to the first step
            )
            chosen = chosen[self.seen.ended[chosen]]
        scenario = self.episode(int(chosen[0])).scenario.name
        raise ValueError(
            f"none of {DRAWS} episodes of {scenario!r} asks dwcp/{type(self.env).__name__} a question; "
            "give the scenario more requests or larger ones"
        )

    def begin_with(self, episodes: Sequence[Episode]) -> None:
        """Start these episodes on the first lanes; the others have ended, and one that asks nothing, too."""
        if self._world is None:
            self._world = self._make_world(episodes)
        else:
            for place, episode in enumerate(episodes):
                self._world.shelve(place, episode)
        chosen = self._every[: len(episodes)]
        self.places = np.minimum(self._every, len(episodes) - 1)
        self.seen.ended[:] = True
        self._start(chosen)

    def fork(self, sources: Ints, targets: Ints) -> None:
        """Let lanes go on from where others stand, with the same questions; these are not put once more."""
        _fork(sources, targets, self.world.arrays, self.seen)
        self.places[targets] = self.places[sources]

    def step(self, actions: NDArray[Any]) -> None:
        """Answer the open question of every lane and run it to its next; those at their end stay there.

        Args:
            actions: Of the environment's action space, one a lane; those of lanes at their end are ignored.
        """
        before = self.seen.costs.copy()
        self.seen, self._other = self._other, self.seen
        self._advance(self._every, actions)
        np.subtract(before, self.seen.costs, out=self.rewards)

    def try_all(self, sources: Ints, tried: Ints, choose: Choose) -> Iterator[Floats]:
        """Try every answer to the questions that stand on some lanes, each on a lane that goes on to the end.

        The sources stand still meanwhile and after it are what they were; all others must be at their end.

        Args:
            sources: Lanes on which a question stands.
            tried: Others: so many for each source, in the order of these, as there are answers.
            choose: Answers all later questions.

        Yields:
            The rewards of ``tried`` after each answer, 0 for those at their end.
        """
        answers, held = len(tried) // len(sources), self.seen.observations[sources].copy()
        self.fork(np.repeat(sources, answers), tried)
        self.seen.ended[sources] = True  # so that they wait
        actions = np.zeros(len(self), np.int64)
        actions[tried] = np.tile(np.arange(answers), len(sources))
        going = tried
        while len(going):
            self.step(actions)
            yield self.rewards[tried]
            going = tried[~self.seen.ended[tried]]
            if len(going):
                actions[going] = choose(self.seen.observations[going])
        self.seen.ended[sources] = False
        self.seen.observations[sources] = held

    def _start(self, lanes: Ints) -> None:
        """Start lanes on their episodes and run them to their first questions."""
        quanta = np.array([self._quantum_s(self.episode(lane)) for lane in lanes.tolist()])
        _start(lanes, self.places[lanes], quanta, self.world.arrays, self.seen)
        self._advance(lanes, None)

    def _run(self, lanes: Ints) -> None:
        """Run lanes to their next questions, and put these."""
        world = self.world
        run_lanes(lanes, world.arrays, world.open_to, world.rows, self.seen)

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
        announce(self._kernel(), "the world of many lanes", 40)
        return BatchWorld(episodes, len(self), self.env.codecs, self._open_to)

    def _quantum_s(self, episode: Episode) -> float:
        """Longest wait, in seconds, where the dispatch question is open."""
        return float("inf")

    def _kernel(self) -> Any:
        """The kernel that holds the world."""
        return run_lanes

    @abstractmethod
    def _advance(self, lanes: Ints, actions: NDArray[Any] | None) -> None:
        """Answer the questions of lanes, run them to their next, and write what is seen and allowed of these.

        Args:
            lanes: Which; those at their end stay there.
            actions: Of all lanes; None where episodes have just begun and nothing is asked.
        """
