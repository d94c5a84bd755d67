"""Codecs by name, and what they cost: sizes, rates and CPU, fitted to measurements of real codecs.

The formulas take floats or arrays alike: they are written with operators only, so that a scalar call is fast.
Rates are raw bytes per second of one core; ``ratio3`` is raw over compressed size with zstd-3.

Source:
    Own measurements, ``sim/calibration/PROVENANCE.md``: one core of a Sapphire Rapids Xeon, libzstd 1.5.7; or
    those of the user, see `sim.calibration.choice`.
"""

import difflib
import math
import re
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from sim.calibration.choice import chosen_file
from sim.calibration.laws import RateLaw, RatioLaw, ShareLaw, load_fitted
from sim.units import GBIT, KIB, MIB

Number = TypeVar("Number", float, NDArray[np.float64])
Family = Literal["none", "zstd", "hde", "hde_xor", "amst"]

FITTED: Final = load_fitted(chosen_file())
"""All fitted figures; see `sim.calibration.choice`."""
ZSTD_LEVELS: Final = (1, 3, 6, 9, 12, 19)
"""Levels that were measured."""
MAX_STREAMS: Final = 256
"""Largest stream count of DWCP's AMST."""
INDEX_RATE: Final = 6e9
"""Bytes per core-second at which a baseline is indexed (measured: xxh3-128 over 4 KiB blocks)."""
STACK_CPU_S_PER_BYTE: Final = 1 / (10 * GBIT)
"""CPU seconds of the network stack per wire byte, at each end: an assumption, one core for 10 Gbit/s."""
STREAM_CPU_S: Final = 1e-4
"""CPU seconds to set one TCP stream up, at each end: an assumption, a few system calls and a thread."""


@dataclass(frozen=True, slots=True)
class Codec:
    """One answer to "which codec".

    Attributes:
        name: How configs, tables and actions call it.
        family: Which state machine it follows; "none" and "amst" send raw bytes unless ``lz4``.
        level: zstd level of what is compressed, 0 where zstd is not used.
        streams: TCP connections side by side, in [1, 256].
        lz4: Whether every stream compresses with LZ4.
    """

    name: str
    family: Family
    level: int = 0
    streams: int = 1
    lz4: bool = False

    def __post_init__(self) -> None:
        if self.level not in (0, *ZSTD_LEVELS):
            raise ValueError(f"codec {self.name}: level must be 0 or one of {ZSTD_LEVELS}, got {self.level}")
        if self.keeps_baseline and self.level != 3:
            raise ValueError(f"codec {self.name}: deltas were measured at level 3 only, got {self.level}")
        if not 1 <= self.streams <= MAX_STREAMS:
            raise ValueError(f"codec {self.name}: streams must be in [1, {MAX_STREAMS}], got {self.streams}")

    @property
    def method(self) -> str:
        """Name of the measured method that compresses a whole payload: "none", "lz4" or "zstd<level>"."""
        if self.lz4:
            return "lz4"
        return f"zstd{self.level}" if self.level else "none"

    @property
    def keeps_baseline(self) -> bool:
        """Whether its transfers leave a baseline to send deltas against."""
        return self.family in ("hde", "hde_xor")


CODECS: Final[dict[str, Codec]] = {
    codec.name: codec
    for codec in (
        Codec("none", "none"),
        *(Codec("zstd" if level == 3 else f"zstd-{level}", "zstd", level=level) for level in ZSTD_LEVELS),
        Codec("hde", "hde", level=3),
        Codec("hde_xor", "hde_xor", level=3),
        Codec("amst", "amst", streams=8),
        Codec("amst-8-lz4", "amst", streams=8, lz4=True),
    )
}
"""Codecs by name; a new one is one entry here, fitted from rows of its own in ``sim/calibration``."""

_AMST = re.compile(r"amst-([1-9][0-9]{0,3})(-lz4)?")


def parse_codec(name: str) -> Codec:
    """The codec of that name; besides `CODECS` also ``amst-<streams>`` and ``amst-<streams>-lz4``.

    Raises:
        ValueError: If no codec has that name, with the nearest names; or if it asks for too many streams.

    >>> parse_codec("zstd-3").name, parse_codec("amst").streams, parse_codec("amst-16-lz4").method
    ('zstd', 8, 'lz4')
    """
    canonical = {"zstd-3": "zstd", "amst-8": "amst"}.get(name, name)
    if canonical in CODECS:
        return CODECS[canonical]
    parallel = _AMST.fullmatch(name)
    if parallel:
        return Codec(name, "amst", streams=int(parallel[1]), lz4=parallel[2] is not None)
    near = difflib.get_close_matches(name, CODECS, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"unknown codec {name!r}{guess} Codecs: {', '.join(CODECS)}, amst-<streams>, amst-<streams>-lz4"
    )


def zstd_ratio(ratio3: Number, level: int) -> Number:
    """Ratio at another zstd level; 1 stays 1.

    Raises:
        ValueError: If the level was not measured.

    >>> round(zstd_ratio(4.0, 9), 2)
    4.47
    """
    if level == 3:
        return ratio3
    if level not in ZSTD_LEVELS:
        raise ValueError(
            f"zstd level must be one of {ZSTD_LEVELS}, got {level}: the others were not measured"
        )
    return coder_ratio(FITTED.ratios[f"zstd{level}"], ratio3)


def lz4_ratio(ratio3: Number) -> Number:
    """Ratio of LZ4, which finds repetition but codes no entropy.

    >>> round(lz4_ratio(4.0), 2)
    2.54
    """
    return coder_ratio(FITTED.ratios["lz4"], ratio3)


def encode_rate(ratio3: Number, method: str, size_bytes: Number) -> Number:
    """Raw bytes per core-second of compressing; ``method`` as in `Codec.method`.

    >>> round(encode_rate(4.0, "zstd3", 16 * MIB) / 1e6), round(encode_rate(1.0, "zstd3", 16 * MIB) / 1e6)
    (316, 1976)
    """
    return _memcpy(ratio3) if method == "none" else coder_rate(FITTED.encode[method], ratio3, size_bytes)


def decode_rate(ratio3: Number, method: str, size_bytes: Number) -> Number:
    """Raw bytes per core-second of decompressing; ``method`` as in `Codec.method`."""
    return _memcpy(ratio3) if method == "none" else coder_rate(FITTED.decode[method], ratio3, size_bytes)


def full_baseline_encode_rate(zstd3_rate: Number) -> Number:
    """Raw bytes per core-second of a full HDE baseline: zstd-3 at its rate, and a hash of every block."""
    return 1 / (1 / zstd3_rate + 1 / INDEX_RATE)


def dirty_share(elapsed_s: Number, working_set: Number, tau_s: Number) -> Number:
    """Share of the blocks that changed in ``elapsed_s``: ``W * (1 - exp(-t / tau))``.

    Source:
        Measured on QEMU guests under load: W 0.0015 to 0.26, tau 6 to 28 s.

    >>> round(dirty_share(10.0, 0.263, 10.0), 4)
    0.1662
    """
    share: Number = working_set * (1 - math.e ** (-elapsed_s / tau_s))
    return share


def delta_fraction(changed: Number, novelty: Number, ratio3: Number) -> Number:
    """Compressed over raw size of a block delta: ``novelty * changed / ratio3``, and the block index.

    ``changed`` is the share of blocks that the baseline does not hold, ``novelty`` what such a block costs
    beside its old self, relative to zstd-3: about 0.1 if 512 bytes of 4 KiB were rewritten, 1 if all of it.

    >>> round(1 / delta_fraction(0.1, 1.0, 4.0), 2)
    39.99
    """
    return novelty * changed / ratio3 + _OVERHEAD


def delta_encode_rate(changed: Number) -> Number:
    """Raw bytes per core-second of a block delta: every block is hashed, the changed ones are compressed."""
    return 1 / (_ENCODE_SCAN + changed * _ENCODE_WORK)


def delta_decode_rate(changed: Number) -> Number:
    """Raw bytes per core-second of applying a block delta."""
    return 1 / (_DECODE_SCAN + changed * _DECODE_WORK)


def xor_fraction(changed: Number, novelty: Number, ratio3: Number, shifted: Number) -> Number:
    """Compressed over raw size of DWCP's XOR delta, followed by zstd-3.

    Where content has shifted (share ``shifted`` of the payload) XOR mixes two unrelated texts, and that
    compresses worse than either; in place it leaves zeros and what changed, though seldom as little as a
    block delta.
    """
    in_place = (_XOR_FLOOR + (1 - _XOR_FLOOR) * novelty) / ratio3
    sent: Number = changed * (in_place + shifted * (ratio3**-_XOR_EXPONENT - in_place)) + _XOR_OVERHEAD
    return sent


def xor_encode_rate(changed: Number) -> Number:
    """Raw bytes per core-second of XOR and zstd-3."""
    return 1 / (_XOR_ENCODE_SCAN + changed * _XOR_ENCODE_WORK)


def xor_decode_rate(changed: Number) -> Number:
    """Raw bytes per core-second of undoing zstd-3 and XOR."""
    return 1 / (_XOR_DECODE_SCAN + changed * _XOR_DECODE_WORK)


def ratio_at_size(ratio3: Number, size_bytes: Number) -> Number:
    """zstd-3 ratio of a small piece of content whose large pieces have ``ratio3``.

    >>> round(ratio_at_size(9.0, 1 * MIB), 2), round(ratio_at_size(9.0, 2900.0), 1)
    (8.98, 5.0)
    """
    return 1 + (ratio3 - 1) / (1 + _HALF_SIZE / size_bytes)


def dictionary_ratio(ratio3: Number, size_bytes: Number) -> Number:
    """zstd-3 ratio with a trained dictionary, of a payload that has ``ratio3`` without one.

    Holds for records that resemble earlier ones (logs, rows, source); RAM and disk pages gain nothing. It
    matters below 16 KiB and is within 5 % of ``ratio3`` from 64 KiB on.
    """
    return 1 + (ratio3 - 1) * (size_bytes + _HALF_SIZE) / (size_bytes + _HALF_SIZE_DICTIONARY)


def coder_ratio(law: RatioLaw, ratio3: Number) -> Number:
    """Ratio by a fitted law."""
    ratio: Number = ratio3**law.exponent * math.e ** (law.gain * (1 - 1 / ratio3))
    return ratio


def coder_rate(law: RateLaw, ratio3: Number, size_bytes: Number) -> Number:
    """Raw bytes per core-second by a fitted law."""
    lift = law.lift * math.e ** ((1 - ratio3) / law.reach)
    size_effect = law.cache / (1 + size_bytes / (4 * MIB)) - law.call / (1 + size_bytes / (64 * KIB))
    rate: Number = law.scale * ratio3**law.exponent * math.e ** (lift + size_effect)
    return rate


def _memcpy(ratio3: Number) -> Number:
    return FITTED.memcpy + 0 * ratio3


def _seconds_a_byte(law: ShareLaw) -> tuple[float, float]:
    return 1 / law.scan, 1 / law.work


_OVERHEAD: Final = FITTED.delta.overhead
_ENCODE_SCAN, _ENCODE_WORK = _seconds_a_byte(FITTED.delta.encode)
_DECODE_SCAN, _DECODE_WORK = _seconds_a_byte(FITTED.delta.decode)
_XOR_OVERHEAD: Final = FITTED.delta.xor_overhead
_XOR_FLOOR: Final = FITTED.delta.xor_floor
_XOR_EXPONENT: Final = FITTED.delta.xor_exponent
_XOR_ENCODE_SCAN, _XOR_ENCODE_WORK = _seconds_a_byte(FITTED.delta.xor_encode)
_XOR_DECODE_SCAN, _XOR_DECODE_WORK = _seconds_a_byte(FITTED.delta.xor_decode)
_HALF_SIZE: Final = FITTED.dictionary.half_size
_HALF_SIZE_DICTIONARY: Final = FITTED.dictionary.half_size_dictionary
