"""The grid of single transfers that simulator and reality are held against, and a sample of it."""

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeVar

import numpy as np

from sim.randomness import stream
from sim.testbed.paths import PathSettings
from sim.units import KIB, MBIT, MIB, MS

Value = TypeVar("Value")

RATES_MBIT: Final = (20, 50, 100, 200, 500)
RTTS_MS: Final = (1, 5, 20, 50, 100, 150)
LOSSES: Final = (0.0, 0.0, 1e-4, 1e-3, 1e-2)
"""Clean paths twice: two in five settings."""
SIZES: Final = (64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB, 256 * MIB)
STREAMS: Final = (2, 4, 8, 16, 32)
"""Of amst; all other codecs take one."""
RATIOS: Final = (1.05, 2.0, 4.0, 8.0)
CHANGES: Final = (0.003, 0.03, 0.3, 1.0)
NOVELTIES: Final = (0.1, 0.9)
OTHERS: Final = ("zstd-1", "zstd-9", "hde_xor", "lz4")
"""One of these beside the codecs that every setting has: on all of them the ranking would take too long."""


class Setting(NamedTuple):
    """One path and one payload; all its codecs move the same bytes.

    Attributes:
        number: Place in the sample.
        rate_mbit: Capacity, Mbit/s with IP headers.
        rtt_ms: Round trip without queueing.
        loss: Share of packets lost at random.
        size_bytes: Raw bytes.
        streams: Of amst.
        ratio: zstd-3 ratio that the content is made for.
        changed: Share of 4 KiB blocks changed since the baseline.
        novelty: Part of a changed block that is new.
        codecs: Names.
    """

    number: int
    rate_mbit: int
    rtt_ms: int
    loss: float
    size_bytes: int
    streams: int
    ratio: float
    changed: float
    novelty: float
    codecs: tuple[str, ...]

    @property
    def path(self) -> PathSettings:
        """The path to emulate; every setting has losses of its own."""
        return PathSettings(self.rate_mbit * MBIT, self.rtt_ms * MS, self.loss, seed=self.number + 1)


def sample(seed: int) -> Iterator[Setting]:
    """Settings drawn from the grid without end; the same seed gives the same.

    >>> first = next(sample(0))
    >>> first == next(sample(0)), "none" in first.codecs
    (True, True)
    """
    rng = stream(seed, "testbed grid")
    number = 0
    while True:
        streams = _one(STREAMS, rng)
        other = OTHERS[number % len(OTHERS)]
        if other == "lz4":
            other = f"amst-{streams}-lz4"
        yield Setting(
            number,
            _one(RATES_MBIT, rng),
            _one(RTTS_MS, rng),
            _one(LOSSES, rng),
            _one(SIZES, rng),
            streams,
            _one(RATIOS, rng),
            _one(CHANGES, rng),
            _one(NOVELTIES, rng),
            ("none", "zstd", "hde", f"amst-{streams}", other),
        )
        number += 1


def _one(values: tuple[Value, ...], rng: np.random.Generator) -> Value:
    return values[int(rng.integers(len(values)))]
