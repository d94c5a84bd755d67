"""One decision: the incumbent's answer, the candidate's beside it or in its place, an entry for the log."""

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.rollout.assignment import SHARES, takes_candidate
from experiments.serving.channel import Asked
from experiments.serving.deployment import Deployment
from experiments.serving.limits import Limits
from experiments.shadow.store_rows import Arm, Decision
from sim.refusals import suggestion


class QuestionError(ValueError):
    """A question that cannot be answered, in one line."""


class Asking(NamedTuple):
    """A question.

    Attributes:
        features: Values in units by name, None where unknown.
        region: Whose rollout counts.
        key: What must stay on one side; None takes the decision's own id.
        allowed: Actions that may be answered; None allows all.
    """

    features: Mapping[str, float | None]
    region: str = "default"
    key: str | None = None
    allowed: Sequence[str] | None = None


class Decided:
    """An answer that was given; an entry of the log, ready when the candidate is done.

    Attributes:
        action: The answer.
        arm: Whose it is.
        model: Version of that model.
        actions: Names that the probabilities belong to.
        probabilities: Of the actions; None where the scores are no probabilities.
        latency_ms: From question to answer.
        asked: The question to the candidate, None if it was not asked.
    """

    __slots__ = ("_row", "action", "actions", "arm", "asked", "latency_ms", "model", "probabilities", "share")

    def __init__(self, row: Decision, asked: Asked | None, share: float) -> None:
        self._row, self.asked, self.share = row, asked, share
        self.action, self.arm = row.action, row.arm
        self.model = row.incumbent
        self.actions: tuple[str, ...] = ()
        self.probabilities: list[float] | None = None
        self.latency_ms = 0.0

    @property
    def id(self) -> str:
        """What outcomes refer to."""
        return self._row.id

    @property
    def incumbent_action(self) -> str | None:
        """What the incumbent answered; None if it failed."""
        return self._row.incumbent_action

    @property
    def confidence(self) -> float | None:
        """The largest probability."""
        return None if self.probabilities is None else max(self.probabilities)

    @property
    def ready(self) -> bool:
        """Whether the candidate is done."""
        return self.asked is None or self.asked.done

    def decision(self) -> Decision:
        """The row for the log."""
        row = self._row._replace(action=self.action, arm=self.arm, confidence=self.confidence)
        if self.asked is None:
            return row
        asked, mine = self.asked, row.incumbent_action
        chance = 1.0
        if asked.action is not None and mine is not None and asked.action != mine:
            chance = self.share if self.arm == "candidate" else 1.0 - self.share
        return row._replace(
            propensity=chance or 1.0,
            candidate_action=asked.action,
            candidate_ms=asked.took_ms,
            error=asked.error,
        )


class Decider:
    """Answers questions; never fails and never waits longer than the canary's budget.

    Args:
        limits: Budgets.
        clock: Seconds since 1970.
        name: Start of all ids.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float], name: str) -> None:
        self._limits, self._clock, self._name = limits, clock, name
        self._numbers = count(1)
        self.fallbacks = 0

    async def decide(self, now: Deployment, asking: Asking) -> Decided:
        """Answer one question.

        Raises:
            QuestionError: If it names a feature or an action that no model knows, or allows none.
        """
        start = perf_counter()
        values, allowed = _values(now, asking.features), _allowed(now, asking.allowed)
        id_ = f"{self._name}-{next(self._numbers)}"
        key = id_ if asking.key is None else asking.key
        region, stage = now.standing(asking.region)
        share, asked, answers = 0.0, None, False
        if now.candidate is not None and now.channel is not None and stage != "offline":
            share = SHARES[stage]
            answers = share > 0 and takes_candidate(key, region, now.candidate.model.version, share)
            mask = now.candidate.mask(allowed)
            asked = now.channel.ask(values[now.candidate.features], mask, urgent=answers)
        mine, scores, mine_ms = self._incumbent(now, values, allowed)
        row = Decision(
            *(id_, self._clock(), region, key, stage),
            arm="fallback" if mine is None else "incumbent",
            action=mine or next(one for one in now.fallback if allowed is None or one in allowed),
            propensity=1.0,
            confidence=None,
            features=values,
            names=now.names,
            allowed=allowed,
            incumbent=now.incumbent.model.version,
            incumbent_action=mine,
            incumbent_ms=mine_ms,
            candidate=None if asked is None or now.candidate is None else now.candidate.model.version,
        )
        decided = Decided(row, asked, share)
        _tell(decided, now.incumbent.model.actions, scores, now.bundle.manifest["scores"])
        if answers and asked is not None and now.channel is not None:
            await asked.wait(self._limits.canary_s)
            if not asked.done:
                asked.give_up("late")
                now.channel.failed()
            _take(decided, now, asked)
        decided.latency_ms = 1e3 * (perf_counter() - start)
        return decided

    def _incumbent(
        self, now: Deployment, values: NDArray[np.float32], allowed: tuple[str, ...] | None
    ) -> tuple[str | None, NDArray[np.float32] | None, float]:
        """Its answer, scores and milliseconds; None if it fails, so that the fallback answers."""
        start = perf_counter()
        try:
            mask = None if allowed is None else now.incumbent.mask(allowed)
            place, scores = now.bundle.answer(values[now.incumbent.features], mask)
            action = now.bundle.actions[place]
            if allowed is None or action in allowed:
                return action, scores, 1e3 * (perf_counter() - start)
        except Exception:  # the runtime's own errors share no base class
            pass
        self.fallbacks += 1
        return None, None, 1e3 * (perf_counter() - start)


def _values(now: Deployment, features: Mapping[str, float | None]) -> NDArray[np.float32]:
    values = np.full(len(now.names), np.nan, np.float32)
    places = now.places
    for name, value in features.items():
        place = places.get(name)
        if place is None:
            guess = suggestion(name, now.names) or f"; known: {', '.join(now.names[:6])}, ..."
            raise QuestionError(f"features.{name[:60]}: no such feature{guess}")
        if value is not None:
            values[place] = value
    return values


def _allowed(now: Deployment, allowed: Sequence[str] | None) -> tuple[str, ...] | None:
    if allowed is None:
        return None
    known = now.incumbent.places
    for name in allowed:
        if name not in known:
            raise QuestionError(f"allowed: no such action {name[:60]!r}; known: {', '.join(known)}")
    return tuple(allowed)


def _take(decided: Decided, now: Deployment, asked: Asked) -> None:
    """Put the candidate's answer in place of the incumbent's, if there is one."""
    if asked.action is None or asked.scores is None or now.candidate is None:
        return
    arm: Arm = "candidate"
    decided.action, decided.arm, decided.model = asked.action, arm, now.candidate.model.version
    _tell(decided, now.candidate.model.actions, asked.scores, now.candidate.model.scores)


def _tell(
    decided: Decided, actions: tuple[str, ...], scores: NDArray[np.float32] | None, meaning: str
) -> None:
    told = scores is not None and meaning == "probabilities" and bool(np.isfinite(scores).all())
    decided.actions = actions
    decided.probabilities = scores.tolist() if told and scores is not None else None
