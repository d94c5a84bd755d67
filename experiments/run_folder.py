"""The folder of one run: what it was asked, under which versions, how far it came; one process at a time."""

import os
import platform
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from experiments.config import RunSettings
from sim.errors import InputError
from sim.files import TEMPORARY, sweep_temporary, write_json, write_text, writing
from sim.settings import digest, dump
from sim.yaml_file import read_yaml

if os.name == "posix":
    import fcntl

PACKAGES = (
    "dwcp-gym",
    "gymnasium",
    "numba",
    "numpy",
    "onnx",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "pydantic",
    "scipy",
    "simpy",
    "stable-baselines3",
    "torch",
    "xgboost",
    "xgboost-cpu",
)
"""Distributions whose version can change a figure."""

FINISHED = "finished"
LATEST = "latest"


class BusyError(InputError):
    """Another process works on the run."""


class RunFolder:
    """``results/<experiment>/<digest>-<number>/``: the files of one run and the stages it has behind it.

    ``config.yaml``, ``versions.json`` and ``seeds.json`` say what the run is; an empty file ``stages/<name>``
    says that a stage is done. Use it as a context manager to hold the folder against other processes; without
    that, only read. The lock ends with the process, however it ends. Where the system has no ``flock``
    (Windows) nothing is locked.

    Args:
        path: The folder of the run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    @classmethod
    def create(cls, config: RunSettings, root: Path) -> Self:
        """The run of a config, locked: the newest of equal config and versions if unfinished, else a new one.

        ``latest`` of the experiment points to it from now on, and what a killed writer left in it is gone.

        Raises:
            InputError: If another process works on it, or the file system refuses.
        """
        home, stem = root / config.name, digest(config)
        with writing(home):
            home.mkdir(parents=True, exist_ok=True)
        run = cls._take(home, stem)
        try:
            if not run.file("seeds.json").exists():
                dump(config, run.file("config.yaml"))
                write_json(run.file("versions.json"), versions())
                write_json(run.file("seeds.json"), config.seeds)
            point_latest(run.path)
        except BaseException:
            run.release()
            raise
        return run

    @classmethod
    def existing(cls, path: Path) -> Self:
        """The run at a folder or at an experiment's ``latest``, not locked.

        Raises:
            InputError: If there is no run.
        """
        folder = follow_latest(path)
        if not (folder / "config.yaml").is_file():
            raise InputError(
                path, "", "expected the folder of a run, with a config.yaml; name one under results/"
            )
        return cls(folder)

    @classmethod
    def _take(cls, home: Path, stem: str) -> Self:
        while True:
            with writing(home):
                numbers = [
                    int(p.name[len(stem) + 1 :])
                    for p in home.glob(f"{stem}-*")
                    if p.name[len(stem) + 1 :].isdecimal()
                ]
            newest = max(numbers, default=0)
            run = cls(home / f"{stem}-{newest}")
            if newest and run._resumable():
                run.lock()
                if not run.finished:
                    sweep_temporary(run.path)
                    return run
                run.release()
            with writing(home):
                try:
                    (home / f"{stem}-{newest + 1}").mkdir()
                except FileExistsError:
                    continue

    def _resumable(self) -> bool:
        recorded = self.file("versions.json")
        return not self.finished and (not recorded.exists() or read_yaml(recorded) == versions())

    def __enter__(self) -> Self:
        self.lock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def lock(self) -> None:
        """Hold the folder until ``release``; nothing happens when this object holds it already.

        Raises:
            BusyError: If another holds it, with its process id.
            InputError: If the file system refuses.
        """
        if self._lock is not None:
            return
        place = self.path / "lock"
        with writing(place):
            stream = place.open("a+", encoding="utf-8")
            if os.name == "posix":
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as busy:
                    stream.seek(0)
                    holder = stream.read().strip() or "unknown"
                    stream.close()
                    problem = f"process {holder} works on this run; wait for it, or stop it and resume here"
                    raise BusyError(self.path, "", problem) from busy
                except OSError:
                    stream.close()
                    raise
            stream.truncate(0)
            stream.write(f"{os.getpid()}\n")
            stream.flush()
        self._lock = stream

    def release(self) -> None:
        """Let other processes in."""
        if self._lock is not None:
            if os.name == "posix":
                fcntl.flock(self._lock, fcntl.LOCK_UN)  # a forked worker may hold a copy of the open file
            self._lock.close()
            self._lock = None

    def file(self, *parts: str) -> Path:
        """Path of a file inside the run; its folder need not exist, the writers of ``files`` make it."""
        return self.path.joinpath(*parts)

    def stage_done(self, name: str) -> bool:
        """Whether ``mark`` was called for a stage, in this process or an earlier one."""
        return self._stage(name).exists()

    def mark(self, name: str) -> None:
        """Say that a stage is done: call it after all files of the stage are written.

        Raises:
            InputError: If the file system refuses.
        """
        write_text(self._stage(name), "")

    @property
    def finished(self) -> bool:
        """Whether the whole run is done."""
        return self.stage_done(FINISHED)

    def finish(self) -> None:
        """Say that the whole run is done: the next run of the same config starts anew."""
        self.mark(FINISHED)

    def _stage(self, name: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise ValueError(
                f"a stage name must be letters, digits, '_', '-' and '.', got {name!r}; such as 'train-ppo-0'"
            )
        return self.path / "stages" / name


def versions() -> Mapping[str, object]:
    """Python, system and packages of this process, without names of machines or folders."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "packages": found,
    }


def point_latest(run: Path) -> None:
    """Let ``latest`` beside a run name it: a symbolic link, or a text file where links are not possible.

    Raises:
        InputError: If the file system refuses.
    """
    pointer = run.with_name(LATEST)
    temporary = run.with_name(f"{TEMPORARY}{os.getpid()}-{LATEST}")
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(run.name, target_is_directory=True)
    except (OSError, NotImplementedError):
        write_text(pointer, run.name + "\n")
        return
    with writing(pointer):
        temporary.replace(pointer)


def follow_latest(path: Path) -> Path:
    """The run that a path means: through a ``latest`` link or text file, or that of an experiment's folder.

    >>> follow_latest(Path("results/quick/3f2a91bc-1"))
    PosixPath('results/quick/3f2a91bc-1')
    """
    if path.name != LATEST and os.path.lexists(path / LATEST):
        path = path / LATEST
    if path.is_file() and path.name == LATEST:
        return path.with_name(path.read_text(encoding="utf-8").strip())
    return path.resolve() if path.is_symlink() else path
