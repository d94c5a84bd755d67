"""What a sender can work out before it starts: how long a transfer would take with each kind of codec, alone.

The same formulas as the simulator's, fed with what was measured: the probe in place of the path, the sample
in place of the payload, averages in place of this transfer's ratio. So they are late, noisy, blind to others.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.codecs import (
    FITTED,
    STACK_CPU_S_PER_BYTE,
    coder_rate,
    delta_decode_rate,
    delta_encode_rate,
    full_baseline_encode_rate,
)
from sim.decisions import CodecQuestion
from sim.jit import njit
from sim.payloads import CLASS_NAMES
from sim.physics import CUBIC, GOODPUT_SHARE, startup_s, stream_ceiling
from sim.question_rows import CODEC_ROW

_RATIO_EXPONENTS: Final = tuple(1.0 / FITTED.classes[name].sample_exponent for name in CLASS_NAMES)
"""From the ratio of a scattered sample to that of the payload, by class (measured): samples miss repeats."""
_AMST_STREAMS: Final = 8.0
_ENCODE: Final = FITTED.encode["zstd3"]
_DECODE: Final = FITTED.decode["zstd3"]
_coder_rate = njit(coder_rate)
_delta_encode_rate = njit(delta_encode_rate)
_delta_decode_rate = njit(delta_decode_rate)
_full_baseline_encode_rate = njit(full_baseline_encode_rate)


class Estimates(NamedTuple):
    """Seconds that a transfer would take alone, by kind of codec."""

    none_s: float
    zstd_s: float
    hde_s: float
    amst_s: float


PLACES: Final = {"none": 0, "zstd": 1, "hde": 2, "hde_xor": 2, "amst": 3}
"""Place of a codec's family among the estimates."""


def codec_rows(question: CodecQuestion) -> NDArray[np.void]:
    """A question as the one row of a `CODEC_ROW` array."""
    return np.frombuffer(np.fromiter(question, np.float64), CODEC_ROW)


@njit
def _seconds(
    size: float, ratio: float, wire: float, rtt_s: float, window_bytes: float, streams: float, coder: float
) -> float:
    start = startup_s(size / ratio, streams, wire, rtt_s, window_bytes, CUBIC)
    return start + size / min(wire * ratio, coder)


@njit
def coders(sample_ratio: float, kind: int, size_bytes: float) -> tuple[float, float, float]:
    """What a sample makes of a payload: its ratio as a whole, and raw bytes/s of coding and decoding it."""
    ratio = max(sample_ratio, 1.0) ** _RATIO_EXPONENTS[int(kind)]
    return ratio, _coder_rate(_ENCODE, ratio, size_bytes), _coder_rate(_DECODE, ratio, size_bytes)


@njit
def alone(rows: NDArray[np.void]) -> tuple[float, float, float, float]:
    """The `Estimates` of the question in the first row of a `CODEC_ROW` array."""
    question = rows[0]
    return alone_with(rows, coders(question["sample_ratio"], question["kind"], question["size_bytes"]))


@njit
def alone_with(
    rows: NDArray[np.void], coders_of_it: tuple[float, float, float]
) -> tuple[float, float, float, float]:
    """As `alone`, where the `coders` of the payload are known already: half the time."""
    question = rows[0]
    ratio, encode, decode = coders_of_it
    size, rtt_s, window_bytes = question["size_bytes"], question["rtt_s"], question["window_bytes"]
    bandwidth = max(question["bandwidth"], 1.0)
    others = max(0.0, question["capacity"] / bandwidth - 1.0)
    whole = bandwidth * (1.0 + others) * GOODPUT_SHARE
    ceiling = stream_ceiling(rtt_s, question["loss"], window_bytes, CUBIC)
    single = min(whole / (1.0 + others), ceiling)
    many = min(whole * _AMST_STREAMS / (_AMST_STREAMS + others), _AMST_STREAMS * ceiling)
    raw = 1.0 / STACK_CPU_S_PER_BYTE
    if question["has_baseline"]:
        changed = question["changed"]
        hde_ratio = max(question["delta_ratio"], 1.0)
        hde_coder = min(_delta_encode_rate(changed), _delta_decode_rate(changed))
    else:
        hde_ratio, hde_coder = ratio, min(_full_baseline_encode_rate(encode), decode)
    return (
        _seconds(size, 1.0, single, rtt_s, window_bytes, 1.0, raw),
        _seconds(size, ratio, single, rtt_s, window_bytes, 1.0, min(encode, decode)),
        _seconds(size, hde_ratio, single, rtt_s, window_bytes, 1.0, hde_coder),
        _seconds(size, 1.0, many, rtt_s, window_bytes, _AMST_STREAMS, _AMST_STREAMS * raw),
    )


def estimate(question: CodecQuestion) -> Estimates:
    """Estimates from what a question carries."""
    return Estimates._make(alone(codec_rows(question)))
