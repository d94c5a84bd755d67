"""What runs with further inputs gain on a run without: the same policies, seeds and test episodes, paired."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from experiments.config import ExperimentConfig
from experiments.evidence import Cells, cells, read_evidence
from experiments.resampling import Estimate, Resampling
from experiments.run_folder import RunFolder
from experiments.stats import relative_difference
from sim.errors import InputError
from sim.randomness import stream
from sim.settings import load

SPLITS = ("test", "held-out")


class Gain(NamedTuple):
    """What one policy costs with further inputs, over what it costs without, minus 1.

    Attributes:
        inputs: What the run sees beside the question.
        policy: Its name.
        split: Of the episodes.
        difference: Over all scenarios of the split; below 0 the inputs help.
    """

    inputs: str
    policy: str
    split: str
    difference: Estimate

    @property
    def sure(self) -> str:
        """Whether the interval leaves 0 out, and on which side.

        >>> Gain("x", "ppo", "test", Estimate(-0.02, -0.03, 0.01)).sure
        'open'
        """
        if self.difference.high < 0:
            return "helps"
        return "harms" if self.difference.low > 0 else "open"


class _Run(NamedTuple):
    inputs: str
    board: Cells
    policies: list[str]


def ablation(folders: Sequence[Path]) -> list[Gain]:
    """Hold evaluated runs against the first of them, policy by policy that both have trained.

    Raises:
        InputError: If a folder is no evaluated run, or the runs have no learner or no episode in common.
    """
    base, *others = (_read(folder) for folder in folders)
    found: list[Gain] = []
    for other in others:
        for policy in (name for name in other.policies if name in base.policies):
            for split in SPLITS:
                common = [place for place in _places(base, policy, split) if place in other.board]
                if not common:
                    continue
                for place in common:
                    if not np.array_equal(base.board[place].episodes, other.board[place].episodes):
                        raise InputError(folders[0], "", "has other episodes than the others; use one config")
                mine, theirs = ([run.board[place].scores() for place in common] for run in (other, base))
                how = Resampling(stream(0, f"ablation {other.inputs} {policy} {split}"))
                found.append(Gain(other.inputs, policy, split, relative_difference(mine, theirs, how)))
    if not found:
        raise InputError(folders[0], "", "has no learner and scenario in common with the others")
    return found


def ablation_table(gains: Sequence[Gain]) -> Table:
    """The gains as a table for a terminal."""
    table = Table("inputs", "policy", "episodes", "cost", "95 % interval", "")
    for one in gains:
        low, high = one.difference.low, one.difference.high
        table.add_row(
            one.inputs,
            one.policy,
            one.split,
            f"{100 * one.difference.value:+.1f} %",
            f"{100 * low:+.1f} to {100 * high:+.1f} %",
            one.sure,
        )
    return table


def ablation_page(gains: Sequence[Gain]) -> str:
    """The same as Markdown."""
    lines = ["| inputs | policy | episodes | cost | 95 % interval | |", "|---|---|---|---|---|---|"]
    for one in gains:
        value, low, high = (100 * end for end in one.difference)
        lines.append(
            f"| {one.inputs} | {one.policy} | {one.split} | {value:+.1f} % | {low:+.1f} to {high:+.1f} % | "
            f"{one.sure} |"
        )
    return "\n".join(lines) + "\n"


def _read(folder: Path) -> _Run:
    run = RunFolder.existing(folder)
    config = load(run.file("config.yaml"), ExperimentConfig)
    features = config.environment.options.get("features") or []
    board = cells(read_evidence(run.path).episodes)
    return _Run(" + ".join(map(str, features)) or "none", board, [one.name for one in config.learners])


def _places(run: _Run, policy: str, split: str) -> list[tuple[str, str, str]]:
    return sorted(place for place in run.board if (place[0], place[2]) == (policy, split))
