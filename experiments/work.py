"""Many independent tasks on all cores, with a bar to watch; the results do not depend on how many work at once."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from queue import Empty
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Task = TypeVar("Task")
Result = TypeVar("Result")
Report = Callable[[int], None]
"""Called with the units of work done since the last call."""

_POLL_S = 0.2
_reports: Any = None


class Crew:
    """Worker processes for the stages of a run, each a fresh interpreter with one thread.

    Args:
        workers: Processes; one a core when None.
        console: Where bars are drawn.
    """

    def __init__(self, workers: int | None, console: Console) -> None:
        self._workers = workers or os.cpu_count() or 1
        self._console = console
        self._context = multiprocessing.get_context("spawn")
        self._manager = self._context.Manager()
        self._queue = self._manager.Queue()
        self._pool = ProcessPoolExecutor(
            self._workers, mp_context=self._context, initializer=_begin, initargs=(self._queue,)
        )

    def __enter__(self) -> "Crew":
        """Nothing starts before the first task."""
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for nobody: what has not begun is dropped, what runs is ended."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in list((getattr(self._pool, "_processes", None) or {}).values()):
            process.terminate()
        self._manager.shutdown()

    def map(
        self, stage: str, function: Callable[[Task], Result], tasks: Sequence[Task], units: int | None = None
    ) -> list[Result]:
        """Results of all tasks, in their order, under a bar that bears the name of the stage.

        Args:
            stage: What the bar says.
            function: At the top of a module; it and the tasks travel to other processes.
            tasks: What to do.
            units: Units of work in all, when the tasks report them themselves through `report`; else each task is one.

        Raises:
            Exception: The first error of a task; the others are dropped.
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
            futures: list[Future[Result]] = [self._pool.submit(function, task) for task in tasks]
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, timeout=_POLL_S, return_when=FIRST_COMPLETED)
                for future in done:
                    if future.exception() is not None:
                        for other in waiting:
                            other.cancel()
                        future.result()
                bar.advance(line, len(done) if units is None else self._reported())
            if units is not None:
                bar.update(line, completed=units)
        return [future.result() for future in futures]

    def _reported(self) -> int:
        total = 0
        while True:
            try:
                total += self._queue.get_nowait()
            except Empty:
                return total


def report(units: int) -> None:
    """Tell the bar of the running stage, from inside a task, how much was done."""
    if _reports is not None and units:
        _reports.put(units)


def _begin(queue: Any) -> None:
    """Prepare a worker: a second thread slows networks of this size down; Ctrl-C is for the parent to see."""
    import signal

    import torch

    global _reports
    _reports = queue
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
