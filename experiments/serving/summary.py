"""What the page and the meters tell of a store: agreement, accuracy, latency, gain, drift, the rollout."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.shadow.bundle_files import read_files, read_manifest
from experiments.shadow.drift import Drift, drift
from experiments.shadow.store import Store
from experiments.shadow.store_rows import Decisions

SUMMARY: Final = "summary"
"""Setting of the store that holds the figures."""
_ROWS: Final = 5000
"""The last decisions that the figures are of."""
_SPANS: Final = 40
"""Points of a curve."""
_DAY_S: Final = 86400.0
_STEPS: Final = 30
"""Of the rollout, the last ones."""
_Z: Final = 1.96


class Gain(NamedTuple):
    """What the candidate saves, in percent of its own typical cost.

    The *typical* cost is the geometric mean, in which no few huge transfers decide.

    Attributes:
        pct: Incumbent's typical cost over the candidate's, less 1.
        low: Lower end of the 95 % interval of a normal sum of logarithms; None from one decision.
        high: Its upper end.
        decisions: That it rests on.
        basis: ``costs`` if outcomes tell what each answer would have cost; ``arms`` if canary decisions of
            the two sides are compared.
    """

    pct: float
    low: float | None
    high: float | None
    decisions: int
    basis: str


def summarise(store: Store, standings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of the last decisions of a store, as a JSON document without NaN.

    Args:
        store: To read.
        standings: Of the rollout, one a region, as `experiments.rollout` has them.
    """
    candidate, now = store.role("candidate"), store.clock()
    read = store.latest(_ROWS)
    mine, theirs = read["incumbent_action"], read["candidate_action"]
    answered = np.array([one is not None for one in theirs], bool)
    agrees = np.where(answered, mine == theirs, np.nan).astype(np.float64)
    errors = [one for one in read["error"] if one is not None]
    found = gain(read)
    document = {
        "time": now,
        "decisions": store.last_seq(),
        "rows": len(read),
        "asked": sum(one is not None for one in read["candidate"]),
        "answered": int(answered.sum()),
        "agreement": _mean(agrees),
        "accuracy": _accuracy(read, read["time"] >= now - _DAY_S),
        "errors": {word: errors.count(word) for word in sorted(set(errors))},
        "candidate_ms": _percentiles(read["candidate_ms"]),
        "incumbent_ms": _percentiles(read["incumbent_ms"]),
        "gain": found and found._asdict(),
        "drift": [one._asdict() | {"drifted": one.drifted} for one in _drift(store, read)],
        "curves": _curves(read, agrees),
        "standings": standings,
        "transitions": [
            one._asdict() | {"evidence": None} for one in store.transitions(candidate=candidate)[-_STEPS:]
        ]
        if candidate
        else [],
    }
    return dict(_finite(document))


def gain(read: Decisions) -> Gain | None:
    """What the candidate saves; None where no outcome tells."""
    logs = np.array(
        [
            math.log(costs[mine] / costs[theirs])
            for costs, mine, theirs in zip(
                read.costs, read["incumbent_action"], read["candidate_action"], strict=True
            )
            if costs and _above(costs.get(mine)) and _above(costs.get(theirs))
        ]
    )
    if len(logs):
        return _gain(
            float(logs.mean()),
            float(logs.var(ddof=1)) / len(logs) if len(logs) > 1 else None,
            len(logs),
            "costs",
        )
    cost = np.where(read.cost_s > 0, read.cost_s, np.nan)
    canary = np.array([one.startswith("canary") for one in read["stage"]], bool) & ~np.isnan(cost)
    sides = [np.log(cost[canary & (read["arm"] == arm)]) for arm in ("incumbent", "candidate")]
    if min(map(len, sides)) < 2:
        return None
    spread = sum(float(side.var(ddof=1)) / len(side) for side in sides)
    return _gain(float(sides[0].mean() - sides[1].mean()), spread, sum(map(len, sides)), "arms")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _above(cost: float | None) -> bool:
    return cost is not None and cost > 0


def _gain(mean: float, variance: float | None, count: int, basis: str) -> Gain:
    pct = 100.0 * math.expm1(mean)
    if variance is None:
        return Gain(pct, None, None, count, basis)
    half = _Z * math.sqrt(variance)
    return Gain(pct, 100.0 * math.expm1(mean - half), 100.0 * math.expm1(mean + half), count, basis)


def _accuracy(read: Decisions, recent: NDArray[np.bool_]) -> dict[str, float]:
    """Share of the answers that were best, by role, where outcomes tell and the role answered."""
    known = recent & np.array([one is not None for one in read.best], bool)
    found = {}
    for role in ("incumbent", "candidate"):
        action = read[f"{role}_action"]
        told = known & np.array([one is not None for one in action], bool)
        if told.any():
            found[role] = float(np.mean(action[told] == read.best[told]))
    return found


def _percentiles(values: NDArray[np.float64]) -> dict[str, float]:
    known = values[~np.isnan(values)]
    return {f"p{rank}": float(np.percentile(known, rank)) for rank in (50, 99)} if len(known) else {}


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _drift(store: Store, read: Decisions) -> list[Drift]:
    """Of the features that the incumbent reads, the largest first."""
    version = store.role("candidate") or store.role("incumbent")
    if version is None or not len(read):
        return []
    path = store.bundle(version)
    features = read_manifest(read_files(path), path)["features"]
    places = {name: place for place, name in enumerate(read.names)}
    values = np.full((len(read), len(features)), np.nan, np.float32)
    for place, feature in enumerate(features):
        if feature["name"] in places:
            values[:, place] = read.features[:, places[feature["name"]]]
    return sorted(drift(features, values), key=lambda one: -one.psi if one.psi == one.psi else 0.0)


def _curves(read: Decisions, agrees: NDArray[np.float64]) -> dict[str, list[float | None]]:
    """Figures over spans of equally many decisions."""
    if not len(read):
        return {}
    spans = np.array_split(np.arange(len(read)), min(_SPANS, len(read)))
    curves: dict[str, list[float | None]] = {"time": [float(read["time"][span[-1]]) for span in spans]}
    curves["agreement"] = [_mean(agrees[span]) for span in spans]
    for role in ("incumbent", "candidate"):
        values = read[f"{role}_ms"]
        for rank in (50, 99):
            found = [_percentiles(values[span]).get(f"p{rank}") for span in spans]
            curves[f"{role}_p{rank}_ms"] = found
    return curves
