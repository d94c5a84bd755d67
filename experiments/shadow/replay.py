"""Puts a log of decisions to a candidate and its incumbent: where they agree, and what it would come to."""

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.shadow.bundle import Latency, measure_latency
from experiments.shadow.decision_log import ELSE, DecisionLog
from experiments.shadow.drift import KS_DRIFT, PSI_DRIFT, Drift, drift
from experiments.shadow.loader import Bundle
from experiments.shadow.off_policy import (
    Influences,
    Interval,
    Logged,
    Overlap,
    expected_costs,
    influences,
    interval,
    overlap,
    saved,
)
from sim.errors import InputError

Ints = NDArray[np.int64]

BATCH: Final = 8192
"""Rows in one run of a graph: enough to fill the cores, few enough to stay in their caches."""
_TIMED_ROWS: Final = 1000
_OUTSIDE: Final = 0.01
"""Share of the rows outside a feature's range from which it is told."""


class Worth(NamedTuple):
    """What a policy costs a decision, as far as a log tells.

    Attributes:
        actual: Its true mean cost, where the log knows what each action would have cost.
        overlap: How much of the log speaks of it; None where chances or costs are not logged.
        ips: Its mean cost by inverse propensities.
        snips: The same with weights that add up to 1.
        dr: The same, doubly robust.
    """

    actual: Interval | None
    overlap: Overlap | None
    ips: Interval | None
    snips: Interval | None
    dr: Interval | None


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
        gains: Share of the cost saved against the incumbent (or the log), by estimator; ``actual`` where
            the log knows.
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
    logged, known = _logged(log, candidate)
    expected = None if logged is None else expected_costs(logged, len(candidate.actions))
    mine = _replayed(log, candidate, logged, known, expected)
    other = None if incumbent is None else _replayed(log, incumbent, logged, known, expected)
    others = None if other is None else other.actions
    base = log.actions if others is None else others
    gains = _gains(log, mine.actions, others, logged, known, expected)
    drifts = drift(candidate.manifest["features"], log.features)
    right = log.right(log.actions)
    told = base != ELSE
    confusion = np.zeros((len(candidate.actions),) * 2, np.int64)
    np.add.at(confusion, (base[told], mine.actions[told]), 1)
    return Replay(
        len(log),
        len(np.unique(log.groups)),
        mine,
        other,
        None if other is None else float(np.mean(mine.actions == other.actions)),
        None if right is None else float(np.mean(right)),
        None if log.costs is None else _mean(log.costs, log.groups),
        gains,
        drifts,
        confusion,
        tuple(_warnings(log, [mine, *([other] if other else [])], drifts)),
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


def _logged(log: DecisionLog, bundle: Bundle) -> tuple[Logged | None, NDArray[np.bool_]]:
    """The rows from which costs can be estimated, and which these are."""
    if log.propensity is None or log.costs is None or np.all(log.propensity == 1.0):
        return None, np.zeros(len(log), np.bool_)
    known = ~np.isnan(log.costs) & (log.actions != ELSE)
    if not known.any():
        return None, known
    return Logged(
        log.actions[known],
        log.propensity[known],
        log.costs[known],
        _unit_scale(bundle, log.features[known]),
        log.groups[known],
    ), known


def _unit_scale(bundle: Bundle, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Features as the manifest scales them, or by their own spread."""
    scaled = np.empty(features.shape)
    for place, one in enumerate(bundle.manifest["features"]):
        values = features[:, place].astype(np.float64)
        values = np.where(np.isnan(values), one["default"], values)
        if one["scale"] == "none":
            scaled[:, place] = (values - values.mean()) / (values.std() or 1.0)
            continue
        ends = np.array([one["low"], one["high"]])
        values = np.clip(values, *ends)
        if one["scale"] == "log":
            values, ends = np.log(values), np.log(ends)
        scaled[:, place] = 2.0 * (values - ends[0]) / (ends[1] - ends[0]) - 1.0
    return scaled


def _replayed(
    log: DecisionLog,
    bundle: Bundle,
    logged: Logged | None,
    known: NDArray[np.bool_],
    expected: NDArray[np.float64] | None,
) -> Replayed:
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
        _worth(log, actions, logged, known, expected),
        measure_latency(bundle, log.features[:_TIMED_ROWS], rounds=3, masks=masks),
        len(log) / taken_s,
    )


def _worth(
    log: DecisionLog,
    actions: Ints,
    logged: Logged | None,
    known: NDArray[np.bool_],
    expected: NDArray[np.float64] | None,
) -> Worth:
    actual = None if log.every_cost is None else _mean(_actual(log, actions), log.groups)
    if logged is None or expected is None:
        return Worth(actual, None, None, None, None)
    found = overlap(actions[known], logged)
    if found.matched == 0.0:
        return Worth(actual, found, None, None, None)
    parts = influences(actions[known], logged, expected)
    return Worth(actual, found, *(interval(part, logged.groups) for part in parts))


def _gains(
    log: DecisionLog,
    mine: Ints,
    other: Ints | None,
    logged: Logged | None,
    known: NDArray[np.bool_],
    expected: NDArray[np.float64] | None,
) -> dict[str, Interval]:
    """What the candidate saves against the incumbent, or against what the log did."""
    gains: dict[str, Interval] = {}
    if log.every_cost is not None:
        base = log.actions if other is None else other
        told = base != ELSE
        costs = _actual(log, np.where(told, base, 0)), _actual(log, mine)
        gains["actual"] = saved(costs[1][told], costs[0][told], log.groups[told])
    if logged is None or expected is None or not np.any(mine[known] == logged.actions):
        return gains
    ours = influences(mine[known], logged, expected)
    if other is None:
        theirs = Influences(logged.costs, logged.costs, logged.costs)
    elif np.any(other[known] == logged.actions):
        theirs = influences(other[known], logged, expected)
    else:
        return gains
    for name, one, base_part in zip(Influences._fields, ours, theirs, strict=True):
        gains[name] = saved(one, base_part, logged.groups)
    return gains


def _actual(log: DecisionLog, actions: Ints) -> NDArray[np.float64]:
    assert log.every_cost is not None  # asked before
    return np.asarray(log.every_cost[np.arange(len(actions)), actions])


def _mean(costs: NDArray[np.float64], groups: Ints) -> Interval | None:
    known = ~np.isnan(costs)
    return interval(costs[known], groups[known]) if known.any() else None


def _warnings(log: DecisionLog, policies: Sequence[Replayed], drifts: Sequence[Drift]) -> list[str]:
    found = []
    if log.missing:
        few = ", ".join(log.missing[:6]) + (", …" if len(log.missing) > 6 else "")
        found.append(f"{len(log.missing)} features are not in the log and take their defaults: {few}")
    if strange := int(np.sum(log.actions == ELSE)):
        found.append(f"{strange} of {len(log)} decisions are of actions that the bundle does not know")
    if log.costs is None or log.propensity is None:
        lacks = "costs" if log.costs is None else "propensities"
        found.append(f"the log tells no {lacks}: no gain can be estimated")
    elif np.all(log.propensity == 1.0):
        found.append("the log never explores (all propensities are 1): no gain can be estimated from it")
    for one in policies:
        if one.worth.overlap is not None and one.worth.overlap.problem:
            found.append(f"{one.name}: {one.worth.overlap.problem}")
    found += [_of_drift(one) for one in drifts if one.drifted]
    found += [
        f"{one.feature}: {one.below + one.above:.1%} of the rows lie outside its range"
        for one in drifts
        if one.below + one.above >= _OUTSIDE
    ]
    return found


def _of_drift(one: Drift) -> str:
    return (
        f"{one.feature} has drifted: PSI {one.psi:.2f} (from {PSI_DRIFT}), KS {one.ks:.2f} (from {KS_DRIFT})"
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
