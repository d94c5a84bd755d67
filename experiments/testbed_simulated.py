"""What the simulator says of one transfer: an episode of the version before and the payload, in the world."""

from dataclasses import replace
from math import inf
from typing import Final, NamedTuple

import numpy as np
from scipy.optimize import brentq

from sim.codecs import (
    Codec,
    decode_rate,
    delta_decode_rate,
    delta_encode_rate,
    delta_fraction,
    encode_rate,
    parse_codec,
    xor_decode_rate,
    xor_encode_rate,
    xor_fraction,
)
from sim.episode import Conditions, Episode, complete_episode
from sim.hosts import Host
from sim.payloads import CLASS_NAMES, Payloads
from sim.physics import CUBIC, TYPICAL
from sim.scenarios import PathSpec, Scenario
from sim.testbed.coding import CHUNK_BYTES, chunk_for
from sim.testbed.paths import PathSettings
from sim.transfers import plain_rates
from sim.workloads import Requests, Workload
from sim.world import World

WINDOW_SHARE: Final = 0.55
"""Of a receive buffer, what Linux uses as window: the middle of 0.50 to 0.61 (measured)."""
_APART_S: Final = 250.0
"""Between a payload and the version before it: the path is idle again, and the baseline not too old."""
_KIND: Final = CLASS_NAMES.index("vm-ram")
"""Changes in place; its distributions are not drawn from."""


class Payload(NamedTuple):
    """A payload as `experiments.testbed_grid` describes it."""

    size_bytes: int
    ratio: float
    changed: float
    novelty: float


class Solo(NamedTuple):
    """What a codec does alone with a payload: raw over encoded bytes, raw bytes a core-second."""

    ratio: float
    encode: float
    decode: float


class Setup(NamedTuple):
    """What a transfer takes at both ends however small it is: seconds for itself and for each stream."""

    transfer_s: float
    stream_s: float


def pipeline_s(codec: str, size_bytes: int, alone: Solo, setup: Setup) -> float:
    """Seconds that a real pipeline takes and the fluid model leaves out.

    Its set-up; and while the first piece is encoded nothing is sent, while the last is decoded nothing comes.

    >>> from sim.units import MIB
    >>> alone = Solo(ratio=2.0, encode=1.048576e8, decode=1.048576e9)
    >>> pipeline_s("zstd", 64 * MIB, alone, Setup(0.001, 0.0001))
    0.0121
    """
    parsed = parse_codec(codec)
    fixed_s = setup.transfer_s + setup.stream_s * parsed.streams
    if parsed.method == "none":
        return fixed_s
    piece = min(size_bytes, chunk_for(size_bytes, parsed.streams) if parsed.lz4 else CHUNK_BYTES)
    return fixed_s + piece / alone.encode + piece / alone.decode


def pair_episode(path: PathSettings, payload: Payload, seed: int, cores: int) -> Episode:
    """An earlier version of a payload and, later, itself, alone on a path that does not change.

    Neither is lucky or unlucky in what it loses: medians of transfers are foretold.
    """
    scenario = Scenario(
        name="pair",
        summary="one payload and the version before it",
        paths=(
            PathSpec(
                "wan",
                window_bytes=WINDOW_SHARE * path.receive_buffer_bytes,
                queue_bdp=path.queue_bytes / (path.rate_bytes_s * max(path.rtt_s, 1e-6)),
            ),
        ),
        workload=Workload(fixed_bytes=float(payload.size_bytes)),
        host=Host(cores=cores, background=0.0, background_sd=0.0, max_age_s=2 * _APART_S),
        requests=2,
    )
    two = np.ones(2)
    requests = Requests(
        arrival_s=np.array([0.0, _APART_S]),
        dataset=np.zeros(2, np.int64),
        size_bytes=payload.size_bytes * two,
        priority=two,
        deadline_slack=np.full(2, inf),
        kind_of_dataset=np.array([_KIND]),
    )
    drawn = complete_episode(scenario, seed, requests, np.zeros(2, np.int64), start_hour=0.0)
    one = np.ones(1)
    return replace(
        drawn,
        content=drawn.content._replace(
            ratio3=payload.ratio * one,
            working_set=payload.changed * one,
            tau_s=one,
            novelty=payload.novelty * one,
            shifted=0 * one,
        ),
        payloads=drawn.payloads._replace(
            ratio3=payload.ratio * two, novelty=payload.novelty * two, encode_noise=two, decode_noise=two
        ),
        conditions=Conditions(
            np.zeros(1),
            np.array([[[path.rate_bytes_s, path.rtt_s, path.loss, 0.0]]]),
            np.full(1, float(cores)),
        ),
        path_limits=np.array([[WINDOW_SHARE * path.receive_buffer_bytes, path.queue_bytes, CUBIC]]),
        nominal=np.array([path.rate_bytes_s]),
        loss_gaps=np.tile(TYPICAL, (2, 1)),
    )


def simulated_s(episode: Episode, codec: str) -> float:
    """Seconds from the start of the second transfer of a pair until it is decoded, by the simulator."""
    world = World(episode, [parse_codec(codec)])
    world.run(lambda question: 0)
    record = world.records[-1]
    return record.end_s - record.start_s


def told(episode: Episode, codec: str, solo: Solo) -> Episode:
    """The pair with ratio and rates of a codec as they were measured, in place of the fitted laws.

    Payloads have a zstd-3 ratio, a novelty and noises on the rates; they are set so that this codec's stage
    comes out as measured, and say nothing about any other codec.
    """
    parsed = parse_codec(codec)
    if parsed.method == "none":
        return episode
    payloads = episode.payloads
    if parsed.keeps_baseline:
        payloads = _delta_told(episode, parsed, solo)
    else:
        payloads = _plain_told(payloads, parsed, solo)
    return replace(episode, payloads=payloads)


def _plain_told(payloads: Payloads, codec: Codec, solo: Solo) -> Payloads:
    def short(ratio3: float) -> float:
        ratio = plain_rates(payloads._replace(ratio3=np.full(2, ratio3)), [codec])[0]
        return float(ratio[0, 1]) - solo.ratio

    ratio3 = brentq(short, 1.0, 1e4) if short(1.0) < 0 else 1.0
    payloads = payloads._replace(ratio3=np.full(2, ratio3))
    encode, decode = _coder_rates(payloads, codec)
    return payloads._replace(
        encode_noise=np.full(2, solo.encode / encode), decode_noise=np.full(2, solo.decode / decode)
    )


def _coder_rates(payloads: Payloads, codec: Codec) -> tuple[float, float]:
    """Rates by the laws, network stack apart, of the last payload."""
    ratio3, size = float(payloads.ratio3[-1]), float(payloads.size_bytes[-1])
    return encode_rate(ratio3, codec.method, size), decode_rate(ratio3, codec.method, size)


def _delta_told(episode: Episode, codec: Codec, solo: Solo) -> Payloads:
    payloads, changed = episode.payloads, float(episode.content.working_set[0])
    ratio3, xor = float(payloads.ratio3[1]), codec.family == "hde_xor"

    def excess(novelty: float) -> float:
        law = xor_fraction(changed, novelty, ratio3, 0.0) if xor else delta_fraction(changed, novelty, ratio3)
        return law - 1 / solo.ratio

    # The laws are linear in novelty; below 0 it stands for a delta that costs less than they think possible.
    novelty = brentq(excess, -10.0, 1e6) if excess(-10.0) < 0 else -10.0
    rates = (xor_encode_rate, xor_decode_rate) if xor else (delta_encode_rate, delta_decode_rate)
    encode, decode = (rate(changed) for rate in rates)
    return payloads._replace(
        novelty=np.array([payloads.novelty[0], novelty]),
        encode_noise=np.array([1.0, solo.encode / encode]),
        decode_noise=np.array([1.0, solo.decode / decode]),
    )
