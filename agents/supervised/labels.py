"""Labelled decisions: what a sender saw, and what each codec would cost: by the one-step oracle, or truly."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.one_step_oracle import OneStepOracle
from agents.play import play
from agents.policy import Actions, Mask, Observation, Policy
from agents.supervised.counterfactual import NO_STRAY, Counterfactor, Counterfactuals
from envs.base import WorldEnv
from envs.codec_rule import SHORTEST
from envs.features import CODEC_FEATURES
from sim.codecs import Codec
from sim.episode import Episode
from sim.randomness import stream
from sim.world import World

Kind = Literal["oracle", "one_step", "continued"]
"""What a label costs: by the one-step oracle, as if alone; what the transfer itself really costs; or what it
and all that follow really cost.
"""

_WANDERING: Final = 0.3
"""Share of decisions that are random while labels are made: selectors must see where errors lead."""

NN19_FEATURES = (
    "link_type", "region", "capacity_mbps", "bandwidth_mbps", "goodput_share", "rtt_ms",
    "size_mb", "data_type", "entropy", "compressibility", "has_baseline",
    "recent_hde_ratio", "delta_potential", "core_backlog_s", "cpu_usage",
    "running_streams", "recent_amst_rate_share", "wire_backlog_s", "wire_time_s",
)  # fmt: skip
"""The published 19 inputs in their order, each by the observation's feature that stands nearest to it.

Repetition becomes compressibility, tier becomes provisioned capacity, HDE's and AMST's latencies become the
backlogs of cores and wire: the published ones are functions of the very transfer, which no sender knows.
"""


class Labels(NamedTuple):
    """Decisions of one or several episodes.

    Attributes:
        rows: Observations, shape (n, features).
        costs: Cost of every codec in seconds, shape (n, codecs).
    """

    rows: NDArray[np.float32]
    costs: NDArray[np.float64]

    @property
    def best(self) -> NDArray[np.int64]:
        """The cheapest codec of each decision, shape (n,)."""
        return self.costs.argmin(axis=1)

    @property
    def stakes(self) -> NDArray[np.float64]:
        """What each decision counts, mean 1: the logarithm of how many times the best cost the worst is."""
        low = self.costs.min(axis=1)
        weight = np.log1p(self.costs.max(axis=1) / low - 1.0)
        return weight / weight.mean() if weight.sum() > 0 else np.ones_like(weight)


class _Wanderer(Policy):
    """The one-step oracle that sometimes chooses at random, and writes down what it knew."""

    name = "wanderer"
    needs_world = True

    def __init__(self, codecs: Sequence[Codec], rng: np.random.Generator) -> None:
        self._oracle = OneStepOracle(codecs)
        self._rng = rng
        self.rows: list[Observation] = []
        self.costs: list[NDArray[np.float64]] = []

    def bind(self, world: World) -> None:
        self._oracle.bind(world)

    def act(self, observation: Observation, mask: Mask | None = None) -> int | Actions:
        costs = self._oracle.costs()
        self.rows.append(observation)
        self.costs.append(costs)
        if self._rng.random() < _WANDERING:
            return int(self._rng.integers(len(costs)))
        return int(costs.argmin())


def label(env: WorldEnv, episode: Episode) -> Labels:
    """Play an episode of codec decisions and label each of them."""
    wanderer = _Wanderer(env.codecs, stream(episode.seed, "labels"))
    play(env, episode, wanderer)
    return Labels(np.array(wanderer.rows), np.array(wanderer.costs))


class Realised:
    """Labels episode after episode with what each codec really leads to, instead of what an oracle expects.

    The rule of the shortest estimate plays, and sometimes chance as with `label`; it also answers all later
    questions when an answer is tried. See `agents.supervised.counterfactual`.

    Args:
        codecs: What the actions stand for.
        kind: Which costs.
    """

    def __init__(self, codecs: Sequence[Codec], kind: Literal["one_step", "continued"]) -> None:
        self._counterfactor = Counterfactor(codecs, SHORTEST)
        self._kind = kind
        self._count = len(codecs)

    def label(self, episode: Episode) -> Labels:
        """Label each codec decision of an episode."""
        rng = stream(episode.seed, "labels")
        strays = rng.integers(self._count, size=len(episode))
        strays[rng.random(len(episode)) >= _WANDERING] = NO_STRAY
        found = self._counterfactor.label(episode, strays)
        costs = found.one_step_s if self._kind == "one_step" else charged(found)
        return Labels(CODEC_FEATURES.scaled(found.features), costs)


def charged(found: Counterfactuals) -> NDArray[np.float64]:
    """What each codec costs more than the best by the end of the episode, on top of the best one's own cost.

    The cost of all that follows is no measure of one decision, so it is left out where all codecs share it.
    """
    best = found.continued_s.argmin(axis=1)[:, None]
    extra_s = found.continued_s - np.take_along_axis(found.continued_s, best, axis=1)
    charged: NDArray[np.float64] = np.take_along_axis(found.one_step_s, best, axis=1) + extra_s
    return charged


def joined(parts: Sequence[Labels]) -> Labels:
    """All decisions of several episodes."""
    return Labels(
        np.concatenate([part.rows for part in parts]), np.concatenate([part.costs for part in parts])
    )


def nn19_columns() -> list[int]:
    """Positions of the 19 inputs in the observation."""
    return [CODEC_FEATURES.index(name) for name in NN19_FEATURES]
