"""What a search is worth: the worst sites on episodes that it has not seen, and the files that it leaves."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.resampling import Estimate, Resampling, Weights
from experiments.stats import relative_difference
from experiments.worst.contest import Contest, Costs
from experiments.worst.knobs import figures, site
from experiments.worst.search import Plan, Try, worst_of
from sim.files import write_text
from sim.randomness import stream
from sim.scenario_file import save_scenario
from sim.scenarios import Scenario

TRIES, FOUND = "tries.csv", "worst.csv"


class Finding(NamedTuple):
    """A site, and how far the policy lies behind there.

    Attributes:
        scenario: The site, under a name of its own; of the first finding the scenario itself.
        found: The try that found it.
        incumbent: Who that was, on fresh episodes.
        gap: What the policy costs more than the incumbent, as a share, on fresh episodes.
        beyond: How many times that ratio of costs is the one on the scenario itself, minus 1.
    """

    scenario: Scenario
    found: Try
    incumbent: str
    gap: Estimate
    beyond: Estimate

    @property
    def searched(self) -> float:
        """The gap on the episodes of the search, which flatters it."""
        return float(np.expm1(self.found.gap))


def judge(
    contest: Contest,
    plan: Plan,
    tries: Sequence[Try],
    names: Sequence[str],
    fresh: int,
    watch: Callable[[], object],
) -> list[Finding]:
    """Play the scenario itself, then the worst sites on fresh episodes, the worst there first.

    Of `best_static` the incumbent is the rule that is cheapest on these very episodes: harder to beat than
    one chosen before.

    Args:
        contest: Who plays.
        plan: Of the search.
        tries: What it came to.
        names: For the worst sites; as many are judged, where so many are worse than the scenario.
        fresh: Episodes.
        watch: Called after each.
    """  # fmt: skip
    base, kept = contest.player.scenario, worst_of(list(tries), len(names))
    seeds, how = plan.seeds("fresh", fresh), Resampling(stream(plan.seed, "intervals"))
    here = contest.meet(base, seeds)

    def judged(one: Try) -> Finding:
        where = site(base, plan.spread, one.shift)
        costs = contest.meet(where, seeds) if one.number else here
        gap = relative_difference([costs.policy[None]], [costs.incumbent[None]], how)
        watch()
        return Finding(where, one, costs.who, gap, beyond(costs, here, how))

    first, *others = map(judged, [tries[0], *kept])
    found = sorted(others, key=lambda one: -one.gap.value)
    summary = f"like {base.name}, where {contest.player.name} does worst against {contest.against}"
    return [first] + [
        one._replace(scenario=replace(one.scenario, name=name, summary=summary))
        for one, name in zip(found, names, strict=False)
    ]


def beyond(there: Costs, here: Costs, how: Resampling) -> Estimate:
    """How many times the ratio of two policies' costs at one site is that at another, minus 1.

    Episodes of both sites have the same seeds, and are drawn together.

    >>> costs = Costs(np.array([2.0, 4.0]), np.array([1.0, 2.0]), "zstd")
    >>> even = Costs(np.array([1.0, 2.0]), np.array([1.0, 2.0]), "zstd")
    >>> beyond(costs, even, Resampling(np.random.default_rng(0)))
    Estimate(value=1.0, low=1.0, high=1.0)
    """

    def statistic(_runs: Sequence[Weights], episodes: Sequence[Weights]) -> NDArray[np.float64]:
        drawn = episodes[0]
        return np.log(
            (drawn @ there.policy)
            * (drawn @ here.incumbent)
            / (drawn @ there.incumbent)
            / (drawn @ here.policy)
        )

    shape = (1, len(there.policy))
    return Estimate(*(float(np.expm1(log)) for log in how.estimate([shape], statistic)))


def tries_frame(base: Scenario, spread: float, tries: Sequence[Try]) -> pd.DataFrame:
    """A row a try: the gap as a share, both costs, and the figures of the site."""
    rows = [
        {
            "try": one.number,
            "gap": np.expm1(one.gap),
            "policy_cost_s": one.policy_cost_s,
            "incumbent_cost_s": one.incumbent_cost_s,
            "incumbent": one.incumbent,
            **figures(base, spread, one.shift),
        }
        for one in tries
    ]
    return pd.DataFrame(rows)


def write_findings(
    folder: Path, base: Scenario, spread: float, tries: Sequence[Try], found: Sequence[Finding]
) -> list[Path]:
    """Write all tries, the judged sites, and each of the worst as a scenario; returns the scenarios' files.

    Raises:
        InputError: If the file system refuses.
    """
    write_text(folder / TRIES, tries_frame(base, spread, tries).to_csv(index=False))
    rows = [
        {
            "scenario": one.scenario.name,
            "try": one.found.number,
            "incumbent": one.incumbent,
            "searched_gap": one.searched,
            **_columns("gap", one.gap),
            **_columns("beyond", one.beyond),
            **figures(base, spread, one.found.shift),
        }
        for one in found
    ]
    write_text(folder / FOUND, pd.DataFrame(rows).to_csv(index=False))
    paths = [folder / f"{one.scenario.name}.yaml" for one in found[1:]]
    for path, one in zip(paths, found[1:], strict=True):
        save_scenario(one.scenario, path)
    return paths


def _columns(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
