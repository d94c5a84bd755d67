"""How long a transfer will take and how fast it will go, with intervals: trees on top of the path's law."""

from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import xgboost

from agents.supervised.boosted import Boosted, BoostedConfig
from agents.supervised.model import Outputs, Part, Rows
from agents.supervised.model_file import Arrays
from agents.supervised.outcomes import INPUTS, PROSPECT_RATE, PROSPECT_S, Outcomes
from agents.supervised.trees import booster_bytes, booster_from_bytes

QUANTILES: Final = (0.1, 0.5, 0.9)
_OF_QUANTILES: Final = tuple(
    f"{target}_{round(100 * quantile)}" for target in ("seconds", "rate") for quantile in QUANTILES
)
OUTPUTS: Final = (*_OF_QUANTILES, "seconds")
"""Seconds until decoded, and bytes/s on the wire: the quantiles of each; and the seconds that are likeliest
to be nearly right."""
SAID_S, MEDIAN_RATE = OUTPUTS.index("seconds"), OUTPUTS.index("rate_50")
WITHIN: Final = 0.2
"""Relative error up to which a prediction counts as right: the published accuracy, made definite."""
_KERNEL: Final = 0.15
"""Width of the kernel, in logarithms, by which a miss counts: far ones all alike."""
_CENTRE: Final = 0.5 * (np.log(1 + WITHIN) + np.log(1 - WITHIN))
"""A prediction may lie further below the truth than above, in logarithms; this is the middle."""
_LEAST_CURVATURE: Final = 0.03
_KERNEL_ROUNDS, _KERNEL_RATE, _KERNEL_PATIENCE = 120, 0.05, 30
_MEDIAN_ROUNDS: Final = 3
"""So many times the rounds of the quantiles, which take six trees a round where medians take one."""


class PerformancePredictor(Boosted):
    """Quantiles of a transfer's seconds and of its rate on the wire.

    Trees say by what factor a transfer departs from what the law of its path promises when it starts
    (`agents.supervised.prospects`); so they need not learn the law itself, and carry over to links of any
    size. One more set says where most of the chance lies within 20 %: it starts from medians, and goes on by
    a loss that rises where a miss begins and is flat beyond (Welsch's), so that it seeks the mode.

    Args:
        config: Shape and training; always of quantiles.

    Source:
        tcp-agent-platform's performance predictor: two XGBoost regressors, throughput (1000 trees, depth 8)
        and completion (800, depth 6). Two of its inputs hold the target; none does here.
    """

    kind: ClassVar[str] = "performance"

    def __init__(self, config: BoostedConfig) -> None:
        super().__init__(INPUTS, _OF_QUANTILES, config)
        self.outputs = OUTPUTS
        self._mode: xgboost.Booster | None = None

    def fit(self, train: Part, validation: Part, rng: np.random.Generator) -> None:
        """As ``Model.fit``; truth is seconds and bytes/s, shape (n, 2)."""
        learned, held = _factors(train), _factors(validation)
        super().fit(learned, held, rng)
        taught, judged = (
            xgboost.DMatrix(self.check(part.rows), part.truth[:, 0], nthread=1) for part in (learned, held)
        )
        self._mode = _mode_trees(taught, judged, self.config, int(rng.integers(2**31)))

    def predict(self, rows: Rows) -> Outputs:
        """Quantiles of seconds and bytes/s, and the likeliest seconds, as ``Model.predict``."""
        mode = self.mode().inplace_predict(self.check(rows), missing=np.nan, predict_type="margin")
        factors = np.column_stack([super().predict(rows), np.asarray(mode, np.float64)])
        factors = np.exp(factors, out=factors)
        count = len(QUANTILES)
        factors[:, count : 2 * count] *= rows[:, PROSPECT_RATE, None]
        factors[:, :count] *= rows[:, PROSPECT_S, None]
        factors[:, SAID_S] *= rows[:, PROSPECT_S]
        return factors

    def mode(self) -> xgboost.Booster:
        """The trees of the likeliest seconds.

        Raises:
            ValueError: Before ``fit`` or ``load``.
        """
        if self._mode is None:
            raise self.unfitted()
        return self._mode

    def arrays(self) -> Arrays:
        """As `Boosted.arrays`, and the trees of the likeliest seconds."""
        return {**super().arrays(), "mode": booster_bytes(self.mode())}

    @classmethod
    def restored(cls, arrays: dict[str, npt.NDArray[Any]], inputs: list[str], outputs: list[str]) -> Self:
        """The model that ``arrays`` took apart; one of other inputs than today's is refused."""
        if tuple(inputs) != INPUTS or tuple(outputs) != OUTPUTS:
            raise ValueError(f"it reads {len(inputs)} inputs, there are {len(INPUTS)} today; train it anew")
        parts = Boosted.restored(arrays, inputs, list(_OF_QUANTILES))
        model = cls(parts.config)
        model._boosters = parts.boosters()
        model._mode = booster_from_bytes(arrays["mode"])
        return model


def _mode_trees(
    train: xgboost.DMatrix, held: xgboost.DMatrix, config: BoostedConfig, seed: int
) -> xgboost.Booster:
    """Boost medians, and from there the smooth share of predictions within `WITHIN`."""
    parameters: dict[str, Any] = {
        "max_depth": config.depth,
        "subsample": config.subsample,
        "colsample_bytree": config.columns,
        "tree_method": "hist",
        "nthread": 1,
        "seed": seed,
        "verbosity": 0,
    }
    medians = xgboost.train(
        {**parameters, "objective": "reg:absoluteerror", "eta": config.rate},
        train,
        _MEDIAN_ROUNDS * config.rounds,
        evals=[(held, "validation")],
        early_stopping_rounds=config.patience,
        verbose_eval=False,
    )

    def pull(said: npt.NDArray[Any], part: xgboost.DMatrix) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        miss = said - part.get_label() - _CENTRE
        near = np.exp(-0.5 * (miss / _KERNEL) ** 2)
        return near * miss, np.maximum(near, _LEAST_CURVATURE)

    def missed(said: npt.NDArray[Any], part: xgboost.DMatrix) -> tuple[str, float]:
        return "missed", float(np.mean(np.abs(np.exp(said - part.get_label()) - 1.0) > WITHIN))

    found = xgboost.train(
        {**parameters, "eta": _KERNEL_RATE, "min_child_weight": 3, "disable_default_eval_metric": 1},
        train,
        _KERNEL_ROUNDS,
        evals=[(held, "validation")],
        obj=pull,
        custom_metric=missed,
        early_stopping_rounds=_KERNEL_PATIENCE,
        xgb_model=medians[: medians.best_iteration + 1],
        verbose_eval=False,
    )
    return found[: found.best_iteration + 1]


def performance_part(outcomes: Outcomes) -> Part:
    """Transfers as rows and truth."""
    return Part(outcomes.rows, np.stack([outcomes.seconds, outcomes.wire_rate], axis=1))


def within(said: npt.NDArray[np.float64], true: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether each prediction is within `WITHIN` of what came.

    >>> within(np.array([1.2, 1.21]), np.array([1.0, 1.0])).tolist()
    [True, False]
    """
    return np.asarray(np.abs(said - true) <= WITHIN * true)


def likeliest(samples: npt.NDArray[np.float64]) -> float:
    """The prediction that would be within `WITHIN` of most of the samples; the middle one of several.

    >>> likeliest(np.array([1.0, 1.1, 1.2, 5.0]))
    1.1
    """
    ends = np.concatenate([samples, samples * (1 - WITHIN), samples * (1 + WITHIN)])
    right = within(ends[:, None], samples[None, :]).sum(axis=1)
    best = np.sort(ends[right == right.max()])
    return float(best[(len(best) - 1) // 2])


def _factors(part: Part) -> Part:
    promised = part.rows[:, [PROSPECT_S, PROSPECT_RATE]].astype(np.float64)
    return Part(part.rows, np.log(part.truth / promised))
