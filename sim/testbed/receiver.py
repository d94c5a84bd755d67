"""The receiving process: takes transfers, decodes them, compares digests and keeps baselines."""

import argparse
import asyncio
import contextlib
import ipaddress
import json
import os
import socket
import sys
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from sim.codecs import parse_codec
from sim.errors import InputError
from sim.testbed.codecs import real_codec
from sim.testbed.frames import Frame, FrameError, Kind, Wire
from sim.testbed.inbox import Inbox, SpoiledError
from sim.testbed.meters import StackMeter
from sim.units import GIB

_REMEMBERED: Final = 256
"""Ended transfers whose last word is kept, for a sender that lost the connection before it heard it."""
_MOST_CONNECTIONS: Final = 1024
_PATIENCE_S: Final = 10.0
"""Seconds in which a new connection must say what it is."""


class Baselines:
    """Versions by dataset, bounded in bytes; the least recently used go first.

    Args:
        most_bytes: Of all together.
    """

    def __init__(self, most_bytes: float) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[int, tuple[str, bytearray]] = OrderedDict()

    def find(self, dataset: int, digest: str) -> bytearray | None:
        """The version of that digest, None when there is none or another."""
        kept, version = self._kept.get(dataset, ("", bytearray()))
        if kept != digest:
            return None
        self._kept.move_to_end(dataset)
        return version

    def keep(self, dataset: int, digest: str, version: bytearray) -> None:
        """Keep a version in place of an older one."""
        self._kept[dataset] = (digest, version)
        self._kept.move_to_end(dataset)
        while sum(len(one) for _, one in self._kept.values()) > self.most_bytes:
            self._kept.popitem(last=False)

    def forget(self, dataset: int) -> None:
        """Drop a dataset."""
        self._kept.pop(dataset, None)


class Reception:
    """One attempt at one transfer: its inbox, the connections it comes by, and how it ended."""

    def __init__(self, attempt: int, inbox: Inbox, dataset: int, digest: str) -> None:
        self.attempt = attempt
        self.inbox = inbox
        self.dataset = dataset
        self.digest = digest
        self.name = os.urandom(8).hex()
        self.wires: list[Wire] = []
        self.stack_cpu_s = 0.0
        self.first_s = 0.0
        self.ended: dict[str, Any] | None = None
        self.spoiled = ""
        self.task: asyncio.Task[None] | None = None


class Receiver:
    """Serves the connections of senders.

    Args:
        baseline_bytes: Memory for baselines.
    """

    def __init__(self, baseline_bytes: float) -> None:
        self._baselines = Baselines(baseline_bytes)
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, "decode")
        self._receptions: OrderedDict[int, Reception] = OrderedDict()
        self._meter = StackMeter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, listening: socket.socket) -> None:
        """Take connections until cancelled."""
        listening.setblocking(False)
        loop = asyncio.get_running_loop()
        while True:
            connected, _ = await loop.sock_accept(listening)
            if len(self._tasks) >= _MOST_CONNECTIONS:
                connected.close()
                continue
            task = asyncio.create_task(self._attend(Wire(connected)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _attend(self, wire: Wire) -> None:
        """One connection, from its opening to its end; what is wrong with it ends it alone."""
        reception = None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                opening = await wire.receive()
            if opening is None:
                return
            if opening.kind is Kind.FORGET:
                self._baselines.forget(opening.number)
                await wire.say(Kind.DONE, opening.transfer, 0)
                return
            reception = await self._opened(wire, opening)
            while reception is not None and (frame := await wire.receive()) is not None:
                await self._took(reception, frame)
        except FrameError as error:
            with contextlib.suppress(OSError):
                await wire.say(Kind.REFUSE, 0, 0, why="frame", problem=str(error))
        except (OSError, TimeoutError):
            pass
        finally:
            if reception is not None and wire in reception.wires:
                reception.wires.remove(wire)
            wire.close()

    async def _opened(self, wire: Wire, opening: Frame) -> Reception | None:
        """The attempt that a connection belongs to, made when it is the first of it; None when refused."""
        if opening.kind is not Kind.OPEN:
            raise FrameError(f"expected a frame OPEN first, got {opening.kind.name}")
        transfer, attempt = opening.transfer, opening.number
        reception = self._receptions.get(transfer)
        if reception is None or reception.attempt < attempt:
            if reception is not None and reception.task is not None:
                reception.task.cancel()
            reception = self._begin(transfer, attempt, opening.words)
            if reception is None:
                await wire.say(Kind.REFUSE, transfer, attempt, why="baseline")
                while await wire.receive() is not None:
                    pass  # a close with bytes unread would reset the connection under what was just said
                return None
        if reception.attempt > attempt:
            return None
        if reception.digest != opening.words.get("digest"):
            raise FrameError(f"transfer {transfer} is another one; numbers must differ")
        reception.wires.append(wire)
        await wire.say(Kind.ACCEPT, transfer, reception.inbox.next, name=reception.name)
        await self._last_word(transfer, reception, wire)
        return reception

    def _begin(self, transfer: int, attempt: int, words: dict[str, Any]) -> Reception | None:
        """Start to receive; None when the baseline is missing or another."""
        try:
            codec = real_codec(parse_codec(str(words["codec"])))
            dataset, digest = int(words["dataset"]), str(words["digest"])
            baseline_digest, keep = str(words["baseline"]), bool(words["keep"])
            size_bytes = int(words["size_bytes"])
        except (KeyError, ValueError, TypeError) as error:
            raise FrameError(f"an opening that cannot be read: {error!r}") from error
        baseline = None
        if baseline_digest:
            baseline = self._baselines.find(dataset, baseline_digest)
            if baseline is None:
                self._baselines.forget(dataset)
                return None
        keep = keep and size_bytes <= self._baselines.most_bytes
        inbox = Inbox(codec.decoder(baseline), size_bytes, digest, keep=keep, pool=self._pool)
        reception = Reception(attempt, inbox, dataset, digest)
        reception.task = asyncio.create_task(self._decode(transfer, reception))
        self._receptions[transfer] = reception
        while len(self._receptions) > _REMEMBERED and next(iter(self._receptions.values())).ended:
            self._receptions.popitem(last=False)
        return reception

    async def _took(self, reception: Reception, frame: Frame) -> None:
        if frame.kind is Kind.PIECE:
            reception.first_s = reception.first_s or time.monotonic()
            reception.stack_cpu_s += self._meter.take()
            await reception.inbox.put(frame.number, frame.body)
        elif frame.kind is Kind.END:
            await reception.inbox.end(frame.number)
        else:
            raise FrameError(f"expected a frame PIECE or END, got {frame.kind.name}")

    async def _decode(self, transfer: int, reception: Reception) -> None:
        inbox = reception.inbox
        acknowledging: set[asyncio.Task[None]] = set()

        def decoded(place: int, raw_bytes: int) -> None:
            for wire in reception.wires[-1:]:
                task = asyncio.create_task(_try(wire.say(Kind.ACK, transfer, place, raw=raw_bytes)))
                acknowledging.add(task)
                task.add_done_callback(acknowledging.discard)

        try:
            await inbox.decode(decoded)
            if inbox.kept is not None:
                self._baselines.keep(reception.dataset, reception.digest, inbox.kept)
        except SpoiledError as error:
            reception.spoiled = str(error)
        reception.stack_cpu_s += self._meter.take()
        reception.ended = {
            "decode_cpu_s": inbox.cpu_s,
            "stack_cpu_s": reception.stack_cpu_s,
            "received_s": time.monotonic() - (reception.first_s or time.monotonic()),
        }
        inbox.kept = None
        for wire in list(reception.wires):
            await _try(self._last_word(transfer, reception, wire))

    async def _last_word(self, transfer: int, reception: Reception, wire: Wire) -> None:
        """Say on a connection how the transfer ended, if it has."""
        if reception.spoiled:
            await wire.say(Kind.REFUSE, transfer, reception.attempt, why="digest", problem=reception.spoiled)
        elif reception.ended is not None:
            await wire.say(Kind.DONE, transfer, reception.attempt, **reception.ended)


async def _try(sending: Any) -> None:
    """Send, unless the connection is broken: the sender will ask again on another."""
    with contextlib.suppress(OSError):
        await sending


def check_address(address: str, *, anywhere: bool, machine: str = "") -> None:
    """Refuse to listen where others could come, unless told to.

    Args:
        address: Where to listen.
        anywhere: Whether any address will do.
        machine: What `own_namespace` says in the machine's network; empty asks the first process.

    Raises:
        InputError: If it is no address, or neither loopback nor inside a network namespace of its own.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as error:
        raise InputError("receiver", address, "expected an IP address, such as 127.0.0.1") from error
    if not (anywhere or parsed.is_loopback or _apart(machine)):
        problem = "is neither loopback nor in a network namespace of its own"
        raise InputError("receiver", address, f"{problem}; --listen {address} takes it all the same")


def own_namespace(process: str = "self") -> str:
    """Name of the network namespace of a process; empty where there is none or it may not be seen."""
    try:
        return os.readlink(f"/proc/{process}/ns/net")  # noqa: PTH115 - it is no path
    except OSError:
        return ""


def _apart(machine: str) -> bool:
    """Whether this process has a network that is not the machine's."""
    machine = machine or own_namespace("1")
    return machine not in ("", own_namespace())


def listen(address: str, port: int = 0) -> socket.socket:
    """A listening TCP socket.

    Raises:
        InputError: If the system refuses.
    """
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(_MOST_CONNECTIONS)
    except OSError as error:
        raise InputError("receiver", f"{address} port {port}", f"cannot listen: {error.strerror}") from error
    return listening


async def _run(listening: socket.socket, baseline_bytes: float) -> None:
    """Serve until whoever started this process closes its standard input, or dies."""
    receiver = Receiver(baseline_bytes)
    serving = asyncio.create_task(receiver.serve(listening))
    print(json.dumps({"listening": listening.getsockname()[:2]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    serving.cancel()


def main() -> None:
    """Run the receiving process; it says where it listens in a line of JSON."""
    parser = argparse.ArgumentParser(prog="receiver", description=main.__doc__)
    parser.add_argument("--bind", default="127.0.0.1", help="loopback, or an address in a namespace")
    parser.add_argument("--listen", help="any address of this machine, for others to come")
    parser.add_argument("--machine", default="", help="network namespace of the machine, as /proc names it")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--baseline-bytes", type=float, default=1 * GIB, help="memory for baselines")
    given = parser.parse_args()
    try:
        check_address(given.listen or given.bind, anywhere=given.listen is not None, machine=given.machine)
        listening = listen(given.listen or given.bind, given.port)
    except InputError as error:
        sys.exit(f"dwcp-gym: {error}")
    asyncio.run(_run(listening, given.baseline_bytes))
    os._exit(0)  # a read of standard input may still stand in its thread


if __name__ == "__main__":
    main()
