"""What payloads really are: an episode in whose place of draws stands what was measured of its payloads."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from backports import zstd
from numpy.typing import NDArray

from sim.codecs import decode_rate, delta_fraction, dirty_share, encode_rate
from sim.episode import Episode
from sim.randomness import stream
from sim.testbed.coding import Buffer, RealCodec
from sim.testbed.payload_making import BLOCK, PayloadFile

_SAMPLED_BLOCKS: Final = 16
"""Blocks of 4 KiB in the scattered sample of 64 KiB that a sender looks at."""
_LEAST_NOVELTY: Final = 1e-3


class Sample(NamedTuple):
    """What a sender sees of a payload; shares, and the zstd-1 ratio, as in `sim.payloads.Payloads`."""

    entropy: float
    ratio: float
    repetition: float
    zero_share: float


def sample(payload: NDArray[np.uint8], rng: np.random.Generator) -> Sample:
    """Look at 16 scattered blocks; at all of a payload that is smaller."""
    blocks = max(1, len(payload) // BLOCK)
    places = rng.choice(blocks, min(_SAMPLED_BLOCKS, blocks), replace=False)
    pieces = [payload[place * BLOCK : (place + 1) * BLOCK].tobytes() for place in np.sort(places).tolist()]
    seen = b"".join(pieces)
    counts = np.bincount(np.frombuffer(seen, np.uint8), minlength=256)
    shares = counts[counts > 0] / len(seen)
    zeros = bytes(BLOCK)
    return Sample(
        entropy=float(-(shares * np.log2(shares)).sum() / 8),
        ratio=max(1.0, len(seen) / len(zstd.compress(seen, 1))),
        repetition=1 - len(set(pieces)) / len(pieces),
        zero_share=sum(piece == zeros for piece in pieces) / len(pieces),
    )


def as_measured(
    episode: Episode, payloads: Sequence[PayloadFile], plain: RealCodec, delta: RealCodec
) -> Episode:
    """The same episode, its payloads as they are on disk rather than as they were drawn.

    Ratios, novelty and samples are measured, and how much faster or slower than fitted zstd-3 runs on each
    payload here. A dataset's ratio in `Content` stays as drawn: only draws of payloads look at it.

    Args:
        episode: What the payloads were made for.
        payloads: Of each transfer.
        plain: zstd-3.
        delta: The delta codec.
    """
    columns = episode.payloads._replace(
        **{name: np.array(values) for name, values in episode.payloads._asdict().items()}
    )
    rng = stream(episode.seed, "testbed samples")
    last: dict[int, int] = {}
    for request, payload in enumerate(payloads):
        content = np.memmap(payload.path, np.uint8, "r")
        seen = sample(content, rng)
        columns.entropy[request], columns.sample_ratio[request] = seen.entropy, seen.ratio
        columns.repetition[request], columns.zero_share[request] = seen.repetition, seen.zero_share
        ratio, encode_rate_here, decode_rate_here = _measured(content.data, plain)
        size = float(len(content))
        columns.ratio3[request] = max(1.0, ratio)
        columns.encode_noise[request] = encode_rate_here / encode_rate(max(1.0, ratio), "zstd3", size)
        columns.decode_noise[request] = decode_rate_here / decode_rate(max(1.0, ratio), "zstd3", size)
        dataset = int(episode.requests.dataset[request])
        if dataset in last:
            before = np.memmap(payloads[last[dataset]].path, np.uint8, "r")
            fraction = sum(map(len, delta.encode(content.data, before.data))) / size
            age_s = float(episode.requests.arrival_s[request] - episode.requests.arrival_s[last[dataset]])
            columns.novelty[request] = _novelty(episode, dataset, age_s, fraction, columns.ratio3[request])
        last[dataset] = request
    return replace(episode, payloads=columns)


def _measured(content: Buffer, codec: RealCodec) -> tuple[float, float, float]:
    """Ratio, and bytes per core-second of encoding and of decoding."""
    start_s = time.thread_time()
    pieces = list(codec.encode(content, None))
    encoded_s = time.thread_time()
    decoder = codec.decoder(None)
    for piece in pieces:
        decoder.feed(piece)
    decoder.finish()
    decoded_s = time.thread_time()
    size = len(content)
    return (
        size / sum(map(len, pieces)),
        size / max(encoded_s - start_s, 1e-9),
        size / max(decoded_s - encoded_s, 1e-9),
    )


def _novelty(episode: Episode, dataset: int, age_s: float, fraction: float, ratio3: float) -> float:
    """Novelty with which the law of deltas gives the measured fraction."""
    changed = dirty_share(age_s, episode.content.working_set[dataset], episode.content.tau_s[dataset])
    overhead = delta_fraction(0.0, 1.0, ratio3)
    return float(np.clip((fraction - overhead) * ratio3 / max(changed, 1e-6), _LEAST_NOVELTY, 1.0))
