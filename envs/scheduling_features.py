"""The observation of a dispatch decision: which waiting transfers are shown, and what is said of them."""

from collections.abc import Sequence
from math import cos, inf, pi, sin
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.features import Feature, FeatureList
from envs.shortlist import Shortlist, Shortlister
from sim.decisions import DispatchQuestion, PathView
from sim.physics import CUBIC, stream_ceiling
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

    def read(question: DispatchQuestion) -> NDArray[np.float64]:
        return _read(question, shortlister(question), shortlister)

    return FeatureList([*features, *_WHOLE], read)


def _read(question: DispatchQuestion, shown: Shortlist, shortlister: Shortlister) -> NDArray[np.float64]:
    rows = np.zeros((shortlister.slots, len(_CANDIDATE) + shortlister.paths * shortlister.any_path))
    backlog_s = shown.backlog_bytes / [max(path.bandwidth, 1.0) for path in question.paths]
    for row, position in zip(rows, shown.positions, strict=False):
        one, path, seconds = question.waiting[position], shown.path[position], shown.best_s[position]
        wire_s = shown.wire_bytes[position] / max(question.paths[path].bandwidth, 1.0)
        row[: len(_CANDIDATE)] = (
            1.0,
            float(bool(one.paths)),
            seconds,
            wire_s,
            seconds / max(question.interval_s, _NOW_S),
            one.priority / seconds,
            one.size_bytes / MIB,
            one.priority,
            min(one.slack_s, _FOREVER_S),
            -one.slack_s,
            max(min(one.slack_s / seconds, 10.0), -10.0),
            one.waited_s,
            one.waited_s / seconds,
            one.kind,
            one.has_baseline,
            path,
            backlog_s[path],
        )
        if shortlister.any_path:
            row[len(_CANDIDATE) : len(_CANDIDATE) + len(question.paths)] = shown.seconds[position]
    by_path = np.zeros((shortlister.paths, len(_PATH)))
    free = {path for one in question.waiting for path in one.paths}
    for number, view in enumerate(question.paths):
        by_path[number] = _of_path(question, number, view, float(number in free), backlog_s[number])
    return np.concatenate([rows.ravel(), by_path.ravel(), _of_all(question, shown)])


def _of_path(
    question: DispatchQuestion, number: int, view: PathView, free: float, backlog_s: float
) -> tuple[float, ...]:
    bandwidth = max(view.bandwidth, 1.0)
    opening = [one for one in question.opening if one.path == number]
    running = [one for one in question.running if one.path == number]
    ends_s = [one.remaining_bytes / one.rate for one in running if one.rate > 0]
    return (
        view.bandwidth / MBIT,
        view.bandwidth / view.capacity,
        view.rtt_s / MS,
        view.loss,
        stream_ceiling(view.rtt_s, view.loss, view.window_bytes, CUBIC) / bandwidth,
        free,
        len(opening) + len(running),
        view.streams + 0.5,
        backlog_s,
        min(ends_s, default=inf if opening or running else 0.0),
        sum(one.priority for one in opening) + sum(one.priority for one in running),
    )


def _of_all(question: DispatchQuestion, shown: Shortlist) -> tuple[float, ...]:
    waiting, host = question.waiting, question.host
    bandwidth = [max(path.bandwidth, 1.0) for path in question.paths]
    angle = 2 * pi * question.hour / 24
    listed = set(shown.positions)
    unseen = [one for position, one in enumerate(waiting) if position not in listed]
    return (
        question.free_slots,
        len(question.opening) + len(question.running),
        host.cpu_load,
        host.core_backlog_s / host.cores,
        host.cores,
        sin(angle),
        cos(angle),
        question.interval_s,
        len(waiting),
        sum(size / bandwidth[path] for size, path in zip(shown.wire_bytes, shown.path, strict=True)),
        sum(one.priority for one in waiting),
        len(unseen) + 0.5,
        sum(one.size_bytes for one in unseen) / MIB,
        sum(one.priority for one in unseen),
        question.may_wait,
    )
