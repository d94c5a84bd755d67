"""How long a transfer will take and how fast it will go, with intervals: trees on top of the path's law."""

from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt

from agents.supervised.boosted import Boosted, BoostedConfig
from agents.supervised.model import Outputs, Part, Rows
from agents.supervised.outcomes import INPUTS, PROSPECT_RATE, PROSPECT_S, Outcomes

QUANTILES: Final = (0.1, 0.5, 0.9)
OUTPUTS: Final = tuple(
    f"{target}_{round(100 * quantile)}" for target in ("seconds", "rate") for quantile in QUANTILES
)
"""Seconds until decoded, and bytes/s on the wire: the quantiles of each."""
MEDIAN_S, MEDIAN_RATE = OUTPUTS.index("seconds_50"), OUTPUTS.index("rate_50")
WITHIN: Final = 0.2
"""Relative error up to which a prediction counts as right: the published accuracy, made definite."""


class PerformancePredictor(Boosted):
    """Quantiles of a transfer's seconds and of its rate on the wire.

    Trees say by what factor a transfer departs from what the law of its path promises when it starts
    (`agents.supervised.prospects`); so they need not learn the law itself, and carry over to links of any
    size.

    Args:
        config: Shape and training; always of quantiles.

    Source:
        tcp-agent-platform's performance predictor: two XGBoost regressors, throughput (1000 trees, depth 8)
        and completion (800, depth 6). Two of its inputs hold the target; none does here.
    """

    kind: ClassVar[str] = "performance"

    def __init__(self, config: BoostedConfig) -> None:
        super().__init__(INPUTS, OUTPUTS, config)

    def fit(self, train: Part, validation: Part, rng: np.random.Generator) -> None:
        """As ``Model.fit``; truth is seconds and bytes/s, shape (n, 2)."""
        super().fit(_factors(train), _factors(validation), rng)

    def predict(self, rows: Rows) -> Outputs:
        """Quantiles of seconds and bytes/s, as ``Model.predict``."""
        factors = super().predict(rows)
        factors = np.exp(factors, out=factors)
        factors[:, : len(QUANTILES)] *= rows[:, PROSPECT_S, None]
        factors[:, len(QUANTILES) :] *= rows[:, PROSPECT_RATE, None]
        return factors

    @classmethod
    def restored(cls, arrays: dict[str, npt.NDArray[Any]], inputs: list[str], outputs: list[str]) -> Self:
        """The model that ``arrays`` took apart; one of other inputs than today's is refused."""
        if tuple(inputs) != INPUTS:
            raise ValueError(f"it reads {len(inputs)} inputs, there are {len(INPUTS)} today; train it anew")
        parts = Boosted.restored(arrays, inputs, outputs)
        model = cls(parts.config)
        model._boosters = parts.boosters()
        return model


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
