"""Runs on this machine: a process each, so that one that dies takes nothing else with it."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple

from experiments.sweep.scheduler import Ended
from experiments.sweep.worker import Job, Work, perform, work
from experiments.work import nothing_hears_ctrl_c, obey_parent

_PATIENCE_S = 5.0


class _Begun(NamedTuple):
    job: Job
    process: BaseProcess
    word: Connection


class LocalScheduler:
    """Processes of this machine, fresh interpreters with one thread; all end with the one that began them.

    Args:
        workers: How many at once; one a core when None.
        do: What a process does with its job.
    """

    def __init__(self, workers: int | None = None, do: Work = work) -> None:
        self._workers = workers or os.cpu_count() or 1
        self._do = do
        self._context = multiprocessing.get_context("spawn")
        self._begun: dict[str, _Begun] = {}

    def __enter__(self) -> "LocalScheduler":
        """Nothing starts before the first job."""
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for nobody: what runs is ended; begun again, it goes on from its last checkpoint."""
        for begun in self._begun.values():
            begun.process.terminate()
        for begun in self._begun.values():
            _join(begun.process)
        self._begun.clear()

    def room(self) -> int:
        """Workers without a job."""
        return self._workers - len(self._begun)

    def begin(self, job: Job) -> None:
        """Start a process for a job."""
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_serve, args=(self._do, job, theirs))
        with nothing_hears_ctrl_c():
            process.start()
        theirs.close()
        self._begun[job.digest] = _Begun(job, process, ours)

    def ended(self, patience_s: float) -> Sequence[Ended]:
        """Jobs whose process has ended."""
        wait([begun.process.sentinel for begun in self._begun.values()], patience_s)
        found = []
        for digest, begun in list(self._begun.items()):
            if begun.process.exitcode is None:
                continue
            del self._begun[digest]
            found.append(_ended(begun))
        return found

    def stop(self, job: Job) -> None:
        """End the process of a job."""
        begun = self._begun.pop(job.digest)
        begun.process.terminate()
        _join(begun.process)
        begun.word.close()


def _ended(begun: _Begun) -> Ended:
    begun.process.join()
    with begun.word:
        try:
            return Ended(begun.job, begun.word.recv() if begun.word.poll() else "its process said nothing")
        except EOFError:
            return Ended(begun.job, _manner(begun.process.exitcode or 0), lost=True)


def _manner(code: int) -> str:
    """How a process ended without a word."""
    if code < 0:
        return (
            f"its process was ended from outside ({signal.Signals(-code).name}), perhaps for want of memory"
        )
    return f"its process ended with code {code}"


def _join(process: BaseProcess) -> None:
    process.join(_PATIENCE_S)
    if process.is_alive():
        process.kill()
        process.join(_PATIENCE_S)


def _serve(do: Work, job: Job, word: Connection) -> None:
    obey_parent()
    word.send(perform(do, job))
    word.close()
