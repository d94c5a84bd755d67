"""When a model is due to be trained anew: it is old, what it sees has drifted, or a gate sent one back."""

from typing import Final, NamedTuple

from experiments.rollout.assignment import STAGES
from experiments.rollout.book import DAY_S
from experiments.rollout.gates import Retraining
from experiments.rollout.lessons import lessons
from experiments.rollout.rollout import GATE
from experiments.shadow.bundle import open_bundle
from experiments.shadow.drift import drift
from experiments.shadow.loader import Bundle
from experiments.shadow.store import Store
from sim.errors import InputError

RETRAINED: Final = "retrained"
"""Setting of the store: when a model was trained last."""
_UNTAUGHT: Final = ("rule", "static")
"""Kinds of policy that have learned nothing, so that nothing of it can be out of date."""


class Current(NamedTuple):
    """The model that answers most of the traffic.

    Attributes:
        version: Of it.
        bundle: It, opened.
        added: When it came into the store.
        promoted: Whether it is the candidate, which answers everywhere by now.
    """

    version: str
    bundle: Bundle
    added: float
    promoted: bool


def current(store: Store) -> Current:
    """The incumbent of a store, or its candidate once that answers all of the traffic of every region.

    Raises:
        InputError: If there is no incumbent.
    """
    incumbent, candidate = store.role("incumbent"), store.role("candidate")
    if incumbent is None:
        problem = "the store has no incumbent; `dwcp-gym shadow candidate --incumbent BUNDLE` names one"
        raise InputError(store.folder, "", problem)
    stages = store.stages(candidate) if candidate else {}
    promoted = bool(stages) and set(stages.values()) == {STAGES[-1]}
    version = str(candidate) if promoted else incumbent
    return Current(version, open_bundle(store.bundle(version)), store.models()[version].added, promoted)


def reasons(store: Store, settings: Retraining) -> list[str]:
    """Why the current model is due, a line each; none if it is not. A rule is due only if a gate says so."""
    one, now = current(store), store.clock()
    found = []
    if one.bundle.manifest["kind"] not in _UNTAUGHT:
        days = (now - one.added) / DAY_S
        if days >= settings.age_days:
            found.append(f"{one.bundle.name} is {days:.1f} days old (from {settings.age_days:g})")
        found += _drifted(store, one, settings)
    candidate = store.role("candidate")
    last = store.setting(RETRAINED) or 0.0
    if candidate:
        steps = [step for step in store.transitions(candidate=candidate) if step.time > last]
        back = [step for step in steps if step.by == GATE and step.target == STAGES[0]]
        found += [f"{step.candidate} was taken back in {step.region}: {step.why}" for step in back[-1:]]
    return found


def _drifted(store: Store, one: Current, settings: Retraining) -> list[str]:
    features = lessons(store.latest(settings.recent), one.bundle).features
    if len(features) < settings.recent / 2:
        return []
    moved = [each for each in drift(one.bundle.manifest["features"], features) if each.drifted]
    worst = sorted(moved, key=lambda each: -each.psi)[:3]
    told = ", ".join(f"{each.feature} (PSI {each.psi:.2f}, KS {each.ks:.2f})" for each in worst)
    return [f"{len(moved)} features have drifted: {told}"] if moved else []
