"""What a trained model leaves behind: named arrays in one file that is whole or not there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.errors import InputError
from sim.files import write_whole

Arrays = Mapping[str, npt.NDArray[Any]]

FILE_VERSION = 1
"""Of the layout of a model's file; a reader refuses any other."""


def write_arrays(path: Path, kind: str, arrays: Arrays) -> None:
    """Write named arrays as one ``.npz`` file; the same arrays give the same bytes.

    Raises:
        InputError: If the file system refuses.
    """
    header = {"kind": np.array(kind), "version": np.array(FILE_VERSION)}
    write_whole(path, lambda stream: np.savez_compressed(stream, allow_pickle=False, **header, **arrays))


def read_arrays(path: Path, kind: str, what: str = "model") -> dict[str, npt.NDArray[Any]]:
    """Read what ``write_arrays`` wrote.

    Args:
        path: The file.
        kind: Whose arrays they must be.
        what: What messages call it.

    Raises:
        InputError: If the file is missing, torn, of another kind or of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise InputError(
            path, "", f"expected a saved {kind} {what}, found no file; train it first"
        ) from error
    except Exception as error:  # zipfile, zlib, numpy and tokenize: their errors share no base class
        raise InputError(
            path, "", f"expected a saved {kind} {what}, got a torn or foreign file; train it again"
        ) from error
    found, version = str(arrays.pop("kind", "")), arrays.pop("version", np.array(0))
    if found != kind:
        raise InputError(
            path, "kind", f"expected {kind!r}, got {found!r}; name a file that a {kind} {what} saved"
        )
    if int(version) != FILE_VERSION:
        raise InputError(path, "version", f"expected {FILE_VERSION}, got {int(version)}; train it again")
    return arrays


def torn(path: Path, kind: str, what: str = "model") -> InputError:
    """The error for a file whose arrays do not make a model of this kind."""
    return InputError(path, "", f"expected the parameters of a {kind} {what}, got others; train it again")
