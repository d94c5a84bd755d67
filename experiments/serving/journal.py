"""The log on its way to the disk: one queue in the order of arrival, written in batches by a thread."""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from experiments.serving.limits import Limits
from experiments.shadow.store import Store
from experiments.shadow.store_rows import Decision, Outcome, Receipt
from sim.errors import InputError

_AGAIN_S: Final = 1.0
"""After a disk has refused."""


class Entry(Protocol):
    """A decision that goes to the log when it is ready: its candidate has answered, or was given up."""

    @property
    def ready(self) -> bool:
        """Whether it can be written."""
        ...

    def decision(self) -> Decision:
        """The row."""
        ...


class _Settled:
    """Outcomes of one request, and the future of their receipts."""

    ready = True

    def __init__(self, outcomes: Sequence[Outcome], receipts: "asyncio.Future[list[Receipt]]") -> None:
        self.outcomes, self.receipts = outcomes, receipts


class JournalFullError(Exception):
    """The disk refuses, and no more can wait for it."""


class Journal:
    """Writes decisions and outcomes in the order in which they came.

    So an acknowledged outcome means that all that came before it is on the disk, too, and whoever is killed
    loses the end of the log, never a piece of its middle.

    Args:
        store: To write to; used by the thread only.
        limits: Of batches and backlog.
    """

    def __init__(self, store: Store, limits: Limits) -> None:
        self.lost, self.failing = 0, ""
        self._store, self._limits = store, limits
        self._queue: deque[Entry | _Settled] = deque()
        self._thread = ThreadPoolExecutor(1, "journal")
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def __len__(self) -> int:
        """Entries that wait."""
        return len(self._queue)

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Write all that waits, and stop."""
        self._closing = True
        self._hurry.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    def add(self, entry: Entry) -> None:
        """Put a decision in the queue; counted as lost where a disk that refuses has filled it."""
        if len(self._queue) >= self._limits.backlog_rows:
            self.lost += 1
        else:
            self._queue.append(entry)

    async def settle(self, outcomes: Sequence[Outcome]) -> list[Receipt]:
        """Write outcomes, and wait until they are on the disk.

        Raises:
            JournalFullError: If the disk refuses.
        """
        if self.failing or self._closing:
            raise JournalFullError(self.failing)
        receipts: asyncio.Future[list[Receipt]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Settled(outcomes, receipts))
        self._hurry.set()
        return await receipts

    async def _run(self) -> None:
        while not (self._closing and not self._queue):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._limits.batch_s)
            batch = self._ripe()
            if batch:
                await self._write(batch)
            elif self._queue:
                await asyncio.sleep(self._limits.batch_s / 10)
            if not any(isinstance(one, _Settled) for one in self._queue):
                self._hurry.clear()

    def _ripe(self) -> list[Entry | _Settled]:
        """The entries at the head of the queue that are ready."""
        batch: list[Entry | _Settled] = []
        while self._queue and len(batch) < self._limits.batch_rows and self._queue[0].ready:
            batch.append(self._queue.popleft())
        return batch

    async def _write(self, batch: Sequence[Entry | _Settled]) -> None:
        decisions = [one.decision() for one in batch if not isinstance(one, _Settled)]
        settled = [one for one in batch if isinstance(one, _Settled)]
        outcomes = [outcome for one in settled for outcome in one.outcomes]
        loop = asyncio.get_running_loop()
        while True:
            try:
                receipts = await loop.run_in_executor(self._thread, self._store.write, decisions, outcomes)
                break
            except InputError as error:
                self._complain(str(error))
                for one in settled:
                    _refuse(one, str(error))
                settled, outcomes = [], []
                if self._closing:
                    self.lost += len(decisions)
                    return
                await asyncio.sleep(_AGAIN_S)
        self.failing = ""
        for one in settled:
            given, receipts = receipts[: len(one.outcomes)], receipts[len(one.outcomes) :]
            if not one.receipts.done():
                one.receipts.set_result(given)

    def _complain(self, problem: str) -> None:
        if problem != self.failing:
            print(problem, file=sys.stderr, flush=True)
        self.failing = problem


def _refuse(one: _Settled, problem: str) -> None:
    if not one.receipts.done():
        one.receipts.set_exception(JournalFullError(problem))
