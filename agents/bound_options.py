"""The ways in which each transfer may go, and what it could at best achieve, whatever else happens."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.bound_transport import Best, Floats, Ints, Means, at_best, capacity_for
from sim.codecs import MAX_STREAMS, Codec
from sim.episode import Episode
from sim.transfers import Stage, Stages

_RECONNECT_ROUNDS: Final = 2.0
"""Round trips to connect again after a break, as in `sim.world`."""


class Freedom(NamedTuple):
    """What policies may set besides codecs, order and waiting.

    Attributes:
        shares: What each transfer gets of link and cores.
        streams: How many connections a multi-stream transfer has while it moves.
    """

    shares: bool
    streams: bool

    def most_streams(self, codec: Codec) -> int:
        """Connections that a transfer with this codec may come to have."""
        return MAX_STREAMS if self.streams and codec.family == "amst" else codec.streams


class Options(NamedTuple):
    """One row for every way in which a transfer may go: a codec, whole or as a delta, on a path.

    Attributes:
        request: Row in the episode, shape (options,), non-decreasing.
        path: Path it takes, shape (options,).
        leaves_baseline: Dataset that it leaves a baseline of, or -1, shape (options,).
        needs_baseline: Dataset that it needs a baseline of, or -1, shape (options,).
        wire_bytes: Bytes on the wire at the least, overhead apart, shape (options,).
        core_s: Core-seconds of encoding at the least, shape (options,).
        cpu_s: Core-seconds at both ends at the least, shape (options,).
        rate: As of `agents.bound_transport.Best`, and so are the others.
    """

    request: Ints
    path: Ints
    leaves_baseline: Ints
    needs_baseline: Ints
    wire_bytes: Floats
    core_s: Floats
    cpu_s: Floats
    rate: Floats
    toll: Floats
    ready_s: Floats
    alone_s: Floats
    known_s: Floats

    def least(self, column: Floats) -> Floats:
        """Least entry of each transfer's options, shape (transfers,)."""
        first = np.flatnonzero(np.diff(self.request, prepend=-1))
        least: Floats = np.minimum.reduceat(column, first)
        return least


class _Choice(NamedTuple):
    """One option before it is worked out."""

    request: int
    path: int
    codec: int
    from_s: float
    stage: Stage


def path_capacity(episode: Episode, codecs: Sequence[Codec], freedom: Freedom) -> Floats:
    """Payload bytes/s that all our transfers together can have of each path, shape (pieces, paths)."""
    most_streams = _most_streams(episode, codecs, freedom)
    return capacity_for(episode.conditions.links, episode.path_limits, most_streams)


def draw_up_options(episode: Episode, codecs: Sequence[Codec], capacity: Floats, freedom: Freedom) -> Options:
    """All ways in which the transfers of an episode may go.

    Args:
        episode: What is to be moved.
        codecs: The codecs allowed.
        capacity: As of `path_capacity`.
        freedom: What else policies may set.
    """
    stages, arrival_s = Stages(episode, codecs), episode.requests.arrival_s.tolist()
    all_paths = range(len(episode.path_limits))
    whole = [
        _Choice(request, path, number, arrival_s[request], stages.plain(request, number))
        for request, own in enumerate(episode.path.tolist())
        for path in (all_paths if episode.scenario.any_path else [own])
        for number in range(len(codecs))
    ]
    options = _options(episode, codecs, capacity, freedom, whole)
    deltas = [
        choice._replace(from_s=start_s, stage=stages.delta(choice.request, choice.codec, age_s))
        for choice, start_s, age_s in _deltas(episode, codecs, whole, options)
    ]
    if not deltas:
        return options
    more = _options(episode, codecs, capacity, freedom, deltas)
    order = np.argsort(np.concatenate([options.request, more.request]), kind="stable")
    pairs = zip(options._fields, options, more, strict=True)
    return Options(**{name: np.concatenate([one, other])[order] for name, one, other in pairs})


def _deltas(
    episode: Episode, codecs: Sequence[Codec], whole: list[_Choice], options: Options
) -> list[tuple[_Choice, float, float]]:
    """What may go as a delta, with its earliest start and the least age of its baseline, both in seconds.

    A baseline is another transfer of the dataset that was sent whole, fits the memory, and was decoded before
    the delta starts; so it is at least as old as that took.
    """
    size_bytes, dataset = episode.requests.size_bytes, episode.requests.dataset
    fits = size_bytes <= episode.scenario.host.baseline_memory
    took_s = 1.0 / options.rate.max(axis=1)
    kept: dict[int, list[int]] = {}
    for row, choice in enumerate(whole):
        if codecs[choice.codec].keeps_baseline and fits[choice.request]:
            kept.setdefault(int(dataset[choice.request]), []).append(row)
    found = []
    for choice in whole:
        if not codecs[choice.codec].keeps_baseline:
            continue
        rows = kept.get(int(dataset[choice.request]), [])
        others = [row for row in rows if whole[row].request != choice.request]
        if others:
            start_s = max(choice.from_s, float(options.alone_s[others].min()))
            found.append((choice, start_s, float(took_s[others].min())))
    return found


def _most_streams(episode: Episode, codecs: Sequence[Codec], freedom: Freedom) -> Floats:
    """Streams that all our transfers together may have on each path, shape (paths,)."""
    scenario, most = episode.scenario, max(freedom.most_streams(codec) for codec in codecs)
    slots = [scenario.slots if path.slots is None else path.slots for path in scenario.paths]
    return most * np.minimum(slots, min(scenario.slots, len(episode))).astype(np.float64)


def _options(
    episode: Episode, codecs: Sequence[Codec], capacity: Floats, freedom: Freedom, choices: list[_Choice]
) -> Options:
    request, path, number, from_s, stages = zip(*choices, strict=True)
    rows = np.array(request, np.int64)
    most = np.array([freedom.most_streams(codec) for codec in codecs], np.float64)
    size, dataset = episode.requests.size_bytes[rows], episode.requests.dataset[rows]
    stage = Stage(*np.array(stages, np.float64).T.copy())  # a column each
    means = Means(
        path=np.array(path, np.int64),
        from_s=np.array(from_s),
        wire_bytes=size / stage.ratio,
        streams=np.asarray(stage.streams),
        widening=most[list(number)] / stage.streams,
        core_rate=stage.encode / size,
        cores_max=np.asarray(stage.cores_max),
        decode_rate=stage.decode / size,
        reconnect_rounds=np.isfinite(episode.faults.break_share[rows]) * _RECONNECT_ROUNDS,
    )
    times, links, cores = episode.conditions
    most_streams = _most_streams(episode, codecs, freedom)
    best: Best = at_best(
        times, links, episode.path_limits, cores, capacity, means, most_streams, freedom.shares
    )
    is_delta: NDArray[np.bool_] = np.asarray(stage.is_delta) > 0
    is_baseline: NDArray[np.bool_] = np.asarray(stage.is_baseline) > 0
    return Options(
        request=rows,
        path=means.path,
        leaves_baseline=np.where(is_baseline, dataset, -1),
        needs_baseline=np.where(is_delta, dataset, -1),
        wire_bytes=means.wire_bytes,
        core_s=size / stage.encode,
        cpu_s=size * stage.cpu_per_byte + stage.setup_cpu_s,
        **best._asdict(),
    )
