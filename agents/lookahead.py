"""A look ahead: every answer to a codec question, tried in other futures, where a policy goes on."""

from typing import cast

import numpy as np
from gymnasium import spaces

from agents.beliefs import believed_future
from agents.policy import Mask, Observation, Policy
from agents.supervised.futures import another_future
from envs.base import WorldEnv
from envs.vector import has_lanes, lanes_of
from sim.decisions import CodecQuestion
from sim.episode import Episode
from sim.world import World


class Lookahead(Policy):
    """Takes the codec that costs least in the mean of other futures, where a base policy goes on.

    One that ``believes`` knows what a sender does: see `agents.beliefs`. Another knows the present as no
    sender does: true ratios, what path and cores are now. Of the future it knows the laws and which transfers
    are still to come, but not their order or times, except where datasets are sent periodically. So little of
    what it saves is owed to foresight.

    Args:
        env: `dwcp/Compression-v0` with one choice, without a mask.
        base: Answers in batches; it remembers nothing.
        futures: How many are tried.
        rng: Draws them.
        believes: Whether it knows no more than a sender.

    Raises:
        ValueError: If the environment has no copies on the compiled world, or asks otherwise.

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
        self._answers = int(env.action_space.n)
        self._lanes = lanes_of(env, futures * (1 + self._answers))
        self._futures = np.arange(futures)
        self._base = base
        self._rng = rng
        self._believes = believes
        self._given: dict[int, int] = {}  # answers by request
        self._world: World | None = None

    def reset(self) -> None:
        """Forget the answers of the episode."""
        self._given = {}

    def bind(self, world: World) -> None:
        """Answer the questions of this world from now on."""
        self._world = world

    def act(self, observation: Observation, mask: Mask | None = None) -> int:
        """The codec of the least mean cost; the observation is not used.

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
        costs = lanes.seen.costs[tried].reshape(-1, self._answers).mean(axis=0)
        best = self._given[question.request] = int(costs.argmin())
        return best

    def _future(self, episode: Episode, question: CodecQuestion) -> Episode:
        if self._believes:
            return believed_future(episode, question.now_s, self._given, self._rng)
        return another_future(episode, question.now_s, question.request, self._rng)
