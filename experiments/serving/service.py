"""The service without its web: decisions, outcomes, and a look at the store every second."""

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from experiments.rollout.assignment import SHARES
from experiments.serving.channel import WORKER
from experiments.serving.decider import Asking, Decided, Decider
from experiments.serving.deployment import Deployment, deploy
from experiments.serving.journal import Journal
from experiments.serving.limits import Limits
from experiments.serving.meters import Meters
from experiments.serving.summary import SUMMARY
from experiments.shadow.store import Store
from experiments.shadow.store_rows import Outcome, Receipt
from sim.errors import InputError

WATCH: Final = (sys.executable, "-m", "experiments.serving.watch")
"""Command of the process that watches; folder and ``move`` follow."""
_LATER_S: Final = 2.0
_AGAIN_S: Final = 5.0
_TIDY_S: Final = 3600.0


class Service:
    """Answers from a store's incumbent, with its candidate beside it.

    Args:
        store: Of the rollout.
        limits: Budgets and bounds.
        worker: Command of the candidate's process.
        move: Whether the gates may move the candidate.

    Raises:
        InputError: If the store has no incumbent, or a bundle cannot be served.
    """

    def __init__(
        self, store: Store, limits: Limits, worker: Sequence[str] = WORKER, *, move: bool = True
    ) -> None:
        self.store, self.limits, self.meters = store, limits, Meters()
        self._reader = Store(store.folder, store.clock)
        self._worker = worker
        self._watch = [*WATCH, str(store.folder), *["move"] * move]
        self._now = deploy(store, limits, worker=worker)
        self._journal = Journal(store, limits)
        self._decider = Decider(limits, store.clock, f"{store.count('services'):x}")
        self._asked: deque[Decided] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self._looking = asyncio.Lock()
        self._changes = -1

    @property
    def now(self) -> Deployment:
        """Who answers at the moment."""
        return self._now

    @property
    def trouble(self) -> str:
        """Why it is not ready; empty if it is."""
        return self._journal.failing

    async def start(self) -> None:
        """Begin to work."""
        self._journal.start()
        if self._now.channel is not None:
            self._now.channel.start()
        self._tasks = [asyncio.create_task(self._look_on()), asyncio.create_task(self._tidy())]
        self._tasks.append(asyncio.create_task(self._keep_watch()))

    async def close(self) -> None:
        """Write what waits, end the candidate, let go of the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._now.channel is not None:
            await self._now.channel.close()
        await self._journal.close()
        self._reader.close()

    async def decide(self, asking: Asking) -> Decided:
        """Answer a question, and log it."""
        decided = await self._decider.decide(self._now, asking)
        self._journal.add(decided)
        self.meters.count(decided)
        if decided.asked is not None:
            self._asked.append(decided)
            while self._asked and self._asked[0].ready:
                self.meters.count_candidate(self._asked.popleft())
        return decided

    async def settle(self, outcomes: Sequence[Outcome]) -> list[Receipt]:
        """Store outcomes; on the disk when it returns."""
        receipts = await self._journal.settle(outcomes)
        for receipt in receipts:
            self.meters.outcomes.labels(receipt).inc()
        return receipts

    async def reload(self) -> None:
        """Take up roles and stages from the store; requests that have begun end as they began."""
        async with self._looking:
            before = self._now
            try:
                now = await asyncio.to_thread(deploy, self._reader, self.limits, before, self._worker)
            except InputError as error:
                print(f"not taken up: {error}", file=sys.stderr, flush=True)
                return
            if now.channel is not before.channel and now.channel is not None:
                now.channel.start()
            self._now = now
            if before.channel is not None and now.channel is not before.channel:
                await before.channel.close()

    async def summary(self) -> dict[str, Any]:
        """Figures of the page, as the watching process left them; empty before the first."""
        return await asyncio.to_thread(self._reader.setting, SUMMARY) or {}

    async def scrape(self) -> bytes:
        """What Prometheus reads."""
        meters, summary, now = self.meters, await self.summary(), self.store.clock()
        meters.waiting.set(len(self._journal))
        meters.lost.set(self._journal.lost)
        meters.fallbacks.set(self._decider.fallbacks)
        for role, share in summary.get("accuracy", {}).items():
            meters.accuracy.labels(role).set(share)
        if summary.get("gain"):
            meters.gain.set(summary["gain"]["pct"])
        for role, seat in (("incumbent", self._now.incumbent), ("candidate", self._now.candidate)):
            if seat is not None:
                meters.age.labels(role).set(now - seat.model.added)
        for region, stage in self._now.stages.items():
            meters.share.labels(region).set(SHARES[stage])
        return meters.text()

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(self.limits.look_s)
            changes = await asyncio.to_thread(self._reader.changes)
            if changes != self._changes:
                self._changes = changes
                await self.reload()

    async def _keep_watch(self) -> None:
        """Have a process that watches at all times; what answers starts first."""
        await asyncio.sleep(_LATER_S)
        while True:
            process = await asyncio.create_subprocess_exec(*self._watch, stdin=asyncio.subprocess.PIPE)
            try:
                await process.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                if process.stdin is not None:
                    process.stdin.close()
                await process.wait()
            await asyncio.sleep(_AGAIN_S)

    async def _tidy(self) -> None:
        while True:
            await asyncio.to_thread(self._reader.forget, self.store.clock() - self.limits.keep_s)
            await asyncio.sleep(_TIDY_S)
