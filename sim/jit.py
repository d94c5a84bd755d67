"""The only door to Numba: `njit` with a cache that no edit of a kernel can leave stale.

Numba's cache watches the file that holds a compiled function, not the files it calls into (Numba's
documentation, "Notes on Caching", lists this as a limitation). So the cache directory is named by the content
of every file of this package. Its base is ``NUMBA_CACHE_DIR``, else ``~/.cache/dwcp-gym``, else a folder
among the temporary files; where none can be written, functions are compiled anew in each process. With
``NUMBA_DISABLE_JIT=1`` they stay plain Python.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def content_hash(folder: Path) -> str:
    """Name and content of every Python file in and below the folder, as 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def first_writable(bases: list[Path], name: str) -> Path | None:
    """The folder ``name`` in the first base where a file can be written, made if need be; else None."""
    for base in bases:
        folder = base / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


def _bases() -> list[Path]:
    named = os.environ.get("NUMBA_CACHE_DIR")
    shared = Path(tempfile.gettempdir()) / f"dwcp-gym-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    home = Path("~/.cache/dwcp-gym").expanduser()
    return [Path(named)] if named else [home, shared]


_FOLDER = first_writable(_bases(), content_hash(Path(__file__).parent))
if _FOLDER is not None:
    numba.config.CACHE_DIR = str(_FOLDER)  # type: ignore[attr-defined]


def njit(kernel: Kernel) -> Kernel:
    """Compile on first call, in strict IEEE arithmetic, for two engines must agree; keep the result on disk.

    >>> @njit
    ... def twice(x: float) -> float:
    ...     return 2.0 * x
    >>> twice(1.5)
    3.0
    """
    if _FOLDER is not None:
        with contextlib.suppress(RuntimeError):  # no file to cache beside: a console, a notebook, a doctest
            return cast(Kernel, numba.njit(cache=True, fastmath=False)(kernel))
    return cast(Kernel, numba.njit(fastmath=False)(kernel))
