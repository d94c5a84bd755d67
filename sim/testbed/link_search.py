"""The search for the parameters of a link: first over its mean, which is smooth, then over draws of it."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, minimize
from scipy.stats import qmc

from sim.scenarios import Scenario
from sim.testbed.link_log import LoggedTransfers
from sim.testbed.link_replay import PARAMETERS, to_search

Floats = NDArray[np.float64]

LOW: Final = to_search(np.array([one.low for one in PARAMETERS]))
HIGH: Final = to_search(np.array([one.high for one in PARAMETERS]))
"""Ends of the parameters' ranges, as logarithms."""
_ROUGH_SHARE: Final = 0.6
"""Of the evaluations, how many go to the mean link, which is smooth in its parameters."""
_SPREAD_SHARE: Final = 0.3
"""Of these, how many look all over before the best places are followed downhill."""
_CROSSES: Final = (0.0, 0.5, 2.0, 6.0)
"""Streams of others that the descents begin with."""
_SPREADS: Final = (0.0, 0.1, 0.3)
"""Variations of the capacity that are tried where the mean link has led."""
_LOSSES: Final = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
"""Losses that are tried once the rest is in place: below what the payloads notice, no slope leads out."""
_DIFFERENCE: Final = 0.01
"""Step of the slopes, in logarithms."""
_REACH: Final = np.array([1.2, 3.0, 1.2, 8.0, 2.8, 1.5])
"""How far around the first guess the spread goes, in logarithms, by parameter."""
_ROUND_TRIPS: Final = 2.5
"""That the shortest transfers take: handshake, first window, perhaps a second."""


def ranked_scores(simulated: Floats, observed: Floats) -> Floats:
    """Continuous ranked probability score of each observation: 0 if every draw is right.

    With one draw it is the absolute error. It is smallest for the true spread, neither for less nor for more.

    Args:
        simulated: Shape (draws, observations).
        observed: Shape (observations,).

    Source:
        Gneiting, Raftery: Strictly proper scoring rules, prediction, and estimation. JASA 102, 2007; the form
        that is fair to few draws: Ferro, Richardson, Weigel 2008.

    >>> ranked_scores(np.array([[1.0], [3.0]]), np.array([2.0])).tolist()
    [0.0]
    """
    draws = len(simulated)
    error: Floats = np.abs(simulated - observed).mean(axis=0)
    if draws == 1:
        return error
    order = np.sort(simulated, axis=0)
    weights = 2.0 * np.arange(draws) - draws + 1
    apart = 2 * (weights @ order) / (draws * (draws - 1))
    scores: Floats = error - apart / 2
    return scores


def to_values(base: Scenario, number: int) -> Floats:
    """The parameters of a path as its scenario has them; the factor on the coders is 1."""
    link = base.paths[number].model
    return np.array([link.capacity, link.sigma, link.rtt_s, link.loss, link.cross_streams, 1.0])


def first_guess(log: LoggedTransfers, base: Scenario, number: int) -> Floats:
    """Where the search begins, from the fastest and the shortest transfers; the rest as in the scenario."""
    rate = log.size_bytes / log.ratio / log.seconds
    guess = to_values(base, number)
    guess[0] = 1.2 * float(np.quantile(rate, 0.98))
    guess[2] = float(np.quantile(log.seconds, 0.05)) / _ROUND_TRIPS
    return to_search(guess)


def best_place(
    errors: Callable[[Floats], Floats],
    score: Callable[[Floats], float],
    guess: Floats,
    evaluations: int,
    rng: np.random.Generator,
) -> Floats:
    """The best place that so many evaluations find.

    Args:
        errors: Of every transfer over the mean link, in logarithms.
        score: Over draws of the link, of all transfers together.
        guess: Where to begin.
        evaluations: Of both together.
        rng: Where the places come from that are looked at first.
    """
    spent = 0

    def counted(place: Floats) -> Floats:
        nonlocal spent
        spent += 1
        return errors(place)

    rough = _rough_place(counted, guess, round(_ROUGH_SHARE * evaluations), rng)
    return _polished(score, rough, evaluations - spent)


def _rough_place(
    errors: Callable[[Floats], Floats], guess: Floats, evaluations: int, rng: np.random.Generator
) -> Floats:
    """Where the mean link explains the log best: all over first, then by least squares from good places.

    With others on the path the queue stands and round trips are longer: a valley of its own for every number
    of their streams, so that each begins from a place of its own.
    """
    tried: list[tuple[float, Floats]] = []

    def noted(place: Floats) -> Floats:
        found = errors(place)
        tried.append((float(np.abs(found).mean()), place.copy()))
        return found

    def slopes(place: Floats) -> Floats:
        here, columns = errors(place), []
        for number in range(len(place)):
            moved = place.copy()
            moved[number] += _DIFFERENCE if place[number] + _DIFFERENCE < HIGH[number] else -_DIFFERENCE
            columns.append((errors(moved) - here) / (moved[number] - place[number]))
        return np.column_stack(columns)

    each = max(4, round(_SPREAD_SHARE * evaluations / len(_CROSSES)))
    sobol = qmc.Sobol(len(guess), rng=rng).random_base2(int(np.ceil(np.log2(each))))[:each]
    near_low, near_high = np.maximum(guess - _REACH, LOW), np.minimum(guess + _REACH, HIGH)
    ends: list[tuple[float, Floats]] = []

    def descend(start: Floats, steps: int) -> None:
        first = len(tried)
        least_squares(
            noted, start, slopes, bounds=(LOW, HIGH), loss="soft_l1", f_scale=0.1, max_nfev=max(1, steps)
        )
        ends.append(min(tried[first:], key=lambda one: one[0]))

    # One step of least squares takes an evaluation and a Jacobian of two and one a parameter.
    steps = (evaluations / len(_CROSSES) - each) / (len(guess) + 2)
    for cross_streams in _CROSSES:
        first = len(tried)
        for place in near_low + sobol * (near_high - near_low):
            place[4] = np.log(cross_streams + PARAMETERS[4].offset)
            noted(np.clip(place, LOW + 1e-6, HIGH - 1e-6))
        descend(min(tried[first:], key=lambda one: one[0])[1], round(steps / 2))
    best, first = min(ends, key=lambda one: one[0])[1], len(tried)
    for loss in _LOSSES:
        place = best.copy()
        place[3] = np.log(loss + PARAMETERS[3].offset)
        noted(place)
    for start in (best, min(tried[first:], key=lambda one: one[0])[1]):
        descend(start, round(steps))
    return min(tried, key=lambda one: one[0])[1]


def _polished(score: Callable[[Floats], float], rough: Floats, evaluations: int) -> Floats:
    """Where draws of the link explain the log best, their spread included: by Nelder and Mead's method."""
    tried: list[tuple[float, Floats]] = []

    def noted(place: Floats) -> float:
        tried.append((score(place), place.copy()))
        return tried[-1][0]

    for sigma in _SPREADS:
        start = rough.copy()
        start[1] = to_search(np.array([1.0, sigma, 1.0, 1.0, 1.0, 1.0]))[1]
        noted(start)
    size = 0.3
    while (left := evaluations - len(tried)) > 2 * len(rough):
        best = min(tried, key=lambda one: one[0])[1]
        simplex = np.clip(np.array([best, *(best + size * np.eye(len(rough)))]), LOW, HIGH)
        options = {
            "maxfev": left,
            "initial_simplex": simplex,
            "xatol": 0.01,
            "fatol": 1e-5,
            "adaptive": True,
        }
        minimize(noted, best, method="Nelder-Mead", bounds=list(zip(LOW, HIGH, strict=True)), options=options)
        size *= -0.7
    return min(tried, key=lambda one: one[0])[1]
