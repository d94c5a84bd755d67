"""A sweep from its file to its table: what is done stays, what is missing is run, what fails is said."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
from rich.console import Console

from experiments.look import save
from experiments.run_folder import RunFolder
from experiments.sweep.board import Board
from experiments.sweep.config import SweepFile
from experiments.sweep.expansion import Point, expand, told
from experiments.sweep.figure import cost_against_keys
from experiments.sweep.results import result_frame, run_rows, write_page
from experiments.sweep.scheduler import Scheduler, see_through
from experiments.sweep.worker import SWEEP, Job, done_run, job_of
from sim.errors import InputError
from sim.files import write_text, writing

TABLE, PAGE, FIGURE = "runs.csv", "sweep.md", "validation_cost.png"


class Sweep(NamedTuple):
    """What a sweep has come to.

    Attributes:
        folder: ``results/<name>/sweep``: the table of all runs, the page, the figure, logs of failed runs.
        frame: A row a run and policy.
        failed: For each run that failed its values and what went wrong.
        skipped: How many runs were done before.
    """

    folder: Path
    frame: pd.DataFrame
    failed: list[str]
    skipped: int


def planned(file: SweepFile, root: Path) -> tuple[list[Point], dict[str, Job], set[str]]:
    """The runs of a sweep, their jobs, and the digests of those that are done already.

    Raises:
        InputError: If any of them names what there is not; nothing has begun then.
    """
    from experiments.pipeline import check

    points = expand(file)
    for point in points:
        check(point.config, str(file.source))
    jobs = {point.digest: job_of(point.config, root, "finished") for point in points}
    return points, jobs, {digest for digest, job in jobs.items() if done_run(job) is not None}


def run_sweep(file: SweepFile, root: Path, scheduler: Scheduler, console: Console) -> Sweep:
    """Run what is missing of a sweep, and write its table, page and figure.

    Raises:
        InputError: If the file is wrong, another process works on the sweep, or no run at all is done.
    """
    points, jobs, done = planned(file, root)
    folder = next(iter(jobs.values())).home / SWEEP
    with held(folder):
        missing = [job for digest, job in jobs.items() if digest not in done]
        values = {point.digest: point.values for point in points}
        with Board(console, jobs, values, len(done)) as board:
            problems = see_through(missing, scheduler, board)
        failed = [
            f"{point.digest} ({told(point.values)}): {problems[point.digest]}"
            for point in points
            if point.digest in problems
        ]
        frame = write_results(folder, points[0].config.title, points, jobs, failed)
    return Sweep(folder, frame, failed, len(done))


def write_results(
    folder: Path, title: str, points: list[Point], jobs: dict[str, Job], failed: list[str]
) -> pd.DataFrame:
    """Write table, page and figure of all runs that are done."""
    runs = [(point, done_run(jobs[point.digest])) for point in points]
    found = [(point, run_rows(point, run.path)) for point, run in runs if run is not None]
    if not found:
        raise InputError(folder, "", f"no run could be done; the first: {failed[0]}")
    frame = result_frame([point for point, _ in found], [rows for _, rows in found])
    write_text(folder / TABLE, frame.to_csv(index=False))
    drawn = cost_against_keys(frame)
    figure = save(drawn, folder / FIGURE) if drawn is not None else None
    write_page(folder / PAGE, title, frame, failed, figure)
    return frame


def held(folder: Path) -> RunFolder:
    """The folder of a sweep, held against other processes until it is left."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return RunFolder(folder)
