"""What results come to: every policy beside the best static one, on test episodes and by held-out family."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from experiments.aggregates import Relative, relative_scores
from experiments.evidence import Cells, best_statics, cells, kinds
from experiments.resampling import Estimate, Resampling
from experiments.splits import Split
from experiments.stats import interquartile_interval, probability_of_improvement, relative_difference
from experiments.suite.definition import Suite
from experiments.suite.performance import missing
from experiments.suite.result import Result, frame, read_result
from experiments.summary import Chance
from sim.errors import InputError

CHANCE: Final = Chance(2026, 0.95, 2000)
"""Of all intervals on the leaderboard."""


class Standing(NamedTuple):
    """One line of the leaderboard; costs as shares of the best static policy's.

    Attributes:
        policy: Who.
        kind: One of `experiments.evidence.KINDS`.
        trainings: Runs behind the figures.
        test: Mean over the test episodes, geometric over scenarios.
        middle: Interquartile mean over them.
        improvement: Probability of a lower cost than the best static policy's on one of them.
        families: The mean on each held-out family, by its name.
        scores: On the test episodes, for figures.
    """

    policy: str
    kind: str
    trainings: int
    test: Estimate
    middle: Estimate
    improvement: Estimate
    families: Mapping[str, Estimate]
    scores: Relative


class Board(NamedTuple):
    """The leaderboard of one question.

    Attributes:
        task: The question.
        statics: The best static policy of each scenario.
        standings: The best first.
    """

    task: str
    statics: Mapping[str, str]
    standings: tuple[Standing, ...]


def read_results(folder: Path, suite: Suite) -> list[Result]:
    """All result files below a folder, each whole and of this suite.

    Raises:
        InputError: If there are none, one is torn or lacks episodes, or two are of one policy.
    """
    paths = sorted(folder.rglob("*.json"))
    if not paths:
        raise InputError(folder, "", "expected result files; `dwcp-gym suite play` writes them")
    found: dict[tuple[str, str], Path] = {}
    results = []
    for path in paths:
        result = read_result(path)
        if problems := missing(suite, result):
            raise InputError(path, "", problems[0])
        key = result.told.task, result.told.policy
        if key in found:
            raise InputError(path, "policy", f"'{key[1]}' is in {found[key]}, too; rename one with --as")
        found[key] = path
        results.append(result)
    return results


def board(suite: Suite, task: str, results: Sequence[Result], chance: Chance = CHANCE) -> Board:
    """The leaderboard of a question.

    The best static policy of a scenario is chosen on validation; of a held-out one, in hindsight.

    Raises:
        InputError: If no static policy is among the results.
    """
    episodes = frame([result for result in results if result.told.task == task])
    if not (episodes["kind"] == "static").any():
        raise InputError(task, "", "needs a static policy to set others against; play the catalogue first")
    statics = {scenario: name for scenario, (name, _) in best_statics(episodes).items()}
    cut, kind = cells(episodes), kinds(episodes)
    lines = []
    for one in relative_scores(cut, statics, "test", kind):
        draw = partial(chance.resampling, task, one.policy)
        par = [np.ones_like(scores[:1]) for scores in one.scores]
        families = {
            family.name: _mean(cut, one.policy, statics, family.scenarios, "held-out", draw(family.name))
            for family in suite.task(task).families
        }
        lines.append(
            Standing(
                one.policy,
                one.kind,
                len(one.scores[0]),
                _mean(cut, one.policy, statics, suite.task(task).scenarios, "test", draw("test")),
                interquartile_interval(one.scores, draw("iqm")),
                probability_of_improvement(one.scores, par, draw("wins")),
                families,
                one,
            )
        )
    ranked = tuple(sorted(lines, key=lambda line: line.test.value))
    return Board(task, {name: statics[name] for name in suite.scenarios(task)}, ranked)


def _mean(
    cut: Cells,
    policy: str,
    statics: Mapping[str, str],
    scenarios: Sequence[str],
    split: Split,
    how: Resampling,
) -> Estimate:
    """Cost beside the best static policy's: of a scenario the ratio of means, geometric over scenarios."""
    ours = [cut[policy, name, split].scores() for name in scenarios]
    theirs = [cut[statics[name], name, split].scores() for name in scenarios]
    found = relative_difference(ours, theirs, how)
    return Estimate(1 + found.value, 1 + found.low, 1 + found.high)
