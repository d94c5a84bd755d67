"""What codecs and mover do on this machine while nothing else runs: ratios and rates by CPU time, set-up."""

import asyncio
import mmap
import time
from collections.abc import Iterable
from math import ceil
from pathlib import Path
from typing import Final

import xxhash

from experiments.testbed_simulated import Setup, Solo
from sim.codecs import parse_codec
from sim.physics import MSS
from sim.testbed.codecs import real_codec
from sim.testbed.coding import Buffer
from sim.testbed.mover import mover
from sim.testbed.orders import Order
from sim.units import KIB, MIB

_HEADER: Final = 32
"""Of a frame."""
_SMALL: Final = 4 * KIB
_TIMES: Final = 15
_MANY: Final = 16

_MOST_BYTES = 64 * MIB
"""Made content is alike all over: of a larger payload the start is taken."""
_TWICE_BELOW = 16 * MIB
"""The first time pays for memory that was never touched; larger payloads pay anyway."""


def solo(codec: str, payload: Path, baseline: Path) -> Solo:
    """Encode and decode the payload in a file here, in one thread, as the mover does: mapped, with a digest.

    Raises:
        ValueError: If what was decoded has another length: the codec is broken.
    """
    parsed = parse_codec(codec)
    real = real_codec(parsed)
    rounds = 2 if payload.stat().st_size <= _TWICE_BELOW else 1
    encoding, decoding = [], []
    for _ in range(rounds):
        old = _mapped(baseline) if parsed.keeps_baseline else None
        new = _mapped(payload)
        start_s = time.thread_time()
        pieces = list(real.encode(new, old))
        encoding.append(time.thread_time() - start_s)
        kept = baseline.read_bytes()[:_MOST_BYTES] if parsed.keeps_baseline else None
        decoder, digest, decoded = real.decoder(kept), xxhash.xxh3_128(), 0
        start_s = time.thread_time()
        for piece in pieces:
            raw = decoder.feed(piece)
            decoded += len(raw)
            digest.update(raw)
        decoding.append(time.thread_time() - start_s)
        if decoded != len(new):
            raise ValueError(f"{codec} decoded {decoded} bytes of {len(new)}")
    encode, decode = (decoded / max(min(spent), 1e-6) for spent in (encoding, decoding))
    return Solo(decoded / wire_bytes(map(len, pieces)), encode, decode)


def wire_bytes(pieces: Iterable[int]) -> float:
    """Bytes of the packets in which pieces of these lengths leave: nothing waits to fill one.

    The opening and the end take a packet each, and so does zstd's last piece of three bytes: with it a
    payload of 7.3 packets needs a second flight (measured: a third round trip).

    >>> wire_bytes([10587 - 36, 3]) / MSS
    11.0
    """
    return MSS * (2 + sum(ceil((length + _HEADER) / MSS) for length in pieces))


def _mapped(path: Path) -> Buffer:
    with path.open("rb") as stream:
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))[:_MOST_BYTES]


def setup(scratch: Path) -> Setup:
    """What the mover takes for a payload of 4 KiB over the loopback, with one stream and with sixteen.

    The quickest of 15 each, for other work only adds: system calls, frames, digests, processes that wake each
    other.
    """
    return asyncio.run(_setup(scratch / "small"))


async def _setup(path: Path) -> Setup:
    path.write_bytes(bytes(_SMALL))
    digest = xxhash.xxh3_128_hexdigest(bytes(_SMALL))
    taken: dict[int, float] = {}
    async with mover() as moving:
        for streams in (1, _MANY):
            spent = []
            for number in range(_TIMES):
                order = Order(1000 * streams + number, 0, f"amst-{streams}", streams, str(path), digest)
                spent.append((await moving.move(order)).seconds)
            taken[streams] = min(spent)
    each_s = max(0.0, taken[_MANY] - taken[1]) / (_MANY - 1)
    return Setup(max(0.0, taken[1] - each_s), each_s)
