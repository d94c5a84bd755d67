"""How long a transfer will take and how fast it will go, with intervals: learned on top of the path's law."""

from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt

from agents.supervised.boosted import Boosted, BoostedConfig
from agents.supervised.density import (
    WITHIN,
    DensityConfig,
    DensityNetwork,
    density_from_arrays,
    train_density,
)
from agents.supervised.model import Outputs, Part, Rows
from agents.supervised.model_file import Arrays
from agents.supervised.outcomes import INPUTS, PROSPECT_RATE, PROSPECT_S, Outcomes

QUANTILES: Final = (0.1, 0.5, 0.9)
_OF_QUANTILES: Final = tuple(
    f"{target}_{round(100 * quantile)}" for target in ("seconds", "rate") for quantile in QUANTILES
)
OUTPUTS: Final = (*_OF_QUANTILES, "seconds")
"""Seconds until decoded, and bytes/s on the wire: the quantiles of each; and the seconds that are likeliest
to be nearly right."""
SAID_S, MEDIAN_RATE = OUTPUTS.index("seconds"), OUTPUTS.index("rate_50")


class PerformancePredictor(Boosted):
    """Quantiles of a transfer's seconds and of its rate on the wire.

    Trees say by what factor a transfer departs from what the law of its path promises when it starts
    (`agents.supervised.prospects`); so they need not learn the law itself, and carry over to links of any
    size. A network says the density of the same factor, and where most of the chance lies within 20 %.

    Args:
        config: Shape and training of the trees; always of quantiles.
        density: Of the network.

    Source:
        tcp-agent-platform's performance predictor: two XGBoost regressors, throughput (1000 trees, depth 8)
        and completion (800, depth 6). Two of its inputs hold the target; none does here.
    """

    kind: ClassVar[str] = "performance"

    def __init__(self, config: BoostedConfig, density: DensityConfig | None = None) -> None:
        super().__init__(INPUTS, _OF_QUANTILES, config)
        self.outputs = OUTPUTS
        self._density_config = density or DensityConfig()
        self._density: DensityNetwork | None = None

    def fit(self, train: Part, validation: Part, rng: np.random.Generator) -> None:
        """As ``Model.fit``; truth is seconds and bytes/s, shape (n, 2)."""
        learned, held = _factors(train), _factors(validation)
        super().fit(learned, held, rng)
        checked = learned._replace(rows=self.check(learned.rows))
        self._density = train_density(checked, self._density_config, int(rng.integers(2**31)))

    def predict(self, rows: Rows) -> Outputs:
        """Quantiles of seconds and bytes/s, and the likeliest seconds, as ``Model.predict``."""
        likeliest_factor = self.density().likeliest(self.check(rows))
        factors = np.column_stack([super().predict(rows), likeliest_factor])
        factors = np.exp(factors, out=factors)
        count = len(QUANTILES)
        factors[:, count : 2 * count] *= rows[:, PROSPECT_RATE, None]
        factors[:, :count] *= rows[:, PROSPECT_S, None]
        factors[:, SAID_S] *= rows[:, PROSPECT_S]
        return factors

    def density(self) -> DensityNetwork:
        """The network of the likeliest seconds.

        Raises:
            ValueError: Before ``fit`` or ``load``.
        """
        if self._density is None:
            raise self.unfitted()
        return self._density

    def arrays(self) -> Arrays:
        """As `Boosted.arrays`, and the network of the likeliest seconds."""
        return {**super().arrays(), **self.density().arrays()}

    @classmethod
    def restored(cls, arrays: dict[str, npt.NDArray[Any]], inputs: list[str], outputs: list[str]) -> Self:
        """The model that ``arrays`` took apart; one of other inputs than today's is refused."""
        if tuple(inputs) != INPUTS or tuple(outputs) != OUTPUTS:
            raise ValueError(f"it reads {len(inputs)} inputs, there are {len(INPUTS)} today; train it anew")
        parts = Boosted.restored(arrays, inputs, list(_OF_QUANTILES))
        model = cls(parts.config)
        model._boosters = parts.boosters()
        model._density = density_from_arrays(arrays)
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


def throughput(
    size_bytes: npt.NDArray[np.float64], said_s: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Raw bytes/s that are within `WITHIN` of what comes exactly where the seconds are.

    A fifth of a throughput is not a fifth of its seconds: ``[t / 1.2, t / 0.8]``, whence seconds are within
    reach of ``t``, is whence throughputs are within reach of 0.96 times the quotient.

    >>> size, said, came = np.array([96.0]), np.array([1.2]), np.array([1.0])  # just within
    >>> within(said, came).tolist(), (throughput(size, said) / (size / came)).round(9).tolist()
    ([True], [0.8])
    """
    return size_bytes * (1 - WITHIN**2) / said_s


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
