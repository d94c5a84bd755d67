"""How often a selector could be right at all: the oracle's labels, drawn again under what nobody sees."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.one_step_oracle import OneStepOracle
from agents.play import play
from agents.policy import Actions, Mask, Observation, Policy
from agents.supervised.path_moments import PathMoments
from agents.supervised.probe_history import probe_history
from envs.base import WorldEnv
from sim.codecs import FITTED, Codec
from sim.decisions import CodecQuestion
from sim.episode import Episode, draw_episode
from sim.payloads import CLASS_NAMES, NOVELTY_WITHIN_LOG_SD
from sim.randomness import stream
from sim.scenarios import Scenario
from sim.transfers import SMALLEST_CHANGE, Stages
from sim.units import MIB
from sim.world import World

Floats = NDArray[np.float64]

_WANDERING: Final = 0.3
"""Share of decisions that are random, as where labels are made."""
_CANDIDATES: Final = 64
"""Readings of a sample that are weighed against its entropy and what is usual of its class."""
_EPISODES, _MOMENTS = 800, 256
"""Episodes whose moments stand for what a path may be, and moments of each."""
_LARGE: Final = 1.0 * MIB
"""Bytes from which the ratio of a payload is that of its dataset; a smaller one's counts as known."""


class Redrawn(NamedTuple):
    """Decisions, and what each codec would cost under several draws of what stays hidden from every sender.

    Attributes:
        rows: Observations, (n, F).
        costs: Cost of each codec as it is, in seconds, (n, A).
        payload: The same under other draws of this transfer's own noises and losses, (n, draws, A), of what
            its sample may stand for, and before a dataset's first delta of what deltas of it may save: a
            sender that knew the path would still not know these.
        seen: The same when the path is drawn again, too, as its probes leave it open, (n, draws, A): its
            bandwidth, round trip, loss and streams of others at moments that looked alike.
    """

    rows: NDArray[np.float32]
    costs: Floats
    payload: Floats
    seen: Floats


class _Draw(NamedTuple):
    """An episode with other noises of its payloads, and what these become.

    Attributes:
        episode: The episode.
        stages: Of datasets whose deltas have been seen.
        unseen: Of those that have sent none yet.
    """

    episode: Episode
    stages: Stages
    unseen: Stages


class _Misread(Stages):
    """Stages of which as many blocks have changed as an estimate with another noise may stand for."""

    def __init__(self, episode: Episode, codecs: Sequence[Codec], rng: np.random.Generator) -> None:
        super().__init__(episode, codecs)
        other = rng.permutation(episode.changed_noise)
        self._factor: Sequence[float] = (episode.changed_noise / other).data

    def _changed(self, request: int, age_s: float) -> float:
        return min(1.0, max(SMALLEST_CHANGE, super()._changed(request, age_s) * self._factor[request]))


class _Teller(Policy):
    """The one-step oracle that sometimes chooses at random, asked under every draw."""

    name = "teller"
    needs_world = True

    def __init__(
        self,
        codecs: Sequence[Codec],
        episode: Episode,
        draws: int,
        moments: Sequence[PathMoments],
        rng: np.random.Generator,
    ) -> None:
        self._oracle, self._rng = OneStepOracle(codecs), rng
        self._draws = [_draw(episode, codecs, rng) for _ in range(draws)]
        self._moments, self._history = moments, probe_history(episode.probes)
        self._world: World | None = None
        self.rows: list[Observation] = []
        self.costs: list[tuple[Any, Any, Any]] = []

    def bind(self, world: World) -> None:
        self._world = world
        self._oracle.bind(world)

    def act(self, observation: Observation, mask: Mask | None = None) -> int | Actions:
        if self._world is None or not isinstance(asked := self._world.question, CodecQuestion):
            raise RuntimeError("it needs bind(world) and an open codec question before act()")
        episode, now_s = self._world.episode, self._world.clock.now
        costs = self._oracle.costs()
        payload = [self._costs(self._world, asked, draw, None) for draw in self._draws]
        may_be = self._moments[asked.path].links(episode, self._history, now_s, len(self._draws), self._rng)
        seen = [
            self._costs(self._world, asked, draw, link)
            for draw, link in zip(self._draws, may_be, strict=True)
        ]
        self.rows.append(observation)
        self.costs.append((costs, payload, seen))
        if self._rng.random() < _WANDERING:
            return int(self._rng.integers(len(costs)))
        return int(costs.argmin())

    def _costs(self, world: World, asked: CodecQuestion, draw: _Draw, link: Floats | None) -> Floats:
        """Costs under a draw; with a link, its path is as this."""
        before, conditions = (world.episode, world.stages), world.episode.conditions
        row = int(np.searchsorted(conditions.times, world.clock.now, side="right")) - 1
        true = conditions.links[row, asked.path].copy()
        try:
            new = asked.delta_ratio == asked.hde_ratio
            world.episode, world.stages = draw.episode, draw.unseen if new else draw.stages
            if link is not None:
                conditions.links[row, asked.path] = link
            return self._oracle.costs()
        finally:
            conditions.links[row, asked.path] = true
            world.episode, world.stages = before


def moments_of(scenario: Scenario, rng: np.random.Generator) -> list[PathMoments]:
    """Moments of each path of a scenario, of episodes drawn for the purpose."""
    episodes = [draw_episode(scenario, int(seed)) for seed in rng.integers(2**31, size=_EPISODES)]
    return [PathMoments(episodes, path, _MOMENTS, rng) for path in range(len(scenario.paths))]


def redraw(env: WorldEnv, episode: Episode, draws: int, moments: Sequence[PathMoments]) -> Redrawn:
    """Play an episode of codec decisions as `agents.supervised.labels.label` does, under several draws.

    Args:
        env: Whose decisions.
        episode: The episode; it comes back as it was.
        draws: Of what stays hidden, at each decision.
        moments: Of each path of its scenario, see `moments_of`.
    """
    teller = _Teller(env.codecs, episode, draws, moments, stream(episode.seed, "attainable"))
    play(env, episode, teller)
    costs, payload, seen = (np.array(column) for column in zip(*teller.costs, strict=True))
    return Redrawn(np.array(teller.rows), costs, payload, seen)


def joined(parts: Sequence[Redrawn]) -> Redrawn:
    """All decisions of several episodes."""
    return Redrawn(*(np.concatenate(column) for column in zip(*parts, strict=True)))


class Attainable(NamedTuple):
    """What the best answer to a decision comes to, when its label is as uncertain as the draws say.

    Attributes:
        accuracy: Expected share of decisions in which the likeliest label is the label.
        f1: Expected F1 of each class under these answers, (A,).
        regret: Expected cost of the answer with the least mean cost, over that of the best, minus 1.
    """

    accuracy: float
    f1: Floats
    regret: float


def attainable(costs: Floats) -> Attainable:
    """Ceilings from the costs under several draws, (n, draws, A).

    The answer is chosen on all draws but one and held against the one left out, each in turn: chosen and
    judged on the same few draws it would look better than it is.

    >>> certain = np.tile([1.0, 2.0], (5, 4, 1))
    >>> attainable(certain).accuracy, attainable(certain).regret
    (1.0, 0.0)
    """
    actions = costs.shape[2]
    labels = costs.argmin(axis=2)
    votes = np.eye(actions)[labels]
    others = votes.sum(axis=1, keepdims=True) - votes
    chosen = (others + 1e-9 * votes.mean(axis=(0, 1))).argmax(axis=2)
    right = chosen == labels
    hits = np.bincount(labels[right], minlength=actions)
    claimed = np.bincount(chosen.ravel(), minlength=actions)
    wanted = np.bincount(labels.ravel(), minlength=actions)
    f1 = np.divide(2.0 * hits, claimed + wanted, out=np.full(actions, np.nan), where=wanted > 0)
    mean_others = costs.sum(axis=1, keepdims=True) - costs
    cheapest = mean_others.argmin(axis=2)
    paid = np.take_along_axis(costs, cheapest[:, :, None], axis=2).sum()
    return Attainable(float(right.mean()), f1, float(paid / costs.min(axis=2).sum() - 1))


def _draw(episode: Episode, codecs: Sequence[Codec], rng: np.random.Generator) -> _Draw:
    """Other noises of the same laws for what differs from transfer to transfer and shows in no sample."""
    level = episode.content.novelty
    spread = FITTED.novelty_log_sd * rng.standard_normal(len(level))
    usual = np.array([FITTED.classes[CLASS_NAMES[kind]].novelty for kind in episode.content.kind])
    guessed = np.where(level >= 0.99, level, np.minimum(usual * np.exp(spread), 1.0))
    payloads, count = episode.payloads, len(episode.payloads.kind)
    ratio3 = _ratios(episode, rng)
    encode, decode = (
        np.exp(FITTED.encode["zstd3"].log_sd * rng.standard_normal(count)),
        np.exp(FITTED.decode["zstd3"].log_sd * rng.standard_normal(count)),
    )
    gaps = rng.standard_exponential(episode.loss_gaps.shape)
    noise = np.exp(NOVELTY_WITHIN_LOG_SD * rng.standard_normal(count))
    drawn = []
    for novelty in (level, guessed):
        own = novelty[episode.requests.dataset]
        other = payloads._replace(
            ratio3=ratio3,
            novelty=np.where(own >= 0.99, own, np.minimum(own * noise, 1.0)),
            encode_noise=encode,
            decode_noise=decode,
        )
        drawn.append(replace(episode, payloads=other, loss_gaps=gaps))
    return _Draw(drawn[0], Stages(drawn[0], tuple(codecs)), _Misread(drawn[1], tuple(codecs), rng))


def _ratios(episode: Episode, rng: np.random.Generator) -> Floats:
    """Ratios that the samples of an episode's payloads may stand for, (n,).

    By how much a sample misleads is a property of its dataset. Readings are drawn as the simulator draws
    them, and taken in proportion to how well they go with the entropy of the same sample and with ratios of
    the class (Bayes' rule).
    """
    payloads, dataset = episode.payloads, episode.requests.dataset
    ratio3 = payloads.ratio3.copy()
    for one, first in zip(*np.unique(dataset, return_index=True), strict=True):
        seen, entropy = float(payloads.sample_ratio[first]), float(payloads.entropy[first])
        if seen < 1.01 or not 0.0 < entropy < 1.0:
            continue
        law = FITTED.classes[CLASS_NAMES[payloads.kind[first]]]
        exponent = law.sample_exponent + FITTED.sample_exponent_sd * rng.standard_normal(_CANDIDATES)
        exponent = np.maximum(exponent, 0.2)
        logs = np.log(seen) / exponent
        slack = np.log((1.0 - entropy) / -np.expm1(-logs) / law.entropy_slack)
        spread = max(float(np.hypot(law.log_ratio3_sd, law.within_sd)), 0.01)
        fit = (slack / FITTED.entropy_slack_log_sd) ** 2 + ((logs - law.log_ratio3) / spread) ** 2
        weight = np.exp(-0.5 * (fit - fit.min())) / exponent
        taken = float(rng.choice(exponent, p=weight / weight.sum()))
        own = (dataset == one) & (payloads.size_bytes >= _LARGE)
        ratio3[own] = np.maximum(payloads.sample_ratio[own] ** (1.0 / taken), 1.0)
    return ratio3
