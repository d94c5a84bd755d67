"""What a sender can work out before it starts: how long a transfer would take with each kind of codec, alone.

The same formulas as the simulator's, fed with what was measured: the probe in place of the path, the sample
in place of the payload, averages in place of this transfer's ratio. So they are late, noisy, blind to others.
"""

from typing import Final, NamedTuple

from sim.codecs import (
    FITTED,
    INDEX_RATE,
    STACK_CPU_S_PER_BYTE,
    coder_rate,
    delta_decode_rate,
    delta_encode_rate,
)
from sim.decisions import CodecQuestion
from sim.jit import njit
from sim.payloads import CLASS_NAMES
from sim.physics import CUBIC, GOODPUT_SHARE, startup_s, stream_ceiling

_RATIO_EXPONENTS: Final = tuple(1.0 / FITTED.classes[name].sample_exponent for name in CLASS_NAMES)
"""From the ratio of a scattered sample to that of the payload, by class (measured): samples miss repeats."""
_AMST_STREAMS: Final = 8.0
_ENCODE: Final = FITTED.encode["zstd3"]
_DECODE: Final = FITTED.decode["zstd3"]
_coder_rate = njit(coder_rate)
_delta_encode_rate = njit(delta_encode_rate)
_delta_decode_rate = njit(delta_decode_rate)


class Estimates(NamedTuple):
    """Seconds that a transfer would take alone, by kind of codec."""

    none_s: float
    zstd_s: float
    hde_s: float
    amst_s: float


@njit
def _seconds(
    size: float, ratio: float, wire: float, rtt_s: float, window_bytes: float, streams: float, coder: float
) -> float:
    start = startup_s(size / ratio, streams, wire, rtt_s, window_bytes, CUBIC)
    return start + size / min(wire * ratio, coder)


@njit
def _alone(
    size: float,
    ratio: float,
    delta: tuple[float, float],
    bandwidth: float,
    capacity: float,
    rtt_s: float,
    loss: float,
    window_bytes: float,
) -> tuple[float, float, float, float]:
    """Seconds raw, with zstd, with HDE and with AMST, in one call: every decision waits for it.

    ``delta`` is the ratio of a delta and the share of blocks it sends; a ratio of 0 when none can be sent.
    """
    bandwidth = max(bandwidth, 1.0)
    others = max(0.0, capacity / bandwidth - 1.0)
    whole = bandwidth * (1.0 + others) * GOODPUT_SHARE
    ceiling = stream_ceiling(rtt_s, loss, window_bytes, CUBIC)
    single = min(whole / (1.0 + others), ceiling)
    many = min(whole * _AMST_STREAMS / (_AMST_STREAMS + others), _AMST_STREAMS * ceiling)
    raw = 1.0 / STACK_CPU_S_PER_BYTE
    encode, decode = _coder_rate(_ENCODE, ratio, size), _coder_rate(_DECODE, ratio, size)
    if delta[0] > 0.0:
        hde_ratio, hde_coder = delta[0], min(_delta_encode_rate(delta[1]), _delta_decode_rate(delta[1]))
    else:
        hde_ratio, hde_coder = ratio, min(1.0 / (1.0 / encode + 1.0 / INDEX_RATE), decode)
    return (
        _seconds(size, 1.0, single, rtt_s, window_bytes, 1.0, raw),
        _seconds(size, ratio, single, rtt_s, window_bytes, 1.0, min(encode, decode)),
        _seconds(size, hde_ratio, single, rtt_s, window_bytes, 1.0, hde_coder),
        _seconds(size, 1.0, many, rtt_s, window_bytes, _AMST_STREAMS, _AMST_STREAMS * raw),
    )


def estimate(question: CodecQuestion) -> Estimates:
    """Estimates from what a question carries."""
    ratio = max(question.sample_ratio, 1.0) ** _RATIO_EXPONENTS[question.kind]
    delta = (max(question.delta_ratio, 1.0), question.changed) if question.has_baseline else (0.0, 1.0)
    path = question.bandwidth, question.capacity, question.rtt_s, question.loss, question.window_bytes
    return Estimates._make(_alone(question.size_bytes, ratio, delta, *path))
