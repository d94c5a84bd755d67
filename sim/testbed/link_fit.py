"""Parameters of a link from a log: the least error of simulated completion times, and what stays open."""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, minimize
from scipy.stats import qmc

from sim.scenarios import Scenario
from sim.testbed.link_log import LoggedTransfers
from sim.testbed.link_replay import PARAMETERS, Replay, from_search, to_search

Floats = NDArray[np.float64]

TRAINED: Final = 0.7
"""Share of the transfers, the first, that parameters are fitted to; the later ones judge them."""
IDENTIFIED: Final = 0.35
"""Largest standard error of ln of a parameter that a log tells: a factor of 2 in 95 of 100 cases."""
_LEAST_NOISE: Final = 0.02
"""Log error that no simulator undercuts: nobody's clock and rounding."""
_SPREAD_SHARE: Final = 0.25
"""Of the evaluations, how many look all over before the best places are followed downhill."""
_DESCENT_SHARE: Final = 0.5
"""Of the evaluations, how many follow them by least squares."""
_STARTS: Final = 4
_STEP: Final = 0.35
"""Of the differences behind sensitivities, in logarithms: a factor of the square root of 2."""
_MOVES: Final = (0.1, 0.7, 1.4, 2.8)
"""How far a parameter is moved, in logarithms, to see whether the log speaks against it."""
_WORTH: Final = 5e-4
"""Least change of the score that counts."""
_LOUD: Final = 0.3
"""Least part in a flat direction for a parameter to be named."""
_REACH: Final = np.array([3.0, 3.0, 3.0, 8.0, 2.8, 1.5])
"""How far around the first guess the spread goes, in logarithms, by parameter."""


class Estimate(NamedTuple):
    """One fitted parameter.

    Attributes:
        name: Of `PARAMETERS`.
        value: The best.
        low: Beyond it, the log speaks against the parameter; the end of its range where it never does.
        high: The same above.
        identified: Whether the log tells it, alone and beside the others, up to a factor of 2 or so.
    """

    name: str
    value: float
    low: float
    high: float
    identified: bool


class FlatDirection(NamedTuple):
    """A change of parameters that the log hardly sees.

    Attributes:
        factors: By parameter, the factor by which it changes together with the others.
        score: Error after the change, of the better sign.
    """

    factors: dict[str, float]
    score: float


class LinkFit(NamedTuple):
    """What a log says of a link.

    Attributes:
        estimates: One a parameter, in the order of `PARAMETERS`.
        score: Error on the part that was fitted to: continuous ranked probability score of ln seconds.
        flat: Directions in which the log does not hold the parameters, the flattest first.
        evaluations: Simulations of the whole log, each over all draws.
        held_out: Median and 90th percentile of the relative error on the later part.
        held_out_before: The same of the scenario that it began from.
    """

    estimates: list[Estimate]
    score: float
    flat: list[FlatDirection]
    evaluations: int
    held_out: tuple[float, float]
    held_out_before: tuple[float, float]

    @property
    def values(self) -> Floats:
        """Values of `PARAMETERS`."""
        return np.array([one.value for one in self.estimates])


def fit_link(
    log: LoggedTransfers,
    base: Scenario,
    number: int,
    *,
    evaluations: int,
    draws: int,
    rng: np.random.Generator,
    tick: Callable[[], None],
) -> LinkFit:
    """Fit the parameters of one path.

    The first share of the transfers is simulated again and again.

    Args:
        log: The transfers.
        base: The scenario they are simulated in, but for the fitted path.
        number: Which path that is.
        evaluations: Simulations that may be spent on the search; sensitivities take some twenty more.
        draws: Draws of the link in each.
        rng: Where the spread comes from.
        tick: Called after each evaluation of the search.
    """
    early = log.part(slice(0, round(TRAINED * len(log.start_s))))
    replay = Replay(early, base, number, draws)
    observed = np.log(early.seconds)
    spent = 0

    def scores(place: Floats) -> Floats:
        nonlocal spent
        spent += 1
        return ranked_scores(np.log(replay.seconds(from_search(place))), observed)

    def simulate(place: Floats) -> Floats:
        nonlocal spent
        spent += 1
        tick()
        return np.log(replay.seconds(from_search(place)))

    best = _searched(simulate, observed, first_guess(early, base, number), evaluations, rng)
    there = scores(best)
    memory = _memory(early, base, number)
    information = _information(replay, best, observed, memory)
    spent += 2 * len(PARAMETERS) + 1
    ranges = to_search(_end("high")) - to_search(_end("low"))
    errors = np.sqrt(np.diag(np.linalg.inv(information + np.diag(12 / ranges**2))))
    estimates = [
        _estimate(
            place, best, float(errors[place]), lambda moved: _speaks_against(scores(moved) - there, memory)
        )
        for place in range(len(PARAMETERS))
    ]
    values = from_search(best)
    flat = _flat_directions(information, best, scores)
    later = slice(len(early.start_s), None)
    whole = Replay(log, base, number, draws)
    before = to_values(base, number)
    return LinkFit(
        estimates,
        float(there.mean()),
        flat,
        spent,
        _relative(whole.seconds(values)[:, later], log.seconds[later]),
        _relative(whole.seconds(before)[:, later], log.seconds[later]),
    )


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
    """Where the search begins: the fastest transfer's rate as the capacity, the rest as in the scenario."""
    rate = log.size_bytes / log.ratio / log.seconds
    guess = to_values(base, number)
    guess[0] = 1.2 * float(np.quantile(rate, 0.98))
    return to_search(guess)


def _end(which: str) -> Floats:
    return np.array([getattr(one, which) for one in PARAMETERS])


def _searched(
    replay: Callable[[Floats], Floats],
    observed: Floats,
    guess: Floats,
    evaluations: int,
    rng: np.random.Generator,
) -> Floats:
    """The best place that so many evaluations find.

    First all over, then by least squares of the mean error from the best places, for its Jacobian leads far
    in few steps; then by Nelder and Mead's method, which sees the spread as well.
    """
    low, high = to_search(_end("low")), to_search(_end("high"))
    tried: list[tuple[float, Floats]] = []

    def errors(place: Floats) -> Floats:
        logs = replay(place)
        tried.append((float(ranked_scores(logs, observed).mean()), place.copy()))
        found: Floats = logs.mean(axis=0) - observed
        return found

    spread = max(8, round(_SPREAD_SHARE * evaluations))
    sobol = qmc.Sobol(len(guess), rng=rng).random_base2(int(np.ceil(np.log2(spread))))[: spread - 1]
    near_low, near_high = np.maximum(guess - _REACH, low), np.minimum(guess + _REACH, high)
    for place in [guess, *(near_low + sobol * (near_high - near_low))]:
        errors(np.clip(place, low + 1e-6, high - 1e-6))
    # One step of least squares takes an evaluation and a Jacobian of one a parameter.
    steps = max(1, round(_DESCENT_SHARE * evaluations / _STARTS / (len(guess) + 1)))
    starts = [place for _, place in sorted(tried, key=lambda one: one[0])[:_STARTS]]
    for start in starts:
        least_squares(
            errors, start, bounds=(low, high), loss="soft_l1", f_scale=0.1, diff_step=0.02, max_nfev=steps
        )
    left, size = evaluations - len(tried), 0.3
    while left > 2 * len(guess):
        best = min(tried, key=lambda one: one[0])[1]
        simplex = np.clip(np.array([best, *(best + size * np.eye(len(guess)))]), low, high)
        minimize(
            lambda place: (errors(place), tried[-1][0])[1],
            best,
            method="Nelder-Mead",
            bounds=list(zip(low, high, strict=True)),
            options={
                "maxfev": left,
                "initial_simplex": simplex,
                "xatol": 0.01,
                "fatol": 1e-5,
                "adaptive": True,
            },
        )
        left, size = evaluations - len(tried), -0.7 * size
    return min(tried, key=lambda one: one[0])[1]


def _memory(log: LoggedTransfers, base: Scenario, number: int) -> float:
    """Independent looks at a varying capacity that the log has had, over its transfers; at most 1."""
    busy_s = min(float(log.start_s[-1] + log.seconds[-1]), float(log.seconds.sum()))
    looks = max(1.0, busy_s / (2 * base.paths[number].model.tau_s))
    return min(1.0, looks / len(log.start_s))


def _estimate(place: int, best: Floats, log_error: float, against: Callable[[Floats], bool]) -> Estimate:
    """A parameter with how far it can be moved, the others held, until the log speaks against it."""
    low, high = to_search(_end("low"))[place], to_search(_end("high"))[place]
    ends = []
    for sign, end in ((-1.0, low), (1.0, high)):
        reach = abs(end - best[place])
        for step in _MOVES:
            if step >= reach:
                ends.append(reach if reach < _MOVES[1] else np.inf)
                break
            moved = best.copy()
            moved[place] += sign * step
            if against(moved):
                ends.append(max(step, 1.96 * log_error))
                break
        else:
            ends.append(np.inf)
    one = PARAMETERS[place]
    lowest = max(one.low, float(np.exp(max(best[place] - ends[0], low)) - one.offset))
    highest = min(one.high, float(np.exp(min(best[place] + ends[1], high)) - one.offset))
    told = log_error < IDENTIFIED and max(ends) <= _MOVES[1] + 1e-9
    return Estimate(one.name, float(from_search(best)[place]), lowest, highest, told)


def _speaks_against(worse: Floats, memory: float) -> bool:
    """Whether scores have become worse by more than chance, transfers near in time taken as one."""
    standard_error = float(worse.std(ddof=1)) / np.sqrt(len(worse) * memory)
    return bool(worse.mean() > max(2 * standard_error, _WORTH))


def _information(replay: Replay, place: Floats, observed: Floats, memory: float) -> Floats:
    """Fisher information about the parameters, transfers taken as normal in ln seconds.

    Both the mean and the spread over draws speak; each by central differences. Where capacity varies,
    transfers near in time see the same capacity, so that only a share ``memory`` of them counts.
    """
    low, high = to_search(_end("low")), to_search(_end("high"))
    logs = np.log(replay.seconds(from_search(place)))
    residual = logs.mean(axis=0) - observed
    varying = logs.var(axis=0, ddof=1) if len(logs) > 1 else np.zeros_like(observed)
    odd = max(1.4826 * float(np.median(np.abs(residual - np.median(residual)))), _LEAST_NOISE) ** 2
    noise = max(odd - float(np.median(varying)), _LEAST_NOISE**2)
    means, spreads = [], []
    for number in range(len(place)):
        ends = []
        for step in (-_STEP, _STEP):
            moved = place.copy()
            moved[number] = np.clip(moved[number] + step, low[number], high[number])
            found = np.log(replay.seconds(from_search(moved)))
            variance = found.var(axis=0, ddof=1) if len(found) > 1 else np.zeros_like(observed)
            ends.append((moved[number], found.mean(axis=0), np.log(variance + noise)))
        apart = ends[1][0] - ends[0][0]
        means.append((ends[1][1] - ends[0][1]) / apart)
        spreads.append((ends[1][2] - ends[0][2]) / apart)
    mean, spread = np.array(means), np.array(spreads)
    # What varies from draw to draw is seen by many transfers at once; the rest is each transfer's own.
    weight = 1 / (noise + varying / memory)
    found_information: Floats = (mean * weight) @ mean.T + 0.5 * memory * spread @ spread.T
    return found_information


def _flat_directions(
    information: Floats, best: Floats, scores: Callable[[Floats], Floats]
) -> list[FlatDirection]:
    """Directions along which a factor of e or so is not noticed, each tried."""
    precisions, directions = np.linalg.eigh(information)
    low, high = to_search(_end("low")), to_search(_end("high"))
    flat = []
    for precision, direction in zip(precisions, directions.T, strict=True):
        if precision > IDENTIFIED**-2:
            break
        loud = {
            one.name: float(np.exp(part))
            for one, part in zip(PARAMETERS, direction, strict=True)
            if abs(part) > _LOUD
        }
        tried = [float(scores(np.clip(best + sign * direction, low, high)).mean()) for sign in (1, -1)]
        flat.append(FlatDirection(loud, min(tried)))
    return flat


def _relative(simulated: Floats, observed: Floats) -> tuple[float, float]:
    """Median and 90th percentile of the relative error of the median draw."""
    errors = np.abs(np.median(simulated, axis=0) / observed - 1)
    return float(np.median(errors)), float(np.quantile(errors, 0.9))
