"""Real codecs that send what changed since an older version: by blocks, by a prefix, by XOR."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from backports import zstd
from numpy.typing import NDArray

from sim.testbed.coding import CHUNK_BYTES, Buffer, Decoder, Options, ZstdDecoder, chunks, compressed, framed
from sim.units import KIB, MIB

BLOCK_BYTES: Final = 4 * KIB
"""What is compared: a page of memory and of most file systems."""
SMALL_BYTES: Final = 16 * KIB
"""A payload below it gains by a trained dictionary (measured: 64 KiB gain under 5 %)."""
_LEVEL: Final = 3
_LEAST_PREFIX: Final = 8
"""zstd's own least length of a dictionary."""
_TURN_BLOCKS: Final = 4 * MIB // BLOCK_BYTES
"""Blocks that one piece covers at most, changed or not: what a decoder puts out at once."""
_CHUNK_BLOCKS: Final = CHUNK_BYTES // BLOCK_BYTES
_COMPARED: Final = 64
"""Blocks that are compared at once: both versions fit the second-level cache."""
_HEAD: Final = struct.Struct("<QQ")
"""Bytes of the payload and of the baseline, before the compressed map of changed blocks."""
_TURN: Final = struct.Struct("<I")
"""Blocks that a piece covers."""

Flags = NDArray[np.bool_]
Bytes = NDArray[np.uint8]


def changed_blocks(payload: Buffer, baseline: Buffer) -> Flags:
    """Which blocks of the payload are not in the same place of the baseline; the last may be short.

    >>> changed_blocks(bytes(9000), bytes(8192) + b"x").tolist()
    [False, False, True]
    """
    new, old = memoryview(payload), memoryview(baseline)
    count = -(-len(new) // BLOCK_BYTES)
    changed = np.ones(count, dtype=np.bool_)
    whole = min(len(new), len(old)) // BLOCK_BYTES
    words = BLOCK_BYTES // 8
    after = np.frombuffer(new, np.uint64, whole * words).reshape(whole, words)
    before = np.frombuffer(old, np.uint64, whole * words).reshape(whole, words)
    for start in range(0, whole, _COMPARED):
        rows = slice(start, min(start + _COMPARED, whole))
        changed[rows] = (after[rows] != before[rows]).any(axis=1)
    if whole == count - 1:
        changed[whole] = new[whole * BLOCK_BYTES :] != old[whole * BLOCK_BYTES :]
    return changed


def _blocks(content: Buffer, start: int, flags: Flags) -> bytes:
    """The flagged blocks from block ``start`` on, one behind the other."""
    part = np.frombuffer(
        memoryview(content)[start * BLOCK_BYTES : (start + len(flags)) * BLOCK_BYTES], np.uint8
    )
    whole = len(part) // BLOCK_BYTES
    chosen = part[: whole * BLOCK_BYTES].reshape(whole, BLOCK_BYTES)[flags[:whole]].tobytes()
    short = part[whole * BLOCK_BYTES :] if flags[whole:].any() else part[:0]
    return chosen + short.tobytes()


def _prefix(baseline: Buffer, changed: Flags) -> Any:
    """What the literals are compressed against: the old blocks in the places that changed, and what follows.

    Shifted content changes nearly every block, so that all of it is at hand; content changed in place needs
    no more than the old page.
    """
    old = _blocks(baseline, 0, changed) + bytes(memoryview(baseline)[len(changed) * BLOCK_BYTES :])
    return zstd.ZstdDict(old, is_raw=True).as_prefix if len(old) >= _LEAST_PREFIX else None


def _delta_options(reach_bytes: int) -> Options:
    """Options of zstd that sees back over ``reach_bytes``: old version and new.

    Without long-distance matching a level looks back as far as its hash table: a few MiB.
    """
    parameter = zstd.CompressionParameter
    window = min(max(reach_bytes.bit_length(), 10), 31)
    return {
        parameter.compression_level: _LEVEL,
        parameter.window_log: window,
        parameter.enable_long_distance_matching: 1,
    }


@dataclass(frozen=True, slots=True)
class HdeCodec:
    """Blocks that changed, compressed with their old selves as prefix; without a baseline zstd.

    Attributes:
        name: See `RealCodec`.
        dictionary: Trained on content of the kind, held by both ends; for small payloads without a baseline.
    """

    name: str = "hde"
    dictionary: zstd.ZstdDict | None = None

    def encode(self, payload: Buffer, baseline: Buffer | None = None) -> Iterator[Buffer]:
        """See `RealCodec`. The first piece holds the map of changed blocks, for which both are read once."""
        if baseline is None:
            small = self.dictionary if len(payload) < SMALL_BYTES else None
            return _marked(small is not None, compressed(payload, _FULL, small))
        return _block_delta(payload, baseline)

    def decoder(self, baseline: Buffer | None = None) -> Decoder:
        """See `RealCodec`."""
        return _FullDecoder(self.dictionary) if baseline is None else _BlockDecoder(baseline)


_FULL: Final[Options] = {zstd.CompressionParameter.compression_level: _LEVEL}


def _marked(with_dictionary: bool, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces, the first led by whether the dictionary is needed."""
    yield bytes([with_dictionary]) + next(pieces)
    yield from pieces


class _FullDecoder:
    def __init__(self, dictionary: zstd.ZstdDict | None) -> None:
        self._dictionary = dictionary
        self._frame: ZstdDecoder | None = None

    def feed(self, piece: Buffer) -> bytes:
        if self._frame is not None:
            return self._frame.feed(piece)
        mark = bytes(memoryview(piece)[:1])
        if mark not in (b"\0", b"\1") or (mark == b"\1" and self._dictionary is None):
            raise ValueError("expected content without a baseline, and the dictionary it was encoded with")
        self._frame = ZstdDecoder(self._dictionary if mark == b"\1" else None)
        return self._frame.feed(memoryview(piece)[1:])

    def finish(self) -> None:
        if self._frame is None:
            raise ValueError("expected a whole zstd frame, got nothing")
        self._frame.finish()


def _block_delta(payload: Buffer, baseline: Buffer) -> Iterator[bytes]:
    changed = changed_blocks(payload, baseline)
    yield _HEAD.pack(len(payload), len(baseline)) + zstd.compress(np.packbits(changed).tobytes(), _LEVEL)
    turns = list(_turns(changed))
    literals = (_blocks(payload, start, changed[start:end]) for start, end in turns)
    reach = (
        2 * int(np.count_nonzero(changed)) * BLOCK_BYTES + len(baseline) - min(len(payload), len(baseline))
    )
    options = _delta_options(reach)
    frame = zstd.ZstdCompressor(options=options, zstd_dict=_prefix(baseline, changed))
    frame.set_pledged_input_size(_literal_bytes(changed, len(payload)))
    for (start, end), new in zip(turns, literals, strict=True):
        yield _TURN.pack(end - start) + (frame.compress(new, frame.FLUSH_BLOCK) if new else b"")
    yield _TURN.pack(0) + frame.flush(frame.FLUSH_FRAME)


def _literal_bytes(changed: Flags, size_bytes: int) -> int:
    """Bytes in the changed blocks; the last may be short."""
    count = int(np.count_nonzero(changed)) * BLOCK_BYTES
    return count - (len(changed) * BLOCK_BYTES - size_bytes) if len(changed) and changed[-1] else count


def _turns(changed: Flags) -> Iterator[tuple[int, int]]:
    """Runs of blocks, one a piece: at most `_TURN_BLOCKS`, of which at most `_CHUNK_BLOCKS` changed."""
    start, so_far = 0, np.concatenate([[0], np.cumsum(changed)])
    while start < len(changed):
        full = int(np.searchsorted(so_far, so_far[start] + _CHUNK_BLOCKS, side="left"))
        end = min(start + _TURN_BLOCKS, max(full, start + 1), len(changed))
        yield start, end
        start = end


def _whole(frame: memoryview) -> bytes:
    """What a whole frame holds."""
    decoder = ZstdDecoder()
    raw = decoder.feed(frame)
    decoder.finish()
    return raw


class _BlockDecoder:
    def __init__(self, baseline: Buffer) -> None:
        self._baseline = memoryview(baseline)
        self._changed: Flags = np.zeros(0, np.bool_)
        self._size = 0
        self._done = 0
        self._frame: ZstdDecoder | None = None

    def feed(self, piece: Buffer) -> bytes:
        if self._frame is None:
            self._open(memoryview(piece))
            return b""
        return self._apply(memoryview(piece))

    def _open(self, head: memoryview) -> None:
        try:
            self._size, old_size = _HEAD.unpack_from(head)
            bits = np.frombuffer(_whole(head[_HEAD.size :]), np.uint8)
        except (struct.error, ValueError) as error:
            raise ValueError(f"expected the head of a block delta: {error}") from error
        if old_size != len(self._baseline):
            raise ValueError(
                f"expected a delta against {len(self._baseline)} bytes, got one against {old_size}"
            )
        count = -(-self._size // BLOCK_BYTES)
        if len(bits) != -(-count // 8):
            raise ValueError(f"expected a map of {count} blocks, got {len(bits)} bytes")
        self._changed = np.unpackbits(bits, count=count).astype(np.bool_)
        if not self._changed[-(-old_size // BLOCK_BYTES) :].all():
            raise ValueError("expected every block beyond the baseline to be marked as changed")
        self._frame = ZstdDecoder(_prefix(self._baseline, self._changed))

    def _apply(self, piece: memoryview) -> bytes:
        assert self._frame is not None
        try:
            (turn,) = _TURN.unpack_from(piece)
        except struct.error as error:
            raise ValueError(f"expected a piece of a block delta: {error}") from error
        start, end = self._done, self._done + turn
        if end > len(self._changed):
            raise ValueError(f"expected at most {len(self._changed)} blocks, got {end}")
        flags = self._changed[start:end]
        literals = self._frame.feed(piece[_TURN.size :]) if len(piece) > _TURN.size else b""
        self._done = end
        raw = _merged(self._baseline[start * BLOCK_BYTES : end * BLOCK_BYTES], flags, literals)
        wanted = min(end * BLOCK_BYTES, self._size) - min(start * BLOCK_BYTES, self._size)
        if len(raw) != wanted:
            raise ValueError(f"expected a piece of {wanted} raw bytes, got {len(raw)}")
        return raw

    def finish(self) -> None:
        if self._frame is None or self._done != len(self._changed):
            raise ValueError(f"expected {len(self._changed)} blocks, got {self._done}")
        self._frame.finish()


def _merged(old: memoryview, flags: Flags, literals: bytes) -> bytes:
    """Old blocks where nothing changed, the literals where something did; the last block may be short."""
    if flags.all():
        return literals
    if not flags.any() and not literals:
        return bytes(old)
    fresh = int(np.count_nonzero(flags))
    short = len(literals) - (fresh - 1) * BLOCK_BYTES if flags[-1] else BLOCK_BYTES
    raw: Bytes = np.zeros(len(flags) * BLOCK_BYTES, np.uint8)
    blocks = raw.reshape(len(flags), BLOCK_BYTES)
    if not 0 < short <= BLOCK_BYTES or (not flags[-1] and len(literals) != fresh * BLOCK_BYTES):
        raise ValueError(f"expected {fresh} changed blocks, got {len(literals)} bytes")
    raw[: len(old)] = np.frombuffer(old[: len(raw)], np.uint8)
    padded = np.frombuffer(literals + bytes(BLOCK_BYTES - short), np.uint8)
    blocks[flags] = padded.reshape(fresh, BLOCK_BYTES)
    length = len(raw) - BLOCK_BYTES + short if flags[-1] else len(old)
    return raw[:length].tobytes()


@dataclass(frozen=True, slots=True)
class PrefixCodec:
    """zstd with the whole older version as prefix, as ``zstd --patch-from`` does it."""

    name: str = "hde_prefix"

    def encode(self, payload: Buffer, baseline: Buffer | None = None) -> Iterator[Buffer]:
        """See `RealCodec`."""
        if baseline is None or len(baseline) < _LEAST_PREFIX:
            return compressed(payload, _FULL)
        prefix = zstd.ZstdDict(baseline, is_raw=True).as_prefix
        return compressed(payload, _delta_options(len(payload) + len(baseline)), prefix)

    def decoder(self, baseline: Buffer | None = None) -> Decoder:
        """See `RealCodec`."""
        if baseline is None or len(baseline) < _LEAST_PREFIX:
            return ZstdDecoder()
        return ZstdDecoder(zstd.ZstdDict(baseline, is_raw=True).as_prefix)


def _xor(piece: Buffer, baseline: memoryview, start: int) -> bytes:
    """The piece, which begins at ``start``, XOR the baseline; beyond the baseline the piece itself."""
    old = baseline[start : start + len(piece)]
    mixed = np.frombuffer(piece, np.uint8).copy()
    mixed[: len(old)] ^= np.frombuffer(old, np.uint8)
    return mixed.tobytes()


@dataclass(frozen=True, slots=True)
class XorCodec:
    """zstd of new XOR old, as DWCP has it: good in place, worse than no delta where content has shifted."""

    name: str = "hde_xor"

    def encode(self, payload: Buffer, baseline: Buffer | None = None) -> Iterator[Buffer]:
        """See `RealCodec`."""
        if baseline is None:
            return compressed(payload, _FULL)
        old, starts = memoryview(baseline), range(0, len(payload), CHUNK_BYTES)
        mixed = (_xor(chunk, old, start) for start, chunk in zip(starts, chunks(payload), strict=True))
        return framed(mixed, len(payload), _FULL)

    def decoder(self, baseline: Buffer | None = None) -> Decoder:
        """See `RealCodec`."""
        return ZstdDecoder() if baseline is None else _XorDecoder(memoryview(baseline))


class _XorDecoder:
    def __init__(self, baseline: memoryview) -> None:
        self._baseline = baseline
        self._frame = ZstdDecoder()
        self._done = 0

    def feed(self, piece: Buffer) -> bytes:
        raw = _xor(self._frame.feed(piece), self._baseline, self._done)
        self._done += len(raw)
        return raw

    def finish(self) -> None:
        self._frame.finish()
