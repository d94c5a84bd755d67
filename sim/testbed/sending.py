"""One order on its way: encoded piece by piece, over connections that may break, anew where it must."""

import asyncio
import mmap
import os
import socket
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final

from sim.testbed.coding import Buffer, RealCodec
from sim.testbed.frames import Frame, FrameError, Kind, Wire
from sim.testbed.meters import StackMeter
from sim.testbed.orders import Moved, Order, Progress
from sim.testbed.outbox import Outbox
from sim.units import KIB

_UNSENT: Final = (16 * KIB, 128 * KIB)
"""Bytes that the kernel may hold unsent for a connection: its part of the payload, held to these. More, and a
slow one would hoard pieces; of a small payload the first to connect would take all."""
_MOST_ATTEMPTS: Final = 4
_PATIENCE_S: Final = 30.0
"""Seconds for which a connection is tried again before the transfer is given up."""
_MOST_RECONNECTS: Final = 64
"""Of one transfer: more, and the path carries nothing."""
_FIRST_WAIT_S: Final = 0.02
_LONGEST_WAIT_S: Final = 1.0
"""Before the first try to connect again, and between two later ones, doubling in between."""


class AgainError(Exception):
    """This attempt is lost; the next one may go: ``plain`` when it must do without the baseline."""

    def __init__(self, problem: str, *, plain: bool) -> None:
        super().__init__(problem)
        self.plain = plain


class LostError(Exception):
    """A transfer cannot be moved."""


class Attempt:
    """One try at one order: encoder, pieces underway, connections.

    Args:
        order: What to move.
        number: From 1.
        delta: Whether to send a delta against the order's baseline.
        progress: Adds up over attempts; see `Sending`.
    """

    def __init__(self, sending: "Sending", number: int, *, delta: bool) -> None:
        self._sending = sending
        self._order = sending.order
        self._number = number
        self._delta = delta
        self._outbox = Outbox(sending.order.streams)
        self._receiver: str | None = None
        self._wires: set[Wire] = set()
        self._opened = asyncio.Event()
        self._done: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def run(self, pieces: Iterator[Buffer]) -> dict[str, Any]:
        """Send all pieces; what the receiver has measured.

        Raises:
            AgainError: If the receiver lacks the baseline, has lost its memory, or got another digest.
            LostError: If it cannot be reached or refuses for good.
        """
        tasks = [asyncio.create_task(self._produce(pieces))]
        tasks += [asyncio.create_task(self._connection()) for _ in range(self._order.streams)]
        tasks.append(asyncio.create_task(self._share_out()))
        try:
            for task in tasks:
                task.add_done_callback(self._failed)
            return await self._done
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _failed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self._done.done():
            self._done.set_exception(error)

    async def _produce(self, pieces: Iterator[Buffer]) -> None:
        """Encode, piece after piece, as far ahead as the outbox has room."""
        loop, sending = asyncio.get_running_loop(), self._sending
        while (piece := await loop.run_in_executor(sending.pool, sending.encode_next, pieces)) is not None:
            await self._outbox.put(piece)
        await self._outbox.put(None)

    async def _share_out(self) -> None:
        """Keep a piece for each connection until the first to open could send again."""
        start_s = time.monotonic()
        await self._opened.wait()
        await asyncio.sleep(time.monotonic() - start_s)
        await self._outbox.share_out()

    async def _connection(self) -> None:
        """One connection after the other: when one breaks, what it had underway goes by the next."""
        wait_s, broken_s, again = _FIRST_WAIT_S, time.monotonic(), False
        while True:
            underway: set[int] = set()
            try:
                part = self._sending.size_bytes // self._order.streams
                wire = Wire(await connected(self._sending.address, self._sending.control, part))
            except OSError as error:
                if time.monotonic() - broken_s > _PATIENCE_S:
                    raise LostError(f"the receiver cannot be reached: {error}") from error
            else:
                self._wires.add(wire)
                self._opened.set()
                try:
                    await self._open(wire, wait=again)
                    wait_s = _FIRST_WAIT_S
                    await _first_end(self._send(wire, underway), self._hear(wire))
                except OSError as error:
                    broken_s = time.monotonic()
                    if self._sending.reconnects >= _MOST_RECONNECTS:
                        raise LostError(f"the connection breaks again and again: {error}") from error
                finally:
                    self._wires.discard(wire)
                    wire.close()
                await self._outbox.take_back(underway)
            again = True
            self._sending.reconnects += 1
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    async def _open(self, wire: Wire, *, wait: bool) -> None:
        """Say what the connection is for; the first time without waiting, later to hear where to go on."""
        order = self._order
        await wire.say(
            Kind.OPEN,
            order.transfer,
            self._number,
            codec=order.codec,
            dataset=order.dataset,
            size_bytes=self._sending.size_bytes,
            digest=order.digest,
            baseline=order.baseline_digest if self._delta else "",
            keep=order.keep and not self._delta,
        )
        if wait:
            frame = await wire.receive()
            if frame is None:
                raise ConnectionResetError("the receiver closed the connection")
            await self._heard(frame)

    async def _send(self, wire: Wire, underway: set[int]) -> None:
        order, sending, place = self._order, self._sending, -1
        while True:
            place, piece = await self._outbox.take(place)
            underway.add(place)
            if piece is None:
                await wire.send(Kind.END, order.transfer, place)
                self._break()
                continue
            before = wire.sent_bytes
            sending.first_s = sending.first_s or time.monotonic() - sending.began_s
            await wire.send(Kind.PIECE, order.transfer, place, piece)
            sending.wire_bytes += wire.sent_bytes - before
            sending.stack_cpu_s += sending.meter.take()
            await asyncio.sleep(
                0
            )  # a send that the kernel takes at once would not let others have their turn

    async def _hear(self, wire: Wire) -> None:
        while (frame := await wire.receive()) is not None:
            await self._heard(frame)
        raise ConnectionResetError("the receiver closed the connection")

    async def _heard(self, frame: Frame) -> None:
        sending = self._sending
        if frame.kind is Kind.ACCEPT:
            name = str(frame.words.get("name"))
            if self._receiver is None:
                self._receiver = name
            elif self._receiver != name:
                raise AgainError("the receiver has forgotten what it had", plain=False)
            await self._outbox.acknowledge(frame.number)
        elif frame.kind is Kind.ACK:
            await self._outbox.acknowledge(frame.number)
            sending.decoded_bytes = int(frame.words.get("raw", 0))
            if sending.decoded_bytes >= self._order.break_share * sending.size_bytes:
                self._break()
        elif frame.kind is Kind.DONE:
            if not self._done.done():
                self._done.set_result(frame.words)
        elif frame.kind is Kind.REFUSE:
            why = str(frame.words.get("why"))
            if why in ("baseline", "digest"):
                raise AgainError(
                    str(frame.words.get("problem", "the receiver lacks the baseline")), plain=True
                )
            raise ConnectionResetError(f"the receiver refuses: {frame.words.get('problem', why)}")
        else:
            raise FrameError(f"expected a word of a receiver, got a frame {frame.kind.name}")

    def _break(self) -> None:
        """Break all connections, once, if the order says so."""
        if not self._sending.broken:
            self._sending.broken = True
            for wire in self._wires:
                wire.break_off()


class Sending:
    """One order, through all its attempts."""

    def __init__(
        self,
        order: Order,
        address: tuple[str, int],
        control: str,
        *,
        codec: RealCodec,
        pool: Executor,
        meter: StackMeter,
    ) -> None:
        self.order = order
        self.address = address
        self.control = control
        self.pool = pool
        self.meter = meter
        self._codec = codec
        self.began_s = time.monotonic()
        self.first_s = 0.0
        self.size_bytes = Path(order.payload).stat().st_size
        self.decoded_bytes = self.wire_bytes = self.encoded_bytes = self.reconnects = 0
        self.encode_cpu_s = self.stack_cpu_s = 0.0
        self.broken = order.break_share >= 1

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(self.decoded_bytes, self.wire_bytes, self.encoded_bytes, self.encode_cpu_s)

    def encode_next(self, pieces: Iterator[Buffer]) -> Buffer | None:
        """The next piece, its CPU time noted; None at the end."""
        start_s = time.thread_time()
        piece = next(pieces, None)
        self.encode_cpu_s += time.thread_time() - start_s
        self.encoded_bytes += len(piece or b"")
        return piece

    async def move(self) -> Moved:
        """Move it.

        Raises:
            LostError: If it cannot be moved.
        """
        order, delta = self.order, bool(self.order.baseline)
        for number in range(1, _MOST_ATTEMPTS + 1):
            pieces = self._codec.encode(_mapped(order.payload), _mapped(order.baseline) if delta else None)
            try:
                words = await Attempt(self, number, delta=delta).run(pieces)
            except AgainError as error:
                delta, problem = delta and not error.plain, str(error)
                self.decoded_bytes = 0
                continue
            return Moved(
                transfer=order.transfer,
                seconds=time.monotonic() - self.began_s,
                first_s=self.first_s,
                size_bytes=self.size_bytes,
                wire_bytes=self.wire_bytes,
                is_delta=delta,
                encode_cpu_s=self.encode_cpu_s,
                decode_cpu_s=float(words["decode_cpu_s"]),
                stack_cpu_s=self.stack_cpu_s + self.meter.take() + float(words["stack_cpu_s"]),
                attempts=number,
                reconnects=self.reconnects,
            )
        raise LostError(f"given up after {_MOST_ATTEMPTS} attempts: {problem}")


def _mapped(path: str) -> Buffer:
    """A file as memory, without reading it."""
    with Path(path).open("rb") as stream:
        if not os.fstat(stream.fileno()).st_size:
            return b""
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def choose_control(connecting: socket.socket, control: str) -> None:
    """Have a connection use this congestion control.

    Raises:
        OSError: If the kernel has none of that name, or keeps it for root.
    """
    if hasattr(socket, "TCP_CONGESTION"):
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())


async def connected(address: tuple[str, int], control: str = "cubic", part_bytes: int = 0) -> socket.socket:
    """A new TCP connection, for that part of a payload."""
    connecting = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    connecting.setblocking(False)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        connecting.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, min(max(part_bytes, _UNSENT[0]), _UNSENT[1])
        )
    try:
        choose_control(connecting, control)
        await asyncio.get_running_loop().sock_connect(connecting, address)
    except BaseException:
        connecting.close()
        raise
    return connecting


async def _first_end(*running: Coroutine[Any, Any, None]) -> None:
    """Wait until one ends, end the others, and raise what it raised."""
    tasks = [asyncio.create_task(one) for one in running]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
