"""The search for the site where a policy lies farthest behind its incumbent: Optuna proposes, both play."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from experiments.sweep.tuning import load_optuna
from experiments.variation import Shift
from experiments.worst.contest import Contest
from experiments.worst.knobs import REACH, knobs, shift_of, site
from sim.errors import InputError
from sim.files import writing
from sim.randomness import stream
from sim.scenarios import Scenario
from sim.strict_tree import plain

STUDY: Final = "study.db"
"""SQLite file of the search."""
_STARTUP: Final = 10
"""Sites that are drawn by chance before the sampler looks at what they cost."""
_COSTS: Final = "costs"
"""Attribute of a trial: costs of policy and incumbent, and who that was."""
_APART: Final = 1.0
"""Standard deviations, in one thing at least, that two sites are apart to be told as two."""


class Plan(NamedTuple):
    """What fixes a search, besides who plays.

    Attributes:
        spread: As of ``environment.vary``.
        episodes: On which every site is judged, with the same seeds everywhere.
        seed: Root of all chance.
    """

    spread: float
    episodes: int
    seed: int

    def seeds(self, purpose: str, count: int) -> list[int]:
        """Seeds of the episodes of some purpose."""
        return [int(stream(self.seed, f"{purpose} {number}").integers(2**31)) for number in range(count)]


class Try(NamedTuple):
    """A site that was tried.

    Attributes:
        number: Which; 0 is the scenario itself.
        shift: Where it lies.
        gap: Logarithm of the policy's cost over the incumbent's.
        policy_cost_s: Seconds an episode.
        incumbent_cost_s: Seconds an episode.
        incumbent: Who that was.
    """

    number: int
    shift: Shift
    gap: float
    policy_cost_s: float
    incumbent_cost_s: float
    incumbent: str


class Search:
    """A search that goes on where the study in its folder stands.

    The dice of a try hang on the seed and its number only, so that an interrupted search comes to the same
    tries as one that was not.

    Args:
        contest: Who plays.
        plan: How.
        folder: Where the study lies; is made.

    Raises:
        InputError: If Optuna is not installed, or the study is of another search.
    """

    def __init__(self, contest: Contest, plan: Plan, folder: Path) -> None:
        self._optuna = load_optuna("worst")
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        self._contest, self._plan = contest, plan
        self._seeds = plan.seeds("search", plan.episodes)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        path = folder / STUDY
        try:
            self._study = self._optuna.create_study(
                storage=f"sqlite:///{path}", study_name="worst", direction="maximize", load_if_exists=True
            )
        except Exception as error:  # SQLAlchemy's, of many kinds
            problem = f"cannot be opened as a study ({type(error).__name__}); name another folder with --out"
            raise InputError(path, "", problem) from error
        asked = _told(contest, plan)
        known = self._study.user_attrs
        if known and known != asked:
            other = next(name for name, value in asked.items() if known.get(name) != value)
            problem = "is of another search; name another folder with --out, or remove it"
            raise InputError(path, other, problem)
        for name, value in asked.items():
            self._study.set_user_attr(name, value)

    @property
    def scenario(self) -> Scenario:
        """Around which is searched."""
        return self._contest.player.scenario

    @property
    def tries(self) -> list[Try]:
        """What was tried, in order."""
        return [
            Try(number, shift_of(self.scenario, one.params), one.value, *one.user_attrs[_COSTS])
            for number, one in enumerate(self._done)
        ]

    def run(self, count: int, watch: Callable[[], object]) -> None:
        """Try sites until there are so many; `watch` is called after each."""
        if count and not self._done:
            self._begin()
            watch()
        names = knobs(self.scenario)
        while (number := len(self._done)) < count:
            dice = int(stream(self._plan.seed, f"try {number}").integers(2**31))
            self._study.sampler = self._optuna.samplers.TPESampler(
                seed=dice, n_startup_trials=_STARTUP, multivariate=True
            )
            trial = self._study.ask()
            values = {name: trial.suggest_float(name, -REACH, REACH) for name in names}
            gap, costs = self._tried(values)
            trial.set_user_attr(_COSTS, costs)
            self._study.tell(trial, gap)
            watch()

    def _begin(self) -> None:
        """The scenario itself is the first try."""
        values = dict.fromkeys(knobs(self.scenario), 0.0)
        span = self._optuna.distributions.FloatDistribution(-REACH, REACH)
        gap, costs = self._tried(values)
        self._study.add_trial(
            self._optuna.trial.create_trial(
                params=values,
                distributions=dict.fromkeys(values, span),
                value=gap,
                user_attrs={_COSTS: costs},
            )
        )

    def _tried(self, values: dict[str, float]) -> tuple[float, list[Any]]:
        """The gap at a site, and what both cost there."""
        where = site(self.scenario, self._plan.spread, shift_of(self.scenario, values))
        costs = self._contest.meet(where, self._seeds)
        return costs.gap, [float(costs.policy.mean()), float(costs.incumbent.mean()), costs.who]

    @property
    def _done(self) -> list[Any]:
        state = self._optuna.trial.TrialState.COMPLETE
        found: list[Any] = self._study.get_trials(deepcopy=False, states=[state])
        return found


def worst_of(tries: list[Try], most: int) -> list[Try]:
    """The sites with the greatest gaps, each apart from those before and worse than the scenario itself.

    Args:
        tries: The first is the scenario itself.
        most: How many at most.
    """
    found: list[Try] = []
    for one in sorted(tries[1:], key=lambda one: -one.gap):
        if one.gap <= tries[0].gap or len(found) == most:
            break
        if all(_distance(one.shift, other.shift) >= _APART for other in found):
            found.append(one)
    return found


def _distance(one: Shift, other: Shift) -> float:
    """Greatest difference in one thing, in standard deviations."""
    return max(abs(mine - theirs) for mine, theirs in zip(_flat(one), _flat(other), strict=True))


def _flat(shift: Shift) -> list[float]:
    return [*(value for path in shift.paths for value in path), shift.load, shift.background]


def _told(contest: Contest, plan: Plan) -> dict[str, Any]:
    """What a study must agree on with the search that goes on with it."""
    player = contest.player
    return {
        "policy": f"{player.name} {player.proof}",
        "against": contest.against,
        "scenario": plain(player.scenario),
    } | plan._asdict()
