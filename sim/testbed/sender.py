"""The sending process: takes orders on its standard input, carries them out, and tells what they came to."""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from sim.codecs import parse_codec
from sim.testbed.codecs import real_codec
from sim.testbed.frames import Kind, Wire
from sim.testbed.meters import StackMeter
from sim.testbed.orders import Order
from sim.testbed.sending import Sending, choose_control, connected

_REPORT_S: Final = 0.05
"""Seconds between two reports of how far all transfers are."""


class Sender:
    """Takes orders and carries them out, all at once.

    Args:
        address: Where the receiver listens.
        control: Congestion control of all connections.
        workers: Pieces that are encoded at once.
    """

    def __init__(self, address: tuple[str, int], control: str, workers: int) -> None:
        self._address = address
        self._control = control
        self._pool = ThreadPoolExecutor(workers, "encode")
        self._meter = StackMeter()
        self._sendings: dict[int, Sending] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def order(self, words: dict[str, Any]) -> None:
        """Begin to carry out one order, given as JSON."""
        doing = self._forget(words["forget"]) if "forget" in words else self._move(Order(**words["move"]))
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _move(self, order: Order) -> None:
        try:
            codec = real_codec(parse_codec(order.codec))
            sending = Sending(
                order, self._address, self._control, codec=codec, pool=self._pool, meter=self._meter
            )
            self._sendings[order.transfer] = sending
            tell(moved=(await sending.move())._asdict())
        except Exception as error:
            tell(lost={"transfer": order.transfer, "why": f"{type(error).__name__}: {error}"})
        finally:
            self._sendings.pop(order.transfer, None)

    async def _forget(self, dataset: int) -> None:
        """Have the receiver drop a baseline."""
        with contextlib.suppress(OSError):
            wire = Wire(await connected(self._address, self._control))
            try:
                await wire.send(Kind.FORGET, 0, dataset)
                await wire.receive()
            finally:
                wire.close()
        tell(forgotten=dataset)

    async def report(self) -> None:
        """Tell how far all are, again and again."""
        while True:
            await asyncio.sleep(_REPORT_S)
            if self._sendings:
                tell(
                    progress={number: one.progress for number, one in self._sendings.items()},
                    now_s=time.monotonic(),
                    cpu_s=time.process_time(),
                )


def tell(**words: Any) -> None:
    """A line of JSON for whoever gave the orders."""
    print(json.dumps(words), flush=True)


async def _run(address: tuple[str, int], control: str, workers: int) -> None:
    """Take orders until whoever started this process closes its standard input, or dies."""
    sender = Sender(address, control, workers)
    reporting = asyncio.create_task(sender.report())
    orders = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    tell(ready=True)
    while line := await orders.readline():
        sender.order(json.loads(line))
    reporting.cancel()


def main() -> None:
    """Run the sending process; orders and answers are lines of JSON."""
    parser = argparse.ArgumentParser(prog="sender", description=main.__doc__)
    parser.add_argument("address", help="where the receiver listens")
    parser.add_argument("port", type=int)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="pieces encoded at once")
    parser.add_argument("--control", default="cubic", help="congestion control of all connections")
    given = parser.parse_args()
    try:
        with socket.socket() as trial:
            choose_control(trial, given.control)
    except OSError as error:
        sys.exit(f"dwcp-gym: sender: congestion control {given.control}: {error.strerror}")
    asyncio.run(_run((given.address, given.port), given.control, given.workers))
    os._exit(0)  # pieces that are still being encoded are of no more use


if __name__ == "__main__":
    main()
