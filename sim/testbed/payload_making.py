"""Payloads of the size, ratio and staleness that an episode says, as files; or cut from a user's own."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from sim.codecs import dirty_share
from sim.episode import Episode
from sim.errors import InputError
from sim.randomness import stream
from sim.units import GIB, KIB

Bytes = NDArray[np.uint8]

BLOCK: Final = 4 * KIB
_SHIFT: Final = 64
"""Bytes inserted at the start of content that changes by insertion, so that no block stays in its place."""
_WORDS: Final = 256
_WORD: Final = 8
_RUN: Final = 512 // _WORD
"""Content is made of words of 8 bytes in Zipf's proportions, some runs of 512 bytes random instead."""
_WORDY: Final = 5.55
"""zstd-3 ratio of such words without random runs, measured over 16 MiB. At a share of random runs f it is
1 / (f + (1 - f) / 5.55) within 3 %, and zstd-3 encodes at 200 to 390 MB/s, as the measured classes."""


class Source(Protocol):
    """Where content comes from."""

    def fresh(self, size: int) -> Bytes:
        """New content of that many bytes."""


class Made:
    """Content drawn to have a wanted zstd-3 ratio.

    Args:
        ratio: At least 1.
        rng: The only source of chance.
    """

    def __init__(self, ratio: float, rng: np.random.Generator) -> None:
        self._rng = rng
        self._random = max(0.0, (1 / ratio - 1 / _WORDY) / (1 - 1 / _WORDY))
        self._zero = max(0.0, 1 - _WORDY / ratio)
        words = rng.integers(1, 2**63, _WORDS, dtype=np.uint64)
        shares = 1 / np.arange(1, _WORDS + 1)
        self._words = words[np.searchsorted(np.cumsum(shares / shares.sum()), np.arange(4096) / 4096)]

    def fresh(self, size: int) -> Bytes:
        """New content: words, runs of random bytes, pages of zeros."""
        rng = self._rng
        count = -(-size // _WORD)
        content = self._words[rng.integers(0, len(self._words), count, dtype=np.uint16)]
        random = np.repeat(rng.random(-(-count // _RUN)) < self._random, _RUN)[:count]
        content[random] = rng.integers(0, 2**64, int(random.sum()), dtype=np.uint64)
        if self._zero:
            content[
                np.repeat(rng.random(-(-count * _WORD // BLOCK)) < self._zero, BLOCK // _WORD)[:count]
            ] = 0
        return content.view(np.uint8)[:size]


class Found:
    """Content of a file: first from its start on, then pieces from anywhere in it."""

    def __init__(self, path: Path, rng: np.random.Generator) -> None:
        self._content = np.memmap(path, np.uint8, "r")
        self._rng = rng
        self._begun = False

    def fresh(self, size: int) -> Bytes:
        """The start of the file, repeated when it is too short; later a piece of that size."""
        at = int(self._rng.integers(max(1, len(self._content) - size))) if self._begun else 0
        self._begun = True
        return np.resize(self._content[at : at + size], size)


@dataclass(frozen=True)
class PayloadFile:
    """A payload on disk.

    Attributes:
        path: Where.
        digest: XXH3-128 in hexadecimal.
    """

    path: Path
    digest: str


def make_payloads(
    episode: Episode, folder: Path, *, files: Sequence[Path] = (), most_bytes: float = 4 * GIB
) -> list[PayloadFile]:
    """Write the payload of each transfer of an episode.

    A version of a dataset is the one before with blocks changed: in each block of the working set a new
    piece, as long as the dataset's novelty says, where time since the last version would have dirtied it;
    content that shifts also has bytes inserted. The same episode gives the same bytes.

    Args:
        episode: Sizes, ratios and staleness.
        folder: Where they are written.
        files: A user's own files to take the content from, by turns, in place of made content.
        most_bytes: All files together take no more.

    Raises:
        InputError: If they would take more, or the disk has not the room.
    """
    sizes = episode.requests.size_bytes.astype(np.int64)
    needed, free = int(sizes.sum()), shutil.disk_usage(folder).free
    for most, of in ((most_bytes, "the testbed's disk budget"), (free, "the free disk")):
        if needed > most:
            problem = f"the payloads take {needed / 1e9:.1f} GB, and {of} is {most / 1e9:.1f} GB"
            way_out = "take fewer transfers, or a smaller workload.size_scale or max_bytes"
            raise InputError(folder, "", f"{problem}; {way_out}")
    made: dict[int, PayloadFile] = {}
    for dataset in np.unique(episode.requests.dataset).tolist():
        made.update(_versions(episode, dataset, folder, files))
    return [made[request] for request in range(len(episode))]


def _versions(episode: Episode, dataset: int, folder: Path, files: Sequence[Path]) -> dict[int, PayloadFile]:
    """All versions of one dataset, by request."""
    requests, content = episode.requests, episode.content
    rng = stream(episode.seed, f"testbed payload {dataset}")
    numbers = np.flatnonzero(requests.dataset == dataset).tolist()
    sizes = requests.size_bytes[numbers].astype(np.int64)
    ratio = float(np.median(episode.payloads.ratio3[numbers]))
    source: Source = Found(files[dataset % len(files)], rng) if files else Made(ratio, rng)
    now = source.fresh(int(sizes.max()))
    working = rng.random(-(-len(now) // BLOCK)) < content.working_set[dataset]
    made, last_s = {}, 0.0
    for version, (request, size) in enumerate(zip(numbers, sizes.tolist(), strict=True)):
        arrival_s = float(requests.arrival_s[request])
        if version:
            share = dirty_share(arrival_s - last_s, 1.0, float(content.tau_s[dataset]))
            dirty = np.flatnonzero(working & (rng.random(len(working)) < share))
            now = _edited(now, dirty, float(episode.payloads.novelty[request]), source, rng)
            if content.shifted[dataset]:
                now = np.concatenate([source.fresh(_SHIFT), now[:-_SHIFT]]) if len(now) > _SHIFT else now
        last_s = arrival_s
        made[request] = _written(now[:size], folder / f"{request}.payload")
    return made


def _edited(
    content: Bytes, blocks: NDArray[np.int64], novelty: float, source: Source, rng: np.random.Generator
) -> Bytes:
    """Content with a new piece in each of these blocks."""
    piece = min(BLOCK, max(_WORD, round(novelty * BLOCK)))
    if not len(blocks) or len(content) < BLOCK:
        return content
    starts = blocks * BLOCK + rng.integers(0, BLOCK - piece + 1, len(blocks))
    starts = np.minimum(starts, len(content) - piece)
    edited = content.copy()
    new = source.fresh(piece * len(blocks)).reshape(len(blocks), piece)
    for start, row in zip(starts.tolist(), new, strict=True):
        edited[start : start + piece] = row
    return edited


def _written(content: Bytes, path: Path) -> PayloadFile:
    content.tofile(path)
    return PayloadFile(path, xxhash.xxh3_128_hexdigest(content.data))
