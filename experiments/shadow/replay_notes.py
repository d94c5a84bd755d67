"""What stands against a replay, in lines for people, and all of it as a document."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from experiments.shadow.decision_log import ELSE, DecisionLog
from experiments.shadow.drift import KS_DRIFT, PSI_DRIFT, Drift
from experiments.shadow.gains import Worth
from experiments.shadow.off_policy import LARGEST_SHARE, Interval

_UNSEEN: Final = 0.01
"""Share of the rows outside of what training has seen from which it is told."""


def warnings_of(
    log: DecisionLog, worths: dict[str, Worth], drifts: Sequence[Drift], gains: dict[str, Interval]
) -> list[str]:
    """Why not to trust a replay.

    Args:
        log: What was replayed.
        worths: Of the policies by name.
        drifts: Of all features.
        gains: Of the mean cost, by estimator.
    """
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
    for name, one in worths.items():
        if one.overlap is not None and one.overlap.problem:
            found.append(f"{name}: {one.overlap.problem}")
    heaviest = max((one.heaviest for one in gains.values()), default=0.0)
    if heaviest > LARGEST_SHARE:
        problem = f"up to {heaviest:.0%} of the scatter of a saving of the mean cost is one group's"
        found.append(f"{problem}: its interval is too narrow; read the typical saving, or log more")
    found += [_of_drift(one) for one in drifts if one.drifted]
    found += [
        f"{one.feature}: {one.unseen:.1%} of the rows lie outside of all that was seen in training"
        for one in drifts
        if one.unseen >= _UNSEEN
    ]
    found += [
        f"{one.feature}: {one.below + one.above:.1%} of the rows lie outside its range"
        for one in drifts
        if np.isnan(one.unseen) and one.below + one.above >= _UNSEEN
    ]
    return found


def _of_drift(one: Drift) -> str:
    return (
        f"{one.feature} has drifted: PSI {one.psi:.2f} (from {PSI_DRIFT}), KS {one.ks:.2f} (from {KS_DRIFT})"
    )
