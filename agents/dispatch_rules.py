"""Rules that say who of those that wait goes next: orders by one key, and when to hold the next one back."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents.policy import Action, Mask, Observation, Policy
from envs.features import FeatureList
from sim.randomness import stream

Values = NDArray[np.float64]

_BUSINESS_HOURS: Final = (9.0, 17.0)
"""When the published scheduler's reward takes 2 from a transfer that is not critical; nights earn it 3.

Source:
    tcp-agent-platform, ai/models/scheduling_optimizer.py.
"""
_CRITICAL: Final = 3.0
"""Priority from which a transfer counts as critical: the highest of the default tiers."""
_SOON: Final = 2.0
"""Estimated times before its deadline at which a transfer is no longer put off."""
LATE_S: Final = 0.0101
"""Seconds past a deadline from which they are seen: the feature begins at 0.01."""


class Layout:
    """Where the features of candidates and paths stand: blocks of one length, candidate by candidate.

    Attributes:
        features: The features of a dispatch question.
        candidates: How many there is room for.
        paths: How many paths there is room for.
        any_path: Whether an action names the path.

    Args:
        features: Made by `envs.scheduling_features.dispatch_features`.
    """

    def __init__(self, features: FeatureList) -> None:
        self.features = features
        self.candidates = sum(name.endswith("_present") for name in features.names)
        self.paths = sum(name.endswith("_bandwidth_mbps") for name in features.names)
        self.any_path = "c0_seconds_on_0" in features.names
        first_path, whole = features.index("p0_bandwidth_mbps"), features.index("free_slots")
        self.candidate_length = first_path // self.candidates
        self.path_length = (whole - first_path) // self.paths


class Seen:
    """A batch of observations by the names of its features, in their units.

    Args:
        layout: Where they stand.
        observations: Shape (N, F).
    """

    def __init__(self, layout: Layout, observations: Observation) -> None:
        self._layout = layout
        self._values = layout.features.unscaled(observations)

    def __call__(self, name: str) -> Values:
        """A feature of the whole, shape (N,)."""
        values: Values = self._values[:, self._layout.features.index(name)]
        return values

    def each(self, name: str) -> Values:
        """A feature of all candidates, shape (N, candidates)."""
        return self._block(f"c0_{name}", self._layout.candidates, self._layout.candidate_length)

    def on_paths(self, name: str) -> Values:
        """A feature of all paths, shape (N, paths)."""
        return self._block(f"p0_{name}", self._layout.paths, self._layout.path_length)

    def by_path(self) -> Values:
        """Estimated seconds of all candidates by all paths, shape (N, candidates, paths)."""
        return np.stack([self.each(f"seconds_on_{path}") for path in range(self._layout.paths)], axis=2)

    def _block(self, first: str, count: int, length: int) -> Values:
        start = self._layout.features.index(first)
        values: Values = self._values[:, start : start + count * length : length]
        return values


Score = Callable[[Seen], Values]
"""How much each candidate should go next, shape (N, candidates); the highest goes, the first of equals."""
Hold = Callable[[Seen, NDArray[np.int64]], NDArray[np.bool_]]
"""Whether the candidate that would go, one for each row, should wait instead, shape (N,)."""


def never(seen: Seen, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whoever has a slot goes."""
    return np.zeros(len(chosen), np.bool_)


def busy_for(seconds: float) -> Hold:
    """Hold the next one back while what is underway on its path takes longer than this."""

    def hold(seen: Seen, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
        return seen.each("path_backlog_s")[np.arange(len(chosen)), chosen] > seconds

    return hold


def last_slot_for(arrivals: float, waiting: int) -> Hold:
    """Keep the host's last free slot for transfers that are over before that many others are expected.

    A long transfer in the last slot makes all that come meanwhile wait for its end, and none can be stopped.
    On an idle host nothing is held back, nor when more than ``waiting`` wait: then slots are what there is
    too little of.

    Source:
        Measured on the catalogue's sites with 2 slots, for 1 arrival and 2 that wait, against the same order
        without it: cost 18 % lower on ``datacenter``, 14 % on ``cpu-starved``, 11 % on ``internet``, 2 % on
        ``hybrid``, and 2 and 7 % higher on ``flash-crowd`` and ``wan``.
    """

    def hold(seen: Seen, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
        long = seen.each("arrivals")[np.arange(len(chosen)), chosen] > arrivals
        last = (seen("free_slots") < 1.5) & (seen("underway") > 0.5)
        held: NDArray[np.bool_] = last & long & (seen("waiting") < waiting + 0.5)
        return held

    return hold


def business_hours(seen: Seen, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Hold back what is neither critical nor due until the business hours are over."""
    hour = np.arctan2(seen("hour_sin"), seen("hour_cos")) * 12 / np.pi % 24
    rows = np.arange(len(chosen))
    critical = seen.each("priority")[rows, chosen] > _CRITICAL * 0.999
    due = seen.each("slack_ratio")[rows, chosen] < _SOON
    return (hour >= _BUSINESS_HOURS[0]) & (hour < _BUSINESS_HOURS[1]) & ~critical & ~due


class DispatchRule(Policy):
    """The candidate with the highest score goes, unless it is held back and waiting is legal.

    Where it may take any path, it takes the one on which it would end first, behind what is underway there.

    Args:
        name: Catalogue name.
        features: The features of the environment.
        score: Who should go.
        hold: Who should not go yet.
    """

    def __init__(self, name: str, features: FeatureList, score: Score, hold: Hold = never) -> None:
        self.name = name
        self._layout = Layout(features)
        self._score = score
        self._hold = hold

    def act(self, observation: Observation, mask: Mask | None = None) -> Action:
        """A candidate (with its path, where any may be taken), or the last action: wait."""
        rows = np.atleast_2d(observation)
        seen = Seen(self._layout, rows)
        legal = self._legal(seen) if mask is None else np.broadcast_to(mask, (len(rows), np.shape(mask)[-1]))
        moves = legal[:, :-1].reshape(len(rows), self._layout.candidates, -1)
        may_go: Mask = np.any(moves, axis=2)
        chosen = np.argmax(np.where(may_go, self._score(seen), -np.inf), axis=1)
        waits = legal[:, -1] & (~np.any(may_go, axis=1) | self._hold(seen, chosen))
        actions = chosen * moves.shape[2] + self._path(seen, chosen, moves)
        actions = np.where(waits, legal.shape[1] - 1, actions).astype(np.int64)
        return int(actions[0]) if observation.ndim == 1 else actions

    def _path(self, seen: Seen, chosen: NDArray[np.int64], moves: Mask) -> NDArray[np.int64]:
        if moves.shape[2] == 1:
            return np.zeros(len(chosen), np.int64)
        rows = np.arange(len(chosen))
        ends_s = seen.by_path()[rows, chosen] + seen.on_paths("backlog_s")
        return np.argmin(np.where(moves[rows, chosen], ends_s, np.inf), axis=1)

    def _legal(self, seen: Seen) -> Mask:
        """What an observation says of the mask."""
        may_go = seen.each("may_go") > 0.5
        if self._layout.any_path:
            may_go = (may_go[:, :, None] & (seen.on_paths("free")[:, None, :] > 0.5)).reshape(len(may_go), -1)
        return np.concatenate([may_go, seen("may_wait")[:, None] > 0.5], axis=1)


def oldest(seen: Seen) -> Values:
    """First come, first served."""
    return seen.each("waited_s")


def shortest(seen: Seen) -> Values:
    """Shortest estimated time first."""
    return -seen.each("seconds")


def most_urgent(seen: Seen) -> Values:
    """Earliest deadline first; those without one last."""
    return -_to_deadline_s(seen)


def weighted_shortest(seen: Seen) -> Values:
    """Highest priority over estimated time first.

    Source:
        Smith: Various optimizers for single-stage production. Naval Research Logistics Quarterly 3, 1956.
    """
    return seen.each("index")


def apparent_tardiness(late_price: float) -> Score:
    """Highest cost of a second over estimated time first, where a deadline that comes near counts beforehand.

    The cost of a second is the priority, and past the deadline ``late_price`` more; before it that part
    counts for ``exp(-slack / mean)``, with the mean of the estimated times of the candidates.

    Source:
        Vepsalainen, Morton: Priority rules for job shops with weighted tardiness costs. Management Science
        33(8), 1987, with the weighted completion time beside the tardiness.
    """

    def score(seen: Seen) -> Values:
        seconds, present = seen.each("seconds"), seen.each("present") > 0.5
        mean_s = np.sum(seconds * present, axis=1, keepdims=True) / np.sum(present, axis=1, keepdims=True)
        slack_s = np.maximum(_to_deadline_s(seen) - seconds, 0.0)
        return (seen.each("priority") + late_price * np.exp(-slack_s / mean_s)) / seconds

    return score


def highest_response_ratio(seen: Seen) -> Values:
    """Longest wait in multiples of the estimated time first."""
    return seen.each("waited_s") / seen.each("seconds")


def least_to_spare(seen: Seen) -> Values:
    """Least time first between the deadline and the end if it went now; those without a deadline last."""
    return seen.each("seconds") - _to_deadline_s(seen)


def _to_deadline_s(seen: Seen) -> Values:
    """Seconds to the deadline, below 0 past it."""
    late_s = seen.each("late_s")
    return np.where(late_s > LATE_S, -late_s, seen.each("slack_s"))


class RandomDispatch(Policy):
    """Any legal action, from a generator of its own that starts anew with each episode."""

    name = "random"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start the generator anew."""
        self._rng = stream(0, "random dispatch")

    def act(self, observation: Observation, mask: Mask | None = None) -> Action:
        """One of the actions that the mask allows, all equally likely.

        Raises:
            ValueError: If there is no mask.
        """
        if mask is None:
            raise ValueError("random dispatch needs a mask to know what there is; hand over action_masks()")
        rows = np.atleast_2d(mask)
        actions = np.argmax(np.where(rows, self._rng.random(rows.shape), -1.0), axis=1)
        return int(actions[0]) if observation.ndim == 1 else actions.astype(np.int64)
