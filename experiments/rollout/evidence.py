"""What is known of a candidate in a stage: figures for people, and tests that bear to be looked at often."""

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from experiments.rollout.assignment import STAGES
from experiments.rollout.betting import centred, effect_interval, effect_p, effects, share_p
from experiments.rollout.gates import Gates
from experiments.rollout.sessions import Closed, Judged

Floats = NDArray[np.floating[Any]]

GUARDS: Final = ("accuracy", "drop", "p99_ms", "errors", "regression")
"""What takes a candidate back."""
TESTS: Final = len(GUARDS) * (len(STAGES) - 1)
"""Tests of a whole rollout, among which the guard's chance is divided (Bonferroni)."""
LATE: Final = 0.01
"""A 99th percentile is below a limit where less than this share is above it."""
SURE: Final = 0.01
"""Chance that an interval does not hold the truth at some time."""


@dataclass(frozen=True)
class Saved:
    """What a session costs less on the candidate's side, as a share of the incumbent's typical cost.

    Attributes:
        value: The estimate.
        low: Lower end of where it lies at every time, at 99 %; None if nothing is known.
        high: Upper end.
        p: Anytime p of the hypothesis that it is no more than the stage asks for.
    """

    value: float
    low: float | None
    high: float | None
    p: float


@dataclass(frozen=True)
class Evidence:
    """All that the gates look at; None where nothing is known.

    Attributes:
        days: In the stage.
        decisions: On each side, by hash.
        sessions: Closed ones on each side.
        judged: Answers of the candidate of which it is known whether they are right.
        accuracy: Share of them that are.
        agreement: Share of the candidate's answers that are the incumbent's.
        p99_ms: 99th percentile of the time that its answers took.
        errors: Share of decisions to which it had none.
        saved: What sessions cost less; None where not both sides answer.
        guards: Anytime p of the hypothesis that the candidate is within the limit, by guard.
        before: Accuracy in shadow, from which a drop counts.
    """

    days: float
    decisions: dict[str, int]
    sessions: dict[str, int]
    judged: int
    accuracy: float | None
    agreement: float | None
    p99_ms: float | None
    errors: float | None
    saved: Saved | None
    guards: dict[str, float]
    before: float | None

    def as_json(self) -> dict[str, Any]:
        """As a document."""
        return asdict(self)


def weigh(
    closed: Closed,
    judged: Judged,
    gates: Gates,
    *,
    stage: str,
    share: float,
    days: float,
    before: float | None,
) -> Evidence:
    """Evidence of one stage.

    Args:
        closed: Its sessions, each of which counts once in every test.
        judged: Its decisions, for the figures.
        gates: Limits.
        stage: Which.
        share: Of the keys that the candidate answers in it.
        days: Since it began.
        before: Accuracy in shadow.
    """
    took = judged.took_ms[~np.isnan(judged.took_ms)]
    mine, asked, known = int(judged.treated.sum()), int(judged.asked.sum()), int(judged.known.sum())
    answered = asked - int(judged.failed.sum())
    treated = int(closed.treated.sum())
    step = gates.step(stage)
    above = 0.0 if step is None or step.gain is None else step.gain.above
    return Evidence(
        days,
        {"candidate": mine, "incumbent": len(judged.treated) - mine},
        {"candidate": treated, "incumbent": len(closed.treated) - treated},
        known,
        float(judged.right[judged.known].mean()) if known else None,
        float(judged.same.sum()) / answered if answered else None,
        float(np.quantile(took, 0.99)) if len(took) else None,
        float(judged.failed.sum()) / asked if asked else None,
        _saved(closed, gates.sessions.largest_ratio, share, above) if 0.0 < share < 1.0 else None,
        _guards(closed, gates, share, before),
        before,
    )


def gain_draws(ratio: Floats, treated: NDArray[np.bool_], share: float, most: float) -> tuple[Floats, float]:
    """Draws of the effect on log costs, and how far from 0 one can be.

    Args:
        ratio: Logarithms of cost over what is expected, shape (..., n).
        treated: Which had the candidate, shape (..., n).
        share: Chance of that.
        most: The largest logarithm that counts.
    """
    return effects(centred(ratio, most), treated, share), most / min(share, 1.0 - share)


def _saved(closed: Closed, largest_ratio: float, share: float, above: float) -> Saved | None:
    known = ~np.isnan(closed.ratio)
    ratio, treated = closed.ratio[known], closed.treated[known]
    if not treated.any() or treated.all():
        return None
    most = float(np.log(largest_ratio))
    held = centred(ratio, most)
    effect = float(held[treated].mean() - held[~treated].mean())
    draws, largest = gain_draws(ratio, treated, share, most)
    low, high = effect_interval(draws, largest, SURE)
    return Saved(
        _share(effect),
        _share(high) if np.isfinite(high) else None,
        _share(low) if np.isfinite(low) else None,
        effect_p(draws, largest, float(np.log1p(-above)), above=False),
    )


def _share(effect: float) -> float:
    """A saving as a share, of a difference of logarithms."""
    return float(-np.expm1(effect))


def _guards(closed: Closed, gates: Gates, share: float, before: float | None) -> dict[str, float]:
    guard = gates.guard
    found = {}
    if guard.accuracy is not None:
        found["accuracy"] = _share_p(closed.wrong, 1.0 - guard.accuracy)
    if guard.drop is not None and before is not None:
        found["drop"] = _share_p(closed.wrong, 1.0 - before + guard.drop)
    if guard.p99_ms is not None:
        found["p99_ms"] = _share_p(closed.slow, LATE)
    if guard.errors is not None:
        found["errors"] = _share_p(closed.failed, guard.errors)
    if guard.regression is not None and 0.0 < share < 1.0:
        known = ~np.isnan(closed.ratio)
        most = float(np.log(gates.sessions.largest_ratio))
        draws, largest = gain_draws(closed.ratio[known], closed.treated[known], share, most)
        bound = float(np.log1p(guard.regression))
        found["regression"] = effect_p(draws, largest, bound, above=True) if len(draws) else 1.0
    return found


def _share_p(shares: Floats, most: float) -> float:
    return share_p(shares[~np.isnan(shares)], most) if most < 1.0 else 1.0
