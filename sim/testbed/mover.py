"""A sending and a receiving process at the two ends of a path, and the face that both have together."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sim.errors import InputError
from sim.testbed.orders import Moved, Order, Progress
from sim.testbed.receiver import own_namespace
from sim.units import GIB

_START_S: Final = 30.0
"""Seconds in which a process must say that it is ready."""
_ENDED: Final = "the sending process has ended"
_ROOT: Final = Path(__file__).parent.parent.parent


class MoveError(RuntimeError):
    """A transfer could not be moved, or a process has died."""


class Mover:
    """Moves payloads from the sending to the receiving process.

    Attributes:
        address: Where the sender connects to.
        pids: The sending and the receiving process.
        progress: How far each transfer is that moves, some milliseconds ago.
        cores: Cores that the sending process used between its last two reports.
    """

    def __init__(
        self,
        sending: asyncio.subprocess.Process,
        receiving: asyncio.subprocess.Process,
        address: tuple[str, int],
    ) -> None:
        self.address = address
        self.pids = sending.pid, receiving.pid
        self._sending = sending
        self._waiting: dict[int, asyncio.Future[Moved]] = {}
        self._forgetting: dict[int, asyncio.Future[None]] = {}
        self._reported: tuple[float, float] | None = None
        self.progress: dict[int, Progress] = {}
        self.cores = 0.0
        self._ended = False

    async def move(self, order: Order) -> Moved:
        """Move one payload; several may be on their way at once.

        Raises:
            MoveError: If it cannot be moved.
        """
        future: asyncio.Future[Moved] = asyncio.get_running_loop().create_future()
        self._waiting[order.transfer] = future
        try:
            await self._tell(move=order._asdict())
            return await future
        finally:
            self._waiting.pop(order.transfer, None)
            self.progress.pop(order.transfer, None)

    async def forget(self, dataset: int) -> None:
        """Have the receiver lose its baseline of a dataset; returns when it has."""
        future = self._forgetting[dataset] = asyncio.get_running_loop().create_future()
        await self._tell(forget=dataset)
        await future

    async def listen(self) -> None:
        """Take what the sending process tells, until it ends."""
        assert self._sending.stdout is not None  # it was started so
        try:
            while line := await self._sending.stdout.readline():
                self._take(json.loads(line))
        finally:
            self._ended = True
            futures: list[asyncio.Future[Any]] = [*self._waiting.values(), *self._forgetting.values()]
            for future in futures:
                if not future.done():
                    future.set_exception(MoveError(_ENDED))

    def _take(self, words: dict[str, Any]) -> None:
        if "moved" in words:
            moved = Moved(**words["moved"])
            if (future := self._waiting.get(moved.transfer)) is not None and not future.done():
                future.set_result(moved)
        elif "lost" in words:
            lost = words["lost"]
            if (future := self._waiting.get(lost["transfer"])) is not None and not future.done():
                future.set_exception(MoveError(lost["why"]))
        elif "forgotten" in words:
            if (forgetting := self._forgetting.pop(words["forgotten"], None)) is not None:
                forgetting.set_result(None)
        elif "progress" in words:
            moving = {int(number): Progress(*one) for number, one in words["progress"].items()}
            self.progress = {number: one for number, one in moving.items() if number in self._waiting}
            self._meter(words["now_s"], words["cpu_s"])

    def _meter(self, now_s: float, cpu_s: float) -> None:
        if self._reported is not None and now_s > self._reported[0]:
            self.cores = (cpu_s - self._reported[1]) / (now_s - self._reported[0])
        self._reported = now_s, cpu_s

    async def _tell(self, **words: Any) -> None:
        assert self._sending.stdin is not None  # it was started so
        if self._ended:
            raise MoveError(_ENDED)
        try:
            self._sending.stdin.write(json.dumps(words).encode() + b"\n")
            await self._sending.stdin.drain()
        except ConnectionError as error:
            raise MoveError(_ENDED) from error


@asynccontextmanager
async def mover(
    address: str = "127.0.0.1",
    *,
    sender_in: str | None = None,
    receiver_in: str | None = None,
    workers: int | None = None,
    control: str = "cubic",
    baseline_bytes: float = 1 * GIB,
    reach: Callable[[int], tuple[str, int]] | None = None,
) -> AsyncIterator[Mover]:
    """Start both processes, and end them with the block; they also end when this process dies.

    Args:
        address: Where the receiver listens: loopback, or its address in a namespace.
        sender_in: Network namespace of the sender; None for the machine's.
        receiver_in: That of the receiver.
        workers: Pieces that the sender encodes at once; a core each by default.
        control: Congestion control of all connections; the machine's own choice may be another.
        baseline_bytes: Memory for baselines at the receiver.
        reach: Where the sender connects to come to a port of the receiver; None is that port.

    Raises:
        InputError: If a process cannot start.
    """
    async with contextlib.AsyncExitStack() as stack:
        words = ["--bind", address, "--baseline-bytes", str(baseline_bytes), "--machine", own_namespace()]
        receiving = await stack.enter_async_context(_process(receiver_in, "receiver", words))
        host, port = (await _first_word(receiving, "receiver"))["listening"]
        if reach is not None:
            host, port = reach(port)
        workers = workers or os.cpu_count() or 1
        sending = await stack.enter_async_context(
            _process(sender_in, "sender", [host, str(port), "--workers", str(workers), "--control", control])
        )
        await _first_word(sending, "sender")
        both = Mover(sending, receiving, (host, port))
        listening = asyncio.create_task(both.listen())
        try:
            yield both
        finally:
            listening.cancel()


@asynccontextmanager
async def _process(
    namespace: str | None, name: str, arguments: Sequence[str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    inside = ["ip", "netns", "exec", namespace] if namespace else []
    command = [*inside, sys.executable, "-m", f"sim.testbed.{name}", *arguments]
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    try:
        running = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            limit=2**22,
        )
    except OSError as error:
        raise InputError(name, "", f"cannot be started: {error.strerror}") from error
    try:
        yield running
    finally:
        if running.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                running.kill()
            await running.wait()


async def _first_word(process: asyncio.subprocess.Process, name: str) -> dict[str, Any]:
    assert process.stdout is not None  # it was started so
    try:
        line = await asyncio.wait_for(process.stdout.readline(), _START_S)
    except TimeoutError:
        line = b""
    if not line:
        raise InputError(name, "", "did not start; see what it says above")
    words: dict[str, Any] = json.loads(line)
    return words
