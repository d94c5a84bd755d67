"""What can be told of content without sending it: entropy, repetition, changes, ratios of samples."""

from typing import Final, NamedTuple

import numpy as np
import xxhash
from backports import zstd
from numpy.typing import NDArray

from sim.testbed.delta_coding import BLOCK_BYTES, changed_blocks
from sim.units import KIB

SAMPLE_BYTES: Final = 64 * KIB
"""What a sender samples, in 4 KiB blocks spread evenly, or at once at the start."""


class ContentFeatures(NamedTuple):
    """Features of a slice, named as the columns of the calibration tables.

    ``H`` and ``Hs`` are bits per byte, of all and of a scattered sample; ``z1s`` and ``z1sc`` zstd-1 ratios
    of a contiguous and of a scattered sample; the rest are shares of 4 KiB blocks: repeated, zero, changed
    in the same place, held nowhere by the older version (NaN without one).
    """

    H: float
    Hs: float
    z1s: float
    z1sc: float
    rep4k: float
    zero4k: float
    chg4k: float
    miss4k: float


def features_of(new: bytes, old: bytes | None) -> ContentFeatures:
    """Features of content of at least one block, beside an older version.

    >>> features = features_of(bytes(4096) + bytes(range(256)) * 32, None)
    >>> round(features.H, 2), round(features.zero4k, 2), round(features.rep4k, 2)
    (6.23, 0.33, 0.33)
    """
    hashes = _hashes(new)
    zero = xxhash.xxh3_128_digest(bytes(BLOCK_BYTES))
    scattered = _scattered(new)
    changed = missing = float("nan")
    if old is not None:
        changed = float(changed_blocks(new, old).mean())
        known = set(_hashes(old))
        missing = sum(one not in known for one in hashes) / len(hashes)
    return ContentFeatures(
        H=_entropy(new),
        Hs=_entropy(scattered),
        z1s=_zstd1_ratio(new[:SAMPLE_BYTES]),
        z1sc=_zstd1_ratio(scattered),
        rep4k=1 - len(set(hashes)) / len(hashes),
        zero4k=hashes.count(zero) / len(hashes),
        chg4k=changed,
        miss4k=missing,
    )


def _hashes(content: bytes) -> list[bytes]:
    view = memoryview(content)
    return [
        xxhash.xxh3_128_digest(view[start : start + BLOCK_BYTES])
        for start in range(0, len(view), BLOCK_BYTES)
    ]


def _scattered(content: bytes) -> bytes:
    """Whole blocks, spread evenly, `SAMPLE_BYTES` together; all of it when it has no more."""
    if len(content) <= SAMPLE_BYTES:
        return content
    count = SAMPLE_BYTES // BLOCK_BYTES
    starts = np.linspace(0, len(content) // BLOCK_BYTES - 1, count).astype(int) * BLOCK_BYTES
    return b"".join(content[start : start + BLOCK_BYTES] for start in starts.tolist())


def _entropy(content: bytes) -> float:
    counts: NDArray[np.int64] = np.bincount(np.frombuffer(content, np.uint8), minlength=256)
    shares = counts[counts > 0] / len(content)
    return max(0.0, float(-(shares * np.log2(shares)).sum()))


def _zstd1_ratio(content: bytes) -> float:
    return len(content) / len(zstd.compress(content, 1))
