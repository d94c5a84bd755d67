"""The only door to Numba: `njit` with a cache that no edit of a kernel can leave stale.

Numba's cache watches the file that holds a compiled function, not the files it calls into (Numba's
documentation, "Notes on Caching", lists this as a limitation), nor the fitted figures frozen into it. So the
cache directory is named by the content of every file of this package and of the kernel's own, for a kernel of
`envs` calls both. Its base is ``NUMBA_CACHE_DIR``, else ``~/.cache/dwcp-gym``, else a folder among the
temporary files; where none can be written, functions are compiled anew in each process. With
``NUMBA_DISABLE_JIT=1`` they stay plain Python.
"""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from sim.calibration.choice import chosen_file

Kernel = TypeVar("Kernel", bound=Callable[..., object])

_LOG: Final = logging.getLogger(__name__)
LINE_BYTES: Final = 64
"""Of a cache line, on all machines that run this but a few; elsewhere some lines are fetched twice."""


_WITHOUT_KERNELS = {"testbed", "monitoring"}
"""Folders that call kernels and hold none: their edits leave compiled code as it is."""


def content_hash(*folders: Path) -> str:
    """Name and content of every Python and JSON file in and below the folders, as 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".json")):
            if path.relative_to(folder).parts[0] in _WITHOUT_KERNELS:
                continue
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


@cache
def _cache_folder(package: str) -> Path | None:
    """Where the kernels of a package beside this one are kept."""
    here = Path(__file__).parent
    figures = hashlib.sha256(chosen_file().read_bytes()).hexdigest()[:4]
    return first_writable(_bases(), content_hash(here, here.parent / package) + figures)


def njit(kernel: Kernel) -> Kernel:
    """Compile on first call, in strict IEEE arithmetic, for two engines must agree; keep the result on disk.

    A kernel makes no arrays and returns none, so nobody counts references to them: every view of an array
    would cost two locked instructions, together two thirds of the time of an event. Where other kernels call
    it, its code stands in theirs: to hand over all arrays of a batch takes longer than most kernels run. To
    divide by zero gives infinity or NaN, as in NumPy: a check at every division would keep loops from being
    vectorised. It lets other threads run meanwhile.

    >>> @njit
    ... def twice(x: float) -> float:
    ...     return 2.0 * x
    >>> twice(1.5)
    3.0
    """
    return _compile(kernel, counts_references=False)


def njit_making_arrays(kernel: Kernel) -> Kernel:
    """As `njit`, for a kernel that makes arrays."""
    return _compile(kernel, counts_references=True)


def _emit_fetch(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    kind = signature.args[0]
    array = context.make_array(kind)(context, builder, arguments[0])
    place = cgutils.unpack_tuple(builder, arguments[1])
    entry = cgutils.get_item_pointer(context, builder, kind, array, place, wraparound=False)
    byte, word = ir.IntType(8), ir.IntType(32)
    wanted = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), word, word, word])
    prefetch = cgutils.get_or_insert_function(builder.module, wanted, "llvm.prefetch.p0")
    start = builder.bitcast(entry, byte.as_pointer())
    for offset in range(0, context.get_abi_sizeof(context.get_data_type(kind.dtype)), LINE_BYTES):
        line = builder.gep(start, [ir.Constant(ir.IntType(64), offset)])
        builder.call(prefetch, [line, word(0), word(3), word(1)])  # to read, into the nearest cache, data
    return context.get_dummy_value()


@intrinsic
def _fetch(_: Any, array: Any, place: Any) -> Any:
    return types.void(array, place), _emit_fetch


def _leave(array: Any, place: tuple[int, ...]) -> None:
    """In plain Python, nothing."""


fetch: Any = _leave if numba.config.DISABLE_JIT else _fetch  # type: ignore[attr-defined]
"""In a kernel, ``fetch(array, place)`` has the processor fetch an entry of an array, to be there when it is
read; ``place`` is a tuple. It reads nothing, so a place beyond the end does no harm."""


def is_compiled(kernel: Any) -> bool:
    """Whether a kernel has its machine code, from this process or from one before."""
    if not hasattr(kernel, "signatures"):  # NUMBA_DISABLE_JIT=1
        return True
    file = f"{kernel.__module__.rpartition('.')[2]}.{kernel.__name__}-*.nbi"
    return bool(kernel.signatures) or any(Path(kernel._cache.cache_path or ".").glob(file))


def announce(kernel: Any, what: str, about_s: int) -> None:
    """Log what is about to be compiled, and for how long, unless a kernel has its machine code."""
    if not is_compiled(kernel):
        _LOG.warning("compiling %s, once, about %d s", what, about_s)


def _compile(kernel: Kernel, counts_references: bool) -> Kernel:
    options: dict[str, Any] = {
        "fastmath": False,
        "forceinline": True,
        "nogil": True,
        "error_model": "numpy",
        "_nrt": counts_references,
    }
    folder = _cache_folder(kernel.__module__.partition(".")[0])
    if folder is not None:
        numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
        with contextlib.suppress(RuntimeError):  # no file to cache beside: a console, a notebook, a doctest
            return cast(Kernel, numba.njit(cache=True, **options)(kernel))
    return cast(Kernel, numba.njit(**options)(kernel))
