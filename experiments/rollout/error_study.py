"""Which candidates the gates are tried on: good ones, bad ones, some at the very limits, and all between."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from experiments.rollout.error_rates import Truth, rates
from experiments.rollout.gates import Gates
from sim.randomness import stream

FAULTLESS: Final = Truth(saved=0.12, wrong=0.0, slow=0.0, silent=0.0)
"""Nothing is wrong with it: one fault at a time is added."""


class Case(NamedTuple):
    """A candidate of the table.

    Attributes:
        name: For people.
        truth: What it really is.
        place: ``rollout``: a whole one by its conditions; ``pushed``: a whole one that an operator pushes on;
            ``canary``: the first stage with traffic alone.
    """

    name: str
    truth: Truth
    place: str


CASES: Final = (
    Case("good: saves 12 %, 97 % right", Truth(), "rollout"),
    Case("at every limit, pushed on", Truth(-0.02, 0.05, 0.01, 0.005), "pushed"),
    Case("dear: costs 15 % more", FAULTLESS._replace(saved=-0.15), "canary"),
    Case("wrong: 92 % right", FAULTLESS._replace(wrong=0.08), "canary"),
    Case("slow: 2 in 100 answers late", FAULTLESS._replace(slow=0.02), "canary"),
    Case("silent: 1 in 100 without answer", FAULTLESS._replace(silent=0.01), "canary"),
)
"""The table."""

CURVES: Final = {
    "saved": (0.0, -0.01, -0.02, -0.05, -0.08, -0.11, -0.13, -0.15),
    "wrong": (0.03, 0.04, 0.05, 0.055, 0.06, 0.065, 0.07, 0.08),
    "slow": (0.002, 0.005, 0.01, 0.0115, 0.013, 0.015, 0.0175, 0.02),
    "silent": (0.001, 0.0025, 0.005, 0.006, 0.007, 0.008, 0.009, 0.01),
}
"""One fault after the other, from harmless to bad; the third is the limit of the published guard."""


def study_size() -> int:
    """How many candidates there are."""
    return len(CASES) + sum(map(len, CURVES.values()))


def study(gates: Gates, rollouts: int, seed: int, done: Callable[[], object]) -> dict[str, Any]:
    """Simulate all candidates.

    Args:
        gates: Conditions.
        rollouts: Of each candidate.
        seed: Of all chance.
        done: Called after each.

    Returns:
        A document: ``cases`` of the table, ``curves`` by fault with the true values, the share taken back
        over a whole rollout up to the limit, and in the first stage with traffic beyond it.
    """

    def play(truth: Truth, place: str, name: str) -> dict[str, Any]:
        rng = stream(seed, name)
        if place == "canary":
            found = rates(truth, gates, rollouts, rng, stages=("canary_5",), pushed=True)
        else:
            found = rates(truth, gates, rollouts, rng, pushed=place == "pushed")
        done()
        return {"truth": truth._asdict(), "place": place} | found._asdict()

    cases = [{"name": one.name} | play(one.truth, one.place, one.name) for one in CASES]
    limits = limits_of(gates)
    curves = {}
    for fault, values in CURVES.items():
        inside = [value >= limits[fault] if fault == "saved" else value <= limits[fault] for value in values]
        curves[fault] = [
            {"value": value}
            | play(FAULTLESS._replace(**{fault: value}), "pushed" if within else "canary", fault)
            for value, within in zip(values, inside, strict=True)
        ]
    return {"rollouts": rollouts, "seed": seed, "limits": limits, "cases": cases, "curves": curves}


def limits_of(gates: Gates) -> dict[str, float]:
    """What the guards allow, by fault."""
    guard = gates.guard
    return {
        "saved": -(guard.regression or 0.0),
        "wrong": 1.0 - (guard.accuracy or 0.0),
        "slow": 0.01,
        "silent": guard.errors or 0.0,
    }


def rows_of(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """The table, as text."""
    return [
        (
            one["name"],
            f"{one['back']:.1%}",
            f"{one['full']:.1%}" if one["place"] == "rollout" else "",
            f"{one['decisions']:,.0f}" if one["place"] == "canary" else "",
            f"{one['answered']:,.0f}" if one["place"] == "canary" else "",
        )
        for one in found["cases"]
    ]
