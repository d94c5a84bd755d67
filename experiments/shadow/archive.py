"""Where the files of a bundle go: a folder that appears at once, or a ``.zip`` made of them alone."""

import io
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from experiments.shadow.bundle_files import read_files
from experiments.shadow.bundle_format import MANIFEST
from sim.errors import InputError
from sim.files import TEMPORARY, write_whole, writing

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""Date of every file in a ``.zip``: the first it can say, so that the bytes do not depend on the day."""


def write_files(path: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a bundle, whole or not at all; an older bundle there is replaced.

    Raises:
        InputError: If the name is another's, or the file system refuses.
    """
    if path.suffix == ".zip":
        _check_free(path, path.is_file() and zipfile.is_zipfile(path))
        write_whole(path, lambda stream: stream.write(_zipped(files)))
    else:
        _check_free(path, (path / MANIFEST).is_file() or (path.is_dir() and not any(path.iterdir())))
        _write_folder(path, files)


def pack(bundle: Path, out: Path) -> None:
    """Write a bundle that was verified as one ``.zip``.

    Raises:
        InputError: If the name is another's, or the file system refuses.
    """
    if out.suffix != ".zip":
        raise InputError(out, "", "expected a name that ends in .zip")
    files = read_files(bundle)
    write_files(out, {name: files[name] for name in (MANIFEST, *sorted(files.keys() - {MANIFEST}))})


def _zipped(files: Mapping[str, bytes]) -> bytes:
    """Stored, not deflated, for a compressor's bytes change with its version."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, content)
    return stream.getvalue()


def _check_free(path: Path, is_older: bool) -> None:
    if path.exists() and not is_older:
        problem = "expected a new name or an older bundle, got something else; name another"
        raise InputError(path, "", problem)


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    unfinished = folder.with_name(f"{TEMPORARY}{os.getpid()}-{folder.name}")
    try:
        with writing(folder):
            unfinished.mkdir(parents=True)
            for name, content in files.items():
                write_whole(unfinished / name, lambda stream, content=content: stream.write(content))  # type: ignore[misc]
            _replace(folder, unfinished)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _replace(folder: Path, finished: Path) -> None:
    if not folder.exists():
        os.replace(finished, folder)
        return
    older = folder.with_name(f"{TEMPORARY}{os.getpid()}-older-{folder.name}")
    os.replace(folder, older)
    try:
        os.replace(finished, folder)
    except OSError:
        os.replace(older, folder)
        raise
    shutil.rmtree(older, ignore_errors=True)
