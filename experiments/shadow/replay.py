"""Puts a log of decisions to a candidate and its incumbent: where they agree, and what it would come to."""

import time
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.shadow.bundle import Latency, measure_latency
from experiments.shadow.decision_log import ELSE, DecisionLog
from experiments.shadow.drift import Drift, drift
from experiments.shadow.gains import Told, Worth, gains_of, mean_cost, told_by, worth
from experiments.shadow.loader import Bundle
from experiments.shadow.off_policy import Interval
from experiments.shadow.replay_notes import warnings_of
from sim.errors import InputError

Ints = NDArray[np.int64]

BATCH: Final = 8192
"""Rows in one run of a graph: enough to fill the cores, few enough to stay in their caches."""
_TIMED_ROWS: Final = 1000


class Replayed(NamedTuple):
    """How one policy did on a log.

    Attributes:
        name: Of the policy.
        actions: What it would have done, shape (n,).
        agreement: Share of the rows in which that was done.
        accuracy: Share in which it is the best; None where the log cannot tell.
        worth: What it would have cost.
        latency: Of one decision.
        rows_per_s: Decisions a second in batches, by all threads.
    """

    name: str
    actions: Ints
    agreement: float
    accuracy: float | None
    worth: Worth
    latency: Latency
    rows_per_s: float


class Replay(NamedTuple):
    """What a replay has found.

    Attributes:
        rows: Decisions in the log.
        groups: Groups of them that lean on each other.
        candidate: The policy on trial.
        incumbent: The one it is set against; None where that is the log itself.
        agreement: Share of the rows in which both do the same; None without an incumbent.
        log_accuracy: Share in which the log did what is best.
        log_cost: Mean cost in the log.
        gains: Share of the mean cost saved against the incumbent (or the log), by estimator; ``actual``
            where the log knows.
        typical_gains: Share of the geometric mean saved, where all costs are above 0.
        drifts: Of all features.
        confusion: Counts, incumbent (or log) by candidate, shape (A, A).
        warnings: What stands against all this.
    """

    rows: int
    groups: int
    candidate: Replayed
    incumbent: Replayed | None
    agreement: float | None
    log_accuracy: float | None
    log_cost: Interval | None
    gains: dict[str, Interval]
    typical_gains: dict[str, Interval]
    drifts: list[Drift]
    confusion: Ints
    warnings: tuple[str, ...]


def replay(log: DecisionLog, candidate: Bundle, incumbent: Bundle | None = None) -> Replay:
    """Put a log to a candidate and, if there is one, its incumbent.

    Raises:
        InputError: If the two answer other questions, or in several parts.
    """
    for one in (candidate, *([incumbent] if incumbent else [])):
        if len(one.face.sizes) != 1:
            problem = f"replay reads answers of one choice, got {len(one.face.sizes)} parts"
            raise InputError(one.name, "", f"{problem}; replay a policy of compression or scheduling")
    if incumbent is not None and (incumbent.features, incumbent.actions) != (
        candidate.features,
        candidate.actions,
    ):
        problem = f"expected the features and actions of {candidate.name}, got others"
        raise InputError(incumbent.name, "", f"{problem}; export both for one environment")
    told = told_by(log, candidate)
    mine = _replayed(told, candidate)
    other = None if incumbent is None else _replayed(told, incumbent)
    gains, typical = gains_of(told, mine.actions, None if other is None else other.actions)
    base = log.actions if other is None else other.actions
    worths = {one.name: one.worth for one in (mine, other) if one is not None}
    drifts = drift(candidate.manifest["features"], log.features)
    right = log.right(log.actions)
    known = base != ELSE
    confusion = np.zeros((len(candidate.actions),) * 2, np.int64)
    np.add.at(confusion, (base[known], mine.actions[known]), 1)
    return Replay(
        len(log),
        len(np.unique(log.groups)),
        mine,
        other,
        None if other is None else float(np.mean(mine.actions == other.actions)),
        None if right is None else float(np.mean(right)),
        None if log.costs is None else mean_cost(log.costs, log.groups),
        gains,
        typical,
        drifts,
        confusion,
        tuple(warnings_of(log, worths, drifts, gains)),
    )


def answers(bundle: Bundle, log: DecisionLog) -> Ints:
    """What a policy would have done, shape (n,)."""
    masks = log.masks
    parts = [
        bundle.act(
            log.features[start : start + BATCH], None if masks is None else masks[start : start + BATCH]
        )
        for start in range(0, len(log), BATCH)
    ]
    return np.concatenate(parts).astype(np.int64)


def _replayed(told: Told, bundle: Bundle) -> Replayed:
    log = told.log
    start = time.perf_counter()
    actions = answers(bundle, log)
    taken_s = time.perf_counter() - start
    right = log.right(actions)
    masks = None if log.masks is None else log.masks[:_TIMED_ROWS]
    return Replayed(
        bundle.name,
        actions,
        float(np.mean(actions == log.actions)),
        None if right is None else float(np.mean(right)),
        worth(told, actions),
        measure_latency(bundle, log.features[:_TIMED_ROWS], rounds=3, masks=masks),
        len(log) / taken_s,
    )


def as_json(found: Replay, candidate: Bundle, incumbent: Bundle | None) -> dict[str, Any]:
    """A replay as a document: intervals as objects, the policies by name and seal."""

    def plain(value: Any) -> Any:
        if hasattr(value, "_asdict"):
            return {key: plain(item) for key, item in value._asdict().items() if key != "actions"}
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    document: dict[str, Any] = plain(found)
    for place, one in (("candidate", candidate), ("incumbent", incumbent)):
        if one is not None:
            document[place]["seal"] = one.manifest["seal"]
    document["actions"] = list(candidate.actions)
    return document
