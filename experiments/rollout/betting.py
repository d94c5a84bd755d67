"""Tests that may be looked at after every draw: a gambler bets against a hypothesis, and wins if it is false.

Draws x with mean at most 0 and never below -loss give a gambler who stakes a share of his money no advantage:
his capital exceeds 1/p at any time with a chance of at most p (Ville), however often one looks. Several
gamblers with stakes from small to large share one purse, so that one of them suits what is true.

Sources:
    Ville: Etude critique de la notion de collectif, 1939. Howard, Ramdas, McAuliffe, Sekhon: Time-uniform,
    nonparametric, nonasymptotic confidence sequences. Annals of Statistics 49(2), 2021. Waudby-Smith, Ramdas:
    Estimating means of bounded random variables by betting. JRSS B 86(1), 2024. Waudby-Smith, Wu, Ramdas,
    Karampatziakis, Mineiro: Anytime-valid off-policy inference for contextual bandits. ACM/IMS Journal of
    Data Science 1(3), 2024.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]

STAKES: Final = tuple(0.9 * 0.5**step for step in range(9))
"""Shares of the largest stake that cannot lose all, one a gambler: from 0.9 down to 0.0035."""


_RICH: Final = 80.0
"""Logarithm of the largest capital: far beyond any proof, and a number in single precision, too."""


def log_capital(draws: Floats, loss: ArrayLike) -> Floats:
    """Logarithm of the capital after each draw, from 0 on.

    Args:
        draws: In their order along the last axis, shape (..., n); of mean at most 0 under the hypothesis,
            given all before.
        loss: The most that each can lose, above 0, known before it is drawn; of a shape that fits.

    Single precision in gives single precision out, twice as fast.

    >>> np.round(np.exp(log_capital(np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0]), 1.0)), 2)
    array([1.2 , 1.52, 2.05, 2.97, 4.58, 7.48])
    """
    shares = draws / np.asarray(loss, draws.dtype)
    total = np.zeros_like(shares)
    for stake in STAKES:
        total += np.exp(np.minimum(np.cumsum(np.log(1.0 + stake * shares), axis=-1), _RICH))
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(total / len(STAKES)))


def anytime_p(draws: Floats, loss: ArrayLike) -> float:
    """The least p at which the hypothesis of mean at most 0 was rejected by now; 1 before the first draw."""
    if not len(draws):
        return 1.0
    return float(np.exp(-max(0.0, float(log_capital(draws, loss).max()))))


def share_p(shares: Floats, most: float) -> float:
    """Anytime p of the hypothesis that shares in [0, 1], shape (n,), average at most ``most``."""
    return anytime_p(shares - most, max(most, 1e-9))


def effects(values: Floats, treated: NDArray[np.bool_], share: ArrayLike) -> Floats:
    """Draws whose mean is the effect of the treatment, for treatments given by chance.

    Args:
        values: Of each unit, under what it got, shape (..., n).
        treated: Whether it was treated, shape (..., n).
        share: Chance of it, in (0, 1).
    """
    share = np.asarray(share)
    return np.asarray(values * np.where(treated, 1.0 / share, -1.0 / (1.0 - share)).astype(values.dtype))


def centred(values: Floats, most: float) -> Floats:
    """Values less the mean of those before them, cut off at ``most`` on both sides, shape (..., n).

    What is known before a unit's side is drawn may be taken off: it leaves the effect and takes scatter away.
    """
    held = np.clip(values, -most, most)
    before = np.zeros_like(held)
    count = np.arange(1, held.shape[-1], dtype=held.dtype)
    before[..., 1:] = np.cumsum(held[..., :-1], axis=-1) / count
    return np.clip(values - before, -most, most)


def effect_p(draws: Floats, largest: float, bound: float, above: bool) -> float:
    """Anytime p of the hypothesis that an effect is at most ``bound``; with ``above`` False, at least.

    Args:
        draws: From `effects`, shape (n,).
        largest: None is farther from 0.
        bound: Less far from 0.
        above: What is to be shown: True, that the effect lies above the bound.
    """
    sign = 1.0 if above else -1.0
    return anytime_p(sign * (draws - bound), largest + sign * bound)


def effect_interval(draws: Floats, largest: float, p: float) -> tuple[float, float]:
    """Where the effect lies at every time with a chance of at least ``1 - p``.

    Args:
        draws: From `effects`, shape (n,).
        largest: None is farther from 0.
        p: Chance to be wrong, half of it at each end.
    """
    if not len(draws):
        return -np.inf, np.inf

    def shown(bound: float, above: bool) -> bool:
        return effect_p(draws, largest, bound, above) <= p / 2

    return _edge(lambda bound: shown(bound, True), -largest, largest), _edge(
        lambda bound: not shown(bound, False), -largest, largest
    )


def _edge(below: Callable[[float], bool], low: float, high: float) -> float:
    """Where a truth value turns from True to False, to a thousandth of the width; infinite at an end."""
    low, high = 0.999 * low, 0.999 * high
    if not below(low):
        return -np.inf
    if below(high):
        return np.inf
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2
