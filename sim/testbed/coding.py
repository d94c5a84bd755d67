"""Real codecs as streams of pieces, each decodable on arrival: the protocol, and those without a baseline."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import lz4.frame
from backports import zstd

from sim.units import KIB, MIB

Buffer = bytes | bytearray | memoryview
Options = dict[int, int]
"""Parameters of zstd."""

CHUNK_BYTES: Final = MIB
"""Raw bytes of one piece: large enough that a flush costs under 1 % of the size, small enough to pipeline."""
_CHUNKS_PER_STREAM: Final = 8
_LEAST_CHUNK: Final = 64 * KIB
_FIRST_FLIGHT: Final = 8 * 1448
"""Bytes that a new connection sends before it hears back: 10 packets (RFC 6928), two of them for frames."""
MOST_RAW: Final = 16 * MIB
"""Raw bytes that one piece may decode to: 4 MiB at most of what our encoders make. More is refused, for a
piece of a few KiB can be made to fill any memory."""
_MOST_WINDOW_LOG: Final = 31
"""Of a frame that may be decoded: 2 GiB, so that a long prefix can be reached."""


class Decoder(Protocol):
    """Puts one stream of pieces back together."""

    def feed(self, piece: Buffer) -> Buffer:
        """Raw bytes that follow from the next piece; pieces come whole and in order.

        Raises:
            ValueError: If the piece cannot belong to a stream of this codec and baseline.
        """
        ...

    def finish(self) -> None:
        """Say that there are no more pieces.

        Raises:
            ValueError: If the stream, which knows its own end, has not reached it. A copy does not know.
        """
        ...


class RealCodec(Protocol):
    """One way to send bytes. A codec without use for a baseline takes one and ignores it."""

    @property
    def name(self) -> str:
        """What it is called in `sim.testbed.codecs.real_codecs`."""
        ...

    def encode(self, payload: Buffer, baseline: Buffer | None = None) -> Iterator[Buffer]:
        """Pieces of the encoded payload, each made when it is asked for.

        ``baseline`` is an older version that the receiver holds byte for byte.
        """
        ...

    def decoder(self, baseline: Buffer | None = None) -> Decoder:
        """A decoder for one payload that was encoded against this baseline."""
        ...


def chunks(payload: Buffer, chunk_bytes: int = CHUNK_BYTES) -> Iterator[memoryview]:
    """Views of the payload, each of ``chunk_bytes`` but the last; none of an empty one."""
    view = memoryview(payload)
    return (view[start : start + chunk_bytes] for start in range(0, len(view), chunk_bytes))


def chunk_for(size_bytes: int, streams: int) -> int:
    """Size of pieces that leave something to do for every stream, and for the fastest of them more.

    Eight for each stream, of 64 KiB to 1 MiB as `sim.crowding.straggler_s` has it; of a payload too small for
    that one for each, but not below what goes at once anyway. One stream needs no care.

    >>> chunk_for(64 * MIB, 8), chunk_for(1 * MIB, 8), chunk_for(1000, 8)
    (1048576, 65536, 11584)
    """
    if streams == 1:
        return CHUNK_BYTES
    wanted = min(max(size_bytes // (_CHUNKS_PER_STREAM * streams), _LEAST_CHUNK), CHUNK_BYTES)
    return max(min(wanted, -(-size_bytes // streams)), _FIRST_FLIGHT)


class CopyDecoder:
    """Decoder of what was not encoded."""

    def feed(self, piece: Buffer) -> Buffer:
        """The piece itself."""
        return piece

    def finish(self) -> None:
        """A copy ends where it ends."""


@dataclass(frozen=True, slots=True)
class CopyCodec:
    """Raw bytes: views of the payload, nothing copied.

    Attributes:
        name: See `RealCodec`.
        streams: Connections for which it is cut.
    """

    name: str = "none"
    streams: int = 1

    def encode(self, payload: Buffer, baseline: Buffer | None = None) -> Iterator[Buffer]:
        """See `RealCodec`."""
        return chunks(payload, chunk_for(len(payload), self.streams))

    def decoder(self, baseline: Buffer | None = None) -> Decoder:
        """See `RealCodec`."""
        return CopyDecoder()


class ZstdDecoder:
    """Decoder of one zstd frame.

    Args:
        dictionary: As `backports.zstd.ZstdDecompressor` takes it: trained, or old bytes ``as_prefix``.
        most_raw: Bytes that one piece may decode to; -1 for any number, of a peer that is trusted.
    """

    def __init__(self, dictionary: Any = None, most_raw: int = MOST_RAW) -> None:
        self._most_raw = most_raw
        options: Options = {zstd.DecompressionParameter.window_log_max: _MOST_WINDOW_LOG}
        self._frame = zstd.ZstdDecompressor(dictionary, options)

    @property
    def complete(self) -> bool:
        """Whether the frame has come to its end."""
        return self._frame.eof

    def feed(self, piece: Buffer) -> bytes:
        """See `Decoder`."""
        if self._frame.eof:
            raise ValueError(f"expected the end of a zstd frame, got {len(piece)} bytes more")
        try:
            raw = self._frame.decompress(piece, self._most_raw)
        except zstd.ZstdError as error:
            raise ValueError(f"expected a zstd frame of this dictionary or baseline: {error}") from error
        if len(raw) == self._most_raw and not self.complete and not self._frame.needs_input:
            raise ValueError(f"expected at most {self._most_raw} raw bytes in a piece, got more")
        if self._frame.unused_data:
            raise ValueError(
                f"expected the end of a zstd frame, got {len(self._frame.unused_data)} bytes more"
            )
        return raw

    def finish(self) -> None:
        """See `Decoder`."""
        if not self._frame.eof:
            raise ValueError("expected a whole zstd frame, got less")


def compressed(payload: Buffer, options: Options, dictionary: Any = None) -> Iterator[bytes]:
    """A payload as one zstd frame; see `framed`."""
    return framed(chunks(payload), len(payload), options, dictionary)


def framed(
    pieces: Iterator[Buffer], size_bytes: int, options: Options, dictionary: Any = None
) -> Iterator[bytes]:
    """Pieces of known size as one zstd frame, flushed behind each: the other end need not wait for the next.

    The size is told beforehand, so that a small payload pays for small tables only. With threads of zstd's
    own nothing is flushed before the end: a flush would wait for all of them.
    """
    frame = zstd.ZstdCompressor(options=options, zstd_dict=dictionary)
    frame.set_pledged_input_size(size_bytes)
    threads = options.get(zstd.CompressionParameter.nb_workers, 0)
    for piece in pieces:
        if part := frame.compress(piece, frame.CONTINUE if threads else frame.FLUSH_BLOCK):
            yield part
    yield frame.flush(frame.FLUSH_FRAME)


@dataclass(frozen=True, slots=True)
class ZstdCodec:
    """zstd over the whole payload.

    Attributes:
        name: See `RealCodec`.
        level: In [1, 22].
        threads: Of zstd's own, beside the caller's; 0 for none.
    """

    name: str = "zstd"
    level: int = 3
    threads: int = 0

    def encode(self, payload: Buffer, baseline: Buffer | None = None) -> Iterator[Buffer]:
        """See `RealCodec`."""
        parameter = zstd.CompressionParameter
        options: Options = {parameter.compression_level: self.level, parameter.nb_workers: self.threads}
        return compressed(payload, options)

    def decoder(self, baseline: Buffer | None = None) -> Decoder:
        """See `RealCodec`."""
        return ZstdDecoder(most_raw=-1 if self.threads else MOST_RAW)


class Lz4Decoder:
    """Decoder of one LZ4 frame."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameDecompressor()

    def feed(self, piece: Buffer) -> Buffer:
        """See `Decoder`."""
        try:
            raw: bytes = self._frame.decompress(piece, max_length=MOST_RAW)
        except (RuntimeError, EOFError) as error:
            raise ValueError(f"expected an LZ4 frame: {error}") from error
        if len(raw) == MOST_RAW and not self._frame.eof and not self._frame.needs_input:
            raise ValueError(f"expected at most {MOST_RAW} raw bytes in a piece, got more")
        if self._frame.unused_data:
            raise ValueError(
                f"expected the end of an LZ4 frame, got {len(self._frame.unused_data)} bytes more"
            )
        return raw

    def finish(self) -> None:
        """See `Decoder`."""
        if not self._frame.eof:
            raise ValueError("expected a whole LZ4 frame, got less")


@dataclass(frozen=True, slots=True)
class Lz4Codec:
    """LZ4 in one frame of linked blocks.

    Attributes:
        name: See `RealCodec`.
        streams: Connections for which it is cut.
    """

    name: str = "lz4"
    streams: int = 1

    def encode(self, payload: Buffer, baseline: Buffer | None = None) -> Iterator[Buffer]:
        """See `RealCodec`."""
        frame = lz4.frame.LZ4FrameCompressor(block_size=lz4.frame.BLOCKSIZE_MAX1MB, auto_flush=True)
        head: bytes = frame.begin()
        for chunk in chunks(payload, chunk_for(len(payload), self.streams)):
            yield head + frame.compress(chunk)
            head = b""
        yield head + frame.flush()

    def decoder(self, baseline: Buffer | None = None) -> Decoder:
        """See `RealCodec`."""
        return Lz4Decoder()
