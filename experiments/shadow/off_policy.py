"""What a policy would have cost, estimated from decisions that another took with known chances.

A row's part in an estimate (its influence) has the estimate as mean and its scatter as error; rows of one
group (an episode, a session) lean on each other and count as one draw. Lower costs are better.

Sources:
    Horvitz, Thompson: A generalization of sampling without replacement from a finite universe. JASA 47, 1952
    (IPS). Swaminathan, Joachims: The self-normalized estimator for counterfactual learning. NeurIPS 2015
    (SNIPS). Dudik, Langford, Li: Doubly robust policy evaluation and learning. ICML 2011 (DR).
"""

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVEL: Final = 0.95
"""Of all intervals."""
FEWEST: Final = 50.0
"""Effective rows below which no interval is to be trusted: skewed weights hide what is rare."""
_FOLDS: Final = 5
"""Parts of the log, of which one is asked for what the others were fitted to."""
LARGEST_SHARE: Final = 0.1
"""Of all weight on one row, from which that row decides the estimate."""


class Interval(NamedTuple):
    """An estimate and where the truth lies at `LEVEL`.

    Attributes:
        value: The estimate.
        low: Lower end.
        high: Upper end.
        heaviest: Share of all scatter that one group carries. Where it is large, as for costs that a few huge
            transfers make, the interval is too narrow: nobody knows what has not come yet.
    """

    value: float
    low: float
    high: float
    heaviest: float = 0.0


class Logged(NamedTuple):
    """Decisions whose cost is known.

    Attributes:
        actions: What was done, shape (n,).
        propensity: Chance with which it was done, in (0, 1], shape (n,).
        costs: What it cost, shape (n,).
        features: What a cost may depend on, of about unit scale, shape (n, F).
        groups: Rows of one number, from 0 on, belong together, shape (n,).
    """

    actions: Ints
    propensity: Floats
    costs: Floats
    features: Floats
    groups: Ints


class Overlap(NamedTuple):
    """How much of the log speaks of a policy.

    Attributes:
        matched: Share of the rows in which it would have done what was done.
        effective: Rows that an even weighting of the same scatter would need (Kish).
        mean_weight: 1 in expectation, unless chances are wrong or it does what the log never does.
        largest: Share of all weight on one row.
    """

    matched: float
    effective: float
    mean_weight: Interval
    largest: float

    @property
    def problem(self) -> str:
        """Why estimates are not to be trusted; empty if they are."""
        if self.matched == 0.0:
            return "the log never does what it would do: nothing can be said of its cost"
        if self.effective < FEWEST:
            return f"only {self.effective:.0f} effective decisions: log more, or explore more"
        if self.largest > LARGEST_SHARE:
            return f"one decision carries {self.largest:.0%} of the weight: log more, or explore more"
        if not self.mean_weight.low <= 1.0 <= self.mean_weight.high:
            problem = f"weights average {self.mean_weight.value:.2f} in place of 1"
            return f"{problem}: it does what the log never does there, or the logged chances are wrong"
        return ""


class Influences(NamedTuple):
    """Of each row on each estimate of a policy's mean cost, shape (n,); their means are the estimates."""

    ips: Floats
    snips: Floats
    dr: Floats


def weights(chosen: Ints, logged: Logged) -> Floats:
    """What each row counts for a policy that would have done ``chosen``, shape (n,)."""
    return np.where(chosen == logged.actions, 1.0 / logged.propensity, 0.0)


def overlap(chosen: Ints, logged: Logged) -> Overlap:
    """How much of the log speaks of a policy that would have done ``chosen``, shape (n,)."""
    weight = weights(chosen, logged)
    total = float(weight.sum())
    effective = total**2 / float((weight**2).sum()) if total else 0.0
    largest = float(weight.max()) / total if total else 0.0
    matched = float(np.mean(chosen == logged.actions))
    return Overlap(matched, effective, interval(weight, logged.groups), largest)


def influences(chosen: Ints, logged: Logged, expected: Floats) -> Influences:
    """Of each row on the mean cost of a policy that would have done ``chosen``.

    Args:
        chosen: Shape (n,).
        logged: The log; some of it must match.
        expected: What each action is thought to cost in each row, by a model that has not seen the row,
            shape (n, A).
    """
    weight, costs = weights(chosen, logged), logged.costs
    rows = np.arange(len(costs))
    mean_weight = float(weight.mean()) or 1.0
    normalised = float((weight * costs).mean()) / mean_weight
    surprise = costs - expected[rows, logged.actions]
    return Influences(
        weight * costs,
        normalised + weight * (costs - normalised) / mean_weight,
        expected[rows, chosen] + weight * surprise,
    )


def interval(influence: Floats, groups: Ints) -> Interval:
    """Mean with its interval by Student's t, the sums of groups taken as independent draws.

    >>> rows = np.array([1.0, 3.0, 1.0, 3.0])
    >>> found = interval(rows, np.arange(4))
    >>> round(found.value, 3), round(found.high - found.value, 3)  # 3.182 * sqrt(4 / 3) / 2
    (2.0, 1.837)
    >>> found.heaviest
    0.25
    """
    value = float(influence.mean())
    sums = np.bincount(groups, influence - value)[np.bincount(groups) > 0]
    count = len(sums)
    if count < 2:
        return Interval(value, -np.inf, np.inf, 1.0)
    error = float(np.sqrt(count / (count - 1) * np.sum(sums**2))) / len(influence)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    scatter = float(np.sum(sums**2))
    heaviest = float(np.max(sums**2)) / scatter if scatter else 0.0
    return Interval(value, value - reach, value + reach, heaviest)


def saved(influence: Floats, base: Floats, groups: Ints) -> Interval:
    """Share of the mean cost of ``base`` that is saved: 0.1 is 10 % cheaper; below 0 is dearer.

    Both are paired row by row, so that what they share falls out of the interval.
    """
    ratio = float(influence.mean()) / float(base.mean())
    return interval(1.0 - ratio - (influence - ratio * base) / float(base.mean()), groups)


def saved_typically(influence: Floats, base: Floats, groups: Ints) -> Interval:
    """Share of the geometric mean of the costs that is saved, from influences on their mean logarithm.

    Every decision counts alike by its ratio, so no few huge ones decide: where costs spread over orders of
    magnitude, this interval holds and that of the mean does not.
    """
    value, low, high, heaviest = interval(base - influence, groups)
    return Interval(-np.expm1(-value), -np.expm1(-low), -np.expm1(-high), heaviest)


def expected_costs(logged: Logged, actions: int) -> Floats:
    """What each action is thought to cost in each row, shape (n, A), each by a model fitted to other groups.

    A ridge regression an action, of the costs or, where all are above 0 and it does better on rows that it
    was not fitted to, of their logarithms, brought back to the mean. Right or wrong it leaves the doubly
    robust estimate unbiased; a good one makes it narrow.
    """
    costs, done, fold = logged.costs, logged.actions, logged.groups % _FOLDS
    rows = np.arange(len(costs))
    targets = np.column_stack([costs, np.log(costs)] if costs.min() > 0 else [costs])
    found = _held_out(logged.features, targets, done, fold, actions)
    straight = np.clip(found[0], costs.min(), costs.max())
    if costs.min() <= 0:
        return straight
    powers = np.exp(np.clip(found[1], *np.log([costs.min(), costs.max()])))
    cells = done * _FOLDS + fold
    sums = [
        np.bincount(cells, one, actions * _FOLDS).reshape(actions, _FOLDS)
        for one in (costs, powers[rows, done])
    ]
    of_others = [one.sum(axis=1, keepdims=True) - one for one in sums]
    scale = np.where(of_others[1] > 0, of_others[0] / np.maximum(of_others[1], 1e-300), 1.0)
    powers = np.clip(powers * scale.T[fold], costs.min(), costs.max())
    errors = [np.mean((costs - one[rows, done]) ** 2) for one in (straight, powers)]
    return straight if errors[0] <= errors[1] else powers


def _held_out(features: Floats, targets: Floats, done: Ints, fold: Ints, actions: int) -> Floats:
    """Targets (n, T) of each action by ridge regressions on the rows of other folds, shape (T, n, A)."""
    width = features.shape[1] + 1
    penalty = np.eye(width)
    penalty[0, 0] = 1e-6
    order = np.argsort(fold * actions + done, kind="stable")
    ends = np.searchsorted((fold * actions + done)[order], np.arange(_FOLDS * actions + 1))
    design = np.column_stack([np.ones(len(features)), features])[order]
    squares = np.zeros((_FOLDS, actions, width, width))
    products = np.zeros((_FOLDS, actions, width, targets.shape[1]))
    for cell, (start, end) in enumerate(pairwise(ends.tolist())):
        rows, place = design[start:end], divmod(cell, actions)
        squares[place], products[place] = rows.T @ rows, rows.T @ targets[order[start:end]]
    found = np.empty((targets.shape[1], len(features), actions))
    for held in range(_FOLDS):
        others = squares.sum(axis=0) - squares[held] + penalty, products.sum(axis=0) - products[held]
        fitted = np.linalg.solve(*others)
        start, end = ends[held * actions], ends[(held + 1) * actions]
        asked = np.tensordot(design[start:end], fitted, axes=(1, 1))
        found[:, order[start:end]] = asked.transpose(2, 0, 1)
    return found
