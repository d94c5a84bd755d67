"""What the store of a rollout holds: rows to write, and decisions as columns to read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Arm = Literal["incumbent", "candidate", "fallback"]
"""Whose answer was given; the fallback is one fixed action, for an incumbent that fails."""
Receipt = Literal["stored", "repeated", "conflict", "unknown"]
"""What became of an outcome: new, the same again, another than before, of a decision that is not there."""

EVERYWHERE: Final = "*"
"""The region that stands for all that have no stage of their own."""


class Model(NamedTuple):
    """A bundle that the store keeps.

    Attributes:
        version: First 16 digits of the manifest's seal.
        name: What the policy is called.
        file: Its ``.zip``, in the folder of the store.
        added: When, in seconds since 1970.
        features: Names in the order of its input.
        actions: Names.
        scores: What its scores mean: probabilities, action_values, preferences or numbers.
    """

    version: str
    name: str
    file: str
    added: float
    features: tuple[str, ...]
    actions: tuple[str, ...]
    scores: str


class Decision(NamedTuple):
    """One answer that was given, and what the candidate would have answered.

    Attributes:
        id: What outcomes refer to; unique in a store.
        time: When, in seconds since 1970.
        region: Whose stage counted.
        key: What the assignment was made by: the same key, the same side.
        stage: Of the region at that time.
        arm: Whose answer was given.
        action: The answer.
        propensity: Chance of that answer over keys, in (0, 1].
        confidence: Largest probability of the answer's scores; None where scores are no probabilities.
        features: Values in units, in the order of ``names``, NaN where unknown, float32 (F,).
        names: Names of the features.
        allowed: Actions that were allowed; None if all were.
        incumbent: Version of the model.
        incumbent_action: Its answer; None if it failed.
        incumbent_ms: How long it took.
        candidate: Version of the model; None if there was none to ask.
        candidate_action: Its answer; None if none came in time.
        candidate_ms: How long it took; None as above.
        error: Why the candidate gave no answer, in a word or two; None if it gave one or was not asked.
    """

    id: str
    time: float
    region: str
    key: str
    stage: str
    arm: Arm
    action: str
    propensity: float
    confidence: float | None
    features: NDArray[np.float32]
    names: tuple[str, ...]
    allowed: tuple[str, ...] | None
    incumbent: str
    incumbent_action: str | None
    incumbent_ms: float
    candidate: str | None = None
    candidate_action: str | None = None
    candidate_ms: float | None = None
    error: str | None = None


class Outcome(NamedTuple):
    """What came of a decision.

    Attributes:
        decision: Its id.
        time: When it became known, in seconds since 1970.
        cost_s: What the answer cost, in seconds; None if only the best is known.
        best: Action that would have been best, if anyone knows.
        costs: What each action would have cost, if anyone knows.
    """

    decision: str
    time: float
    cost_s: float | None
    best: str | None = None
    costs: Mapping[str, float] | None = None


class Transition(NamedTuple):
    """A step of a rollout, forward or back.

    Attributes:
        seq: Number in the store; 0 for one that is yet to be written.
        time: When, in seconds since 1970.
        region: Where; `EVERYWHERE` for all that have no stage of their own.
        candidate: Version of the model.
        source: Stage before.
        target: Stage after.
        why: One line.
        by: Who asked for it: ``gate``, ``operator``, ...
        evidence: Figures that it rests on, JSON-able.
    """

    seq: int
    time: float
    region: str
    candidate: str
    source: str
    target: str
    why: str
    by: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class Decisions:
    """Decisions as columns, in the order of their numbers; each shape (n,) but the features'.

    Attributes:
        seq: Numbers of the decisions in the store, growing.
        settled: Numbers of their outcomes, growing with the time at which these came; 0 without.
        columns: The fields of `Decision` by name, but for features and names: text as objects with None,
            numbers as float64 with NaN.
        names: Features in the order in which they first appear.
        features: In units, NaN where unknown, float32 (n, F).
        known: When the outcome came, seconds since 1970, NaN where unknown.
        cost_s: What each cost, NaN where unknown.
        best: Best action, None where unknown, objects.
        costs: What each action would have cost: a mapping, or None where unknown, objects.
    """

    seq: NDArray[np.int64]
    settled: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]
    names: tuple[str, ...]
    features: NDArray[np.float32]
    known: NDArray[np.float64]
    cost_s: NDArray[np.float64]
    best: NDArray[np.object_]
    costs: NDArray[np.object_]

    def __len__(self) -> int:
        """Number of decisions."""
        return len(self.seq)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A column by name."""
        return self.columns[name]
