"""Pieces between the connections and the decoder: put back into order, bounded, decoded one by one."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

import xxhash

from sim.testbed.coding import Decoder
from sim.units import MIB

EARLY: Final = 32 * MIB
"""Bytes that may wait for their turn; connections that bring more are not read until there is room."""


class SpoiledError(ValueError):
    """What was decoded is not what was sent."""


class Inbox:
    """What one transfer has received, in whatever order it came.

    Args:
        decoder: Decodes the pieces in order.
        size_bytes: Raw size that was announced; not a byte more is decoded.
        digest: XXH3-128 of the payload that was announced.
        keep: Whether to keep what is decoded.
        pool: Where pieces are decoded.

    Attributes:
        next: First piece that is not decoded yet.
        decoded_bytes: Raw bytes decoded.
        cpu_s: CPU time of decoding and comparing.
        kept: What was decoded, if it is kept.
    """

    def __init__(self, decoder: Decoder, size_bytes: int, digest: str, *, keep: bool, pool: Executor) -> None:
        self._decoder = decoder
        self._size_bytes = size_bytes
        self._announced = digest
        self._pool = pool
        self._hash = xxhash.xxh3_128()
        self._early: dict[int, bytearray] = {}
        self._early_bytes = 0
        self._count: int | None = None
        self._over = False
        self._changed = asyncio.Condition()
        self.next = 0
        self.decoded_bytes = 0
        self.cpu_s = 0.0
        self.kept = bytearray() if keep else None

    @property
    def held_bytes(self) -> int:
        """Bytes that wait for their turn."""
        return self._early_bytes

    async def put(self, place: int, piece: bytearray) -> None:
        """Take a piece; waits while too much is early, unless it is the one whose turn it is.

        Each connection brings its pieces in rising order, so that the one whose turn it is never stands
        behind one that waits here.
        """
        async with self._changed:
            await self._changed.wait_for(
                lambda: place <= self.next or self._early_bytes < EARLY or self._over
            )
            if place >= self.next and place not in self._early and not self._over:
                self._early[place] = piece
                self._early_bytes += len(piece)
                self._changed.notify_all()

    async def end(self, count: int) -> None:
        """Learn how many pieces there are."""
        async with self._changed:
            self._count = count
            self._changed.notify_all()

    async def decode(self, decoded: Callable[[int, int], object]) -> None:
        """Decode all pieces as they come, and compare the digest at the end.

        Args:
            decoded: Is told, after each piece, the next one and the raw bytes so far.

        Raises:
            SpoiledError: If a piece cannot be decoded, or size or digest are not as announced.
        """
        loop = asyncio.get_running_loop()
        try:
            while (piece := await self._in_turn()) is not None:
                await loop.run_in_executor(self._pool, self._feed, piece)
                async with self._changed:
                    self._early_bytes -= len(self._early.pop(self.next))
                    self.next += 1
                    self._changed.notify_all()
                decoded(self.next, self.decoded_bytes)
            await loop.run_in_executor(self._pool, self._finish)
        finally:
            async with self._changed:
                self._over = True  # what still comes is dropped, and no one waits for room
                self._early.clear()
                self._changed.notify_all()

    async def _in_turn(self) -> bytearray | None:
        """The next piece, when it is there; None when there are no more."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.next in self._early or self.next == self._count)
            return self._early.get(self.next)

    def _feed(self, piece: bytearray) -> None:
        start_s = time.thread_time()
        try:
            raw = self._decoder.feed(piece)
        except Exception as error:  # of whichever library decodes
            raise SpoiledError(f"piece {self.next} cannot be decoded: {error}") from error
        self.decoded_bytes += len(raw)
        if self.decoded_bytes > self._size_bytes:
            raise SpoiledError(f"expected {self._size_bytes} bytes, got more")
        self._hash.update(raw)
        if self.kept is not None:
            self.kept += raw
        self.cpu_s += time.thread_time() - start_s

    def _finish(self) -> None:
        try:
            self._decoder.finish()
        except Exception as error:
            raise SpoiledError(f"the end cannot be decoded: {error}") from error
        if self.decoded_bytes != self._size_bytes:
            raise SpoiledError(f"expected {self._size_bytes} bytes, got {self.decoded_bytes}")
        if self._hash.hexdigest() != self._announced:
            raise SpoiledError(f"expected the digest {self._announced}, got {self._hash.hexdigest()}")
