"""One run of a sweep, in the process that it has for itself; whoever does it, it is done once."""

import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

from rich.console import Console

from experiments.config import ExperimentConfig
from experiments.run_folder import BusyError, RunFolder, point_latest, versions
from sim.errors import InputError
from sim.files import write_text, write_whole
from sim.settings import digest
from sim.yaml_file import read_yaml

SWEEP = "sweep"
"""Folder beside the runs with what belongs to all of them."""

_PATIENCE_S = 120.0
_POLL_S = 0.5

Until = Literal["training", "finished"]
"""The stage at which a run counts as done."""


class Job(NamedTuple):
    """A run to be done, as it travels to another process or machine.

    Attributes:
        digest: Of the config.
        config: What to run.
        root: Where run folders are made, absolute.
        start: Folder that relative paths in the config start from, absolute.
        until: When it is done.
        versions: Of the packages that it is to be done with.
    """

    digest: str
    config: ExperimentConfig
    root: Path
    start: Path
    until: Until
    versions: Mapping[str, object]

    @property
    def home(self) -> Path:
        """The folder that its run lies in."""
        return self.root / self.config.name

    @property
    def log(self) -> Path:
        """What its process said; only of a run that went wrong it stays."""
        return self.home / SWEEP / "logs" / f"{self.digest}.txt"


Work = Callable[[Job], object]
"""Does a run, in whatever process."""


def job_of(config: ExperimentConfig, root: Path, until: Until) -> Job:
    """The job of running a config, here and now."""
    alone = config.model_copy(update={"workers": 1})
    return Job(digest(config), alone, root.absolute(), Path.cwd(), until, versions())


def runs_of(job: Job) -> list[RunFolder]:
    """The folders that were made for a job, the newest first."""
    found = [
        path for path in job.home.glob(f"{job.digest}-*") if path.name[len(job.digest) + 1 :].isdecimal()
    ]
    newest_first = sorted(found, key=lambda path: -int(path.name[len(job.digest) + 1 :]))
    return [RunFolder(path) for path in newest_first]


def done_run(job: Job) -> RunFolder | None:
    """The newest run of a job that is done, under the same versions."""
    for run in runs_of(job):
        if run.stage_done(job.until) and read_yaml(run.file("versions.json")) == job.versions:
            return run
    return None


def work(job: Job) -> None:
    """Do a job, or go on with it where another process left it; nothing happens when it is done.

    Raises:
        InputError: If another process works on it, or this machine cannot.
    """
    _check_machine(job)
    os.chdir(job.start)
    if (run := taken(job)) is None:
        return

    from experiments.pipeline import closing_stages, evaluate_stages, train_stages
    from experiments.work import Alone, one_thread

    one_thread()
    with run, _references(job, run):
        train_stages(run, job.config, Alone())
        if job.until == "finished":
            evaluate_stages(run, job.config, Alone())
            closing_stages(run, job.config, Console(quiet=True))


def taken(job: Job) -> RunFolder | None:
    """The run of a job, held; None when it is done.

    A worker that was given up as lost may live on for a while, even to the end of the run: it is waited for,
    and what it has done counts.

    Raises:
        BusyError: If another process works on the run all the while.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        if done_run(job) is not None:
            return None
        try:
            run = RunFolder.create(job.config, job.root)
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
            continue
        if (done := done_run(job)) is None:
            return run
        run.release()
        if run.path != done.path:  # it was done just now, and a second one begun
            shutil.rmtree(run.path)
            point_latest(done.path)
        return None


def perform(do: Work, job: Job) -> str:
    """Do a job with all that its process says going to its log: what went wrong, in one line, or nothing."""
    with _told_to(job.log):
        try:
            do(job)
        except InputError as error:
            return str(error).splitlines()[0]
        except Exception as error:
            traceback.print_exc()
            first = str(error).partition("\n")[0]
            return f"{type(error).__name__}: {first}; see {job.log}"
    job.log.unlink(missing_ok=True)
    return ""


def _check_machine(job: Job) -> None:
    if not (job.home / SWEEP).is_dir():
        problem = "is not seen from this worker; let --results name a folder that all machines share"
        raise InputError(job.home, "", problem)
    if not job.start.is_dir():
        problem = "is not seen from this worker; start the sweep in a folder that all machines share"
        raise InputError(job.start, "", problem)
    if (here := versions()) != job.versions:
        ours, theirs = _flat(here), _flat(job.versions)
        other = next(name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name))
        problem = (
            f"expected {theirs.get(other)} as where the sweep began, got {ours.get(other)}; install the same"
        )
        raise InputError("worker", other, problem)


def _flat(found: Mapping[str, object]) -> dict[str, object]:
    packages = found.get("packages")
    return {**found, **(packages if isinstance(packages, Mapping) else {}), "packages": None}


@contextmanager
def _references(job: Job, run: RunFolder) -> Iterator[None]:
    """Take the reference runs from one that has the same episodes; leave one's own to those that follow."""
    shared, own = _shared_references(job), run.file("references.npz")
    if shared.exists() and not run.stage_done("references"):
        write_whole(own, lambda stream: stream.write(shared.read_bytes()))
        run.mark("references")
    try:
        yield
    finally:
        if run.stage_done("references") and not shared.exists():
            write_whole(shared, lambda stream: stream.write(own.read_bytes()))


def _shared_references(job: Job) -> Path:
    """Where the reference runs of these episodes are kept for all runs that have them."""
    from experiments.splits import episodes_of

    config = job.config
    drawn_from = [config.environment.traces, config.environment.calibration]
    asked = [
        config.seed,
        config.environment.model_dump(mode="json"),
        config.evaluation.model_dump(mode="json", include={"train_episodes", "validation_episodes"}),
        dict(job.versions),
        [repr(scenario) for scenario in episodes_of(config).scenarios.values()],
        [_content(Path(name)) for name in drawn_from if name is not None],
    ]
    key = sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    return job.home / SWEEP / "references" / f"{key}.npz"


def _content(path: Path) -> list[str]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()]


@contextmanager
def _told_to(log: Path) -> Iterator[None]:
    """What this process writes to its terminal goes to a file."""
    write_text(log, "")
    kept = os.dup(1), os.dup(2)
    with log.open("a", encoding="utf-8") as stream:
        try:
            for one in (1, 2):
                os.dup2(stream.fileno(), one)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for one, before in enumerate(kept, 1):
                os.dup2(before, one)
                os.close(before)
