"""A candidate in a process of its own: asked without waiting, replaced when it hangs or dies."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from experiments.serving.breaker import Breaker
from experiments.serving.frames import ANSWERED, READY, Frame, Frames
from experiments.serving.limits import Limits
from experiments.shadow.store_rows import Model

WORKER: Final = (sys.executable, "-m", "experiments.serving.worker")
"""Command of the process; the bundle's path follows."""
_GATHER_S: Final = 0.005
"""How long questions that nobody waits for are gathered into one write."""
_WATCH_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 30.0


class Asked:
    """A question to the candidate: open, answered, or given up with a reason.

    Attributes:
        action: Name of its answer; None without.
        scores: Of the actions in the candidate's order, (A,); None without.
        took_ms: In its process; None without an answer.
        error: Why there is none: late, crashed, refused, busy, circuit, starting; None if there is one.
        done: Whether it is settled.
    """

    __slots__ = ("_waiter", "action", "done", "error", "mask", "scores", "sent", "took_ms")

    def __init__(self, sent: float, mask: NDArray[np.bool_]) -> None:
        self.sent, self.mask = sent, mask
        self.action: str | None = None
        self.scores: NDArray[np.float32] | None = None
        self.took_ms: float | None = None
        self.error: str | None = None
        self.done = False
        self._waiter: asyncio.Future[None] | None = None

    def give_up(self, error: str) -> "Asked":
        """Settle it without an answer."""
        if not self.done:
            self.error, self.done = error, True
            self._wake()
        return self

    def settle(self, action: str, frame: Frame) -> None:
        """Settle it with an answer."""
        self.action, self.scores, self.took_ms, self.done = action, frame.scores, frame.took_ms, True
        self._wake()

    async def wait(self, seconds: float) -> None:
        """Wait until it is settled, or as long."""
        if self.done:
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Channel:
    """Asks a candidate.

    Args:
        model: Of the store.
        bundle: Its file.
        limits: Budgets.
        command: Of its process; the path of the bundle is added.
    """

    def __init__(self, model: Model, bundle: Path, limits: Limits, command: Sequence[str] = WORKER) -> None:
        self.model, self.restarts = model, 0
        self._bundle, self._limits, self._command = bundle, limits, command
        self._frames = Frames(len(model.features), len(model.actions))
        self._breaker = Breaker(limits.failures, limits.cooldown_s)
        self._asked: dict[int, Asked] = {}
        self._number = 0
        self._answers, self._unanswered, self._heard = 0, 0, 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._ready = False
        self._unsent: list[bytes] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def state(self) -> str:
        """In a word: ready, starting, or circuit while it is not asked."""
        if not self._ready:
            return "starting"
        return "ready" if self._breaker.closed else "circuit"

    def start(self) -> None:
        """Start the process, and see to it from now on."""
        self._tasks = [asyncio.create_task(self._keep_up()), asyncio.create_task(self._watch())]

    async def close(self) -> None:
        """Let the process answer what it was asked, in its time, and end it."""
        while self._asked and self._tasks:
            await asyncio.sleep(_WATCH_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._end("crashed")
        if self._process is not None:
            await self._process.wait()

    def ask(self, values: NDArray[np.float32], mask: NDArray[np.bool_], *, urgent: bool) -> Asked:
        """Put a question, values (F,) and mask (A,); never waits.

        Args:
            values: In the order of the model's features.
            mask: In the order of its actions.
            urgent: Whether someone waits for the answer.
        """
        now = asyncio.get_running_loop().time()
        asked = Asked(now, mask)
        if not self._ready:
            return asked.give_up("starting")
        if len(self._asked) >= self._limits.questions:
            return asked.give_up("busy")
        if not self._breaker.allows(now):
            return asked.give_up("circuit")
        self._number += 1
        self._asked[self._number] = asked
        if not self._unanswered:
            self._heard = now
        self._unanswered += 1
        if not self._unsent and not urgent:
            asyncio.get_running_loop().call_later(_GATHER_S, self._send)
        self._unsent.append(self._frames.question(self._number, values, mask))
        if urgent:
            self._send()
        return asked

    def failed(self) -> None:
        """An answer that someone waited for did not come in time."""
        self._breaker.failure(asyncio.get_running_loop().time())

    def _send(self) -> None:
        if self._unsent and self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(b"".join(self._unsent))
        self._unsent.clear()

    async def _keep_up(self) -> None:
        """Have a process at all times, after a pause that grows while it dies without an answer."""
        pause_s = 0.1
        while True:
            self._answers = 0
            with contextlib.suppress(OSError, ConnectionError):
                await self._run()
            self._end("crashed")
            self._breaker.failure(asyncio.get_running_loop().time())
            pause_s = 0.1 if self._answers else min(2 * pause_s, _LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s)
            self.restarts += 1

    async def _run(self) -> None:
        pipe = asyncio.subprocess.PIPE
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self._process = await asyncio.create_subprocess_exec(
            *self._command, str(self._bundle), stdin=pipe, stdout=pipe, env=environment
        )
        assert self._process.stdout is not None
        self._heard, self._unanswered = asyncio.get_running_loop().time(), 1
        rest = b""
        while chunk := await self._process.stdout.read(1 << 16):
            rest += chunk
            for frame in self._frames.read_answers(rest):
                self._take(frame)
            rest = rest[len(rest) - len(rest) % self._frames.answer_bytes :]

    def _take(self, frame: Frame) -> None:
        self._heard = asyncio.get_running_loop().time()
        self._unanswered = max(0, self._unanswered - 1)
        if frame.status == READY:
            self._ready = True
            return
        self._answers += 1
        asked = self._asked.pop(frame.number, None)
        if asked is None or asked.done:
            return
        fits = 0 <= frame.action < len(asked.mask) and bool(asked.mask[frame.action])
        if frame.status == ANSWERED and fits:
            asked.settle(self.model.actions[frame.action], frame)
            self._breaker.success()
        else:
            asked.give_up("refused")
            self._breaker.failure(self._heard)

    async def _watch(self) -> None:
        """Give up what is late, and end a process that is silent."""
        while True:
            await asyncio.sleep(_WATCH_S)
            now = asyncio.get_running_loop().time()
            while self._asked:
                number, oldest = next(iter(self._asked.items()))
                if now - oldest.sent < self._limits.shadow_s:
                    break
                del self._asked[number]
                if not oldest.done:
                    self._breaker.failure(now)
                oldest.give_up("late")
            patience_s = self._limits.hang_s if self._ready else self._limits.start_s
            if self._unanswered and now - self._heard > patience_s:
                self._end("late")

    def _end(self, error: str) -> None:
        self._ready = False
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            if self._process.stdin is not None:
                self._process.stdin.close()
        for asked in self._asked.values():
            asked.give_up(error)
        self._asked.clear()
        self._unsent.clear()
        self._unanswered = 0
