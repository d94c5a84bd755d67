"""``dwcp-gym sweep`` and ``dwcp-gym tune``: many runs from one file, here or on a Ray cluster."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sim.errors import InputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from experiments.sweep.scheduler import Scheduler

console = Console()


class Backend(StrEnum):
    """Where runs are worked on."""

    LOCAL = "local"
    RAY = "ray"


Config = Annotated[
    Path, typer.Argument(help="YAML with `sweep:` or `tune:`, e.g. of experiments/configs/sweeps.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Other values for keys of the YAML, e.g. sweep.seeds=3.")
]
Root = Annotated[Path, typer.Option("--results", help="Where run folders are made.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Runs at once on this machine; one a core by default.")
]
Where = Annotated[Backend, typer.Option("--backend", help="Processes of this machine, or a Ray cluster.")]
Address = Annotated[
    str | None, typer.Option(help="Of the Ray cluster: auto, or host:port; without, Ray on this machine.")
]


def sweep(
    config: Config,
    overrides: Overrides = None,
    results: Root = Path("results"),
    workers: Workers = None,
    backend: Where = Backend.LOCAL,
    address: Address = None,
    only_list: Annotated[
        bool, typer.Option("--list", help="Say which runs there are, and begin none.")
    ] = False,
) -> None:
    """Run every combination of settings and seeds that a file asks for; what is done is not done again.

    A run that fails does not stop the others: it is named at the end, and tried again by the same command.
    """
    from experiments.sweep.config import read_sweep
    from experiments.sweep.expansion import told
    from experiments.sweep.results import result_table
    from experiments.sweep.sweep import FIGURE, PAGE, TABLE, planned, run_sweep

    file = read_sweep(config, overrides or [])
    if only_list:
        points, jobs, done = planned(file, results)
        for point in points:
            state = "done" if point.digest in done else "missing"
            _line(f"{jobs[point.digest].home / point.digest}  {state:<7}  {told(point.values)}")
        return
    with _scheduler(backend, address, workers) as scheduler:
        found = run_sweep(file, results, scheduler, console)
    console.print(result_table(found.frame, "Cost, % of the best static policy's (lowest–highest run)"))
    if found.skipped:
        _line(f"{'done before':<12} {found.skipped}")
    for name, path in (("runs", TABLE), ("page", PAGE), ("figure", FIGURE)):
        if (found.folder / path).exists():
            _line(f"{name:<12} {_near(found.folder / path)}")
    for line in found.failed:
        _line(f"{'failed':<12} {line}")
    if found.failed:
        _line(f"{len(found.failed)} failed; the same command tries them again")
        raise typer.Exit(1)


def tune(
    config: Config,
    overrides: Overrides = None,
    results: Root = Path("results"),
    workers: Workers = None,
    backend: Where = Backend.LOCAL,
    address: Address = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Learners, of those of `tune:`.")] = None,
) -> None:
    """Search good hyper-parameters of learners; the study goes on where an earlier call left it."""
    from experiments.pipeline import check
    from experiments.sweep.board import Board
    from experiments.sweep.config import read_sweep
    from experiments.sweep.expansion import checked
    from experiments.sweep.history import best_trial, write_history, write_tuned
    from experiments.sweep.sweep import held
    from experiments.sweep.tuning import STUDY, Tuning

    file = read_sweep(config, overrides or [])
    if not file.tune:
        raise InputError(
            config, "tune", "is missing; expected a search for each learner, as docs/sweeps.md has it"
        )
    for name in only or ():
        if name not in file.tune:
            raise InputError("--only", "", f"expected one of {', '.join(file.tune)}, got {name!r}")
    base = checked(file, file.experiment, {})
    check(base, str(config))
    from experiments.sweep.worker import SWEEP

    folder = results.absolute() / base.name / SWEEP
    with held(folder):
        tunings = {name: Tuning(file, name, results) for name in file.tune if name in (only or file.tune)}
        with _scheduler(backend, address, workers) as scheduler:
            for name, tuning in tunings.items():
                with Board(console, tuning.jobs, tuning.values, tuning.tried) as board:
                    tuning.run(scheduler, board)
                frame, page = write_history(tuning, name)
                if (best := best_trial(frame)) is not None:
                    settings = " ".join(f"{key}={best[key]}" for key in tuning.settings.space)
                    _line(f"{name:<12} {100 * best['validation_cost']:.1f} %  {settings}")
                _line(f"{'page':<12} {_near(page)}")
        write_tuned(file, tunings, folder / "tuned.yaml")
    _line(f"{'tuned':<12} {_near(folder / 'tuned.yaml')}")
    _line(f"{'study':<12} {_near(folder / STUDY)}")


def _scheduler(
    backend: Backend, address: str | None, workers: int | None
) -> "AbstractContextManager[Scheduler]":
    if backend is Backend.RAY:
        if workers is not None:
            raise InputError("--workers", "", "is of --backend local; on a cluster its cores say how many")
        from experiments.sweep.cluster import RayScheduler

        return RayScheduler(address)
    if address is not None:
        raise InputError("--address", "", "is of a Ray cluster; add --backend ray")
    from experiments.sweep.local import LocalScheduler

    return LocalScheduler(workers)


def _near(path: Path) -> Path:
    """A path as one would type it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _line(text: str) -> None:
    """A result on a line of its own, whole however narrow the terminal."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
