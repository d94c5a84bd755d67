"""Sizes and speeds of the real codecs on slices of files, on CPU time: the rows of a calibration table."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from sim.testbed.codecs import real_codecs
from sim.testbed.coding import Buffer, RealCodec
from sim.testbed.content_features import features_of
from sim.testbed.delta_coding import BLOCK_BYTES, Flags
from sim.testbed.file_samples import Slice
from sim.units import KIB, MB, MIB

DELTA_METHODS: Final = {"hde2_4_3": "hde", "patch3": "hde_prefix", "xor3": "hde_xor"}
"""Methods with a baseline, as the tables call them, and their real codecs."""
_LARGEST: Final = {"zstd12": 4 * MIB, "zstd19": MIB}
"""Largest slices of slow methods: 16 MiB take zstd-19 some eight seconds."""
_ENOUGH_S: Final = 1.0
"""CPU seconds after which a method is not repeated, and a first run counts: it was no first touch's."""
STALE_SHARES: Final = (0.01, 0.05, 0.2, 0.5)
"""Shares of the blocks that are changed where a baseline is made up."""
STALE_BYTES: Final = 512
"""Rewritten in each changed block of the mode ``sub512``; all of it in the mode ``random``."""


class Timed(NamedTuple):
    """What encoding and decoding of one slice came to.

    Attributes:
        wire_bytes: What goes over.
        ratio: Raw bytes over wire bytes.
        encode: Raw bytes per CPU second, median of the repeats, then the best.
        decode: The same of decoding.
        peaks: Bytes of memory at the peak of encoding and of decoding, beyond what was there; NaN if untold.
        repeats: Repeats of encoding.
    """

    wire_bytes: int
    ratio: float
    encode: tuple[float, float]
    decode: tuple[float, float]
    peaks: tuple[float, float]
    repeats: int

    def row(self) -> dict[str, float]:
        """Columns of the calibration tables, rates and memory in 1e6 bytes."""
        return {
            "csize": self.wire_bytes,
            "ratio": self.ratio,
            "c_MBps": self.encode[0] / MB,
            "d_MBps": self.decode[0] / MB,
            "c_MBps_best": self.encode[1] / MB,
            "d_MBps_best": self.decode[1] / MB,
            "peak_c_MB": self.peaks[0] / MB,
            "peak_d_MB": self.peaks[1] / MB,
            "reps": self.repeats,
        }


class WrongBytesError(AssertionError):
    """A codec that does not give back what it was given: nothing that a user can cause."""


def measured_methods(level_names: Sequence[int]) -> dict[str, RealCodec]:
    """Methods without a baseline by their names in the tables, zstd at the given levels."""
    plain = real_codecs()
    levels = {f"zstd{level}": real_codecs(level=level)["zstd"] for level in level_names}
    return {"none": plain["none"], "lz4": plain["lz4"], **levels}


def time_codec(codec: RealCodec, new: bytes, old: bytes | None, repeats: int) -> Timed:
    """Encode and decode a slice as often as asked, but for `_ENOUGH_S`; medians and bests.

    The first run only touches memory, unless it takes so long that this no longer counts. A copy is timed as
    one: the real one hands on what it was given.

    Raises:
        WrongBytesError: If what comes out is not what went in.
    """
    if codec.name in ("none", "amst"):
        encode: Callable[[], list[Buffer]] = lambda: [bytes(memoryview(new))]  # noqa: E731
    else:
        encode = lambda: list(codec.encode(new, old))  # noqa: E731
    pieces, encode_s, peak_encode = _repeated(encode, repeats)
    decoded, decode_s, peak_decode = _repeated(lambda: _decoded(codec, pieces, old), repeats)
    if decoded != new:
        raise WrongBytesError(f"{codec.name} gave back other bytes than it was given")
    sent = sum(len(piece) for piece in pieces)
    return Timed(
        wire_bytes=sent,
        ratio=len(new) / sent,
        encode=(len(new) / statistics.median(encode_s), len(new) / min(encode_s)),
        decode=(len(new) / statistics.median(decode_s), len(new) / min(decode_s)),
        peaks=(peak_encode, peak_decode),
        repeats=len(encode_s),
    )


def _decoded(codec: RealCodec, pieces: Sequence[Buffer], old: bytes | None) -> bytes:
    decoder = codec.decoder(old)
    raw = b"".join([bytes(memoryview(decoder.feed(piece))) for piece in pieces])
    decoder.finish()
    return raw


def _repeated(run: Callable[[], Any], repeats: int) -> tuple[Any, list[float], float]:
    """What a call gives, the CPU seconds of each repeat, and its peak memory beyond what was there."""
    _forget_peak()
    before = _memory("VmRSS:")
    start_s = time.thread_time()
    found = run()
    first_s = time.thread_time() - start_s
    peak = max(_memory("VmHWM:") - before, 0.0)
    seconds = [first_s] if first_s > _ENOUGH_S / 2 else []
    while len(seconds) < repeats and sum(seconds) < _ENOUGH_S:
        calls, spent_s = 0, 0.0
        start_s = time.thread_time()
        while spent_s < 2e-4:  # the clock of a thread ticks in microseconds
            run()
            calls += 1
            spent_s = time.thread_time() - start_s
        seconds.append(spent_s / calls)
    return found, seconds, peak


def _forget_peak() -> None:
    """Count the peak of memory from here on; only Linux can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _memory(field: str) -> float:
    """A figure of this process's memory in bytes; NaN where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return float("nan")
    return next((float(line.split()[1]) * KIB for line in lines if line.startswith(field)), float("nan"))


def measure_slice(piece: Slice, repeats: int) -> Iterator[dict[str, Any]]:
    """Rows of one slice, a row a method, for `codec_measurements`; with an older version deltas, too."""
    size = len(piece.new)
    named = {"payload": piece.source.name, "cls": piece.source.kind, "offset": piece.offset, "size": size}
    features = features_of(piece.new, piece.old)._asdict()
    codecs = measured_methods((1, 3, 6, 9, 12, 19))
    for method, codec in codecs.items():
        if size <= _LARGEST.get(method, size):
            timed = time_codec(codec, piece.new, None, repeats)
            yield {**named, "method": method, **timed.row(), **features}
    if piece.old is not None:
        for method, name in DELTA_METHODS.items():
            timed = time_codec(real_codecs()[name], piece.new, piece.old, repeats)
            yield {**named, "method": method, **timed.row(), **features}


def measure_staleness(piece: Slice, repeats: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Rows of a slice against baselines that are made of it, for `codec_staleness`."""
    zstd3, hde = real_codecs()["zstd"], real_codecs()["hde"]
    for mode in ("sub512", "random"):
        for share in STALE_SHARES:
            new, flags = aged(piece.new, share, STALE_BYTES if mode == "sub512" else BLOCK_BYTES, rng)
            changed = np.frombuffer(new, np.uint8)[: len(flags) * BLOCK_BYTES].reshape(len(flags), -1)[flags]
            literal = changed.tobytes()
            alone = sum(len(part) for part in zstd3.encode(literal)) / len(literal)
            timed = time_codec(hde, new, piece.new, repeats)
            yield {
                "base": f"{piece.source.name}@{piece.offset}",
                "mode": mode,
                "run": 1,
                "s": share,
                "size": len(new),
                "method": "hde2_4_3",
                **timed.row(),
                "z3_lit": alone,
                "dirty4": float(flags.mean()),
            }


def aged(content: bytes, share: float, each_bytes: int, rng: np.random.Generator) -> tuple[bytes, Flags]:
    """A newer version of content in which a share of the blocks has some bytes rewritten at random.

    Returns:
        The newer version, and which of its whole blocks changed (at least one).
    """
    blocks = len(content) // BLOCK_BYTES
    chosen = rng.choice(blocks, max(1, round(share * blocks)), replace=False)
    new = np.frombuffer(content, np.uint8).copy()
    for block in chosen.tolist():
        start = block * BLOCK_BYTES + int(rng.integers(0, BLOCK_BYTES - each_bytes + 1))
        new[start : start + each_bytes] = rng.integers(0, 256, each_bytes, dtype=np.uint8)
    flags = np.zeros(blocks, np.bool_)
    flags[chosen] = True
    return new.tobytes(), flags
