"""Takes a bundle apart and distrusts all of it: its files, its manifest, the bytes of its graph and rows."""

import ast
import json
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from experiments.shadow.bundle_format import (
    FORMAT,
    LARGEST,
    MANIFEST,
    MASK_ROWS,
    SCHEMA,
    BundleError,
    digest,
    faults,
    seal,
)

OPSETS: Final = {"": range(13, 22), "ai.onnx.ml": range(1, 6)}
FORBIDDEN_OPS: Final = frozenset(
    {"Loop", "Scan", "If", "SequenceMap", "Optional", "Bernoulli", "Multinomial"}
    | {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Control flow and chance: a policy needs neither, and both could keep a runtime busy or make it waver."""


def read_files(path: Path) -> dict[str, bytes]:
    """The files of a bundle by name: none but those of `LARGEST`, none longer, no link, none elsewhere."""
    try:
        if path.is_dir():
            return {entry.name: _read_plain(path, entry) for entry in sorted(os.scandir(path), key=str)}
        if path.stat().st_size > sum(LARGEST.values()):
            raise BundleError(path, "", f"is larger than a bundle may be ({sum(LARGEST.values()):,} bytes)")
        with zipfile.ZipFile(path) as archive:
            return dict(_unpacked(path, archive))
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}; name the folder or .zip that an export wrote"
        raise BundleError(path, "", problem) from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(path, "", f"expected a bundle, got a torn or foreign file: {error}") from error


def _read_plain(folder: Path, entry: "os.DirEntry[str]") -> bytes:
    _allowed(folder, entry.name, entry.stat(follow_symlinks=False))
    with open(entry.path, "rb", opener=lambda name, flags: os.open(name, flags | _NO_LINKS)) as stream:
        return stream.read(LARGEST[entry.name])


_NO_LINKS: Final = getattr(os, "O_NOFOLLOW", 0)


def _allowed(source: Path, name: str, status: os.stat_result) -> None:
    if name not in LARGEST:
        raise BundleError(source, name[:80], "is no file of a bundle; take it out")
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(source, name, "expected a plain file, got a link or folder; copy the file itself")
    if status.st_size > LARGEST[name]:
        problem = f"expected at most {LARGEST[name]:,} bytes, got {status.st_size:,}"
        raise BundleError(source, name, f"{problem}; export a smaller policy or fewer parity rows")


def _unpacked(path: Path, archive: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    for member in archive.infolist():
        mode = (member.external_attr >> 16) or stat.S_IFREG
        kind = mode if stat.S_IFMT(mode) else mode | stat.S_IFREG
        _allowed(path, member.filename, os.stat_result((kind, 0, 0, 1, 0, 0, member.file_size, 0, 0, 0)))
        if member.filename in seen:
            raise BundleError(path, member.filename, "stands there twice; export again")
        seen.add(member.filename)
        with archive.open(member) as stream:
            yield member.filename, stream.read(member.file_size)


def read_manifest(files: Mapping[str, bytes], source: object) -> dict[str, Any]:
    """The manifest, once it fits `SCHEMA`, its own seal, and the files that there are."""
    place = f"{source}/{MANIFEST}"
    if MANIFEST not in files:
        raise BundleError(place, "", "expected a manifest, found none; name the folder that an export wrote")
    try:
        manifest = json.loads(files[MANIFEST], parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BundleError(place, "", f"expected JSON: {error}; export again") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        problem = f"expected {FORMAT}, got {str(found)[:40]}; export again with this version"
        raise BundleError(place, "format", problem)
    for key, problem in faults(manifest, SCHEMA, ""):
        raise BundleError(place, key, f"{problem}; export again")
    if seal(manifest) != manifest["seal"]:
        raise BundleError(
            place, "seal", "the manifest was changed after the export; export again or restore it"
        )
    wanted = set(LARGEST) - {MANIFEST} - (set() if manifest["masked"] else {MASK_ROWS})
    for name in sorted(wanted | set(manifest["files"]) | set(files) - {MANIFEST}):
        said = manifest["files"].get(name)
        if name not in files:
            raise BundleError(f"{source}/{name}", "", "expected it in the bundle, found none; copy all of it")
        if said is None or name not in wanted:
            raise BundleError(f"{source}/{name}", "", "is not named in the manifest; export again")
        if (len(files[name]), digest(files[name])) != (said["bytes"], said["sha256"]):
            problem = f"expected sha256 {said['sha256'][:12]}…, got {digest(files[name])[:12]}…"
            raise BundleError(f"{source}/{name}", "", f"{problem}; the file was altered: restore it")
    return manifest


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def read_array(
    files: Mapping[str, bytes], source: object, name: str, shape: tuple[int, ...], kind: str
) -> npt.NDArray[Any]:
    """The array of a ``.npy`` file, which must have just this shape and type: nothing else is allocated."""
    wanted = {"descr": kind, "fortran_order": False, "shape": shape}
    content = files[name]
    length = int.from_bytes(content[8:10], "little")
    try:
        if content[:8] != b"\x93NUMPY\x01\x00" or length > 1000:
            raise ValueError("not version 1 of the format")
        found = ast.literal_eval(content[10 : 10 + length].decode("latin-1").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise BundleError(f"{source}/{name}", "", f"expected an .npy array, got none: {error}") from error
    entries = content[10 + length :]
    if found != wanted or len(entries) != int(np.prod(shape)) * np.dtype(kind).itemsize:
        problem = f"expected {kind} of shape {shape}, got {str(found)[:80]}; export again"
        raise BundleError(f"{source}/{name}", "", problem)
    array = np.frombuffer(entries, kind).reshape(shape)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise BundleError(f"{source}/{name}", "", "expected finite numbers in every row; export again")
    if array.dtype.kind == "b" and np.frombuffer(entries, np.uint8).max(initial=0) > 1:
        raise BundleError(f"{source}/{name}", "", "expected truth values in every row; export again")
    return array


def scan_graph(graph: bytes, source: object, said: Mapping[str, int]) -> None:
    """Refuse a graph of another opset, with tensors kept in other files, or with control flow or chance.

    It reads the few fields of the protocol buffer that say so (onnx.proto: ModelProto.graph 7 and
    opset_import 8; GraphProto.node 1, initializer 5; NodeProto.op_type 4, attribute 5; AttributeProto.t 5,
    g 6, tensors 10, graphs 11; TensorProto.external_data 13, data_location 14).
    """
    try:
        fields = list(_fields(graph))
        opset: dict[str, int] = {}
        for number, value in fields:
            if number == 8:
                entry = dict(_fields(value))
                opset[entry.get(1, b"").decode()] = int(entry.get(2, 0))
        graphs = [_problem(value, _GRAPH) for number, value in fields if number == 7]
        problem = graphs[0] if len(graphs) == 1 else f"it has {len(graphs)} graphs"
        if any(number in (20, 25) for number, _ in fields):
            problem = problem or "it has functions or training steps of its own"
    except (ValueError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(source, "", f"expected a policy graph, got a torn file: {error}") from error
    if opset != said or any(version not in OPSETS.get(domain, ()) for domain, version in opset.items()):
        known = ", ".join(f"{domain or 'ai.onnx'} {one[0]} to {one[-1]}" for domain, one in OPSETS.items())
        problem = f"expected opsets {dict(said)} as in {MANIFEST}, of {known}, got {opset}"
        raise BundleError(source, "opset", f"{problem}; export again")
    if problem:
        raise BundleError(source, "", f"expected a plain policy graph, but {problem}; export again")


_TENSOR: Final[dict[int, Any]] = {13: "external", 14: "location"}
_ATTRIBUTE: Final[dict[int, Any]] = {
    5: _TENSOR,
    10: _TENSOR,
    6: "graph",
    11: "graph",
    22: "sparse",
    23: "sparse",
}
_GRAPH: Final[dict[int, Any]] = {1: {4: "op", 5: _ATTRIBUTE}, 5: _TENSOR, 15: "sparse"}


def _problem(message: bytes, wanted: Mapping[int, Any]) -> str:
    for number, value in _fields(message):
        kind = wanted.get(number)
        if isinstance(kind, dict):
            if found := _problem(value, kind):
                return found
        elif kind == "op" and value.decode() in FORBIDDEN_OPS:
            return f"it has a node {value.decode()}"
        elif kind in ("graph", "sparse"):
            return f"it has a {kind} within a node"
        elif kind == "external" or (kind == "location" and value != 0):
            return "it keeps tensors in other files"
    return ""


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of a protocol buffer's fields: int, or bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        wire = key & 7
        if wire == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        length = {1: 8, 5: 4}.get(wire, -1)
        if wire == 2:
            length, place = _varint(message, place)
        if length < 0 or place + length > len(message):
            raise ValueError(f"field {key >> 3} at byte {place} does not fit")
        yield key >> 3, message[place : place + length]
        place += length


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = message[place]
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            return value, place
    raise ValueError(f"number at byte {place} has no end")
