"""How sure we are: intervals and paired comparisons of costs on the same episodes.

Scores of one scenario have shape (runs, episodes): a run is one independent training, a policy that does not
learn has one. Several scenarios are a sequence of such arrays: the same runs in each, each with its own
episodes. Lower is better. How the intervals are drawn, and how often they hold, stands in `resampling.py`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.resampling import Estimate, Resampling, Weights

Scores = NDArray[np.float64]
"""Scores, shape (runs, episodes), lower is better."""


def interquartile_interval(scenarios: Sequence[Scores], how: Resampling) -> Estimate:
    """Interquartile mean of all scores of all scenarios, with its interval.

    It is the mean of the middle half: a quarter of the values, rounded down, falls away at each end. Each
    score counts alike: bring scenarios of unlike scale to one scale first.

    Raises:
        ValueError: If the scores are not finite arrays of shape (runs, episodes) with equal runs.

    Source:
        Agarwal et al.: Deep Reinforcement Learning at the Edge of the Statistical Precipice. NeurIPS 2021.
    """
    shapes = _shapes(scenarios)
    values = np.concatenate([np.ravel(scores) for scores in scenarios])
    order = np.argsort(values)
    run = np.concatenate([np.repeat(np.arange(len(scores)), scores.shape[1]) for scores in scenarios])[order]
    starts = np.cumsum([0, *shapes[0][1:-1]])
    places = [
        np.tile(np.arange(s.shape[1]), len(s)) + start for s, start in zip(scenarios, starts, strict=True)
    ]
    episode = np.concatenate(places)[order]
    share = (len(values) // 4) / len(values)
    sizes = np.asarray(shapes[0][1:]) / sum(shapes[0][1:])
    sorted_values = values[order]

    def statistic(runs: Sequence[Weights], episodes: Sequence[Weights]) -> NDArray[np.float64]:
        weighted = np.concatenate([part * size for part, size in zip(episodes, sizes, strict=True)], axis=1)
        reach = np.cumsum(runs[0][:, run] * weighted[:, episode], axis=1)
        np.clip(reach, share, 1 - share, out=reach)
        ends = (1 - share) * sorted_values[-1] - share * sorted_values[0]
        return (ends - reach[:, :-1] @ np.diff(sorted_values)) / (1 - 2 * share)

    return how.estimate(shapes, statistic)


def mean_interval(scenarios: Sequence[Scores], how: Resampling) -> Estimate:
    """Mean over scenarios of the mean score in each, with its interval.

    Raises:
        ValueError: If the scores are not finite arrays of shape (runs, episodes) with equal runs.
    """

    def statistic(runs: Sequence[Weights], episodes: Sequence[Weights]) -> NDArray[np.float64]:
        means = [_means(scores, runs[0], drawn) for scores, drawn in zip(scenarios, episodes, strict=True)]
        return np.mean(means, axis=0)

    return how.estimate(_shapes(scenarios), statistic)


def relative_difference(ours: Sequence[Scores], theirs: Sequence[Scores], how: Resampling) -> Estimate:
    """How much more one policy costs than another on the same episodes: ``mean(ours) / mean(theirs) - 1``.

    The ratio of the means, not the mean of the ratios: it is the share of the whole cost that is lost or
    saved, and no cheap episode can dominate it. Over several scenarios it is the geometric mean of their
    ratios, minus 1, so that exchanging the policies inverts it (Fleming, Wallace: How not to lie with
    statistics. CACM 29(3), 1986).

    Args:
        ours: Positive costs of the one policy, a scenario each.
        theirs: Positive costs of the other, on the same episodes; it may have another number of runs.
        how: Chance, level and resamples.

    Returns:
        The difference as a share: -0.1 is 10 % cheaper.

    Raises:
        ValueError: If episodes differ in number, or a cost is not above 0.

    >>> ours, theirs = np.array([[8.0, 10.0]]), np.array([[10.0, 10.0]])
    >>> round(relative_difference([ours], [theirs], Resampling(np.random.default_rng(0))).value, 9)
    -0.1
    """
    shapes = _shapes(ours, theirs)
    if min(scores.min() for scores in [*ours, *theirs]) <= 0:
        raise ValueError("a relative difference needs costs above 0; compare other metrics by their means")

    def statistic(runs: Sequence[Weights], episodes: Sequence[Weights]) -> NDArray[np.float64]:
        pairs = zip(ours, theirs, episodes, strict=True)
        return np.mean(
            [
                np.log(_means(mine, runs[0], drawn) / _means(other, runs[1], drawn))
                for mine, other, drawn in pairs
            ],
            axis=0,
        )

    return Estimate(*(float(np.expm1(log)) for log in how.estimate(shapes, statistic)))


def probability_of_improvement(ours: Sequence[Scores], theirs: Sequence[Scores], how: Resampling) -> Estimate:
    """Chance that a run of ours costs less than a run of theirs on the same episode; a tie counts one half.

    Every pair of runs on every episode counts alike within a scenario, and every scenario alike.

    Source:
        Agarwal et al., NeurIPS 2021, section 4.3; there, higher is better and episodes are not shared.

    Raises:
        ValueError: If episodes differ in number.

    >>> better, worse = np.array([[1.0, 5.0]]), np.array([[2.0, 5.0]])
    >>> round(probability_of_improvement([better], [worse], Resampling(np.random.default_rng(0))).value, 9)
    0.75
    """
    shapes = _shapes(ours, theirs)
    pairs = zip(ours, theirs, strict=True)
    wins = [(1 - np.sign(mine[:, None, :] - other[None, :, :])) / 2 for mine, other in pairs]

    def statistic(runs: Sequence[Weights], episodes: Sequence[Weights]) -> NDArray[np.float64]:
        both = runs[0][:, :, None] * runs[1][:, None, :]
        scenarios = zip(wins, episodes, strict=True)
        shares = [(both * np.tensordot(drawn, won, axes=(1, 2))).sum(axis=(1, 2)) for won, drawn in scenarios]
        return np.mean(shares, axis=0)

    return Estimate(*(float(min(max(share, 0.0), 1.0)) for share in how.estimate(shapes, statistic)))


def performance_profile(
    scenarios: Sequence[Scores], levels: NDArray[np.float64], how: Resampling
) -> tuple[Scores, Scores, Scores]:
    """Share of runs and episodes that cost at most so much: the whole distribution of scores, with its band.

    Bring scenarios of unlike scale to one scale first; each counts alike. Of two policies one whose profile
    lies above the other's everywhere is better whatever share of the episodes one looks at.

    Args:
        scenarios: Scores, a scenario each.
        levels: How much, shape (levels,).
        how: Chance, level and resamples; the band holds at each level by itself.

    Returns:
        Share, lower and upper end at each level, each of shape (levels,).

    Raises:
        ValueError: If the scores are not finite arrays of shape (runs, episodes) with equal runs.

    Source:
        Dolan, More: Benchmarking optimization software with performance profiles. Mathematical Programming
        91, 2002. Agarwal et al., NeurIPS 2021, section 4.2: score distributions over runs, with bands.

    >>> scores, levels = np.array([[0.5, 1.0, 1.0, 2.0]]), np.array([0.4, 0.5, 1.0, 2.0])
    >>> performance_profile([scores], levels, Resampling(np.random.default_rng(0)))[0].tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    shapes = _shapes(scenarios)
    below = [(scores[:, :, None] <= levels).astype(np.float64) for scores in scenarios]

    def statistic(runs: Sequence[Weights], episodes: Sequence[Weights]) -> NDArray[np.float64]:
        shares = [
            (runs[0][:, :, None] * np.tensordot(drawn, inside, axes=(1, 1))).sum(axis=1)
            for inside, drawn in zip(below, episodes, strict=True)
        ]
        return np.mean(shares, axis=0)

    value, low, high = how.band(shapes, statistic)
    return value, np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)


def share_of_gap_closed(policy: Scores, static: Scores, best: Scores, how: Resampling) -> Estimate:
    """Part of the headroom that a policy wins: ``(static - policy) / (static - best)`` of the mean costs.

    Args:
        policy: Costs of the policy in one scenario.
        static: Costs of the best constant on the same episodes.
        best: Best-found costs on the same episodes.
        how: Chance, level and resamples.

    Returns:
        1 if the policy is as good as the best found, 0 if no better than the constant, below 0 if worse. All
        NaN if there is no gap; the ends NaN if the gap is not above 0 in every resample.

    Raises:
        ValueError: If episodes differ in number.
    """
    shapes = _shapes([policy], [static], [best])
    if static.mean() <= best.mean():
        return Estimate(np.nan, np.nan, np.nan)

    def statistic(runs: Sequence[Weights], episodes: Sequence[Weights]) -> NDArray[np.float64]:
        mine, constant, least = (
            _means(scores, drawn, episodes[0])
            for scores, drawn in zip((policy, static, best), runs, strict=True)
        )
        gap = constant - least
        return (constant - mine) / np.where(gap > 0, gap, np.nan)

    return how.estimate(shapes, statistic)


def percentiles(values: NDArray[np.float64], levels: Sequence[float] = (50, 95, 99)) -> tuple[float, ...]:
    """Percentiles of all values, with linear interpolation between neighbours.

    >>> percentiles(np.arange(101.0))
    (50.0, 95.0, 99.0)
    """
    return tuple(float(value) for value in np.percentile(values, levels))


def _means(scores: Scores, runs: Weights, episodes: Weights) -> NDArray[np.float64]:
    return (runs * (episodes @ scores.T)).sum(axis=1)


def _shapes(*policies: Sequence[Scores]) -> list[tuple[int, ...]]:
    """Of each policy its runs, then its episodes a scenario; refuses what cannot be compared."""
    for scenarios in policies:
        if not scenarios or len(scenarios) != len(policies[0]):
            raise ValueError(f"expected the same scenarios, at least 1, got {[len(p) for p in policies]}")
        for scores, beside in zip(scenarios, policies[0], strict=True):
            if scores.ndim != 2 or 0 in scores.shape or not np.isfinite(scores).all():
                raise ValueError(
                    f"expected finite scores, shape (runs, episodes), got {scores.shape} or a NaN"
                )
            if len(scores) != len(scenarios[0]):
                raise ValueError(f"expected the same runs everywhere, got {[len(s) for s in scenarios]}")
            if scores.shape[1] != beside.shape[1]:
                raise ValueError(f"expected the same episodes, got {scores.shape[1]} and {beside.shape[1]}")
    return [(len(scenarios[0]), *(scores.shape[1] for scores in scenarios)) for scenarios in policies]
