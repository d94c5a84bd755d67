"""Slices of the user's files to measure codecs on, beside the same place of an older version, if any."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from sim.errors import InputError
from sim.payloads import CLASS_NAMES
from sim.refusals import suggestion
from sim.testbed.delta_coding import BLOCK_BYTES
from sim.units import KIB, MIB

SLICE_BYTES: Final = (64 * KIB, MIB, 4 * MIB, 16 * MIB)
"""Sizes that are measured, as in the shipped tables; a smaller file is one slice."""
LEAST_BYTES: Final = BLOCK_BYTES
"""A smaller file says nothing that survives the cost of a call."""


class Source(NamedTuple):
    """A file to sample: its name in the tables, its class if the user gave one, an older version if any."""

    name: str
    path: Path
    kind: str | None
    old: Path | None


class Slice(NamedTuple):
    """A piece of a file: where it starts, its bytes, and those of the older version in the same place."""

    source: Source
    offset: int
    new: bytes
    old: bytes | None


def find_sources(paths: Sequence[str], old: Path | None) -> list[Source]:
    """Every file that the user names.

    Args:
        paths: Files and folders, each as ``PATH`` or ``CLASS=PATH`` with a class of `sim.payloads`.
        old: Folder of older versions, or an older version of the only file; paired by the path below the
            named folder.

    Raises:
        InputError: If something named is not there or no class, if no file is large enough, or if no file has
            an older version where ``old`` was given.
    """
    sources = [source for named in paths for source in _named(named, old)]
    if not sources:
        problem = f"expected a file of at least {LEAST_BYTES} bytes, found none; name other files or folders"
        raise InputError(", ".join(paths), "", problem)
    if old is not None and not any(source.old for source in sources):
        missing = "is not there" if not old.exists() else "has no file of the same path as one of the others"
        raise InputError(old, "", f"{missing}; expected the older versions under the same relative paths")
    return sources


def _named(named: str, old: Path | None) -> Iterator[Source]:
    kind, separator, rest = named.partition("=")
    if not separator or Path(named).exists():
        kind, rest = "", named
    elif kind not in CLASS_NAMES:
        guess = suggestion(kind, list(CLASS_NAMES)) or f"; there are {', '.join(CLASS_NAMES)}"
        raise InputError(named, "", f"expected CLASS=PATH with a payload class, got {kind!r}{guess}")
    root = Path(rest)
    if not root.exists():
        raise InputError(root, "", "is not there; name files or folders, as PATH or CLASS=PATH")
    for path in [root] if root.is_file() else sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size < LEAST_BYTES:
            continue
        if not os.access(path, os.R_OK):
            raise InputError(path, "", "cannot be read; leave it out, or run as somebody who may")
        below = Path(path.name) if root.is_file() else path.relative_to(root)
        name = below.as_posix() if root.is_file() else (Path(root.name) / below).as_posix()
        yield Source(name, path, kind or None, _older(old, below))


def _older(old: Path | None, below: Path) -> Path | None:
    if old is None:
        return None
    path = old if old.is_file() else old / below
    return path if path.is_file() and path.stat().st_size >= LEAST_BYTES else None


def sample(sources: Sequence[Source], most_bytes: int, rng: np.random.Generator) -> list[Slice]:
    """Slices at random places, aligned to blocks: file after file, one slice of each size that it has.

    Args:
        sources: Files to take from, the larger the sooner: bytes are what is moved.
        most_bytes: Bytes in all, at most; but a slice of the first file always.
        rng: Where places and order come from.
    """
    slices: list[Slice] = []
    taken = 0
    for source in _larger_sooner(sources, rng):
        whole = source.path.stat().st_size
        for length in sorted({min(size, whole) for size in SLICE_BYTES}):
            if slices and taken + length > most_bytes:
                continue
            offset = int(rng.integers(0, (whole - length) // BLOCK_BYTES + 1)) * BLOCK_BYTES
            slices.append(_slice(source, offset, length))
            taken += length
    return slices


def _larger_sooner(sources: Sequence[Source], rng: np.random.Generator) -> list[Source]:
    """A random order in which each next file is drawn in proportion to its size.

    Source:
        Efraimidis, Spirakis: Weighted random sampling with a reservoir. IPL 97(5), 2006.
    """
    sizes = np.array([source.path.stat().st_size for source in sources], dtype=np.float64)
    return [sources[place] for place in np.argsort(-np.log(rng.random(len(sizes))) / sizes)]


def _slice(source: Source, offset: int, length: int) -> Slice:
    old = _read(source.old, offset, length) if source.old else b""
    return Slice(source, offset, _read(source.path, offset, length), old or None)


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as stream:
        stream.seek(offset)
        return stream.read(length)
