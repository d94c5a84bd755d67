"""What a real codec does with a payload while nothing else runs: its ratio and its rates, by CPU time."""

import time

from experiments.testbed_simulated import Solo
from sim.codecs import parse_codec
from sim.testbed.codecs import real_codec
from sim.testbed.coding import Buffer
from sim.units import MIB

_MOST_BYTES = 64 * MIB
"""Made content is alike all over: of a larger payload the start is taken."""
_TWICE_BELOW = 16 * MIB
"""The first time pays for memory that was never touched; larger payloads pay anyway."""


def solo(codec: str, payload: Buffer, baseline: Buffer | None) -> Solo:
    """Encode and decode a payload here, in one thread; ``baseline`` is for codecs that keep one.

    Raises:
        ValueError: If what was decoded has another length: the codec is broken.
    """
    parsed = parse_codec(codec)
    real = real_codec(parsed)
    payload = memoryview(payload)[:_MOST_BYTES]
    if not parsed.keeps_baseline:
        baseline = None
    elif baseline is not None:
        baseline = memoryview(baseline)[:_MOST_BYTES]
    encoding, decoding, encoded = [], [], 0
    for _ in range(2 if len(payload) <= _TWICE_BELOW else 1):
        start_s = time.thread_time()
        pieces = list(real.encode(payload, baseline))
        encoding.append(time.thread_time() - start_s)
        encoded = sum(map(len, pieces))
        decoder = real.decoder(baseline)
        start_s = time.thread_time()
        decoded = sum(len(decoder.feed(piece)) for piece in pieces)
        decoding.append(time.thread_time() - start_s)
        if decoded != len(payload):
            raise ValueError(f"{codec} decoded {decoded} bytes of {len(payload)}")
    rates = [len(payload) / max(min(spent), 1e-6) for spent in (encoding, decoding)]
    return Solo(len(payload) / encoded, *rates)
