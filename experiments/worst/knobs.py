"""What the search turns: the differences between sites, by name, in standard deviations and in figures."""

from collections.abc import Mapping
from typing import Final

from experiments.variation import PathShift, Shift, load_factor, shifted
from sim.scenarios import Scenario
from sim.units import MBIT, MS

REACH: Final = 2.0
"""Standard deviations to both sides: of the sites that are drawn for training, 95 of 100 lie within."""


def knobs(scenario: Scenario) -> list[str]:
    """Names of what is turned; those of a path bear its name where there are several.

    >>> from sim.catalogue import find_scenario
    >>> knobs(find_scenario("wan"))
    ['capacity', 'loss', 'rtt', 'load', 'background']
    >>> knobs(find_scenario("hybrid"))[:4]
    ['near.capacity', 'near.loss', 'near.rtt', 'far.capacity']
    """
    return [
        *(f"{before}{name}" for before in _places(scenario) for name in PathShift._fields),
        "load",
        "background",
    ]


def shift_of(scenario: Scenario, values: Mapping[str, float]) -> Shift:
    """How far a site lies from a scenario, by the names of `knobs`."""
    paths = tuple(
        PathShift(*(values[f"{before}{name}"] for name in PathShift._fields)) for before in _places(scenario)
    )
    return Shift(paths, values["load"], values["background"])


def site(scenario: Scenario, spread: float, shift: Shift) -> Scenario:
    """The site that lies so far from a scenario; nowhere from it, the very scenario."""
    moved = any(value for path in shift.paths for value in path) or shift.load or shift.background
    return shifted(scenario, spread, shift) if moved else scenario


def figures(scenario: Scenario, spread: float, shift: Shift) -> dict[str, float]:
    """What a site is, by the names of `knobs`.

    Returns:
        Capacity in Mbit/s, loss as a share, round trip in milliseconds; load in multiples of the scenario's
        arrivals over capacity; background as a share of the cores.
    """
    there = site(scenario, spread, shift)
    found: dict[str, float] = {}
    for before, path in zip(_places(scenario), there.paths, strict=True):
        model = path.model
        told = (model.capacity / MBIT, model.loss, model.rtt_s / MS)
        found |= {f"{before}{name}": value for name, value in zip(PathShift._fields, told, strict=True)}
    return found | {"load": load_factor(spread, shift), "background": there.host.background}


def _places(scenario: Scenario) -> list[str]:
    """What stands before the names of each path."""
    if len(scenario.paths) == 1:
        return [""]
    return [f"{path.name}." for path in scenario.paths]
