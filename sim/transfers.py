"""What each codec makes of each payload: bytes on the wire, encoding and decoding rates, CPU seconds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.codecs import (
    STACK_CPU_S_PER_BYTE,
    STREAM_CPU_S,
    Codec,
    decode_rate,
    delta_decode_rate,
    delta_encode_rate,
    delta_fraction,
    dictionary_ratio,
    dirty_share,
    encode_rate,
    full_baseline_encode_rate,
    lz4_ratio,
    xor_decode_rate,
    xor_encode_rate,
    xor_fraction,
    zstd_ratio,
)
from sim.episode import Episode
from sim.payloads import Payloads
from sim.units import KIB

_DICTIONARY_BELOW = 16 * KIB
"""HDE uses a trained dictionary for payloads smaller than this; larger ones gain nothing (measured)."""
SMALLEST_CHANGE = 1e-4

Floats = NDArray[np.float64]


class Stage(NamedTuple):
    """How one transfer is encoded, sent and decoded.

    Attributes:
        ratio: Raw bytes per byte on the wire.
        encode: Raw bytes per core-second at the sender, its network stack included.
        decode: Raw bytes per second at the receiver, its network stack included.
        cores_max: Cores that it can use at the sender.
        streams: TCP connections.
        cpu_per_byte: Core-seconds per raw byte, both ends.
        setup_cpu_s: Core-seconds to open its streams, both ends.
        is_delta: Whether it is a delta against a baseline.
        is_baseline: Whether it leaves a new baseline at both ends.
    """

    ratio: float
    encode: float
    decode: float
    cores_max: float
    streams: float
    cpu_per_byte: float
    setup_cpu_s: float
    is_delta: bool
    is_baseline: bool


class Outlook(NamedTuple):
    """What a transfer would take with paths and cores to itself, as they are now.

    Attributes:
        seconds: From its start until it is decoded.
        cpu_s: Core-seconds, both ends.
        encode_s: Core-seconds of encoding alone.
        wire_bytes: Bytes on the wire.
        wire_rate: Bytes/s that its streams would reach.
    """

    seconds: float
    cpu_s: float
    encode_s: float
    wire_bytes: float
    wire_rate: float


class Stages:
    """Stages of all transfers of an episode under all codecs.

    What does not depend on the course of events is worked out at once for all; only deltas depend on it.

    Args:
        episode: The payloads.
        codecs: The codecs; stages are asked for by position here.
    """

    def __init__(self, episode: Episode, codecs: Sequence[Codec]) -> None:
        payloads = episode.payloads
        content = episode.content
        dataset = episode.requests.dataset
        self._codecs = tuple(codecs)
        self._plain = [[row.data for row in table] for table in plain_rates(payloads, codecs)]
        self._is_xor = [codec.family == "hde_xor" for codec in codecs]
        self._ratio3: Sequence[float] = payloads.ratio3.data
        self._novelty: Sequence[float] = payloads.novelty.data
        self._working_set: Sequence[float] = content.working_set[dataset].data
        self._tau_s: Sequence[float] = content.tau_s[dataset].data
        self._shifted: Sequence[float] = content.shifted[dataset].data
        self._encode_noise: Sequence[float] = payloads.encode_noise.data
        self._decode_noise: Sequence[float] = payloads.decode_noise.data
        self._changed_noise: Sequence[float] = episode.changed_noise.data

    def plain(self, request: int, codec: int) -> Stage:
        """Stage of a transfer without a baseline; for HDE it leaves one."""
        ratio, encode, decode, cpu_per_byte = self._plain
        parallel = float(self._codecs[codec].streams)
        return Stage._make(
            (
                ratio[codec][request],
                encode[codec][request],
                decode[codec][request],
                parallel,
                parallel,
                cpu_per_byte[codec][request],
                2 * STREAM_CPU_S * parallel,
                False,
                self._codecs[codec].keeps_baseline,
            )
        )

    def delta(self, request: int, codec: int, age_s: float) -> Stage:
        """Stage of an HDE transfer against a baseline taken ``age_s`` ago."""
        changed = self._changed(request, age_s)
        novelty, ratio3 = self._novelty[request], self._ratio3[request]
        if self._is_xor[codec]:
            fraction = xor_fraction(changed, novelty, ratio3, self._shifted[request])
            encode, decode = xor_encode_rate(changed), xor_decode_rate(changed)
        else:
            fraction = delta_fraction(changed, novelty, ratio3)
            encode, decode = delta_encode_rate(changed), delta_decode_rate(changed)
        stack = STACK_CPU_S_PER_BYTE * fraction
        encode_s = 1.0 / (encode * self._encode_noise[request]) + stack
        decode_s = 1.0 / (decode * self._decode_noise[request]) + stack
        return Stage(
            ratio=1.0 / fraction,
            encode=1.0 / encode_s,
            decode=1.0 / decode_s,
            cores_max=1.0,
            streams=1.0,
            cpu_per_byte=encode_s + decode_s,
            setup_cpu_s=2 * STREAM_CPU_S,
            is_delta=True,
            is_baseline=False,
        )

    def estimated_change(self, request: int, age_s: float) -> float:
        """Share of blocks changed since the baseline, as a sender estimates it from a sample of hashes."""
        return min(1.0, max(SMALLEST_CHANGE, self._changed(request, age_s) * self._changed_noise[request]))

    def _changed(self, request: int, age_s: float) -> float:
        return dirty_share(age_s, self._working_set[request], self._tau_s[request])


def plain_rates(payloads: Payloads, codecs: Sequence[Codec]) -> tuple[Floats, Floats, Floats, Floats]:
    """Ratio, encode, decode and cpu_per_byte without a baseline, each of shape (codecs, transfers).

    Stages are made of them on demand.
    """
    coders = {method: _coder_rates(payloads, method) for method in {codec.method for codec in codecs}}
    whole = [_whole(payloads, codec, *coders[codec.method]) for codec in codecs]
    ratio, encode, decode = (np.array(columns) for columns in zip(*whole, strict=True))
    streams = np.array([[codec.streams] for codec in codecs])
    stack = STACK_CPU_S_PER_BYTE / ratio
    encode_s = 1.0 / (encode * payloads.encode_noise) + stack
    decode_s = 1.0 / (decode * payloads.decode_noise) + stack
    return ratio, 1.0 / encode_s, streams / decode_s, encode_s + decode_s


def _coder_rates(payloads: Payloads, method: str) -> tuple[Floats, Floats]:
    """Raw bytes per core-second of encoding and of decoding each payload."""
    ratio3, size = payloads.ratio3, payloads.size_bytes
    return encode_rate(ratio3, method, size), decode_rate(ratio3, method, size)


def _whole(payloads: Payloads, codec: Codec, encode: Floats, decode: Floats) -> tuple[Floats, Floats, Floats]:
    """Ratio, encode and decode of each payload as a codec sends it whole, from the rates of its method."""
    ratio3, size = payloads.ratio3, payloads.size_bytes
    if codec.keeps_baseline:
        ratio = np.where(size < _DICTIONARY_BELOW, dictionary_ratio(ratio3, size), ratio3)
        return ratio, full_baseline_encode_rate(encode), decode
    if codec.lz4:
        return lz4_ratio(ratio3), encode, decode
    ratio = zstd_ratio(ratio3, codec.level) if codec.level else np.ones_like(ratio3)
    return ratio, encode, decode
