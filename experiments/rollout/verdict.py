"""From evidence to what is done: stay, go on, or go back; pure, so that a rollout can be simulated."""

from typing import Literal, NamedTuple

from experiments.rollout.evidence import TESTS, Evidence
from experiments.rollout.gates import Gates, Step

Move = Literal["stay", "advance", "back"]

_BROKEN = {
    "accuracy": "accuracy is below {:.1%}",
    "drop": "accuracy is more than {:.1%} lower than in shadow",
    "p99_ms": "more than 1 in 100 answers take over {:g} ms",
    "errors": "more than {:.2%} of the decisions have no answer",
    "regression": "sessions cost more than {:.1%} more than the incumbent's",
}


class Condition(NamedTuple):
    """One thing that a stage asks for.

    Attributes:
        name: Of it.
        value: As found; None where nothing is known.
        limit: As asked.
        met: Whether that will do.
    """

    name: str
    value: float | None
    limit: float
    met: bool


class Verdict(NamedTuple):
    """What evidence comes to.

    Attributes:
        move: What is to be done.
        why: In one line.
        conditions: All that the stage asks for.
    """

    move: Move
    why: str
    conditions: tuple[Condition, ...]


def decide(stage: str, evidence: Evidence, gates: Gates, *, validated: bool) -> Verdict:
    """What the evidence of a stage comes to.

    Args:
        stage: Where the candidate is.
        evidence: Of this stage.
        gates: Conditions.
        validated: Whether it has cost less than the incumbent on logged decisions.
    """
    step = gates.step(stage)
    conditions = () if step is None else tuple(conditions_of(step, evidence, validated))
    if stage != "offline":
        for name, p in evidence.guards.items():
            if p <= gates.guard.p / TESTS:
                limit = getattr(gates.guard, name)
                return Verdict("back", f"{_BROKEN[name].format(limit)} (anytime p {p:.1e})", conditions)
    missing = [one for one in conditions if not one.met]
    if step is None:
        return Verdict("stay", "answers all of the traffic", conditions)
    if missing:
        return Verdict("stay", "; ".join(map(_missing, missing)), conditions)
    return Verdict("advance", "all conditions are met", conditions)


def conditions_of(step: Step, evidence: Evidence, validated: bool) -> list[Condition]:
    """What a stage asks for, and what was found."""
    found = []
    if step.validated:
        found.append(Condition("validated", float(validated), 1.0, validated))
    if step.name == "offline":
        return found
    found.append(_least("days", evidence.days, step.days))
    found.append(_least("decisions", evidence.decisions["candidate"], step.decisions))
    if step.name == "shadow":
        total = sum(evidence.decisions.values())
        found[-1] = _least("decisions", total, step.decisions)
    else:
        found.append(_least("decisions beside", evidence.decisions["incumbent"], step.decisions))
    if step.accuracy is not None:
        found.append(_least("accuracy", evidence.accuracy, step.accuracy))
    if step.p99_ms is not None:
        p99 = evidence.p99_ms
        found.append(Condition("p99_ms", p99, step.p99_ms, p99 is not None and p99 < step.p99_ms))
    if step.errors is not None:
        errors = evidence.errors
        found.append(Condition("errors", errors, step.errors, errors is not None and errors <= step.errors))
    if step.gain is not None:
        p = None if evidence.saved is None else evidence.saved.p
        found.append(
            Condition(
                f"p of a gain above {step.gain.above:g}", p, step.gain.p, p is not None and p <= step.gain.p
            )
        )
    return found


def _least(name: str, value: float | None, limit: float) -> Condition:
    return Condition(name, value, limit, value is not None and value >= limit)


def _missing(one: Condition) -> str:
    value = "nothing known" if one.value is None else f"{one.value:.4g}"
    return f"{one.name} {value} of {one.limit:g}"
