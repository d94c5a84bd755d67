"""What codecs and mover do on this machine while nothing else runs: ratios and rates by CPU time, set-up."""

import asyncio
import mmap
import time
from pathlib import Path
from statistics import quantiles
from typing import Final

import xxhash

from experiments.testbed_simulated import Setup, Solo
from sim.codecs import parse_codec
from sim.testbed.codecs import real_codec
from sim.testbed.coding import Buffer
from sim.testbed.mover import mover
from sim.testbed.orders import Order
from sim.units import KIB, MIB

FRAMES_BYTES: Final = 1500
"""What the mover sends besides encoded bytes: the opening, in a packet of its own, and some headers."""
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
    return Solo(decoded / (sum(map(len, pieces)) + FRAMES_BYTES), encode, decode)


def _mapped(path: Path) -> Buffer:
    with path.open("rb") as stream:
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))[:_MOST_BYTES]


def setup(scratch: Path) -> Setup:
    """What the mover takes for a payload of 4 KiB over the loopback, with one stream and with sixteen.

    The lower quartile of 15 each, for nothing makes them faster: system calls, frames, digests, processes
    that wake each other.
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
            taken[streams] = quantiles(spent, n=4)[0]
    each_s = max(0.0, taken[_MANY] - taken[1]) / (_MANY - 1)
    return Setup(max(0.0, taken[1] - each_s), each_s)
