"""The next minute of a link from its true state: how near any forecast of it could come."""

from math import exp, log, pi, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sim.links import LinkModel
from sim.units import HOUR

Floats = npt.NDArray[np.float64]

_OUT: float = 0.02
"""Share of the capacity that an outage leaves, as of `sim.links`."""


class State(NamedTuple):
    """What a link is like at a moment, hidden from who measures it.

    Attributes:
        hour: Local hour of day.
        level: Capacity that the link drew for good, bytes/s.
        capacity: Now, bytes/s.
        cross_streams: Streams of others now.
    """

    hour: float
    level: float
    capacity: float
    cross_streams: float


def next_bandwidth(
    model: LinkModel, state: State, seconds: float, futures: int, rng: np.random.Generator
) -> Floats:
    """Mean bandwidth for a new bundle of streams over the next seconds, in so many futures, shape (futures,).

    Every part of the link forgets its state by its own law, as `sim.links.generate` draws it: the
    Ornstein-Uhlenbeck factor, the outages (exponential on both sides) and the streams of others (each lives
    an exponential time; new ones come as a Poisson process).

    Args:
        model: The link's law, without a chain.
        state: Where it stands.
        seconds: How far ahead.
        futures: How many to draw.
        rng: Draws them.

    Raises:
        ValueError: If the link is a chain.
    """
    if model.chain is not None:
        raise ValueError("a link by chain has no state of this kind; ask for another link")
    steps = max(1, round(seconds / model.step_s))
    usual = state.level * _diurnal(model, state.hour)
    out = np.full(futures, state.capacity < sqrt(_OUT) * usual)
    x = np.zeros(futures)
    if model.sigma:
        factor = state.capacity / usual / (_OUT if out[0] else 1.0)
        x += (log(max(factor, 1e-12)) + model.sigma**2 / 2) / model.sigma
    memory = exp(-model.step_s / model.tau_s)
    alive = np.full(futures, state.cross_streams)
    survive = exp(-model.step_s / model.cross_tau_s)
    arrive = model.cross_streams * (1 - survive)
    down, up = _turns(model)
    sums = np.zeros(futures)
    for step in range(1, steps + 1):
        x = memory * x + sqrt(1 - memory**2) * rng.standard_normal(futures)
        alive = rng.binomial(alive.astype(np.int64), survive) + rng.poisson(arrive, futures)
        out = np.where(out, rng.random(futures) >= up, rng.random(futures) < down)
        free = np.exp(model.sigma * x - model.sigma**2 / 2) * np.where(out, _OUT, 1.0)
        hour = state.hour + step * model.step_s / HOUR
        sums += state.level * _diurnal(model, hour) * free / (1 + alive)
    return np.asarray(sums / steps)


def _diurnal(model: LinkModel, hour: float) -> float:
    return 1 - model.diurnal * (1 + np.cos((hour - model.busy_hour) * (2 * pi / 24))) / 2


def _turns(model: LinkModel) -> tuple[float, float]:
    """Chance of an outage to begin in a step, and to end."""
    if not model.outage_share:
        return 0.0, 1.0
    up_s = model.outage_s * (1 - model.outage_share) / model.outage_share
    return 1 - exp(-model.step_s / up_s), 1 - exp(-model.step_s / model.outage_s)
