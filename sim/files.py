"""Files that are either whole or not there: written under a temporary name, flushed, then renamed."""

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from sim.errors import InputError

TEMPORARY = ".tmp-"
"""Prefix of a file that is being written; one that stays behind belongs to a process that died."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the file system refuses (no right, no room, read-only) into an ``InputError``.

    >>> with writing(Path("results/report.md")):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    sim.errors.InputError: results/report.md: cannot be written: No space left on device; free room or name
    another folder
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            path, "", f"cannot be written: {reason}; free room or name another folder"
        ) from error


def write_whole(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Let ``fill`` write a file that appears at once and whole, or not at all.

    The folder is made when it is missing. The content is on the disk before the name changes, so neither a
    killed process nor a power cut leaves half a file under ``path``; what was there before stays until then.

    Raises:
        InputError: If the file system refuses.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                fill(stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _flush_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text as ``write_whole`` does."""
    write_whole(path, lambda stream: stream.write(text.encode()))


def write_json(path: Path, document: Any) -> None:
    """Write strict, indented JSON as ``write_whole`` does.

    NumPy scalars and arrays become numbers and lists. JSON knows neither NaN nor infinity: both become
    ``null``.

    Raises:
        InputError: If the file system refuses.
        TypeError: If ``document`` holds anything JSON has no word for.
    """
    write_text(path, json.dumps(_plain(document), indent=2, allow_nan=False) + "\n")


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet, compressed with zstd, as ``write_whole`` does."""
    write_whole(path, lambda stream: pq.write_table(table, stream, compression="zstd"))


def sweep_temporary(folder: Path) -> None:
    """Remove what killed writers left under ``folder``; call it only while nobody else writes there."""
    with writing(folder):
        for leftover in folder.rglob(f"{TEMPORARY}*"):
            if leftover.is_file() or leftover.is_symlink():
                leftover.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
