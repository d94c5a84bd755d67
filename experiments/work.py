"""Many independent tasks on all cores, with a bar to watch; results do not depend on how many work."""

import importlib
import importlib.util
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sim.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")

_POLL_S = 0.2
_PATIENCE_S = 5.0
_reports: Any = None
"""Where this process, if it is a worker, tells what it has done."""


class Crew:
    """Worker processes for the stages of a run, each a fresh interpreter with one thread.

    Ctrl-C reaches the parent only. Workers end when the crew is left, and by themselves when the parent dies.

    Args:
        workers: Processes; one a core when None.
        console: Where bars are drawn.
    """

    def __init__(self, workers: int | None, console: Console) -> None:
        self._console = console
        context = multiprocessing.get_context("spawn")
        self._reports: SimpleQueue[int] = context.SimpleQueue()
        self._pool = ProcessPoolExecutor(
            workers or os.cpu_count() or 1,
            mp_context=context,
            initializer=_begin,
            initargs=(self._reports,),
        )

    def __enter__(self) -> "Crew":
        """Nothing starts before the first task."""
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for nobody: what has not begun is dropped, what runs is ended."""
        processes = list((self._pool._processes or {}).values())  # shutdown forgets them
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(_PATIENCE_S)

    def map(
        self, stage: str, function: Callable[[Task], Result], tasks: Sequence[Task], units: int | None = None
    ) -> list[Result]:
        """Results of all tasks, in their order, under a bar that bears the name of the stage.

        Args:
            stage: What the bar says.
            function: At the top of a module; it and the tasks travel to other processes.
            tasks: What to do.
            units: Units of work in all, when the tasks tell them through `report`; else each task is one.

        Raises:
            Exception: The first error of a task; the others are dropped.
            InputError: If a worker was ended from outside.
        """
        bar = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        with bar:
            line = bar.add_task(stage, total=len(tasks) if units is None else units)
            with nothing_hears_ctrl_c():
                futures = [self._pool.submit(function, task) for task in tasks]
            waiting: set[Future[Result]] = set(futures)
            while waiting:
                done, waiting = wait(waiting, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                reported = self._reported()
                bar.advance(line, len(done) if units is None else reported)
                for future in done:
                    if future.exception() is not None:
                        for other in waiting:
                            other.cancel()
                        raise _first_error(stage, future)
            if units is not None:
                bar.update(line, completed=units)
        return [future.result() for future in futures]

    def _reported(self) -> int:
        total = 0
        while not self._reports.empty():
            total += self._reports.get()
        return total


class Alone(Crew):
    """The same in this very process, without a bar: for a run that is itself one of many side by side."""

    def __init__(self) -> None:
        """Nothing is started."""

    def __exit__(self, *error: object) -> None:
        """Nothing is left."""

    def map(
        self, stage: str, function: Callable[[Task], Result], tasks: Sequence[Task], units: int | None = None
    ) -> list[Result]:
        """Results of all tasks, in their order."""
        return [function(task) for task in tasks]


def report(units: int) -> None:
    """Tell the bar of the running stage, from inside a task, how much was done."""
    if _reports is not None and units:
        _reports.put(units)


def _first_error(stage: str, future: "Future[Any]") -> BaseException:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        problem = (
            "expected every process to end its task, one was ended from outside, perhaps for want of memory; "
            "set fewer workers and give the same command again"
        )
        return InputError(stage, "", problem)
    return error or RuntimeError(f"{stage}: a task failed without an error")


@contextmanager
def nothing_hears_ctrl_c() -> Iterator[None]:
    """Processes that start meanwhile never see Ctrl-C; the parent sees it afterwards."""
    if os.name != "posix":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(reports: Any) -> None:
    obey_parent()
    one_thread()
    global _reports
    _reports = reports


def obey_parent() -> None:
    """Prepare a worker: Ctrl-C is for the parent to see, and who has none left ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _leave_no_lock()


def _leave_no_lock() -> None:
    """Where tqdm is installed torch exports under it, and its lock would outlive a worker that is ended."""
    if importlib.util.find_spec("tqdm"):
        importlib.import_module("tqdm").tqdm.set_lock(threading.RLock())


def one_thread() -> None:
    """A second thread slows networks of this size down."""
    import torch

    torch.set_num_threads(1)


def _end_with_parent() -> None:
    """A worker whose parent was killed must not write on into a run that another process may have resumed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
