"""Bootstrap over runs and episodes: whole runs are drawn, and whole episodes, and both at once.

A run that is drawn is drawn in all scenarios, an episode for all policies that are compared on it.
Two things differ from the textbook, both for the sake of few runs:

* One fewer is drawn than there are, which makes the variance of a mean unbiased (Rao, Wu: Resampling
  inference with complex survey data. JASA 83, 1988); drawing 5 of 5 runs would lose a fifth of it.
* What the choice of runs alone does to a resample is stretched by Student's t over the normal quantile,
  1.42 for 5 runs (Hesterberg: What teachers should know about the bootstrap. The American Statistician
  69(4), 2015).

Measured on 2000 normal samples of 5 runs and 40 episodes: intervals of the mean at 0.95 hold the truth in
94 % of the cases where runs differ most (82 % without the two corrections), in 93 % where episodes do, in
97 % where both do, and in nearly all where the noise is particular to run and episode. Drawing both ways is
known to err on the careful side (Owen: The pigeonhole bootstrap. Annals of Applied Statistics 1(2), 2007).
With one run only episodes are drawn: the interval then speaks of that one policy, not of its training.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Weights = NDArray[np.float64]
"""How often each run or episode is drawn: shares that add up to 1 in each row, shape (resamples, count)."""

Values = NDArray[np.float64]

Statistic = Callable[[Sequence[Weights], Sequence[Weights]], NDArray[np.float64]]
"""Values of a figure, shape (resamples,), under weights of runs (by policy), episodes (by scenario)."""


class Estimate(NamedTuple):
    """A figure and the interval around it; NaN ends where none can be given."""

    value: float
    low: float
    high: float


class Resampling(NamedTuple):
    """How intervals are drawn.

    Attributes:
        rng: The only source of chance.
        level: Share of the resamples that lie inside an interval, in (0, 1).
        resamples: How often scores are drawn anew.
    """

    rng: np.random.Generator
    level: float = 0.95
    resamples: int = 2000

    def weights(self, count: int) -> Weights:
        """Draws of ``count - 1`` of ``count`` things, with replacement; a single thing is always drawn."""
        drawn = max(count - 1, 1)
        return self.rng.multinomial(drawn, np.full(count, 1 / count), size=self.resamples) / drawn

    def estimate(self, shapes: Sequence[tuple[int, ...]], statistic: Statistic) -> Estimate:
        """A statistic of all scores, with its interval.

        Args:
            shapes: Of each policy its number of runs, then its numbers of episodes, a scenario each.
            statistic: Its values under weights of the runs and of the episodes.
        """
        return Estimate(*(float(end) for end in self.band(shapes, statistic)))

    def band(self, shapes: Sequence[tuple[int, ...]], statistic: Statistic) -> tuple[Values, Values, Values]:
        """Likewise for a statistic of several points, shape (resamples, points): value, low and high of each.

        The points are drawn together, but each interval is of its own point only.
        """
        run_counts, episode_counts = [shape[0] for shape in shapes], shapes[0][1:]
        even_runs, even_episodes = even(run_counts), even(episode_counts)
        runs = [self.weights(count) for count in run_counts]
        value = statistic(even_runs, even_episodes)[0]
        drawn = statistic(runs, [self.weights(count) for count in episode_counts])
        repeated = [count for count in run_counts if count > 1]
        if repeated:
            upper = (1 + self.level) / 2
            stretch = stats.t.ppf(upper, min(repeated) - 1) / stats.norm.ppf(upper)
            drawn = drawn + (stretch - 1) * (statistic(runs, even_episodes) - value)
        low, high = np.quantile(drawn, [(1 - self.level) / 2, (1 + self.level) / 2], axis=0)
        return value, low, high


def even(counts: Sequence[int]) -> list[Weights]:
    """The weights of what was really measured: everything alike, one row."""
    return [np.full((1, count), 1 / count) for count in counts]
