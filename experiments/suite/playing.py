"""Policies on the episodes of a scenario, all at once on compiled lanes, with every answer written down."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from numpy.typing import NDArray

from agents.joint_rules import Composed
from agents.play import play
from agents.policy import Action, Mask, Observation, Policy
from envs.base import WorldEnv
from envs.vector import lanes_of
from experiments.graph_policy import GraphPolicy
from experiments.shadow.bundle import BundlePolicy
from sim.episode import Episode
from sim.world import World

MakePolicy = Callable[[], Policy]
"""Makes a policy as it is before its first episode."""
Answers = NDArray[Any]
"""Of an episode: int64 (decisions, parts), or float32 (decisions, numbers)."""
TOLERANCE: Final = 1e-6
"""By how much, relative, a cost may differ between two machines or engines and still be the same."""


class Played(NamedTuple):
    """One episode under a policy: its cost in seconds, and what was answered to each question."""

    cost_s: float
    answers: Answers


class IllegalError(Exception):
    """Answers that do not fit the questions of an episode, in words."""


class _Rows(NamedTuple):
    """What some lanes ask."""

    lanes: NDArray[np.int64]
    observations: NDArray[np.float32]
    masks: NDArray[np.bool_] | None


class Stage:
    """The episodes of one scenario, ready to be played again and again.

    Args:
        env: The question.
        episodes: At least one.
    """

    def __init__(self, env: WorldEnv, episodes: Sequence[Episode]) -> None:
        self._env = env
        self._episodes = list(episodes)
        self._lanes = lanes_of(env, len(self._episodes), self._episodes)
        self._parts, self._dtype = answer_shape(env)

    def play(self, make: MakePolicy) -> list[Played]:
        """Play all episodes; a policy that looks into the world plays in SimPy's, the others on lanes."""
        first = make()
        if first.needs_world:
            return [self._in_simpy(episode, first) for episode in self._episodes]
        if not remembers(first):
            return self._on_lanes(lambda rows: first.act(rows.observations, rows.masks))
        policies = [make() for _ in self._episodes]
        for policy in policies:
            policy.reset()

        def one_by_one(rows: _Rows) -> Any:
            masks: Sequence[Mask | None] = (
                [None] * len(rows.lanes) if rows.masks is None else list(rows.masks)
            )
            asked = zip(rows.lanes.tolist(), rows.observations, masks, strict=True)
            return [policies[lane].act(row, mask) for lane, row, mask in asked]

        return self._on_lanes(one_by_one)

    def replay(self, answers: Sequence[Answers], *, simpy: bool = False) -> list[float]:
        """Costs of the episodes under recorded answers, one array an episode.

        Args:
            answers: As `Played` has them.
            simpy: Replay in SimPy's world, the reference, in place of lanes.

        Raises:
            IllegalError: If an answer is not allowed, or there are more or fewer than questions.
        """
        if len(answers) != len(self._episodes):
            raise IllegalError(f"answers of {len(answers)} episodes, expected {len(self._episodes)}")
        if simpy:
            pairs = zip(self._episodes, answers, strict=True)
            return [self._replayed_in_simpy(number, *pair) for number, pair in enumerate(pairs)]
        taken = np.zeros(len(answers), np.int64)

        def recorded(rows: _Rows) -> Any:
            given = []
            for number, lane in enumerate(rows.lanes.tolist()):
                answer = self._next(answers[lane], int(taken[lane]), lane)
                mask = None if rows.masks is None else rows.masks[number]
                self._check(answer, mask, lane, int(taken[lane]))
                given.append(answer)
            taken[rows.lanes] += 1
            return np.array(given)

        played = self._on_lanes(recorded)
        for number, count in enumerate(taken.tolist()):
            _all_used(number, answers[number], count)
        return [one.cost_s for one in played]

    def _on_lanes(self, act: Callable[[_Rows], Any]) -> list[Played]:
        lanes, count = self._lanes, len(self._episodes)
        lanes.seed(_loaded_dice(count))
        lanes.begin(np.arange(count))
        if (lanes.places != np.arange(count)).any():  # a drawn episode without a question is drawn again
            raise ValueError("an episode of the suite asks no question; give its scenario more requests")
        log: list[tuple[NDArray[np.int64], Answers]] = []
        while len(alive := np.flatnonzero(~lanes.seen.ended)):
            masks = lanes.seen.masks[alive] if self._env.masked else None
            given = np.asarray(act(_Rows(alive, lanes.seen.observations[alive], masks)), self._dtype)
            given = self._within(given.reshape(len(alive), self._parts))
            every = np.zeros((count, self._parts), self._dtype)
            every[alive] = given
            log.append((alive, given))
            lanes.step(every[:, 0] if isinstance(self._env.action_space, spaces.Discrete) else every)
        order = np.concatenate([alive for alive, _ in log])
        rows = np.concatenate([given for _, given in log])
        costs = lanes.seen.costs.tolist()
        return [Played(costs[lane], rows[order == lane]) for lane in range(count)]

    def _in_simpy(self, episode: Episode, policy: Policy) -> Played:
        answers: list[Action] = []

        def watch(_world: World, _observation: Observation, action: Action) -> None:
            answers.append(action)

        world = play(self._env, episode, policy, watch=watch)
        return Played(world.cost, np.array(answers, self._dtype).reshape(-1, self._parts))

    def _replayed_in_simpy(self, number: int, episode: Episode, answers: Answers) -> float:
        reader = _Reader(self, number, answers)
        cost = play(self._env, episode, reader).cost
        _all_used(number, answers, reader.taken)
        return cost

    def _next(self, answers: Answers, place: int, number: int) -> Answers:
        if place >= len(answers):
            raise IllegalError(f"episode {number}: expected more than {len(answers)} answers")
        answer: Answers = answers[place]
        return answer

    def _check(self, answer: Answers, mask: Mask | None, number: int, place: int) -> None:
        space = self._env.action_space
        one = answer[0] if isinstance(space, spaces.Discrete) else answer.astype(space.dtype or np.int64)
        allowed = space.contains(one) and (mask is None or _allowed(answer, mask, space))
        if not allowed:
            raise IllegalError(f"episode {number}, answer {place}: {answer.tolist()} is not allowed there")

    def _within(self, answers: Answers) -> Answers:
        space = self._env.action_space
        return np.clip(answers, space.low, space.high) if isinstance(space, spaces.Box) else answers


class _Reader(Policy):
    """Reads answers out, one after the other."""

    name = "replay"

    def __init__(self, stage: Stage, number: int, answers: Answers) -> None:
        self._stage, self._number, self._answers = stage, number, answers
        self.taken = 0

    def act(self, observation: Observation, mask: Mask | None = None) -> Action:
        """The next answer."""
        answer = self._stage._next(self._answers, self.taken, self._number)
        self._stage._check(answer, mask, self._number, self.taken)
        self.taken += 1
        space = self._stage._env.action_space
        return int(answer[0]) if isinstance(space, spaces.Discrete) else answer


def answer_shape(env: WorldEnv) -> tuple[int, type[np.generic]]:
    """Numbers in an answer, and of which type they are."""
    shape = env.action_space.shape or ()
    kind = np.float32 if isinstance(env.action_space, spaces.Box) else np.int64
    return int(np.prod(shape)) if shape else 1, kind


def remembers(policy: Policy) -> bool:
    """Whether answers depend on those before: such a policy is made anew for each episode."""
    if isinstance(policy, Composed):
        return any(map(remembers, policy._policies.values()))
    return type(policy).reset not in (Policy.reset, BundlePolicy.reset, GraphPolicy.reset)


def _all_used(number: int, answers: Answers, taken: int) -> None:
    if taken != len(answers):
        raise IllegalError(f"episode {number}: expected {taken} answers, got {len(answers)}")


def _allowed(answer: Answers, mask: Mask, space: spaces.Space[Any]) -> bool:
    sizes = [int(size) for size in space.nvec] if isinstance(space, spaces.MultiDiscrete) else [len(mask)]
    starts = np.cumsum([0, *sizes[:-1]])
    return bool(mask[starts + answer].all())


@lru_cache(maxsize=8)
def _loaded_dice(count: int) -> tuple[int, ...]:
    """Seeds with which lane k, that draws from a pool of so many, draws episode k."""
    found: dict[int, int] = {}
    seed = 0
    while len(found) < count:
        found.setdefault(int(seeding.np_random(seed)[0].integers(count)), seed)
        seed += 1
    return tuple(found[place] for place in range(count))
