"""When each transfer may leave, and with which codec: whatever policies like, or as a codec rule has it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.bound_transport import Floats, Ints
from sim.codecs import Codec
from sim.episode import Episode
from sim.estimates import PLACES, alone
from sim.jit import njit
from sim.question_rows import CODEC_ROW
from sim.telemetry import TransferRecord

_ROUNDING: Final = 1e-12
"""Share of the clock by which a probe may count as taken early."""


class Leave(NamedTuple):
    """When a transfer may leave in each way at the earliest, in seconds; infinite where it never may.

    Attributes:
        whole: Sent whole, shape (transfers, paths, codecs).
        delta: Sent as a delta, of the same shape.
    """

    whole: Floats
    delta: Floats


def at_will(episode: Episode, codecs: Sequence[Codec]) -> Leave:
    """With any codec from arrival on, on any path where the scenario says so."""
    count, paths = len(episode), len(episode.path_limits)
    from_s = np.broadcast_to(episode.requests.arrival_s[:, None, None], (count, paths, len(codecs))).copy()
    if not episode.scenario.any_path:
        from_s[np.arange(paths) != episode.path[:, None]] = np.inf
    keeps = np.array([codec.keeps_baseline for codec in codecs])
    return Leave(from_s, np.where(keeps, from_s, np.inf))


def by_shortest_estimate(episode: Episode, codecs: Sequence[Codec]) -> Leave:
    """As `envs.codec_rule.shortest_alone` answers the codec question, whenever it is put.

    Without a baseline its answer follows from the transfer, the path and the probe of the moment. So a codec
    that it takes at none of the probes from arrival on is never taken, and one that it takes at some leaves
    no earlier than the first of them. This holds for a dataset of which no transfer can ever leave a
    baseline; of the others any codec may go at will.
    """
    free, requests, payloads = at_will(episode, codecs), episode.requests, episode.payloads
    rows = np.zeros(len(episode), CODEC_ROW)
    rows["size_bytes"], rows["kind"] = requests.size_bytes, payloads.kind
    rows["sample_ratio"], rows["changed"] = payloads.sample_ratio, 1.0
    places = np.array([PLACES[codec.family] for codec in codecs])
    period_s, values = episode.probes.period_s, episode.probes.values
    first = np.minimum((requests.arrival_s / period_s).astype(np.int64), len(values) - 1)
    chosen = np.full(free.whole.shape, -1)
    windows = np.ascontiguousarray(episode.path_limits[:, 0])
    _first_chosen(rows, places, values, windows, np.asarray(episode.nominal, np.float64), first, chosen)
    from_s = np.maximum(free.whole, chosen * period_s * (1.0 - _ROUNDING))
    whole = np.where(chosen >= 0, from_s, np.inf)
    keeps = np.array([codec.keeps_baseline for codec in codecs])
    leaves = np.isfinite(whole[:, :, keeps]).any(axis=(1, 2))
    kept = np.isin(requests.dataset, requests.dataset[leaves])[:, None, None]
    return Leave(np.where(kept, free.whole, whole), np.where(kept, free.delta, np.inf))


def as_recorded(
    episode: Episode, codecs: Sequence[Codec], records: Sequence[TransferRecord], *, starts: bool
) -> Leave:
    """As transfers once went: the same codec, whole or as a delta, on the same path.

    Args:
        episode: What was moved.
        codecs: The codecs allowed.
        records: Of all transfers.
        starts: Whether each leaves no earlier than it did, too; else from its arrival on.
    """
    never = np.full((len(episode), len(episode.path_limits), len(codecs)), np.inf)
    leave, names = Leave(never, never.copy()), [codec.name for codec in codecs]
    for one in records:
        way = leave.delta if one.is_delta else leave.whole
        way[one.request, one.path, names.index(one.codec)] = one.start_s if starts else one.arrival_s
    return leave


@njit
def _first_chosen(
    rows: NDArray[np.void],
    places: Ints,
    probes: Floats,
    windows: Floats,
    nominal: Floats,
    first: Ints,
    chosen: Ints,
) -> None:
    """Write the first probe from ``first`` on at which each codec is the shortest, shape as of `Leave`."""
    for request in range(len(rows)):
        row = rows[request]
        for path in range(len(windows)):
            row["window_bytes"], row["capacity"] = windows[path], nominal[path]
            for taken in range(first[request], len(probes)):
                probe = probes[taken, path]
                row["rtt_s"], row["bandwidth"], row["loss"] = probe[0], probe[2], probe[3]
                seconds, best = alone(rows[request : request + 1]), 0
                for number in range(1, len(places)):
                    if seconds[places[number]] < seconds[places[best]]:
                        best = number
                if chosen[request, path, best] < 0:
                    chosen[request, path, best] = taken
