"""Sites like a scenario's but with other figures: to train on more than one, and to find the worst."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sim.links import LinkModel
from sim.scenarios import PathSpec, Scenario

_RTT, _LOSS, _LOAD, _BACKGROUND = 0.7, 2.0, 0.3, 0.2
"""Spreads of the logarithms of round trip, random loss and load in multiples of the capacity's, and of the
share of cores that other work takes: between sites loss differs most, by powers of ten. Assumed."""
_LEAST_LOSS = 1e-6
_MOST_LOSS = 0.02
_MOST_BACKGROUND = 0.8


class PathShift(NamedTuple):
    """How far a path lies from the scenario's, each in standard deviations of what sites differ in."""

    capacity: float = 0.0
    loss: float = 0.0
    rtt: float = 0.0


class Shift(NamedTuple):
    """How far a site lies from a scenario, each in standard deviations of what sites differ in.

    Attributes:
        paths: One a path of the scenario.
        load: Arrivals over capacity.
        background: Share of the cores that other work takes.
    """

    paths: tuple[PathShift, ...]
    load: float = 0.0
    background: float = 0.0


def varied(scenario: Scenario, spread: float, rng: np.random.Generator) -> Scenario:
    """A site drawn around a scenario; it keeps the name, for it is judged as that scenario is.

    Args:
        scenario: What it is drawn around.
        spread: As of `shifted`.
        rng: The only source of chance.
    """
    paths = tuple(PathShift(*map(float, rng.normal(size=3))) for _ in scenario.paths)
    return shifted(scenario, spread, Shift(paths, float(rng.normal()), float(rng.normal())))


def shifted(scenario: Scenario, spread: float, shift: Shift) -> Scenario:
    """The site that lies so far from a scenario; it keeps the name.

    Capacity, round trip and random loss of each path change by factors, arrivals come faster by about as
    much as the paths are wider, and other work takes another share of the cores.

    Args:
        scenario: What it lies around.
        spread: Standard deviation of the logarithm of a path's capacity, at least 0; others in proportion.
        shift: How far, one entry a path.
    """
    paths, width = [], 0.0
    for path, own in zip(scenario.paths, shift.paths, strict=True):
        factor = float(np.exp(spread * own.capacity))
        paths.append(_shifted_path(path, factor, spread, own))
        width += path.share * float(np.log(factor))
    faster = float(np.exp(width + _LOAD * spread * shift.load))
    host = scenario.host
    background = float(
        np.clip(host.background + _BACKGROUND * spread * shift.background, 0, _MOST_BACKGROUND)
    )
    return replace(
        scenario,
        paths=tuple(paths),
        workload=replace(scenario.workload, interval_s=scenario.workload.interval_s / faster),
        host=replace(host, background=background),
    )


def load_factor(spread: float, shift: Shift) -> float:
    """Arrivals over capacity, in multiples of the scenario's."""
    return float(np.exp(_LOAD * spread * shift.load))


def _shifted_path(path: PathSpec, factor: float, spread: float, shift: PathShift) -> PathSpec:
    model: LinkModel = path.model
    loss = max(model.loss, _LEAST_LOSS) * float(np.exp(_LOSS * spread * shift.loss))
    link = replace(
        model,
        capacity=model.capacity * factor,
        rtt_s=model.rtt_s * float(np.exp(_RTT * spread * shift.rtt)),
        loss=min(loss, _MOST_LOSS),
        loss_cap=max(model.loss_cap, min(5.0 * loss, 5.0 * _MOST_LOSS)),
    )
    return replace(path, link=link)
