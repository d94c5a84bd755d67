"""What a sender can work out of a transfer before it starts, by the formulas of the path that it will take.

`sim.estimates` asks how long a transfer takes alone by two rules of thumb. Here the whole law of a path is
asked, with measurements in place of the truth: probes for the path, samples and averages for the payload.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sim.codecs import (
    FITTED,
    STACK_CPU_S_PER_BYTE,
    Codec,
    decode_rate,
    delta_decode_rate,
    delta_encode_rate,
    encode_rate,
    full_baseline_encode_rate,
    zstd_ratio,
)
from sim.decisions import CodecQuestion
from sim.paths import opening
from sim.payloads import CLASS_NAMES
from sim.physics import CUBIC, TYPICAL

Floats = npt.NDArray[np.float64]

_EXPONENTS: Final = tuple(1.0 / FITTED.classes[name].sample_exponent for name in CLASS_NAMES)
"""From the ratio of a scattered sample to that of the payload, by class."""
_MOST_OTHERS: Final = 64.0


class Coding(NamedTuple):
    """What a codec would make of a payload: raw bytes for one on the wire, bytes/s of coder and decoder."""

    ratio: float
    encode: float
    decode: float


def coding(question: CodecQuestion, codec: Codec) -> Coding:
    """Ratio and rates that a sender may expect: of one core for the coder, of all streams for the decoder."""
    ratio3 = max(question.sample_ratio, 1.0) ** _EXPONENTS[question.kind]
    size = np.array(question.size_bytes)
    if codec.keeps_baseline and question.has_baseline:
        ratio = max(question.delta_ratio, 1.0)
        encode, decode = delta_encode_rate(question.changed), delta_decode_rate(question.changed)
    else:
        known = np.array(ratio3)
        encode = float(encode_rate(known, codec.method, size))
        decode = float(decode_rate(known, codec.method, size))
        if codec.keeps_baseline:
            encode, ratio = float(full_baseline_encode_rate(encode)), ratio3
        else:
            ratio = float(zstd_ratio(known, codec.level)) if codec.level else 1.0
    stack = STACK_CPU_S_PER_BYTE / ratio
    return Coding(ratio, 1.0 / (1.0 / encode + stack), codec.streams / (1.0 / decode + stack))


def prospects(question: CodecQuestion, bandwidth: float, codecs: Sequence[Codec]) -> Floats:
    """What each codec would come to as paths and cores are now, shape (codecs, 3).

    Seconds until it is decoded, bytes/s on the wire, and core-seconds of encoding.

    Streams of others are told from the bandwidth: so many that the provisioned capacity falls to it.

    Args:
        question: What is known.
        bandwidth: Free for a new bundle of streams, in bytes/s: of the last probe, of several, or forecast.
        codecs: The answers.
    """
    free = max(bandwidth, 1.0)
    cross = min(max(round(question.capacity / free - 1.0), 0.0), _MOST_OTHERS)
    link = np.array([free * (1.0 + cross), question.rtt_s, question.loss, cross])
    limits = np.array([question.window_bytes, question.capacity * question.rtt_s, float(CUBIC)])
    spare = question.cores * (1.0 - question.cpu_load)
    found = np.empty((len(codecs), 3))
    for row, codec in enumerate(codecs):
        made = coding(question, codec)
        wire_bytes = question.size_bytes / made.ratio
        lost_s, _, overhead, rate = opening(
            wire_bytes, float(codec.streams), float(question.streams), link, limits, TYPICAL
        )
        wire = rate / overhead
        cores = min(float(codec.streams), max(spare, question.cores / (question.running + 1.0)))
        pace = min(wire * made.ratio, made.encode * cores, made.decode)
        seconds = lost_s + question.size_bytes / pace
        found[row] = seconds, wire_bytes / seconds, question.size_bytes / made.encode
    return found
