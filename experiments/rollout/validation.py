"""A successor beside the current model, on sessions that it has not learned from and in the simulator."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.play import play
from envs.base import WorldEnv
from envs.compression import Compression
from experiments.resampling import Estimate, Resampling
from experiments.rollout.lessons import Lessons
from experiments.shadow.bundle import BundlePolicy
from experiments.shadow.gains import gains_of, told_by, worth
from experiments.shadow.loader import Bundle
from experiments.shadow.off_policy import Interval
from experiments.shadow.replay import answers
from experiments.stats import relative_difference
from sim.episode import draw_episode
from sim.errors import InputError
from sim.randomness import stream
from sim.scenarios import Scenario

_ENOUGH: Final = 100
"""Sessions of which every cost is known, from which the truth is taken in place of an estimate."""
_EPISODES: Final = 20
"""Of each scenario, at seeds that nothing was trained on."""
_FIRST_SEED: Final = 9_000_000


class Validation(NamedTuple):
    """What was found.

    Attributes:
        saved: Share of the typical cost of a decision that is saved in the store's sessions.
        by: ``actual`` where every cost is known, else ``dr``, the doubly robust estimate.
        decisions: It rests on.
        simulated: Share of the mean cost that is saved in the scenarios; None without any.
        problem: Why the estimate is not to be trusted; empty if it is.
    """

    saved: Interval | None
    by: str
    decisions: int
    simulated: Estimate | None
    problem: str

    @property
    def passed(self) -> bool:
        """Whether both say that it costs less, at 95 %."""
        stored = self.saved is not None and self.saved.low > 0.0 and not self.problem
        return stored and (self.simulated is None or self.simulated.low > 0.0)

    @property
    def why(self) -> str:
        """In one line."""
        if self.saved is None or self.problem:
            return self.problem or "nothing is known of its costs"
        told = {"actual": "true costs", "dr": "doubly robust"}[self.by]
        line = f"saves {_interval(self.saved)} on {self.decisions} decisions it has not seen ({told})"
        return line if self.simulated is None else f"{line}, {_interval(self.simulated)} simulated"

    def as_json(self) -> dict[str, Any]:
        """As a document."""
        simulated = None if self.simulated is None else self.simulated._asdict()
        saved = None if self.saved is None else self.saved._asdict()
        return self._asdict() | {
            "saved": saved,
            "simulated": simulated,
            "passed": self.passed,
            "why": self.why,
        }


def validate(
    held: Lessons, candidate: Bundle, before: Bundle, scenarios: Sequence[Scenario] = ()
) -> Validation:
    """Compare a successor with the current model.

    Args:
        held: Decisions that the successor has not learned from.
        candidate: The successor.
        before: The current model.
        scenarios: To play both in.
    """
    told = held.rows(held.told)
    actual = len(np.unique(told.groups)) >= _ENOUGH
    log = held.log(told=actual)
    mine, other = answers(candidate, log), answers(before, log)
    known = told_by(log, candidate)
    typical = gains_of(known, mine, other)[1]
    by = "actual" if actual else "dr"
    problem = ""
    if not actual:
        overlaps = [worth(known, one).overlap for one in (mine, other)]
        problem = next((one.problem for one in overlaps if one is not None and one.problem), "")
    simulated = _simulated(candidate, before, scenarios) if scenarios else None
    return Validation(typical.get(by), by, len(log), simulated, problem)


def environment(task: str, scenarios: Sequence[Scenario], actions: Sequence[str]) -> WorldEnv:
    """The environment in which a bundle of a task and these actions can play.

    Raises:
        InputError: If there is none.
    """
    if task == "compression":
        return Compression(list(scenarios), list(actions))
    raise InputError("--only", "", f"a bundle of {task} cannot be simulated here; leave --only out")


def _simulated(candidate: Bundle, before: Bundle, scenarios: Sequence[Scenario]) -> Estimate:
    """Share of the mean cost of an episode that is saved."""
    ours: list[NDArray[np.float64]] = []
    theirs: list[NDArray[np.float64]] = []
    for scenario in scenarios:
        env = environment(before.manifest["task"], [scenario], before.actions)
        for costs, bundle in ((ours, candidate), (theirs, before)):
            policy = BundlePolicy(bundle, env.features)
            episodes = (draw_episode(scenario, _FIRST_SEED + number) for number in range(_EPISODES))
            costs.append(np.array([[play(env, one, policy).cost for one in episodes]]))  # type: ignore[arg-type]
    more = relative_difference(ours, theirs, Resampling(stream(0, "validation")))
    return Estimate(-more.value, -more.high, -more.low)


def _interval(one: Interval | Estimate) -> str:
    return f"{one.value:.1%} ({one.low:.1%} to {one.high:.1%})"
