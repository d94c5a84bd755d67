"""A look ahead: every answer to a codec question, tried in other futures, where a policy goes on."""

from typing import Final, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from agents.beliefs import believed_future
from agents.policy import Mask, Observation, Policy
from agents.supervised.futures import another_future, others_of
from envs.base import WorldEnv
from envs.vector import has_lanes, lanes_of
from sim.decisions import CodecQuestion
from sim.episode import Episode
from sim.world import World

_ERRORS: Final = 1.0
"""Standard errors of a saving, over futures, below which it is taken for chance: few transfers are dear, and
the mean over a few futures follows these. Chosen on validation, as the number of draws was.
"""
_OTHERS: Final = 128
"""Draws of the scenario from which all futures of an episode come."""


class Lookahead(Policy):
    """Takes the codec that surely costs less in the mean of other futures, where a base policy goes on.

    Where futures do not agree, it answers as its base does.

    One that ``believes`` knows what a sender does: see `agents.beliefs`. Another knows the present as no
    sender does: true ratios, what path and cores are now. Of the future it knows the laws and which transfers
    are still to come, but not their order or times, except where datasets are sent periodically. So little of
    what it saves is owed to foresight.

    Args:
        env: `dwcp/Compression-v0` with one choice, without a mask.
        base: Answers in batches.
        futures: How many are tried.
        rng: Draws them.
        believes: Whether it knows no more than a sender.

    Raises:
        ValueError: If the environment has no copies on the compiled world, or asks otherwise; if the base
            remembers, or looks into the running world itself.

    Source:
        Bertsekas, Tsitsiklis, Wu: Rollout algorithms for combinatorial optimization. Journal of Heuristics 3,
        1997. Futures go on from the present as `agents.supervised.futures.another_future` says.
    """

    name = "lookahead"
    needs_world = True

    def __init__(
        self, env: WorldEnv, base: Policy, futures: int, rng: np.random.Generator, *, believes: bool = False
    ) -> None:
        if (
            not isinstance(env.action_space, spaces.Discrete)
            or env.task != "compression"
            or not has_lanes(env)
        ):
            raise ValueError(f"a look ahead answers one codec question at a time, got {type(env).__name__}")
        if base.remembers or base.needs_world:
            does = "remembers its episode" if base.remembers else "looks into the running world itself"
            raise ValueError(
                f"a look ahead has a base that sees the present observation only; {base.name} {does}"
            )
        self._answers = int(env.action_space.n)
        self._lanes = lanes_of(env, futures * (1 + self._answers))
        self._futures = np.arange(futures)
        self._base = base
        self._rng = rng
        self._believes = believes
        self._given: dict[int, int] = {}  # answers by request
        self._world: World | None = None
        self._others: tuple[Episode, ...] = ()

    def reset(self) -> None:
        """Forget the answers of the episode."""
        self._given = {}

    def bind(self, world: World) -> None:
        """Answer the questions of this world from now on."""
        self._world = world
        self._others = tuple(others_of(world.episode, _OTHERS, self._rng))

    def act(self, observation: Observation, mask: Mask | None = None) -> int:
        """The codec of the least mean cost if that is no chance, else the answer of the base.

        Raises:
            RuntimeError: If no world was bound.
            ValueError: If a link of the episode is a chain, whose state cannot be read off.
        """
        if self._world is None:
            raise RuntimeError("a look ahead needs bind(world) before act()")
        question = cast(CodecQuestion, self._world.question)
        lanes, actions = self._lanes, np.zeros(len(self._lanes), np.int64)
        lanes.begin_with([self._future(self._world.episode, question) for _ in self._futures])
        for answer in self._given.values():
            actions[:] = answer
            lanes.step(actions)
        tried = np.arange(len(self._futures), len(lanes))
        for _ in lanes.try_all(self._futures, tried, lambda rows: np.asarray(self._base.act(rows))):
            pass  # to the end, where all costs stand
        costs = lanes.seen.costs[tried].reshape(-1, self._answers)
        best = self._given[question.request] = _sure(costs, int(cast(int, self._base.act(observation))))
        return best

    def _future(self, episode: Episode, question: CodecQuestion) -> Episode:
        if self._believes:
            return believed_future(episode, question.now_s, self._given, self._rng, self._others)
        return another_future(episode, question.now_s, question.request, self._rng, self._others)


def _sure(costs: NDArray[np.float64], base: int) -> int:
    """The answer of the least mean cost, if it saves more than chance; else the base's.

    >>> _sure(np.array([[5.0, 4.0], [5.0, 3.0], [5.0, 4.0]]), base=0)
    1
    >>> _sure(np.array([[5.0, 4.0], [5.0, 1.0], [5.0, 9.0]]), base=0)
    0

    Args:
        costs: Of each answer in each future, shape (futures, answers).
        base: What the base answers.
    """
    best = int(costs.mean(axis=0).argmin())
    saved = costs[:, base] - costs[:, best]
    error = saved.std(ddof=1) / len(saved) ** 0.5 if len(saved) > 1 else 0.0
    return best if saved.mean() > _ERRORS * error else base
