"""What a sender can work out before it starts: how long a transfer would take with each kind of codec, alone.

The same formulas as the simulator's, fed with what was measured: the probe in place of the path, the sample
in place of the payload, averages in place of this transfer's ratio. So they are late, noisy, blind to others.
"""

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
from sim.jit import njit
from sim.physics import CUBIC, GOODPUT_SHARE, startup_s, stream_ceiling

_SAMPLE_EXPONENT: Final = 1.3
"""From the ratio of a scattered sample to that of the payload: samples miss what repeats (measured)."""
_AMST_STREAMS: Final = 8.0


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
    bandwidth: float,
    capacity: float,
    rtt_s: float,
    loss: float,
    window_bytes: float,
    zstd_ratio: float,
    zstd_encode: float,
    zstd_decode: float,
    hde_ratio: float,
    hde_encode: float,
    hde_decode: float,
) -> tuple[float, float, float, float]:
    """Seconds raw, with zstd, with HDE and with AMST, in one call: every decision waits for it."""
    bandwidth = max(bandwidth, 1.0)
    others = max(0.0, capacity / bandwidth - 1.0)
    whole = bandwidth * (1.0 + others) * GOODPUT_SHARE
    ceiling = stream_ceiling(rtt_s, loss, window_bytes, CUBIC)
    single = min(whole / (1.0 + others), ceiling)
    many = min(whole * _AMST_STREAMS / (_AMST_STREAMS + others), _AMST_STREAMS * ceiling)
    raw = 1.0 / STACK_CPU_S_PER_BYTE
    return (
        _seconds(size, 1.0, single, rtt_s, window_bytes, 1.0, raw),
        _seconds(size, zstd_ratio, single, rtt_s, window_bytes, 1.0, min(zstd_encode, zstd_decode)),
        _seconds(size, hde_ratio, single, rtt_s, window_bytes, 1.0, min(hde_encode, hde_decode)),
        _seconds(size, 1.0, many, rtt_s, window_bytes, _AMST_STREAMS, _AMST_STREAMS * raw),
    )


def estimate(question: CodecQuestion) -> Estimates:
    """Estimates from what a question carries."""
    size, ratio = question.size_bytes, max(question.sample_ratio, 1.0) ** _SAMPLE_EXPONENT
    zstd = ratio, encode_rate(ratio, "zstd3", size), decode_rate(ratio, "zstd3", size)
    if question.has_baseline:
        changed = question.changed
        hde = max(question.delta_ratio, 1.0), delta_encode_rate(changed), delta_decode_rate(changed)
    else:
        hde = ratio, full_baseline_encode_rate(ratio, size), zstd[2]
    path = question.bandwidth, question.capacity, question.rtt_s, question.loss, question.window_bytes
    return Estimates._make(_alone(size, *path, *zstd, *hde))
