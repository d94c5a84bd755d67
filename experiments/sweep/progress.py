"""How far a run is, read from its folder: the same on one machine and on many."""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd

from experiments.run_folder import RunFolder
from experiments.sweep.worker import Job, runs_of

STAGES: Final = ("references", "training", "evaluation", "lookahead", "search", "bound")
"""What a run has behind it one after the other; the report comes last."""


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
        stage: What it is at.
        share: How much of a training is done; NaN in other stages.
        cost: Least validation cost of a learner so far, as a share of the best static policy's; NaN before.
    """

    stage: str
    share: float
    cost: float


def progress(job: Job) -> Progress:
    """How far the newest run of a job is."""
    runs = runs_of(job)
    if not runs:
        return Progress("starting", float("nan"), float("nan"))
    run, config = runs[0], job.config
    stage = next((name for name in STAGES if not run.stage_done(name)), "report")
    curves = [
        curve(run, learner.name, seed, legs=True) for learner in config.learners for seed in learner.seeds
    ]
    costs = [row["validation_cost"] for rows in curves for row in rows]
    share = float("nan")
    if stage == "training":
        total = sum(learner.steps * len(learner.seeds) for learner in config.learners)
        share = min(1.0, sum(rows[-1]["step"] for rows in curves if rows) / total) if total else float("nan")
    return Progress(stage, share, min(costs, default=float("nan")))


def curve(run: RunFolder, name: str, seed: int, *, legs: bool = False) -> list[dict[str, Any]]:
    """A row a validation of a training that has ended or, with ``legs``, of what there is so far."""
    folder = run.file("learners", f"{name}-{seed}")
    if (folder / "curves.csv").exists():
        rows: list[Any] = pd.read_csv(folder / "curves.csv").to_dict("records")
        return rows
    return _checkpoint(folder / "checkpoints") if legs else []


def _checkpoint(folder: Path) -> list[dict[str, Any]]:
    numbers = [int(path.name[4:]) for path in folder.glob("leg-*") if path.name[4:].isdecimal()]
    try:
        stored = json.loads((folder / f"leg-{max(numbers, default=0)}" / "training.json").read_text("utf-8"))
        return [dict(row) for row in stored["curve"]]
    except (OSError, ValueError):  # a newer one takes its place at this moment
        return []
