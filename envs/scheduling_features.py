"""The observation of a dispatch decision: which waiting transfers are shown, and what is said of them."""

from collections.abc import Sequence
from math import cos, pi, sin
from typing import Final, Literal, NamedTuple

import numpy as np

from envs.features import Feature, FeatureList
from envs.shortlist import Shortlister, ShortlistRows, is_shown
from sim.batch.layout import Floats
from sim.decisions import DispatchQuestion
from sim.jit import njit
from sim.physics import CUBIC, stream_ceiling
from sim.question_rows import QuestionRows
from sim.units import MBIT, MIB, MS

_FOREVER_S: Final = 1e6
_NOW_S: Final = 1e-3
_Scale = Literal["linear", "log"]


class _Kind(NamedTuple):
    """A feature before it is told of which candidate or path."""

    name: str
    unit: str
    low: float
    high: float
    scale: _Scale
    about: str


_CANDIDATE: Final = (
    _Kind(
        "present",
        "bool",
        0,
        1,
        "linear",
        "a transfer waits here; without one all else here is at its low end",
    ),
    _Kind("may_go", "bool", 0, 1, "linear", "a path that it may take has a free slot"),
    _Kind(
        "seconds",
        "s",
        1e-3,
        1e5,
        "log",
        "estimated time from start to end, alone, on the best path it may take",
    ),
    _Kind("wire_s", "s", 1e-3, 1e5, "log", "estimated bytes on the wire over the bandwidth of that path"),
    _Kind("arrivals", "count", 0.01, 1000, "log", "arrivals to be expected in the estimated seconds"),
    _Kind("index", "1/s", 1e-5, 1e4, "log", "priority over estimated seconds: what WSPT sorts by"),
    _Kind("size_mb", "MiB", 5e-4, 65536, "log", "size of the payload"),
    _Kind("priority", "weight", 0.1, 100, "log", "cost of a second"),
    _Kind("slack_s", "s", 0.01, _FOREVER_S, "log", "time to the deadline; the end of the range without one"),
    _Kind("late_s", "s", 0.01, _FOREVER_S, "log", "time since the deadline"),
    _Kind("slack_ratio", "x", -10, 10, "linear", "time to the deadline over the estimated seconds"),
    _Kind("waited_s", "s", _NOW_S, _FOREVER_S, "log", "time since arrival"),
    _Kind("waited_ratio", "x", 0.01, 1000, "log", "that over the estimated seconds"),
    _Kind("kind", "code", 0, 10, "linear", "class of the payload"),
    _Kind("has_baseline", "bool", 0, 1, "linear", "a delta can be sent"),
    _Kind("path", "code", 0, 7, "linear", "the path it is meant for, or the best of those it may take"),
    _Kind("path_backlog_s", "s", 0.01, 1e4, "log", "what is underway on that path, over its bandwidth"),
)
_SECONDS_ON: Final = _Kind("seconds_on", "s", 1e-3, 1e5, "log", "estimated time by this path")

_PATH: Final = (
    _Kind("bandwidth_mbps", "Mbit/s", 0.5, 40000, "log", "what the last probe found free"),
    _Kind("bandwidth_share", "share", 0, 2, "linear", "that over the capacity as provisioned"),
    _Kind("rtt_ms", "ms", 0.1, 500, "log", "round trip at the last probe"),
    _Kind("loss", "share", 1e-6, 0.1, "log", "loss at the last probe"),
    _Kind(
        "stream_share", "share", 0.001, 100, "log", "what one stream could carry at most, over the bandwidth"
    ),
    _Kind("free", "bool", 0, 1, "linear", "some transfer may go on it now"),
    _Kind("underway", "count", 0, 16, "linear", "transfers that have a slot"),
    _Kind("streams", "count", 0.5, 256, "log", "TCP streams of those that move"),
    _Kind(
        "backlog_s", "s", 0.01, 1e4, "log", "what is underway, estimated bytes on the wire over the bandwidth"
    ),
    _Kind("next_end_s", "s", 0.01, 1e4, "log", "until the first of those ends, if it goes on as so far"),
    _Kind("stakes", "weight", 0.1, 1000, "log", "sum of the priorities of those underway"),
)
_WHOLE: Final = (
    Feature("free_slots", "count", 0, 16, "linear", "slots of the host that are free"),
    Feature("underway", "count", 0, 32, "linear", "transfers that have a slot"),
    Feature("cpu_load", "share", 0, 1, "linear", "cores in use"),
    Feature("core_backlog_s", "s", 0.01, 1e3, "log", "encoding still to do over the cores"),
    Feature("cores", "count", 1, 64, "log", "cores of the sender"),
    Feature("hour_sin", "", -1, 1, "linear", "sine of the local hour, a day to the turn"),
    Feature("hour_cos", "", -1, 1, "linear", "cosine of the local hour"),
    Feature("interval_s", "s", 0.01, 1e5, "log", "average time between arrivals"),
    Feature("waiting", "count", 0.5, 512, "log", "transfers that wait"),
    Feature("waiting_s", "s", 0.01, _FOREVER_S, "log", "sum of their estimated seconds on the wire"),
    Feature("waiting_stakes", "weight", 0.1, 1000, "log", "sum of their priorities"),
    Feature("unseen", "count", 0.5, 512, "log", "those that wait and are not among the candidates"),
    Feature("unseen_mb", "MiB", 1, 1e6, "log", "their size"),
    Feature("unseen_stakes", "weight", 0.1, 1000, "log", "sum of their priorities"),
    Feature("may_wait", "bool", 0, 1, "linear", "waiting is a legal answer"),
)


def _numbered(kinds: Sequence[_Kind], of: str, numbers: int, note: str) -> list[Feature]:
    return [
        Feature(
            f"{of}{number}_{one.name}",
            one.unit,
            one.low,
            one.high,
            one.scale,
            f"{note.format(number)}: {one.about}",
        )
        for number in range(numbers)
        for one in kinds
    ]


def _candidate_kinds(shortlister: Shortlister) -> list[_Kind]:
    by_path = range(shortlister.paths if shortlister.any_path else 0)
    return [*_CANDIDATE, *(_SECONDS_ON._replace(name=f"seconds_on_{path}") for path in by_path)]


def candidate_columns(shortlister: Shortlister) -> tuple[tuple[int, ...], ...]:
    """Places of the features of each candidate in `dispatch_features`."""
    width = len(_candidate_kinds(shortlister))
    return tuple(tuple(range(slot * width, (slot + 1) * width)) for slot in range(shortlister.slots))


def dispatch_features(shortlister: Shortlister) -> FeatureList:
    """The features of a dispatch question: of each candidate, of each path, of the whole.

    A `FeatureList` for the candidates and paths of ``shortlister``; it observes a `DispatchQuestion`.
    """
    kinds = _candidate_kinds(shortlister)
    features = _numbered(kinds, "c", shortlister.slots, "candidate {}")
    features += _numbered(_PATH, "p", shortlister.paths, "path {}")

    def read(question: DispatchQuestion) -> Floats:
        values = np.empty(len(features) + len(_WHOLE))
        fill_dispatch(*shortlister.listed(question), 0, shortlister.any_path, values)
        return values

    return FeatureList([*features, *_WHOLE], read)


_OF_CANDIDATE: Final = len(_CANDIDATE)
_OF_PATH: Final = len(_PATH)


@njit
def fill_dispatch(rows: QuestionRows, lists: ShortlistRows, k: int, any_path: bool, values: Floats) -> None:
    """Write the values of `dispatch_features`, in their order and units, of the question of a lane.

    Args:
        rows: The question.
        lists: Its shortlist.
        k: The lane.
        any_path: Whether a transfer may take any path.
        values: To write to, shape (features,).
    """
    slots, paths = lists.positions.shape[1], lists.backlog_bytes.shape[1]
    width = _OF_CANDIDATE + paths if any_path else _OF_CANDIDATE
    values[:] = 0.0
    for slot in range(lists.shown[k]):
        own = values[slot * width : (slot + 1) * width]
        _fill_candidate(rows, lists, k, lists.positions[k, slot], own[:_OF_CANDIDATE])
        if any_path:
            for path in range(rows.site[k]["paths"]):
                own[_OF_CANDIDATE + path] = lists.seconds[k, lists.positions[k, slot], path]
    first = slots * width
    for path in range(rows.site[k]["paths"]):
        start = first + path * _OF_PATH
        _fill_path(rows, k, path, _backlog_s(rows, lists, k, path), values[start : start + _OF_PATH])
    _fill_whole(rows, lists, k, values[first + paths * _OF_PATH :])


@njit
def _backlog_s(rows: QuestionRows, lists: ShortlistRows, k: int, path: int) -> float:
    seconds: float = lists.backlog_bytes[k, path] / max(rows.paths[k, path]["bandwidth"], 1.0)
    return seconds


@njit
def _fill_candidate(rows: QuestionRows, lists: ShortlistRows, k: int, position: int, values: Floats) -> None:
    one, path, seconds = rows.waiting[k, position], lists.path[k, position], lists.best_s[k, position]
    values[:] = (
        1.0,
        1.0 if one["paths"] else 0.0,
        seconds,
        lists.wire_bytes[k, position] / max(rows.paths[k, path]["bandwidth"], 1.0),
        seconds / max(rows.site[k]["interval_s"], _NOW_S),
        one["priority"] / seconds,
        one["size_bytes"] / MIB,
        one["priority"],
        min(one["slack_s"], _FOREVER_S),
        -one["slack_s"],
        max(min(one["slack_s"] / seconds, 10.0), -10.0),
        one["waited_s"],
        one["waited_s"] / seconds,
        one["kind"],
        one["has_baseline"],
        float(path),
        _backlog_s(rows, lists, k, path),
    )


@njit
def _fill_path(rows: QuestionRows, k: int, path: int, backlog_s: float, values: Floats) -> None:
    site, view = rows.site[k], rows.paths[k, path]
    free, underway, stakes, next_end_s = 0.0, 0, 0.0, np.inf
    for place in range(site["waiting"]):
        if np.int64(rows.waiting[k, place]["paths"]) >> path & 1:
            free = 1.0
    for place in range(site["opening"]):
        opening = rows.opening[k, place]
        if opening["path"] == path:
            underway += 1
            stakes += opening["priority"]
    for place in range(site["running"]):
        running = rows.running[k, place]
        if running["path"] == path:
            underway += 1
            stakes += running["priority"]
            if running["rate"] > 0.0:
                next_end_s = min(next_end_s, running["remaining_bytes"] / running["rate"])
    bandwidth = max(view["bandwidth"], 1.0)
    values[:] = (
        view["bandwidth"] / MBIT,
        view["bandwidth"] / view["capacity"],
        view["rtt_s"] / MS,
        view["loss"],
        stream_ceiling(view["rtt_s"], view["loss"], view["window_bytes"], CUBIC) / bandwidth,
        free,
        float(underway),
        view["streams"] + 0.5,
        backlog_s,
        next_end_s if underway > 0 else 0.0,
        stakes,
    )


@njit
def _fill_whole(rows: QuestionRows, lists: ShortlistRows, k: int, values: Floats) -> None:
    site, host = rows.site[k], rows.host[k]
    waiting_s, stakes, unseen, unseen_bytes, unseen_stakes = 0.0, 0.0, 0, 0.0, 0.0
    for place in range(site["waiting"]):
        one = rows.waiting[k, place]
        bandwidth = max(rows.paths[k, lists.path[k, place]]["bandwidth"], 1.0)
        waiting_s += lists.wire_bytes[k, place] / bandwidth
        stakes += one["priority"]
        if not is_shown(lists, k, place):
            unseen += 1
            unseen_bytes += one["size_bytes"]
            unseen_stakes += one["priority"]
    angle = 2 * pi * site["hour"] / 24
    values[:] = (
        site["free_slots"],
        float(site["opening"] + site["running"]),
        host["cpu_load"],
        host["core_backlog_s"] / host["cores"],
        host["cores"],
        sin(angle),
        cos(angle),
        site["interval_s"],
        float(site["waiting"]),
        waiting_s,
        stakes,
        unseen + 0.5,
        unseen_bytes / MIB,
        unseen_stakes,
        1.0 if site["may_wait"] else 0.0,
    )
