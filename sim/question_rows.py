"""Questions as rows of numbers, which compiled code can read and write."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.decisions import (
    CodecQuestion,
    DispatchQuestion,
    HostView,
    PathView,
    Running,
    ShareQuestion,
    Waiting,
)

Rows = NDArray[np.void]


def _floats(names: Sequence[str]) -> np.dtype[np.void]:
    return np.dtype([(name, np.float64) for name in names])


CODEC_ROW: Final = _floats(CodecQuestion._fields)
"""A `CodecQuestion`."""
PATH_ROW: Final = _floats(PathView._fields)
HOST_ROW: Final = _floats(HostView._fields)
RUNNING_ROW: Final = _floats(Running._fields)
WAITING_ROW: Final = np.dtype(
    [(name, np.float64 if name != "paths" else np.uint64) for name in Waiting._fields]
)
"""A `Waiting`; its ``paths`` are bits, the lowest for path 0."""
SITE_ROW: Final = np.dtype(
    [
        ("now_s", np.float64),
        ("hour", np.float64),
        ("paths", np.int64),  # so many of the rows beside this one say something
        ("running", np.int64),
        ("opening", np.int64),
        ("waiting", np.int64),
        ("waiting_bytes", np.float64),
        ("free_slots", np.float64),
        ("interval_s", np.float64),
        ("may_wait", np.bool_),
    ]
)
"""What a share or dispatch question says once, and how many rows belong to it."""


class QuestionRows(NamedTuple):
    """A question of each of ``K`` lanes; of the rows that it does not need, what is there says nothing."""

    codec: Rows  # CODEC_ROW, (K,)
    site: Rows  # SITE_ROW, (K,)
    host: Rows  # HOST_ROW, (K,)
    paths: Rows  # PATH_ROW, (K, paths)
    running: Rows  # RUNNING_ROW, (K, slots)
    opening: Rows  # WAITING_ROW, (K, slots)
    waiting: Rows  # WAITING_ROW, (K, requests); a share question tells only how many


def empty_rows(lanes: int, paths: int, slots: int, requests: int) -> QuestionRows:
    """Room for a question of each lane."""
    return QuestionRows(
        np.zeros(lanes, CODEC_ROW),
        np.zeros(lanes, SITE_ROW),
        np.zeros(lanes, HOST_ROW),
        np.zeros((lanes, paths), PATH_ROW),
        np.zeros((lanes, slots), RUNNING_ROW),
        np.zeros((lanes, slots), WAITING_ROW),
        np.zeros((lanes, requests), WAITING_ROW),
    )


def rows_of(question: ShareQuestion | DispatchQuestion) -> QuestionRows:
    """A question as the rows of one lane."""
    running, paths = question.running, question.paths
    waiting: Sequence[Waiting] = ()
    opening: Sequence[Waiting] = ()
    if isinstance(question, DispatchQuestion):
        waiting, opening = question.waiting, question.opening
        rest: tuple[Any, ...] = (
            len(waiting),
            0.0,
            question.free_slots,
            question.interval_s,
            question.may_wait,
        )
    else:
        rest = (question.waiting, question.waiting_bytes, 0.0, 0.0, False)
    site = (question.now_s, question.hour, len(paths), len(running), len(opening), *rest)
    return QuestionRows(
        np.zeros(1, CODEC_ROW),
        np.array([site], SITE_ROW),
        np.array([question.host], HOST_ROW),
        np.array([list(paths)], PATH_ROW),
        np.array([list(running)], RUNNING_ROW).reshape(1, -1),
        _waiting_rows(opening),
        _waiting_rows(waiting),
    )


def _waiting_rows(waiting: Sequence[Waiting]) -> Rows:
    rows = [(*one[:-1], sum(1 << path for path in one.paths)) for one in waiting]
    return np.array([rows], WAITING_ROW).reshape(1, -1)


def codec_question_of(rows: QuestionRows, lane: int) -> CodecQuestion:
    """The codec question that a lane's row says."""
    question: CodecQuestion = _read(CodecQuestion, rows.codec[lane])
    return question


def share_question_of(rows: QuestionRows, lane: int) -> ShareQuestion:
    """The share question that a lane's rows say."""
    site = rows.site[lane]
    return ShareQuestion(
        float(site["now_s"]),
        float(site["hour"]),
        tuple(_read(Running, row) for row in rows.running[lane, : site["running"]]),
        tuple(_read(PathView, row) for row in rows.paths[lane, : site["paths"]]),
        _read(HostView, rows.host[lane]),
        int(site["waiting"]),
        float(site["waiting_bytes"]),
    )


def dispatch_question_of(rows: QuestionRows, lane: int) -> DispatchQuestion:
    """The dispatch question that a lane's rows say."""
    site = rows.site[lane]
    return DispatchQuestion(
        float(site["now_s"]),
        float(site["hour"]),
        tuple(_read_waiting(row) for row in rows.waiting[lane, : site["waiting"]]),
        tuple(_read(PathView, row) for row in rows.paths[lane, : site["paths"]]),
        _read(HostView, rows.host[lane]),
        int(site["free_slots"]),
        float(site["interval_s"]),
        bool(site["may_wait"]),
        tuple(_read_waiting(row) for row in rows.opening[lane, : site["opening"]]),
        tuple(_read(Running, row) for row in rows.running[lane, : site["running"]]),
    )


def _read_waiting(row: np.void) -> Waiting:
    bits = int(row["paths"])
    one: Waiting = _read(Waiting, row)
    return one._replace(paths=tuple(path for path in range(bits.bit_length()) if bits >> path & 1))


_WHOLE: Final = frozenset(
    (
        "request",
        "kind",
        "path",
        "link_type",
        "deltas",
        "seen",
        "cores",
        "running",
        "waiting",
        "streams",
        "codec",
        "dataset",
    )
)
"""Fields that count or number."""


def _read(question: Any, row: np.void) -> Any:
    """A named tuple of a row's entries, those that count or number as integers."""
    values = {name: int(row[name]) if name in _WHOLE else row[name].item() for name in question._fields}
    if "has_baseline" in values:
        values["has_baseline"] = bool(values["has_baseline"])
    if question is Running:
        values["cores"] = row["cores"].item()  # cores used, of others a count
    return question(**values)
