"""Sites like a scenario's but with other figures: what a learner trains on so that it knows more than one."""

from dataclasses import replace

import numpy as np

from sim.links import LinkModel
from sim.scenarios import PathSpec, Scenario

_RTT, _LOSS, _LOAD, _BACKGROUND = 0.7, 2.0, 0.3, 0.2
"""Spreads of the logarithms of round trip, random loss and load in multiples of the capacity's, and of the
share of cores that other work takes: between sites loss differs most, by powers of ten. Assumed."""
_LEAST_LOSS = 1e-6
_MOST_LOSS = 0.02
_MOST_BACKGROUND = 0.8


def varied(scenario: Scenario, spread: float, rng: np.random.Generator) -> Scenario:
    """A site drawn around a scenario; it keeps the name, for it is judged as that scenario is.

    Capacity, round trip and random loss of each path change by lognormal factors, arrivals come faster by
    about as much as the paths are wider, and other work takes another share of the cores.

    Args:
        scenario: What it is drawn around.
        spread: Standard deviation of the logarithm of a path's capacity, at least 0; others in proportion.
        rng: The only source of chance.
    """
    paths, width = [], 0.0
    for path in scenario.paths:
        factor = float(np.exp(spread * rng.normal()))
        paths.append(_varied_path(path, factor, spread, rng))
        width += path.share * float(np.log(factor))
    faster = float(np.exp(width + _LOAD * spread * rng.normal()))
    host = scenario.host
    background = float(np.clip(host.background + _BACKGROUND * spread * rng.normal(), 0.0, _MOST_BACKGROUND))
    return replace(
        scenario,
        paths=tuple(paths),
        workload=replace(scenario.workload, interval_s=scenario.workload.interval_s / faster),
        host=replace(host, background=background),
    )


def _varied_path(path: PathSpec, factor: float, spread: float, rng: np.random.Generator) -> PathSpec:
    model: LinkModel = path.model
    loss = max(model.loss, _LEAST_LOSS) * float(np.exp(_LOSS * spread * rng.normal()))
    link = replace(
        model,
        capacity=model.capacity * factor,
        rtt_s=model.rtt_s * float(np.exp(_RTT * spread * rng.normal())),
        loss=min(loss, _MOST_LOSS),
        loss_cap=max(model.loss_cap, min(5.0 * loss, 5.0 * _MOST_LOSS)),
    )
    return replace(path, link=link)
