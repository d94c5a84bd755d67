"""Writes decision logs: a policy plays, now and then at random, and all that a replay needs is written."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from agents.one_step_oracle import OneStepOracle
from agents.play import play
from agents.policy import Action, Mask, Observation, Policy
from envs.base import WorldEnv
from experiments.actions import action_names
from experiments.shadow.played import finite
from sim.episode import Episode
from sim.files import write_parquet
from sim.randomness import stream
from sim.world import World

VERSION: Final = 1
"""Version of the schema, in the metadata of the file under ``dwcp-gym decisions version``."""


class Exploring(Policy):
    """Does what another does, but with a given chance any allowed action, all equally likely.

    Args:
        policy: The other.
        chance: Of an action at random, in [0, 1].
        actions: How many there are.

    Attributes:
        propensity: Chance of the action taken last.
    """

    def __init__(self, policy: Policy, chance: float, actions: int) -> None:
        self.name = f"{policy.name}, exploring {chance:g}"
        self.propensity = 1.0
        self._policy, self._chance, self._actions = policy, chance, actions
        self._rng = stream(0, "exploration")

    def start(self, rng: np.random.Generator) -> None:
        """Take chance from this generator from now on."""
        self._rng = rng

    def act(self, observation: Observation, mask: Mask | None = None) -> int:
        """The action for one observation, shape (F,)."""
        allowed = np.arange(self._actions) if mask is None else np.flatnonzero(mask)
        usual = int(self._policy.act(observation, mask))  # type: ignore[arg-type]  # of one choice
        strays = self._rng.random() < self._chance
        action = int(allowed[self._rng.integers(len(allowed))]) if strays else usual
        self.propensity = self._chance / len(allowed) + (1.0 - self._chance) * (action == usual)
        return action

    def reset(self) -> None:
        """Reset the other."""
        self._policy.reset()


class _Decision(NamedTuple):
    scenario: str
    seed: int
    request: int
    now_s: float
    features: NDArray[np.float64]
    allowed: Mask | None
    action: int
    propensity: float
    oracle: int | None


def log_decisions(
    env: WorldEnv, episodes: Sequence[Episode], policy: Policy, explore: float, done: Callable[[int], object]
) -> pa.Table:
    """Play episodes with a policy that explores, and write down each decision and what it came to.

    Args:
        env: Of one choice.
        episodes: Those to play.
        policy: Made for the environment.
        explore: Chance of an action at random; each episode has a generator of its own for it.
        done: Told of each episode that is over.

    Returns:
        One row a decision: where and when, the features in their units, ``allowed_<action>`` where there are
        masks, ``action``, ``propensity``, ``cost_s`` (of codecs: what the transfer itself caused, in
        seconds; else null) and ``oracle`` (of codecs: the one-step oracle's answer).
    """
    names = action_names(env)
    oracle = OneStepOracle(env.codecs) if env.task == "compression" else None
    exploring = Exploring(policy, explore, len(names))
    rows: list[_Decision] = []
    costs: list[float] = []
    for episode in episodes:
        exploring.start(stream(episode.seed, f"exploration {episode.scenario.name}"))
        played: list[_Decision] = []

        def keep(
            world: World,
            observation: Observation,
            action: Action,
            episode: Episode = episode,
            played: list[_Decision] = played,
        ) -> None:
            best = None
            if oracle is not None:
                oracle.bind(world)
                best = int(oracle.act(observation))  # type: ignore[arg-type]  # of one observation
            question: Any = world.question
            played.append(
                _Decision(
                    episode.scenario.name,
                    episode.seed,
                    int(getattr(question, "request", len(played))),
                    float(world.clock.now),
                    finite(env.features.raw(question), env.features),
                    env.action_masks() if env.masked else None,
                    int(action),  # type: ignore[arg-type]  # of one choice
                    exploring.propensity,
                    best,
                )
            )

        world = play(env, episode, exploring, watch=keep)
        rows += played
        costs += _own_costs(world, [row.request for row in played]) if oracle is not None else []
        done(1)
    return _table(env, rows, costs, {"policy": policy.name, "explore": f"{explore:g}"})


def write_log(path: Path, table: pa.Table) -> None:
    """Write a log as Parquet, whole or not at all."""
    write_parquet(path, table)


def _own_costs(world: World, requests: Sequence[int]) -> list[float]:
    """Cost that each of these transfers has caused itself, in seconds."""
    site = world.episode.scenario
    by_request = {}
    for one in world.records:
        late_s = max(0.0, one.end_s - one.deadline_s)
        inside = one.priority * (one.end_s - one.arrival_s)
        by_request[one.request] = inside + site.cpu_price * one.cpu_s + site.late_price * late_s
    return [by_request[request] for request in requests]


def _table(env: WorldEnv, rows: list[_Decision], costs: list[float], notes: dict[str, str]) -> pa.Table:
    names = np.array(action_names(env))
    features = np.array([row.features for row in rows])
    columns: dict[str, Any] = {
        "scenario": [row.scenario for row in rows],
        "seed": [row.seed for row in rows],
        "request": [row.request for row in rows],
        "now_s": [row.now_s for row in rows],
    }
    columns |= {name: features[:, place] for place, name in enumerate(env.features.names)}
    if env.masked:
        allowed = np.array([row.allowed for row in rows])
        columns |= {f"allowed_{name}": allowed[:, place] for place, name in enumerate(names)}
    columns["action"] = names[[row.action for row in rows]]
    columns["propensity"] = [row.propensity for row in rows]
    columns["cost_s"] = pa.array(costs, pa.float64()) if costs else pa.nulls(len(rows), pa.float64())
    if costs:
        columns["oracle"] = names[[int(row.oracle or 0) for row in rows]]
    metadata = {"dwcp-gym decisions version": str(VERSION), "dwcp-gym decisions task": env.task}
    metadata |= {f"dwcp-gym decisions {key}": value for key, value in notes.items()}
    return pa.table(columns).replace_schema_metadata(metadata)
