"""Parameters of a link from a log: the least error of simulated completion times, and what stays open."""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.scenarios import Scenario
from sim.testbed.link_log import LoggedTransfers
from sim.testbed.link_replay import PARAMETERS, Replay, from_search
from sim.testbed.link_search import HIGH, LOW, best_place, first_guess, ranked_scores, to_values

Floats = NDArray[np.float64]

TRAINED: Final = 0.7
"""Share of the transfers, the first, that parameters are fitted to; the later ones judge them."""
IDENTIFIED: Final = 0.35
"""Largest standard error of ln of a parameter that a log tells: a factor of 2 in 95 of 100 cases."""
_LEAST_NOISE: Final = 0.02
"""Log error that no simulator undercuts: nobody's clock and rounding."""
_STEADY: Final = 0.05
"""Variation below which capacity counts as steady: then every transfer is a look at it of its own."""
_STEP: Final = 0.35
"""Of the differences behind sensitivities, in logarithms: a factor of the square root of 2."""
_MOVES: Final = (0.1, 0.7, 1.4, 2.8)
"""How far a parameter is moved, in logarithms, to see whether the log speaks against it."""
_WORTH: Final = 5e-4
"""Least change of the score that counts."""
_LOUD: Final = 0.3
"""Least part in a flat direction for a parameter to be named."""


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

    def simulate(place: Floats, *, typical: bool) -> Floats:
        nonlocal spent
        spent += 1
        tick()
        values = from_search(place)
        return np.log(replay.typical_seconds(values) if typical else replay.seconds(values))

    best = best_place(
        lambda place: simulate(place, typical=True) - observed,
        lambda place: float(ranked_scores(simulate(place, typical=False), observed).mean()),
        first_guess(early, base, number),
        evaluations,
        rng,
    )
    there = scores(best)
    memory = _memory(early, base, number) if from_search(best)[1] > _STEADY else 1.0
    information = _information(replay, best, observed, memory)
    spent += 2 * len(PARAMETERS) + 1
    ranges = HIGH - LOW
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


def _memory(log: LoggedTransfers, base: Scenario, number: int) -> float:
    """Independent looks at a varying capacity that the log has had, over its transfers; at most 1."""
    busy_s = min(float(log.start_s[-1] + log.seconds[-1]), float(log.seconds.sum()))
    looks = max(1.0, busy_s / (2 * base.paths[number].model.tau_s))
    return min(1.0, looks / len(log.start_s))


def _estimate(place: int, best: Floats, log_error: float, against: Callable[[Floats], bool]) -> Estimate:
    """A parameter with how far it can be moved, the others held, until the log speaks against it."""
    low, high = LOW[place], HIGH[place]
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
    told = bool(log_error < IDENTIFIED and max(ends) <= _MOVES[1] + 1e-9)
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
            moved[number] = np.clip(moved[number] + step, LOW[number], HIGH[number])
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
    flat = []
    for precision, direction in zip(precisions, directions.T, strict=True):
        if precision > IDENTIFIED**-2:
            break
        loud = {
            one.name: float(np.exp(part))
            for one, part in zip(PARAMETERS, direction, strict=True)
            if abs(part) > _LOUD
        }
        tried = [float(scores(np.clip(best + sign * direction, LOW, HIGH)).mean()) for sign in (1, -1)]
        flat.append(FlatDirection(loud, min(tried)))
    return flat


def _relative(simulated: Floats, observed: Floats) -> tuple[float, float]:
    """Median and 90th percentile of the relative error of the median draw."""
    errors = np.abs(np.median(simulated, axis=0) / observed - 1)
    return float(np.median(errors)), float(np.quantile(errors, 0.9))
