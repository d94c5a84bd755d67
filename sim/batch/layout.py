"""Where the compiled world keeps what: episodes on a shelf, and the lanes that run them, as plain arrays.

A lane is a row of every array of `Lanes`; to fork one is to copy its rows. What several lanes share (the
episodes, the codecs) is never written while they run.
"""

import math
from itertools import accumulate
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sim.fluid import FLOW, OFFERS
from sim.jit import LINE_BYTES
from sim.physics import GAPS
from sim.question_rows import CODEC_ROW

Rows = NDArray[np.void]
Row = Any
"""One of `Rows`, read and written by name; a record to Numba, `numpy.void` to Python."""
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NO_QUESTION, ASK_CODEC, ASK_DISPATCH, ASK_SHARE = range(4)
"""What a lane waits for."""

OPEN: Final = -1
"""In place of the codec that a rule always takes: the question is left open."""
SHORTEST: Final = -2
"""In its place, too: the codec with the shortest estimate is taken, alone on path and cores; of equals the
first."""

_PAGE_BYTES: Final = 1 << 21
"""Of a large page of memory on x86-64 and ARM; NumPy asks Linux for them where an array takes two."""

SITE: Final = np.dtype(
    [
        ("requests", np.int64),  # transfers in the episode
        ("paths", np.int64),
        ("pieces", np.int64),  # of the conditions
        ("probe_rows", np.int64),
        ("losses", np.int64),  # of baselines at the receiver
        ("start_hour", np.float64),
        ("cores", np.float64),  # of the host, other work's included
        ("baseline_memory", np.float64),
        ("max_age_s", np.float64),
        ("max_deltas", np.int64),
        ("slots", np.int64),
        ("any_path", np.bool_),
        ("cpu_price", np.float64),
        ("late_price", np.float64),
        ("probe_period_s", np.float64),
    ],
    align=True,
)
"""An episode as a whole."""

PATH: Final = np.dtype(
    [("nominal", np.float64), ("link_type", np.int64), ("slots", np.float64)],  # slots: inf without a limit
    align=True,
)
"""A path of an episode, as provisioned."""

REQUEST: Final = np.dtype(
    [
        ("arrival_s", np.float64),
        ("dataset", np.int64),
        ("size_bytes", np.float64),
        ("priority", np.float64),
        ("deadline_s", np.float64),
        ("path", np.int64),
        ("kind", np.int64),
        ("entropy", np.float64),
        ("sample_ratio", np.float64),
        ("repetition", np.float64),
        ("ratio3", np.float64),
        ("novelty", np.float64),
        ("working_set", np.float64),
        ("tau_s", np.float64),
        ("shifted", np.float64),
        ("encode_noise", np.float64),
        ("decode_noise", np.float64),
        ("changed_noise", np.float64),
        ("break_share", np.float64),  # NaN: never breaks
        # what a sender makes of its sample: `sim.estimates.coders`
        ("whole_ratio", np.float64),
        ("sample_encode", np.float64),
        ("sample_decode", np.float64),
    ],
    align=True,
)
"""One transfer as its episode has it."""

PLAIN: Final = np.dtype(
    [("ratio", np.float64), ("encode", np.float64), ("decode", np.float64), ("cpu_per_byte", np.float64)]
)
"""One transfer under one codec without a baseline, as `sim.transfers.Stage` has it."""

CODEC: Final = np.dtype(
    [
        ("streams", np.float64),
        ("keeps_baseline", np.bool_),
        ("is_xor", np.bool_),
        ("is_amst", np.bool_),
        ("is_zstd", np.bool_),
        ("estimate", np.int64),  # place of its family's among `sim.estimates.Estimates`
    ],
    align=True,
)
"""One codec of the world's list."""

LANE: Final = np.dtype(
    [
        ("episode", np.int64),  # its place on the shelf
        ("quantum_s", np.float64),  # longest wait; inf: until something happens
        ("now", np.float64),
        ("piece", np.int64),  # row of the conditions that held when last asked
        ("asked", np.int64),  # which question stands
        ("seq", np.int64),  # events scheduled so far: of one moment's the first scheduled comes first
        # what will happen: when (inf: never), and scheduled as which
        ("arrival_at", np.float64),
        ("arrival_seq", np.int64),
        ("arriving", np.int64),  # the request that comes then
        ("open_at", np.float64),  # of those that open connections, the first
        ("open_seq", np.int64),
        ("opening", np.int64),
        ("end_seq", np.int64),  # of those that move, the next end
        ("tick_at", np.float64),  # the control interval ends
        ("tick_seq", np.int64),
        ("interval", np.int64),
        ("due_s", np.float64),
        ("over_at", np.float64),  # a wait is over
        ("over_seq", np.int64),
        ("wait", np.int32),  # number of the wait that someone chose; odd while it lasts
        ("called", np.bool_),  # may a dispatch or share question be due?
        # how many
        ("arrived", np.int64),
        ("waiting", np.int64),
        ("open", np.int64),  # dispatched, their codec questions not yet answered
        ("moving", np.int64),  # answered, not yet recorded
        ("carried", np.int64),  # in flight
        ("recorded", np.int64),
        ("free_slots", np.int64),
        # the network
        ("shared", np.int64),  # row of the conditions for which their rates hold; -1: for none
        ("spent_cpu_s", np.float64),
        ("setup_cpu_s", np.float64),
        # as counted last: `sim.network.Tally`
        ("running", np.int64),
        ("streams", np.float64),
        ("wire_bytes", np.float64),
        ("core_s", np.float64),
        ("cores_busy", np.float64),
        # the ledger
        ("inside", np.int64),
        ("priority", np.float64),
        ("priority_arrival", np.float64),
        ("deadlines_passed", np.int64),
        ("late", np.int64),
        ("overdue", np.float64),
        ("completion_cost", np.float64),
        ("late_s", np.float64),
        # the sender
        ("interval_s", np.float64),  # average time between arrivals
        ("last_s", np.float64),
        ("baseline_bytes", np.float64),
        ("baselines", np.int64),
        ("used", np.int64),  # uses of baselines so far
    ],
    align=True,
)
"""A lane as a whole."""

TRANSFER: Final = np.dtype(
    [
        ("path", np.int64),
        ("came_s", np.float64),
        ("inside", np.bool_),  # has come and is not recorded
        ("late", np.bool_),
        ("codec", np.int64),
        ("start_s", np.float64),
        ("end_s", np.float64),
        ("open_at", np.float64),  # when its connections are open; inf when none are being opened
        ("open_seq", np.int64),
        ("later_bytes", np.float64),  # raw bytes of the part after the one that moves
        ("cpu_s", np.float64),
        # how it is encoded, sent and decoded: `sim.transfers.Stage`
        ("ratio", np.float64),
        ("encode", np.float64),
        ("decode", np.float64),
        ("cores_max", np.float64),
        ("streams", np.float64),
        ("cpu_per_byte", np.float64),
        ("setup_cpu_s", np.float64),
        ("is_delta", np.bool_),
        ("is_baseline", np.bool_),
        # the part that moves: `sim.network.Flow`
        ("part_bytes", np.float64),
        ("flow_ratio", np.float64),
        ("loss_gain", np.float64),
        # as metered last
        ("metered_s", np.float64),
        ("metered_bytes", np.float64),
        ("metered_cpu_s", np.float64),
    ],
    align=True,
)
"""A transfer of a lane."""

DATASET: Final = np.dtype(
    [
        ("kept", np.bool_),  # is there a baseline?
        ("deltas", np.int32),
        ("taken_s", np.float64),
        ("size_bytes", np.float64),
        ("used", np.int64),  # stamp of its last use
        ("seen", np.int64),
        ("last_s", np.float64),
        ("interval_s", np.float64),
        ("delta_ratio", np.float64),  # NaN before the first
    ],
    align=True,
)
"""What the sender of a lane keeps of a dataset."""

AVERAGE: Final = np.dtype(
    [
        ("single_rate", np.float64),
        ("amst_rate", np.float64),
        ("goodput_share", np.float64),
        ("free", np.float64),  # slots; inf without a limit
    ],
    align=True,
)
"""What the sender of a lane knows of a path by its own transfers."""


class Lanes(NamedTuple):
    """All arrays of a batch: ``E`` episodes on the shelf, ``K`` lanes; other sizes are the largest needed."""

    sites: Rows  # SITE, (E,)
    paths: Rows  # PATH, (E, paths)
    requests: Rows  # REQUEST, (E, requests)
    plain: Rows  # PLAIN, (E, requests, codecs)
    by_deadline: Ints  # requests by deadline, (E, requests)
    gaps: Floats  # between the packets that each loses by chance, (E, requests, GAPS)
    times: Floats  # conditions, (E, pieces); see `sim.episode.Conditions`
    links: Floats  # (E, pieces, paths, 4)
    steady: Floats  # their `sim.paths.steady_rates`, (E, pieces, paths)
    cores: Floats  # (E, pieces)
    limits: Floats  # window, queue and congestion control, (E, paths, 3)
    probes: Floats  # (E, rows, paths, 4)
    losses: Floats  # of baselines: when, and of which dataset, (E, losses, 2)
    codecs: Rows  # CODEC, (codecs,)
    fresh: Rows  # LANE, (1,): a lane before anything has happened
    lanes: Rows  # LANE, (K,)
    flows: Rows  # FLOW, (K, slots)
    carried: Ints  # requests in flight, in the order of their flows, (K, slots)
    moving: Ints  # requests that were answered, oldest answer first, (K, slots)
    open: Ints  # requests whose codec questions are open, oldest first, (K, slots)
    waiting: Ints  # requests, oldest first, (K, requests)
    recorded: Ints  # requests in the order in which they ended, (K, requests)
    transfers: Rows  # TRANSFER, (K, requests), or one row more: an odd number
    datasets: Rows  # DATASET, (K, datasets)
    kinds: Floats  # average ratio of zstd and of deltas, (K, payload classes, 2)
    averages: Rows  # AVERAGE, (K, paths)
    offers: Floats  # scratch of `sim.fluid`, of one lane at a time, (paths, 4)
    asked: Rows  # scratch: a codec question that a rule answers, CODEC_ROW, (K,)
    order: Ints  # scratch: places of those in flight by request, (K, slots)
    wanted: Floats  # scratch: weights on the wire and on the cores, and streams, (K, slots, 3)


def empty_lanes(
    episodes: int,
    lanes: int,
    *,
    requests: int,
    paths: int,
    codecs: int,
    pieces: int,
    probes: int,
    losses: int,
    slots: int,
    datasets: int,
    kinds: int,
) -> Lanes:
    """Room for so many of each; all zeros but the fresh lane.

    All of it is one block, each array from the start of a cache line: where it is large, in pages of 2 MiB,
    for a step of hundreds of lanes touches more pages of 4 KiB than the processor remembers. Lanes go through
    their requests in step, so the transfers of two lanes lie an odd number of lines apart: else a few of the
    cache's sets would have to hold those of all lanes.
    """
    room: dict[str, tuple[tuple[int, ...], DTypeLike]] = {
        "sites": ((episodes,), SITE),
        "paths": ((episodes, paths), PATH),
        "requests": ((episodes, requests), REQUEST),
        "plain": ((episodes, requests, codecs), PLAIN),
        "by_deadline": ((episodes, requests), np.int64),
        "gaps": ((episodes, requests, GAPS), np.float64),
        "times": ((episodes, pieces), np.float64),
        "links": ((episodes, pieces, paths, 4), np.float64),
        "steady": ((episodes, pieces, paths), np.float64),
        "cores": ((episodes, pieces), np.float64),
        "limits": ((episodes, paths, 3), np.float64),
        "probes": ((episodes, probes, paths, 4), np.float64),
        "losses": ((episodes, losses, 2), np.float64),
        "codecs": ((codecs,), CODEC),
        "fresh": ((1,), LANE),
        "lanes": ((lanes,), LANE),
        "flows": ((lanes, slots), FLOW),
        "carried": ((lanes, slots), np.int64),
        "moving": ((lanes, slots), np.int64),
        "open": ((lanes, slots), np.int64),
        "waiting": ((lanes, requests), np.int64),
        "recorded": ((lanes, requests), np.int64),
        "transfers": ((lanes, requests | 1), TRANSFER),
        "datasets": ((lanes, datasets), DATASET),
        "kinds": ((lanes, kinds, 2), np.float64),
        "averages": ((lanes, paths), AVERAGE),
        "offers": ((paths, OFFERS), np.float64),
        "asked": ((lanes,), CODEC_ROW),
        "order": ((lanes, slots), np.int64),
        "wanted": ((lanes, slots, 3), np.float64),
    }
    arrays = Lanes(**_carve(room))
    for never in ("arrival_at", "open_at", "tick_at", "over_at", "interval_s"):
        arrays.fresh[never] = np.inf
    arrays.fresh["due_s"], arrays.fresh["shared"] = -np.inf, -1
    return arrays


def _carve(room: dict[str, tuple[tuple[int, ...], DTypeLike]]) -> dict[str, NDArray[Any]]:
    """Arrays of zeros of these shapes and types, one after another in one block."""
    lengths = {name: math.prod(shape) * np.dtype(kind).itemsize for name, (shape, kind) in room.items()}
    starts = list(
        accumulate((-(-length // LINE_BYTES) * LINE_BYTES for length in lengths.values()), initial=0)
    )
    edge = _PAGE_BYTES if starts[-1] >= _PAGE_BYTES else LINE_BYTES
    block = np.zeros(-(-starts[-1] // edge) * edge + edge, np.uint8)
    first = -block.ctypes.data % edge
    return {
        name: block[first + start : first + start + lengths[name]].view(kind).reshape(shape)
        for start, (name, (shape, kind)) in zip(starts, room.items(), strict=False)
    }
