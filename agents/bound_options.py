"""The ways in which each transfer may go, and what it could at best achieve, whatever else happens."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.bound_leave import Leave
from agents.bound_transport import Best, Floats, Ints, Means, at_best, capacity_for
from sim.codecs import MAX_STREAMS, Codec
from sim.episode import Episode
from sim.transfers import Stage, Stages

_AGES: Final = 3
"""Ages at which deltas are told apart, at most."""
_JUST_BELOW: Final = 1e-6
_RECONNECT_ROUNDS: Final = 2.0
"""Round trips to connect again after a break, as in `sim.world`."""


class Freedom(NamedTuple):
    """What policies may set besides codecs, order and waiting.

    Attributes:
        shares: What each transfer gets of link and cores.
        streams: How many connections a multi-stream transfer has while it moves.
        order: Who goes next. If not, transfers go in the order of their arrival.
    """

    shares: bool
    streams: bool
    order: bool

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
        within_s: Age that the baseline which it needs may have at most, infinite without, shape (options,).
        streams: TCP connections at the start, shape (options,).
        wire_bytes: Bytes on the wire at the least, overhead apart, shape (options,).
        core_s: Core-seconds of encoding at the least, shape (options,).
        cpu_s: Core-seconds at both ends at the least, shape (options,).
        rate: As of `agents.bound_transport.Best`, and so are the others.
    """

    request: Ints
    path: Ints
    leaves_baseline: Ints
    needs_baseline: Ints
    within_s: Floats
    streams: Floats
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
    within_s: float = np.inf


def most_moving(episode: Episode) -> Floats:
    """Transfers of ours that may move on each path at once, shape (paths,)."""
    scenario = episode.scenario
    slots = [scenario.slots if path.slots is None else path.slots for path in scenario.paths]
    return np.minimum(slots, min(scenario.slots, len(episode))).astype(np.float64)


def path_capacity(episode: Episode, codecs: Sequence[Codec], freedom: Freedom, leave: Leave) -> Floats:
    """Payload bytes/s that all our transfers together can have of each path, shape (pieces, paths)."""
    most_streams = _most_streams(episode, codecs, freedom, leave)
    return capacity_for(episode.conditions.links, episode.path_limits, most_streams)


def draw_up_options(
    episode: Episode, codecs: Sequence[Codec], capacity: Floats, freedom: Freedom, leave: Leave
) -> Options:
    """All ways in which the transfers of an episode may go.

    Args:
        episode: What is to be moved.
        codecs: The codecs allowed.
        capacity: As of `path_capacity`.
        freedom: What else policies may set.
        leave: When transfers may leave.
    """
    stages = Stages(episode, codecs)
    most_streams = _most_streams(episode, codecs, freedom, leave)
    whole = [
        _Choice(
            request, path, number, float(leave.whole[request, path, number]), stages.plain(request, number)
        )
        for request, path, number in np.argwhere(np.isfinite(leave.whole)).tolist()
    ]
    options = _options(episode, codecs, capacity, freedom, most_streams, whole)
    deltas = [
        _Choice(request, path, number, start_s, stages.delta(request, number, age_s), within_s)
        for request, path, number, start_s, age_s, within_s in _deltas(
            episode, codecs, freedom, leave, whole, options
        )
    ]
    if not deltas:
        return options
    more = _options(episode, codecs, capacity, freedom, most_streams, deltas)
    order = np.argsort(np.concatenate([options.request, more.request]), kind="stable")
    pairs = zip(options._fields, options, more, strict=True)
    return Options(**{name: np.concatenate([one, other])[order] for name, one, other in pairs})


def _deltas(
    episode: Episode,
    codecs: Sequence[Codec],
    freedom: Freedom,
    leave: Leave,
    whole: list[_Choice],
    options: Options,
) -> list[tuple[int, int, int, float, float, float]]:
    """What may go as a delta: transfer, path, codec, earliest start, least and largest age of its baseline.

    A baseline is another transfer of the dataset that was sent whole, fits the memory, and was decoded before
    the delta starts; so it is at least as old as that took. If all go in turn, it came before. Each delta is
    there once for every span of ages that a baseline may have.
    """
    size_bytes, dataset = episode.requests.size_bytes, episode.requests.dataset
    arrival_s, host = episode.requests.arrival_s, episode.scenario.host
    took_s = 1.0 / options.rate.max(axis=1)
    kept: dict[int, list[int]] = {}
    for row, choice in enumerate(whole):
        if codecs[choice.codec].keeps_baseline and size_bytes[choice.request] <= host.baseline_memory:
            kept.setdefault(int(dataset[choice.request]), []).append(row)
    found = []
    in_turn = not freedom.order
    for request, path, number in np.argwhere(np.isfinite(leave.delta)).tolist():
        rows = kept.get(int(dataset[request]), [])
        others = np.array([row for row in rows if _may_serve(whole[row].request, request, in_turn)], np.int64)
        if not len(others):
            continue
        from_s, came_s = float(leave.delta[request, path, number]), arrival_s[options.request[others]]
        spans = _spans(arrival_s[request] - came_s, float(took_s[others].min()), host.max_age_s)
        for age_s, within_s in spans:
            start_s = np.maximum(came_s, arrival_s[request] - within_s)  # of the baseline
            ready_s = np.maximum(options.alone_s[others], start_s + np.maximum(took_s[others], age_s))
            found.append((request, path, number, max(from_s, float(ready_s.min())), age_s, within_s))
    return found


def _may_serve(other: int, request: int, in_turn: bool) -> bool:
    return other < request if in_turn else other != request


def _spans(natural_s: Floats, least_s: float, most_s: float) -> list[tuple[float, float]]:
    """Spans of the ages of baselines, divided just below some that come of arrivals alone."""
    inner = np.unique(natural_s[(natural_s > least_s) & (natural_s < most_s)]) * (1.0 - _JUST_BELOW)
    if len(inner) > _AGES:
        inner = inner[np.linspace(0, len(inner) - 1, _AGES).round().astype(np.int64)]
    edges = [min(least_s, most_s), *inner.tolist(), most_s]
    return [pair for pair in pairwise(edges) if pair[1] >= least_s]


def _most_streams(episode: Episode, codecs: Sequence[Codec], freedom: Freedom, leave: Leave) -> Floats:
    """Streams that all our transfers together may have on each path, at least one, shape (paths,)."""
    own = np.array([freedom.most_streams(codec) for codec in codecs], np.float64)
    most = np.where(np.isfinite(leave.whole).any(axis=0), own, 1.0).max(axis=1)
    return most * most_moving(episode)


def _options(
    episode: Episode,
    codecs: Sequence[Codec],
    capacity: Floats,
    freedom: Freedom,
    most_streams: Floats,
    choices: list[_Choice],
) -> Options:
    request, path, number, from_s, stages, within_s = zip(*choices, strict=True)
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
        gaps=episode.loss_gaps[rows],
    )
    times, links, cores = episode.conditions
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
        within_s=np.array(within_s),
        streams=means.streams,
        wire_bytes=means.wire_bytes,
        core_s=size / stage.encode,
        cpu_s=size * stage.cpu_per_byte + stage.setup_cpu_s,
        **best._asdict(),
    )
