"""The observation of a share decision: the site, then those that move, most pressing first."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.features import Feature, FeatureList
from sim.codecs import Codec
from sim.decisions import ShareQuestion
from sim.jit import njit
from sim.physics import CUBIC, GOODPUT_SHARE, stream_ceiling
from sim.question_rows import QuestionRows, rows_of
from sim.units import MBIT, MIB, MS

Rows = NDArray[np.void]
Row = Any
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FOREVER_S: Final = 1e5
_ROOM: Final = 100.0
"""Slack, in multiples of the time still needed, past which a deadline is as good as none."""

SLOT_FEATURES: Final = (
    Feature("present", "bool", 0, 1, "linear", "a transfer stands here; without one the rest says nothing"),
    Feature("alone_s", "s", 1e-3, 1e4, "log", "estimated time to its end, were wire and cores its own"),
    Feature("share", "share", 0, 1, "linear", "that time over the sum of all that move"),
    Feature("pressure", "share", 1e-4, 1, "log", "priority over that time, relative to the first slot's"),
    Feature("priority", "weight", 0, 4, "linear", "cost of a second"),
    Feature("slack_ratio", "x", 0.1, _ROOM, "log", "time to the deadline over the time it needs alone"),
    Feature(
        "slack_s", "s", 0.01, _FOREVER_S, "log", "time to the deadline; the end of the range without one"
    ),
    Feature("remaining_mb", "MiB", 1e-3, 65536, "log", "raw bytes not yet decoded"),
    Feature("remaining_share", "share", 0, 1, "linear", "those over its size"),
    Feature("wire_s", "s", 1e-3, 1e4, "log", "what it has still to send over the bandwidth of its path"),
    Feature("core_s", "s", 1e-3, 1e4, "log", "core-seconds of encoding still to do"),
    Feature("encoder_lead", "x", 0.01, 100, "log", "rate of its encoder over that of its wire, both alone"),
    Feature("wire_reach", "share", 0, 1, "linear", "share of what all on its path have that it could use"),
    Feature("core_reach", "share", 0, 1, "linear", "share of the free cores that its encoder could use"),
    Feature("ratio", "x", 1, 1000, "log", "raw bytes per byte on the wire"),
    Feature("wire_share", "share", 0, 1.5, "linear", "its wire rate over the bandwidth of its path"),
    Feature("core_share", "share", 0, 1.5, "linear", "cores that it used at both ends over the sender's"),
    Feature("stretch", "x", 0.5, 100, "log", "time since its start over the time alone for that much"),
    Feature("streams", "count", 1, 64, "log", "its TCP connections"),
    Feature("multi_stream", "bool", 0, 1, "linear", "it is sent by AMST, so its streams are a choice"),
    Feature("path", "code", 0, 7, "linear", "which path"),
)
"""What is seen of one transfer that moves."""

_ABSENT: Final = {"slack_ratio": _ROOM, "slack_s": _FOREVER_S, "encoder_lead": 1.0, "stretch": 1.0}
_ABSENT_SLOT: Final = tuple(float(_ABSENT.get(feature.name, feature.low)) for feature in SLOT_FEATURES)
"""A slot where nothing moves: no bytes, no stakes."""

SITE_FEATURES: Final = (
    Feature("rtt_ms", "ms", 0.1, 500, "log", "round trip at the last probe of the path"),
    Feature("bandwidth_mbps", "Mbit/s", 0.5, 40000, "log", "what that probe found free"),
    Feature("cross_share", "share", 0, 1, "linear", "capacity as provisioned that it did not find free"),
    Feature("loss", "share", 1e-6, 0.1, "log", "loss at that probe"),
    Feature("stream_share", "share", 1e-3, 100, "log", "what one stream can reach over that bandwidth"),
    Feature("path_streams", "count", 0.5, 256, "log", "TCP streams on the path"),
    Feature("wire_backlog_s", "s", 0.01, 1000, "log", "bytes still to send on the path over its bandwidth"),
    Feature("goodput_share", "share", 0, 2, "linear", "recent wire rate over the probed bandwidth"),
    Feature("cores", "count", 1, 64, "log", "cores of the sender"),
    Feature("cpu_load", "share", 0, 1, "linear", "cores in use"),
    Feature("core_backlog_s", "s", 0.01, 1000, "log", "encoding still to do over the cores"),
    Feature("running", "count", 0.5, 128, "log", "transfers that move"),
    Feature("unseen", "count", 0.5, 128, "log", "of them, those that have no slot here"),
    Feature("waiting", "count", 0.5, 128, "log", "transfers that wait for a slot"),
    Feature("waiting_s", "s", 0.01, 1000, "log", "their raw bytes over the bandwidth of the path"),
)
"""What is seen of the path with the longest backlog of those in use, of the host, and of the queue."""


_SITE_WIDTH: Final = len(SITE_FEATURES)
_SLOT_WIDTH: Final = len(SLOT_FEATURES)


class Prospect(NamedTuple):
    """What a sender expects of a transfer that moves.

    Attributes:
        place: Its place in the question.
        alone_s: Seconds to its end, were the wire of its path and the cores its own.
        wire_rate: Wire bytes/s that it would then reach.
        encoder_rate: Raw bytes/s that its encoder would then reach.
        wire_reach: Share of the wire of its path that it could use.
        core_reach: Share of the cores that it could use.
    """

    place: int
    alone_s: float
    wire_rate: float
    encoder_rate: float
    wire_reach: float
    core_reach: float


PROSPECT_ROW: Final = np.dtype([(name, np.float64) for name in (*Prospect._fields, "weighted_s")])
"""A `Prospect`, with its time alone over its priority."""


def prospects(question: ShareQuestion) -> list[Prospect]:
    """Those that move in the order of the slots: by priority over the time they need alone, highest first.

    That is the order in which one machine would serve them at the least weighted sum of completion times, so
    a policy finds in the first slot who has most to gain, whatever the scale of the link.

    Source:
        Smith: Various optimizers for single-stage production. Naval Research Logistics Quarterly 3, 1956.
    """
    found, order = empty_prospects(1, len(question.running))
    find_prospects(rows_of(question), 0, found[0], order[0])
    return [Prospect(place, *found[0, place].item()[1:-1]) for place in order[0].tolist()]


def empty_prospects(lanes: int, count: int) -> tuple[Rows, Ints]:
    """Room for the prospects of so many that move on each lane, and for their order."""
    return np.zeros((lanes, count), PROSPECT_ROW), np.zeros((lanes, count), np.int64)


@njit
def find_prospects(rows: QuestionRows, lane: int, found: Rows, order: Ints) -> None:
    """Write what is expected of those that move, and their order in the slots, as `prospects` has it.

    Args:
        rows: Share questions.
        lane: Which of them.
        found: Takes a `PROSPECT_ROW` for each that moves, in the order of the question.
        order: Takes their places in it, in the order of the slots.
    """
    host, count, ours = rows.host[lane], rows.site[lane]["running"], 0.0
    for place in range(count):
        ours += rows.running[lane, place]["rate"] / rows.running[lane, place]["encode"]
    cores = max(host["cores"] * (1.0 - host["cpu_load"]) + ours, 1e-3 * host["cores"])
    for place in range(count):
        one = rows.running[lane, place]
        _expect(one, rows.paths[lane, int(one["path"])], cores, found[place])
        found[place]["place"] = place
        at = place
        while at > 0 and found[order[at - 1]]["weighted_s"] > found[place]["weighted_s"]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = place


@njit
def _expect(one: Row, path: Row, cores: float, prospect: Row) -> None:
    bandwidth = max(path["bandwidth"], 1.0)
    others, streams = max(0.0, path["capacity"] / bandwidth - 1.0), max(path["streams"], 1.0)
    whole = bandwidth * (1.0 + others) * GOODPUT_SHARE * streams / (streams + others)
    wire_rate = max(min(whole, one["streams"] * _stream(path)), one["rate"] / one["ratio"])
    encoder_rate = max(one["encode"] * min(one["parallel"], cores), one["rate"])
    alone_s = one["remaining_bytes"] / min(wire_rate * one["ratio"], encoder_rate)
    prospect["alone_s"], prospect["weighted_s"] = alone_s, alone_s / one["priority"]
    prospect["wire_rate"], prospect["encoder_rate"] = wire_rate, encoder_rate
    prospect["wire_reach"] = min(1.0, wire_rate / whole)
    prospect["core_reach"] = min(1.0, one["parallel"] / cores)


@njit
def _stream(path: Row) -> float:
    """Wire bytes/s that one stream can reach alone."""
    return stream_ceiling(path["rtt_s"], path["loss"], path["window_bytes"], CUBIC)


def share_features(codecs: Sequence[Codec], slots: int) -> FeatureList:
    """The observation of `dwcp/Allocation-v0`: the site, then so many slots.

    Args:
        codecs: What the codec of a transfer stands for.
        slots: Transfers that are seen one by one; the number of a slot ends the names of its features.
    """
    if slots < 1:
        raise ValueError(f"at least 1 slot is needed, got {slots}")
    several = multi_stream(codecs)
    width = _SITE_WIDTH + slots * _SLOT_WIDTH

    def read(question: Any) -> Floats:
        found, order = empty_prospects(1, len(question.running))
        values = np.empty(width)
        fill_share(rows_of(question), 0, several, found[0], order[0], values)
        return values

    named = [
        Feature(f"{one.name}_{slot}", one.unit, one.low, one.high, one.scale, one.about)
        for slot in range(1, slots + 1)
        for one in SLOT_FEATURES
    ]
    return FeatureList([*SITE_FEATURES, *named], read)


def multi_stream(codecs: Sequence[Codec]) -> Floats:
    """Of each codec, 1 where its transfers have a choice of streams, else 0."""
    return np.array([codec.family == "amst" for codec in codecs], np.float64)


@njit
def fill_share(
    rows: QuestionRows, lane: int, several: Floats, found: Rows, order: Ints, values: Floats
) -> None:
    """Write the values of `share_features`, in their order and units, of the question of a lane.

    Args:
        rows: Share questions.
        lane: Which of them.
        several: As `multi_stream` has it.
        found: Takes the prospects, as in `find_prospects`.
        order: Takes their order.
        values: Takes the features; its length says how many slots are seen.
    """
    find_prospects(rows, lane, found, order)
    count, slots = rows.site[lane]["running"], (len(values) - _SITE_WIDTH) // _SLOT_WIDTH
    total_s = 0.0
    for rank in range(count):
        total_s += found[order[rank]]["alone_s"]
    first = rows.running[lane, order[0]]["priority"] / found[order[0]]["alone_s"]
    _fill_site(rows, lane, max(0, count - slots), values[:_SITE_WIDTH])
    for slot in range(slots):
        start = _SITE_WIDTH + slot * _SLOT_WIDTH
        own = values[start : start + _SLOT_WIDTH]
        if slot < count:
            _fill_slot(rows, lane, found[order[slot]], total_s, first, several, own)
        else:
            own[:] = _ABSENT_SLOT


@njit
def _fill_slot(
    rows: QuestionRows,
    lane: int,
    prospect: Row,
    total_s: float,
    first: float,
    several: Floats,
    values: Floats,
) -> None:
    one = rows.running[lane, int(prospect["place"])]
    bandwidth = max(rows.paths[lane, int(one["path"])]["bandwidth"], 1.0)
    alone_s = max(prospect["alone_s"], 1e-6)
    moved_s = alone_s * (one["size_bytes"] / max(one["remaining_bytes"], 1.0) - 1.0)
    values[:] = (
        1.0,
        alone_s,
        alone_s / max(total_s, 1e-6),
        one["priority"] / alone_s / first,
        one["priority"],
        min(one["slack_s"] / alone_s, _ROOM),
        min(one["slack_s"], _FOREVER_S),
        one["remaining_bytes"] / MIB,
        one["remaining_bytes"] / one["size_bytes"],
        one["remaining_bytes"] / one["ratio"] / bandwidth,
        one["remaining_bytes"] / one["encode"],
        prospect["encoder_rate"] / (prospect["wire_rate"] * one["ratio"]),
        prospect["wire_reach"],
        prospect["core_reach"],
        one["ratio"],
        one["rate"] / one["ratio"] / bandwidth,
        one["cores"] / rows.host[lane]["cores"],
        one["elapsed_s"] / max(moved_s, 1e-6),
        one["streams"],
        several[int(one["codec"])],
        one["path"],
    )


@njit
def _fill_site(rows: QuestionRows, lane: int, unseen: int, values: Floats) -> None:
    site, host = rows.site[lane], rows.host[lane]
    path = rows.paths[lane, _busiest(rows, lane)]
    bandwidth = max(path["bandwidth"], 1.0)
    values[:] = (
        path["rtt_s"] / MS,
        path["bandwidth"] / MBIT,
        1.0 - path["bandwidth"] / path["capacity"],
        path["loss"],
        _stream(path) / bandwidth,
        path["streams"] + 0.5,
        path["wire_backlog_bytes"] / bandwidth,
        path["goodput_share"],
        host["cores"],
        host["cpu_load"],
        host["core_backlog_s"] / host["cores"],
        site["running"] + 0.5,
        unseen + 0.5,
        site["waiting"] + 0.5,
        site["waiting_bytes"] / bandwidth,
    )


@njit
def _busiest(rows: QuestionRows, lane: int) -> int:
    """The path in use whose backlog takes longest; of equals the first."""
    busiest, longest_s = -1, -1.0
    for place in range(rows.site[lane]["running"]):
        number = int(rows.running[lane, place]["path"])
        path = rows.paths[lane, number]
        backlog_s = path["wire_backlog_bytes"] / max(path["bandwidth"], 1.0)
        if backlog_s > longest_s or (backlog_s == longest_s and number < busiest):
            busiest, longest_s = number, backlog_s
    return busiest
