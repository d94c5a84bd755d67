"""What goes over a connection of the mover: frames of a fixed header and a bounded, checked body."""

import asyncio
import contextlib
import json
import socket
from enum import IntEnum
from struct import Struct
from typing import Any, Final, NamedTuple

import xxhash

from sim.testbed.coding import Buffer
from sim.units import KIB, MIB

MOST_PIECE: Final = 4 * MIB
"""Largest body of a `Kind.PIECE`: four times the largest chunk, for codecs that make some chunk longer."""
MOST_WORDS: Final = 64 * KIB
"""Largest body of any other frame."""
_HEADER: Final = Struct("!BxxxIQQQ")
"""Kind, length, transfer, number, checksum (XXH3-64) of the body."""
_JOINED: Final = 64 * KIB
"""Bodies up to this are sent in one call with their header: a copy is cheaper than a packet."""


class Kind(IntEnum):
    """What a frame says; ``number`` in brackets."""

    OPEN = 1  # sender: what this connection belongs to, as JSON (attempt)
    PIECE = 2  # sender: an encoded piece (its place)
    END = 3  # sender: there are no more pieces (how many there were)
    FORGET = 4  # sender: drop the baseline of a dataset (dataset)
    ACCEPT = 5  # receiver: this is where to go on (first piece that is missing); who it is, as JSON
    ACK = 6  # receiver: all before this piece are decoded (piece); raw bytes so far, as JSON
    REFUSE = 7  # receiver: why not, as JSON
    DONE = 8  # receiver: decoded and compared, with what was measured, as JSON


class FrameError(ConnectionError):
    """The other side said what no frame may be; the connection is of no more use."""


class Frame(NamedTuple):
    """One message.

    Attributes:
        kind: What it says.
        transfer: Number of the transfer that it belongs to.
        number: See `Kind`.
        body: Up to `MOST_PIECE` or `MOST_WORDS` bytes.
    """

    kind: Kind
    transfer: int
    number: int
    body: bytearray

    @property
    def words(self) -> dict[str, Any]:
        """The body as JSON.

        Raises:
            FrameError: If it is none, or not a map.
        """
        try:
            words = json.loads(self.body)
        except ValueError as error:
            raise FrameError(f"expected JSON in a frame {self.kind.name}: {error}") from error
        if not isinstance(words, dict):
            raise FrameError(f"expected a map in a frame {self.kind.name}, got {type(words).__name__}")
        return words


class Wire:
    """One connection, as frames; it counts the bytes that it has taken.

    Args:
        connected: A connected TCP socket; the wire closes it.

    Attributes:
        sent_bytes: Bytes handed to the kernel, headers included.
        received_bytes: Bytes taken from the kernel, headers included.
    """

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._header = bytearray(_HEADER.size)
        self._turn = asyncio.Lock()
        self.sent_bytes = 0
        self.received_bytes = 0

    async def send(self, kind: Kind, transfer: int, number: int, body: Buffer = b"") -> None:
        """Send one frame; returns when the kernel has taken all of it.

        Raises:
            ConnectionError: If the connection is broken.
            ValueError: If the body is longer than its kind may be.
        """
        if len(body) > _most(kind):
            raise ValueError(f"a frame {kind.name} has at most {_most(kind)} bytes, got {len(body)}")
        header = _HEADER.pack(kind, len(body), transfer, number, xxhash.xxh3_64_intdigest(body))
        async with self._turn:
            if len(body) <= _JOINED:
                await self._loop.sock_sendall(self._socket, header + body)
            else:
                await self._loop.sock_sendall(self._socket, header)
                await self._loop.sock_sendall(self._socket, body)
        self.sent_bytes += len(header) + len(body)

    async def say(self, kind: Kind, transfer: int, number: int, **words: Any) -> None:
        """Send one frame with a body of JSON."""
        await self.send(kind, transfer, number, json.dumps(words).encode())

    async def receive(self) -> Frame | None:
        """The next frame; None when the other side has closed between two frames.

        Raises:
            FrameError: If what came is no frame: unknown kind, too long, other checksum.
            ConnectionError: If the connection broke.
        """
        if not await self._fill(memoryview(self._header), may_end=True):
            return None
        number_of_kind, length, transfer, number, checksum = _HEADER.unpack(self._header)
        try:
            kind = Kind(number_of_kind)
        except ValueError as error:
            raise FrameError(f"expected a kind of frame from 1 to 8, got {number_of_kind}") from error
        if length > _most(kind):
            raise FrameError(f"expected at most {_most(kind)} bytes in a frame {kind.name}, got {length}")
        body = bytearray(length)
        await self._fill(memoryview(body))
        if xxhash.xxh3_64_intdigest(body) != checksum:
            raise FrameError(f"a frame {kind.name} of transfer {transfer} has another checksum than it says")
        self.received_bytes += _HEADER.size + length
        return Frame(kind, transfer, number, body)

    def break_off(self) -> None:
        """Break the connection: who sends or receives on it, here or there, learns of it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; only when no one waits for it any more."""
        self._socket.close()

    async def _fill(self, room: memoryview, may_end: bool = False) -> bool:
        """Fill a buffer from the connection; False when it ended before the first byte, where it may."""
        got = 0
        while got < len(room):
            count = await self._loop.sock_recv_into(self._socket, room[got:])
            if not count:
                if may_end and not got:
                    return False
                raise ConnectionResetError("the connection ended inside a frame")
            got += count
        return True


def _most(kind: Kind) -> int:
    return MOST_PIECE if kind is Kind.PIECE else MOST_WORDS
