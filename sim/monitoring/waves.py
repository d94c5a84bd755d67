"""What swings about its mean for a while: loads, rooms, demands."""

import math

import numpy as np

from sim.links import remembered
from sim.traces import FloatArray


def wave(steps: int, step_s: float, tau_s: float, rng: np.random.Generator) -> FloatArray:
    """Gaussian process of mean 0, variance 1 and this correlation time."""
    rho = math.exp(-step_s / tau_s)
    noise = rng.standard_normal(steps)
    noise[1:] *= math.sqrt(1 - rho * rho)
    return remembered(noise, rho)
