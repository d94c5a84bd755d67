"""A short hash of all that an episode decides, the same on every machine that draws it."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sim.episode import Episode
from sim.strict_tree import plain

DIGITS: Final = 16
"""Hexadecimal digits of a hash."""
_BITS: Final = 20
"""Bits of a number that count, 6 digits: math libraries of two machines differ in the last of 53."""
_WORDS_ONLY: Final = ("name", "summary")
"""Of a scenario, what is said to people."""


def episode_hash(episode: Episode) -> str:
    """Hash of the scenario and of every array of an episode, numbers to six digits."""
    digest = hashlib.sha256()
    scenario = {key: value for key, value in plain(episode.scenario).items() if key not in _WORDS_ONLY}
    digest.update(json.dumps(scenario, sort_keys=True).encode())
    for name, array in _arrays(episode):
        digest.update(f"{name} {array.shape}".encode())
        digest.update(_rounded(array).tobytes())
    return digest.hexdigest()[:DIGITS]


def _arrays(episode: Episode) -> Iterator[tuple[str, NDArray[Any]]]:
    for field in fields(episode):
        value = getattr(episode, field.name)
        if field.name in ("scenario", "seed"):
            continue
        if isinstance(value, tuple):
            for name, part in value._asdict().items():  # type: ignore[attr-defined]  # all are named
                yield f"{field.name}.{name}", np.asarray(part)
        else:
            yield field.name, np.asarray(value)


def _rounded(values: NDArray[Any]) -> NDArray[np.int64]:
    """Numbers as whole ones that do not tell apart what differs beyond the sixth digit.

    >>> a, b = np.array([0.1, 1.0, np.inf, 7]), np.array([0.1 + 1e-16, 1.0 - 1e-16, np.inf, 7])
    >>> bool((_rounded(a) == _rounded(b)).all()), bool((_rounded(a) == _rounded(1.00001 * b)).any())
    (True, True)
    """
    if values.dtype.kind in "iub":
        return values.astype("<i8")
    finite = np.isfinite(values)
    mantissa, exponent = np.frexp(np.where(finite, values, 0.0))
    whole = np.rint(mantissa * 2.0**_BITS).astype(np.int64)
    carried = np.abs(whole) == 1 << _BITS  # just below a power of two
    whole = np.where(carried, whole // 2, whole)
    packed = whole * 4096 + exponent + carried
    odd = np.where(np.isnan(values), -1, np.where(values > 0, -2, -3)) - 2**60
    return np.where(finite, packed, odd).astype("<i8")
