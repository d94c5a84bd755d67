"""Scores of all scenarios on one scale: costs beside the best static policy's on the same episode."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.evidence import Cells
from experiments.resampling import Estimate, Resampling
from experiments.stats import (
    Scores,
    interquartile_interval,
    performance_profile,
    probability_of_improvement,
)

Draw = Callable[..., Resampling]
"""Resampling of its own for each name or names; see `experiments.summary.Chance`."""
LEVELS: Final = np.round(np.arange(0.4, 2.001, 0.02), 2)
"""Costs, as shares of the best static policy's, at which profiles are drawn."""
UNPLAYED: Final = ("search", "bound")
"""Kinds that are no policies, or have not all episodes."""


class Relative(NamedTuple):
    """A policy's scores in every scenario of a split, 1 where it costs what the best static policy does."""

    policy: str
    kind: str
    scores: list[Scores]


def relative_scores(
    board: Cells, statics: Mapping[str, str], split: str, kind: Mapping[str, str]
) -> list[Relative]:
    """Scores of each policy that has played all episodes of a split, in the order of the cells.

    Args:
        board: Costs.
        statics: The best static policy of each scenario.
        split: Which episodes.
        kind: Of each policy.
    """
    met = dict.fromkeys(scenario for _, scenario, own in board if own == split)
    scenarios = [name for name in met if (statics.get(name, ""), name, split) in board]
    found = []
    for policy in dict.fromkeys(place[0] for place in board):
        own = [board.get((policy, scenario, split)) for scenario in scenarios]
        par = [board[statics[scenario], scenario, split] for scenario in scenarios]
        if kind[policy] in UNPLAYED or not own:
            continue
        pairs = [(mine, best) for mine, best in zip(own, par, strict=True) if mine is not None]
        if len(pairs) == len(own) and all(np.array_equal(m.episodes, b.episodes) for m, b in pairs):
            found.append(Relative(policy, kind[policy], [m.scores() / b.scores() for m, b in pairs]))
    return found


def interquartile_rows(scores: Sequence[Relative], draw: Draw, split: str) -> Iterator[tuple[str, Estimate]]:
    """Interquartile mean of each policy over all episodes of all scenarios."""
    for one in scores:
        yield one.policy, interquartile_interval(one.scores, draw(one.policy, split, "relative iqm"))


def profiles(scores: Sequence[Relative], draw: Draw, split: str) -> pd.DataFrame:
    """Performance profiles: policy, kind, level, share, low, high."""
    frames = []
    for one in scores:
        share, low, high = performance_profile(one.scores, LEVELS, draw(one.policy, split, "profile"))
        told = {"policy": one.policy, "kind": one.kind, "level": LEVELS}
        frames.append(pd.DataFrame({**told, "share": share, "low": low, "high": high}))
    return pd.concat(frames, ignore_index=True)


class Improvement(NamedTuple):
    """Who beats whom.

    Attributes:
        policies: Names, the best first.
        chance: That the row's policy costs less than the column's on an episode, shape (n, n); NaN on the
            diagonal.
        sure: Whether the interval excludes one half.
    """

    policies: tuple[str, ...]
    chance: NDArray[np.float64]
    sure: NDArray[np.bool_]


def improvements(scores: Sequence[Relative], draw: Draw, split: str) -> Improvement:
    """Probability of improvement of every policy over every other, on the same episodes."""
    ordered = sorted(scores, key=geometric_mean)
    count = len(ordered)
    chance, sure = np.full((count, count), np.nan), np.zeros((count, count), np.bool_)
    for row in range(count):
        for column in range(row + 1, count):
            ours, theirs = ordered[row], ordered[column]
            how = draw(ours.policy, theirs.policy, split, "improvement")
            found = probability_of_improvement(ours.scores, theirs.scores, how)
            chance[row, column], chance[column, row] = found.value, 1.0 - found.value
            sure[row, column] = sure[column, row] = found.low > 0.5 or found.high < 0.5
    return Improvement(tuple(one.policy for one in ordered), chance, sure)


def geometric_mean(one: Relative) -> float:
    """Of the mean scores of all scenarios."""
    return float(np.exp(np.mean([np.log(scores.mean()) for scores in one.scores])))
