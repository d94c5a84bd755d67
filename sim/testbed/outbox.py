"""Pieces between the encoder and the connections: bounded, taken in order, kept until acknowledged."""

import asyncio
from typing import Final

from sim.testbed.coding import Buffer
from sim.units import MIB

UNACKNOWLEDGED: Final = 64 * MIB
"""Bytes that may be sent and not acknowledged: above the window of any path that the testbed is for."""
_READY: Final = 2
"""Encoded pieces that may lie ready for each connection; more would only take memory."""


class Outbox:
    """What one transfer has still to send.

    The end is a piece without body after the last one. Pieces that a broken connection had taken come back
    and go first.

    Args:
        connections: How many take pieces.
        most_bytes: Encoded bytes that are held at most, one piece apart.
    """

    def __init__(self, connections: int, most_bytes: int = UNACKNOWLEDGED) -> None:
        self._most_ready = _READY * connections
        self._most_bytes = most_bytes
        self._held: dict[int, Buffer | None] = {}
        self._held_bytes = 0
        self._ready: set[int] = set()
        self._next = 0
        self._acknowledged = 0
        self._kept_for = connections
        self._changed = asyncio.Condition()

    @property
    def held_bytes(self) -> int:
        """Bytes encoded and not yet acknowledged."""
        return self._held_bytes

    async def put(self, piece: Buffer | None) -> None:
        """Add a piece, when there is room; None for the end."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: len(self._ready) < self._most_ready and self._held_bytes < self._most_bytes
            )
            self._held[self._next] = piece
            self._held_bytes += len(piece or b"")
            self._ready.add(self._next)
            self._next += 1
            self._changed.notify_all()

    async def take(self, after: int) -> tuple[int, Buffer | None]:
        """The first piece that is not underway, with its place, when there is one.

        Args:
            after: Last place that the same connection has taken, -1 at its start. It takes none before that,
                for the receiver may have stopped reading it until the earlier ones come on others. One piece
                is kept for each connection that has had none, until `share_out`.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._may_take(after))
            place = min(place for place in self._ready if place > after)
            self._ready.remove(place)
            if after < 0:
                self._kept_for = max(0, self._kept_for - 1)
            self._changed.notify_all()
            return place, self._held[place]

    def _may_take(self, after: int) -> bool:
        kept = 0 if after < 0 else self._kept_for
        return len(self._ready) > kept and any(place > after for place in self._ready)

    async def share_out(self) -> None:
        """Keep no more pieces for connections that have had none."""
        async with self._changed:
            self._kept_for = 0
            self._changed.notify_all()

    async def acknowledge(self, before: int) -> None:
        """Let go of all pieces before a place: the receiver has decoded them."""
        async with self._changed:
            for place in range(self._acknowledged, min(before, self._next)):
                self._held_bytes -= len(self._held.pop(place) or b"")
                self._ready.discard(place)  # taken back from a connection that broke after it had brought it
            self._acknowledged = max(self._acknowledged, min(before, self._next))
            self._changed.notify_all()

    async def take_back(self, places: set[int]) -> None:
        """Of these, send again what is not acknowledged: their connection broke."""
        async with self._changed:
            self._ready |= places & self._held.keys()
            self._changed.notify_all()
