"""What a store's decisions teach: observations, what was done with which chance, and what came of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.features import scale
from experiments.rollout.assignment import place_of
from experiments.rollout.sessions import keys_of
from experiments.shadow.decision_log import ELSE, DecisionLog
from experiments.shadow.loader import Bundle
from experiments.shadow.store_rows import Decisions

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PARTS: Final = 5
"""Of the sessions one is kept to validate on, one to stop by; the others are learned from."""
_FARTHEST: Final = float(np.finfo(np.float64).max)


class Lessons(NamedTuple):
    """Decisions with known costs, as a bundle sees them.

    Attributes:
        features: In units, NaN where unknown, shape (n, F).
        actions: Places of what was done, or `ELSE`, shape (n,).
        propensity: Chance of it, shape (n,).
        costs: What it cost, above 0, shape (n,).
        every_cost: What each action would have cost, NaN in rows of which nobody knows it, shape (n, A).
        groups: Session of each, from 0 on, shape (n,).
        part: Which of the parts the session belongs to, by hash, shape (n,).
    """

    features: NDArray[np.float32]
    actions: Ints
    propensity: Floats
    costs: Floats
    every_cost: Floats
    groups: Ints
    part: Ints

    def rows(self, keep: NDArray[np.bool_]) -> "Lessons":
        """Those where ``keep`` is True."""
        return Lessons._make(column[keep] for column in self)

    @property
    def to_learn(self) -> NDArray[np.bool_]:
        """Rows that are learned from."""
        return self.part >= 2

    @property
    def to_stop(self) -> NDArray[np.bool_]:
        """Rows that tell when to stop."""
        return self.part == 1

    @property
    def to_validate(self) -> NDArray[np.bool_]:
        """Rows that nothing was learned from."""
        return self.part == 0

    @property
    def told(self) -> NDArray[np.bool_]:
        """Rows of which it is known what each action would have cost."""
        return np.asarray(~np.isnan(self.every_cost).any(axis=1))

    def log(self, *, told: bool) -> DecisionLog:
        """These as a log; with ``told``, only the rows that know every cost, and with all of them."""
        own = self.rows(self.told) if told else self
        groups = np.unique(own.groups, return_inverse=True)[1].astype(np.int64)
        every = own.every_cost if told else None
        return DecisionLog(
            own.features, None, own.actions, own.propensity, own.costs, every, None, groups, ()
        )


def lessons(read: Decisions, bundle: Bundle) -> Lessons:
    """What decisions of a store teach a policy with the features and actions of a bundle."""
    places = {name: place for place, name in enumerate(read.names)}
    features = np.full((len(read), len(bundle.features)), np.nan, np.float32)
    for place, name in enumerate(bundle.features):
        if name in places:
            features[:, place] = read.features[:, places[name]]
    numbers = {name: place for place, name in enumerate(bundle.actions)}
    actions = np.array([numbers.get(name, ELSE) for name in read["action"]], np.int64)
    every = np.array([_costs(one, bundle.actions) for one in read.costs], np.float64)
    every = every.reshape(len(read), len(bundle.actions))
    groups, firsts = keys_of(read)
    names = zip(read["region"][firsts], read["key"][firsts], strict=True)
    part = np.array([place_of(key, region, "validation") % _PARTS for region, key in names], np.int64)
    found = Lessons(
        features, actions, read["propensity"], read.cost_s, every, groups, part[groups].reshape(-1)
    )
    return found.rows((read.cost_s > 0) & (actions != ELSE))


def observations(features: NDArray[np.float32], manifest: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
    """Features in their units, (n, F), brought to scale as the bundle's graph does it."""
    rules = np.array([_rule(one) for one in manifest])
    defaults = np.array([one["default"] for one in manifest], np.float32)
    known = np.where(np.isnan(features), defaults, features).astype(np.float64)
    scaled = np.empty(features.shape, np.float32)
    scale(known.ravel(), rules, scaled.ravel())
    return scaled


def _rule(one: Mapping[str, Any]) -> tuple[float, ...]:
    if one["scale"] == "none":
        return -_FARTHEST, _FARTHEST, 0.0, 1.0, 0.0
    logarithmic = one["scale"] == "log"
    low, high = (float(np.log(one[end])) if logarithmic else one[end] for end in ("low", "high"))
    gain = 2.0 / (high - low)
    return one["low"], one["high"], float(logarithmic), gain, -1.0 - low * gain


def _costs(told: Mapping[str, float] | None, actions: Sequence[str]) -> list[float]:
    if told is None or any(name not in told for name in actions):
        return [np.nan] * len(actions)
    return [float(told[name]) for name in actions]
