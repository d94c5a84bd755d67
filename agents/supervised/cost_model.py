"""What each action would have cost, learned from decisions that tell only the cost of the action taken."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xgboost

Floats = npt.NDArray[np.float64]

FEWEST: Final = 100
"""Costs of an action below which it is not to be recommended: a guess would be one."""
_HEAVIEST: Final = 20.0
"""A decision that was taken with a small chance counts as so many at most."""
_ROUNDS, _DEPTH, _RATE = 150, 5, 0.1
"""Of the trees: small, for the straight line before them leaves little."""


class CostModel:
    """A regression of log costs for each action: a ridge for what is straight, boosted trees for the rest.

    Args:
        rows: Observations, float32 (n, F), finite.
        actions: What was done, shape (n,).
        costs: What it cost, above 0, shape (n,).
        propensity: Chance with which it was done, shape (n,); rare ones count more.
        count: Number of actions A.
        seed: Of the trees; the same seed gives the same bits.
    """

    def __init__(
        self,
        rows: npt.NDArray[np.float32],
        actions: npt.NDArray[np.int64],
        costs: Floats,
        propensity: Floats,
        *,
        count: int,
        seed: int,
    ) -> None:
        weights, logs = np.minimum(1.0 / propensity, _HEAVIEST), np.log(costs)
        self._parts: list[tuple[Floats, xgboost.Booster] | None] = []
        for action in range(count):
            own = actions == action
            enough = int(own.sum()) >= FEWEST
            self._parts.append(_fit(rows[own], logs[own], weights[own], seed) if enough else None)

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """For which actions there was enough to learn from, shape (A,)."""
        return np.array([part is not None for part in self._parts])

    def costs(self, rows: npt.NDArray[np.float32]) -> Floats:
        """What each action is thought to cost, shape (n, A); infinite where nothing is known."""
        found = np.full((len(rows), len(self._parts)), np.inf)
        design = _design(rows)
        for action, part in enumerate(self._parts):
            if part is not None:
                found[:, action] = np.exp(design @ part[0] + part[1].inplace_predict(rows))
        return found


def _fit(
    rows: npt.NDArray[np.float32], logs: Floats, weights: Floats, seed: int
) -> tuple[Floats, xgboost.Booster]:
    design = _design(rows)
    line = np.linalg.solve(design.T @ design + np.eye(design.shape[1]), design.T @ logs).astype(np.float64)
    parameters: dict[str, Any] = {
        "objective": "reg:squarederror",
        "base_score": 0.0,
        "max_depth": _DEPTH,
        "eta": _RATE,
        "subsample": 0.8,
        "tree_method": "hist",
        "nthread": 1,
        "seed": seed,
        "verbosity": 0,
    }
    rest = xgboost.DMatrix(rows, logs - design @ line, weight=weights, nthread=1)
    return line, xgboost.train(parameters, rest, _ROUNDS, verbose_eval=False)


def _design(rows: npt.NDArray[np.float32]) -> Floats:
    return np.column_stack([np.ones(len(rows)), rows.astype(np.float64)])
