"""What a policy costs on a log and what it saves against another: as it truly is, and as estimated."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.shadow.decision_log import ELSE, DecisionLog
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
    saved_typically,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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


class Told(NamedTuple):
    """What a log tells of costs.

    Attributes:
        log: All of it.
        known: Rows from which costs can be estimated, shape (n,).
        logged: These rows; None where the log tells no chances or costs, or never explores.
        expected: What each action is thought to cost in them; None likewise.
    """

    log: DecisionLog
    known: NDArray[np.bool_]
    logged: Logged | None
    expected: Floats | None


def told_by(log: DecisionLog, bundle: Bundle) -> Told:
    """Fit what costs are expected, if the log tells enough of them."""
    logged, known = _logged(log, bundle)
    return Told(log, known, logged, None if logged is None else expected_costs(logged, len(bundle.actions)))


def gains_of(told: Told, mine: Ints, other: Ints | None) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Shares of the mean and of the geometric mean saved against another, or against what was done.

    Args:
        told: By the log.
        mine: What one would do, shape (n,).
        other: What the other would do; None for the log.
    """
    log, known, logged, expected = told
    base = log.actions if other is None else other
    gains = _actual_gain(log, mine, base, saved)
    typical: dict[str, Interval] = {}
    if log.every_cost is not None and log.every_cost.min() > 0:
        logs = replace(log, every_cost=np.log(log.every_cost))
        typical = _actual_gain(logs, mine, base, saved_typically)
    if logged is not None and expected is not None:
        theirs = None if other is None else other[known]
        gains |= _estimated_gains(mine[known], theirs, logged, expected, saved)
        if logged.costs.min() > 0:
            of_logs = logged._replace(costs=np.log(logged.costs))
            expected = expected_costs(of_logs, expected.shape[1])
            typical |= _estimated_gains(mine[known], theirs, of_logs, expected, saved_typically)
    return gains, typical


def worth(told: Told, actions: Ints) -> Worth:
    """What a policy costs that would have done these actions, shape (n,)."""
    log, known, logged, expected = told
    actual = None if log.every_cost is None else mean_cost(_actual(log, actions), log.groups)
    if logged is None or expected is None:
        return Worth(actual, None, None, None, None)
    found = overlap(actions[known], logged)
    if found.matched == 0.0:
        return Worth(actual, found, None, None, None)
    parts = influences(actions[known], logged, expected)
    return Worth(actual, found, *(interval(part, logged.groups) for part in parts))


_Compare = Callable[[Floats, Floats, Ints], Interval]


def _actual_gain(log: DecisionLog, mine: Ints, base: Ints, compare: _Compare) -> dict[str, Interval]:
    """What the candidate truly saves, where the log knows what each action would have cost."""
    told = base != ELSE
    if log.every_cost is None or not told.any():
        return {}
    costs = _actual(log, mine)[told], _actual(log, np.where(told, base, 0))[told]
    return {"actual": compare(*costs, log.groups[told])}


def _estimated_gains(
    mine: Ints, other: Ints | None, logged: Logged, expected: Floats, compare: _Compare
) -> dict[str, Interval]:
    """What the candidate saves against the incumbent, or against what the log did, by each estimator."""
    for one in (mine, *([] if other is None else [other])):
        if not np.any(one == logged.actions):
            return {}
    ours = influences(mine, logged, expected)
    theirs = Influences(*[logged.costs] * 3) if other is None else influences(other, logged, expected)
    return {
        name: compare(one, base, logged.groups)
        for name, one, base in zip(Influences._fields, ours, theirs, strict=True)
    }


def _actual(log: DecisionLog, actions: Ints) -> Floats:
    assert log.every_cost is not None  # asked before
    return np.asarray(log.every_cost[np.arange(len(actions)), actions])


def mean_cost(costs: Floats, groups: Ints) -> Interval | None:
    """Mean of the costs that are known, NaN where not; None if none is."""
    known = ~np.isnan(costs)
    return interval(costs[known], groups[known]) if known.any() else None


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
    scaled = np.empty(features.shape, order="F")
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
