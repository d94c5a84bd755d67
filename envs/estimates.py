"""What a sender can work out before it starts: how long a transfer would take with each kind of codec, left to itself.

The same formulas as the simulator's, fed with what was measured: the probe in place of the path, the sample in place of
the payload, averages in place of this transfer's ratio. So the estimates are late, noisy and blind to others.
"""

from math import inf
from typing import Final, NamedTuple

from sim.codecs import (
    STACK_CPU_S_PER_BYTE,
    decode_rate,
    delta_decode_rate,
    delta_encode_rate,
    encode_rate,
    full_baseline_encode_rate,
)
from sim.decisions import CodecQuestion
from sim.physics import CUBIC, GOODPUT_SHARE, startup_s, stream_ceiling

_SAMPLE_EXPONENT: Final = 1.3
"""Turns the ratio of a scattered sample into that of the payload: samples see too little of what repeats (measured)."""
_AMST_STREAMS: Final = 8.0


class Estimates(NamedTuple):
    """Seconds that a transfer would take alone, by kind of codec."""

    none_s: float
    zstd_s: float
    hde_s: float
    amst_s: float


def estimate(question: CodecQuestion) -> Estimates:
    """Estimates from what a question carries."""
    size = question.size_bytes
    ratio = max(question.sample_ratio, 1.0) ** _SAMPLE_EXPONENT
    bandwidth = max(question.bandwidth, 1.0)
    others = max(0.0, question.capacity / bandwidth - 1.0)
    capacity = bandwidth * (1.0 + others) * GOODPUT_SHARE
    ceiling = stream_ceiling(question.rtt_s, question.loss, question.window_bytes, CUBIC)
    single = min(capacity / (1.0 + others), ceiling)
    many = min(capacity * _AMST_STREAMS / (_AMST_STREAMS + others), _AMST_STREAMS * ceiling)
    pure = STACK_CPU_S_PER_BYTE
    if question.has_baseline:
        delta = max(question.delta_ratio, 1.0)
        hde = _seconds(
            question, size, delta, single, 1.0, delta_encode_rate(question.changed), delta_decode_rate(question.changed)
        )
    else:
        hde = _seconds(
            question, size, ratio, single, 1.0, full_baseline_encode_rate(ratio, size), decode_rate(ratio, "zstd3", size)
        )
    zstd = _seconds(
        question, size, ratio, single, 1.0, encode_rate(ratio, "zstd3", size), decode_rate(ratio, "zstd3", size)
    )
    return Estimates(
        none_s=_seconds(question, size, 1.0, single, 1.0, 1.0 / pure, inf),
        zstd_s=zstd,
        hde_s=hde,
        amst_s=_seconds(question, size, 1.0, many, _AMST_STREAMS, _AMST_STREAMS / pure, inf),
    )


def _seconds(
    question: CodecQuestion, size: float, ratio: float, wire: float, streams: float, encode: float, decode: float
) -> float:
    start = startup_s(size / ratio, streams, wire, question.rtt_s, question.window_bytes, CUBIC)
    return start + size / min(wire * ratio, encode, decode)
