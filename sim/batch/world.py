"""Many episodes at once: the world of `sim.world`, compiled, each lane with an episode of its own."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from sim.batch import events, ledger, questions
from sim.batch.layout import (
    ASK_CODEC,
    ASK_DISPATCH,
    ASK_SHARE,
    NO_QUESTION,
    OPEN,
    SHORTEST,
    Floats,
    Lanes,
    empty_lanes,
)
from sim.batch.packing import codec_rows, needed, pack
from sim.batch.sharing import apply_shares
from sim.codecs import Codec
from sim.decisions import Answer, Dispatch, Question, Shares
from sim.episode import Episode
from sim.jit import njit
from sim.payloads import CLASS_NAMES
from sim.question_rows import (
    QuestionRows,
    codec_question_of,
    dispatch_question_of,
    empty_rows,
    share_question_of,
)
from sim.telemetry import TransferRecord

SHELF: Final = (
    "sites",
    "paths",
    "requests",
    "plain",
    "by_deadline",
    "gaps",
    "times",
    "links",
    "steady",
    "cores",
    "limits",
    "probes",
    "losses",
)
"""Arrays of `Lanes` that hold episodes; ``codecs`` and ``fresh`` hold for all, the others belong to lanes."""


class OpenTo(NamedTuple):
    """Which questions lanes put; those that are closed answer themselves as in `sim.decisions.Rules`.

    Attributes:
        codec: The codec of every transfer, or `OPEN` or `SHORTEST` of `sim.batch.layout`.
        dispatch: Whether it is asked who goes next; else first come, first served.
        share: Whether it is asked who gets how much; else all streams weigh the same.
        control_s: Seconds between two share questions.
    """

    codec: int
    dispatch: bool
    share: bool
    control_s: float


@njit
def run_lane(w: Lanes, k: int, open_to: OpenTo) -> int:
    """Run a lane until a question stands that no rule answers; returns which."""
    asked = events.next_question(w, k, open_to.dispatch, open_to.share, open_to.control_s)
    while asked == ASK_CODEC and open_to.codec != OPEN:
        number = questions.shortest(w, k) if open_to.codec == SHORTEST else open_to.codec
        events.answer_codec(w, k, number)
        asked = events.next_question(w, k, open_to.dispatch, open_to.share, open_to.control_s)
    return asked


@njit
def put_question(w: Lanes, k: int, rows: QuestionRows) -> None:
    """Write the question that stands on a lane."""
    asked = w.lanes[k]["asked"]
    if asked == ASK_CODEC:
        questions.codec_question(w, k, rows.codec[k])
    elif asked == ASK_DISPATCH:
        questions.dispatch_question(w, k, rows)
    elif asked == ASK_SHARE:
        questions.share_question(w, k, rows)


@njit
def copy_lane(w: Lanes, source: int, target: int) -> None:
    """Let a lane go on from where another stands."""
    w.lanes[target] = w.lanes[source]
    lane = w.lanes[source]
    site = w.sites[lane["episode"]]
    _copy(w.flows, source, target, lane["carried"])
    _copy(w.carried, source, target, lane["carried"])
    _copy(w.moving, source, target, lane["moving"])
    _copy(w.open, source, target, lane["open"])
    _copy(w.waiting, source, target, lane["waiting"])
    _copy(w.recorded, source, target, lane["recorded"])
    _copy(w.transfers, source, target, site["requests"])
    _copy(w.datasets, source, target, w.datasets.shape[1])
    _copy(w.averages, source, target, site["paths"])
    for kind in range(w.kinds.shape[1]):
        w.kinds[target, kind, 0], w.kinds[target, kind, 1] = (
            w.kinds[source, kind, 0],
            w.kinds[source, kind, 1],
        )


@njit
def _copy(rows: NDArray[Any], source: int, target: int, count: int) -> None:
    """Copy the first rows of a lane one by one: to assign slices takes an array of its own."""
    for place in range(count):
        rows[target, place] = rows[source, place]


class BatchWorld:
    """Lanes that run episodes from a shelf, each as `sim.world.World` would, a thousand times as fast.

    This is the door for programs that follow single lanes: questions come as those of `sim.decisions`.
    Environments and planners call the kernels on ``arrays`` themselves.

    Attributes:
        arrays: All state; to fork a lane is to copy its rows. Take it anew after each `shelve`.
        rows: The questions that stand, as rows; take it anew likewise.

    Args:
        episodes: The shelf; lanes may share an episode.
        lanes: How many.
        codecs: The answers that a codec question can have.
        open_to: Which questions are put.
    """

    def __init__(
        self, episodes: Sequence[Episode], lanes: int, codecs: Sequence[Codec], open_to: OpenTo
    ) -> None:
        self.codecs = tuple(codecs)
        self.episodes = list(episodes)
        self.open_to = open_to
        room = {name: max(needed(one)[name] for one in episodes) for name in needed(episodes[0])}
        self.arrays = empty_lanes(
            len(self.episodes), lanes, codecs=len(self.codecs), kinds=len(CLASS_NAMES), **room
        )
        self.arrays.codecs[:] = codec_rows(self.codecs)
        self.rows = empty_rows(lanes, room["paths"], room["slots"], room["requests"])
        self._room = room
        for place, episode in enumerate(self.episodes):
            pack(self.arrays, place, episode, self.codecs)

    def shelve(self, place: int, episode: Episode) -> None:
        """Put another episode on a place of the shelf; no lane may be running the old one.

        Room is made for it when it is larger than all before. Then ``arrays`` and ``rows`` are new, and what
        was taken from them before, an array, a row or a view, is stale: it is no longer read or written.
        """
        need = needed(episode)
        if any(need[name] > self._room[name] for name in need):
            self._room = {name: max(need[name], self._room[name]) for name in need}
            self._make_room()
        self.episodes[place] = episode
        pack(self.arrays, place, episode, self.codecs)

    def start(self, lane: int, place: int, quantum_s: float = np.inf) -> None:
        """Put a lane at the start of an episode.

        Args:
            lane: Which.
            place: Of the episode on the shelf.
            quantum_s: Longest wait, in seconds, until the dispatch question is put again.
        """
        events.start(self.arrays, lane, place, quantum_s)

    def next_question(self, lane: int) -> Question | None:
        """Run a lane until a question stands; None when all have moved."""
        asked = run_lane(self.arrays, lane, self.open_to)
        if asked == NO_QUESTION:
            return None
        put_question(self.arrays, lane, self.rows)
        if asked == ASK_CODEC:
            return codec_question_of(self.rows, lane)
        return (dispatch_question_of if asked == ASK_DISPATCH else share_question_of)(self.rows, lane)

    def answer(self, lane: int, answer: Answer) -> None:
        """Answer the question that stands on a lane, as `sim.world.World.answer`; answers are not checked."""
        asked = self.arrays.lanes[lane]["asked"]
        if asked == ASK_CODEC:
            events.answer_codec(self.arrays, lane, int(cast(int, answer)))
        elif asked == ASK_DISPATCH:
            position, path = cast(Dispatch, answer) or (-1, -1)
            events.answer_dispatch(self.arrays, lane, position, path)
        elif asked == ASK_SHARE:
            shares = cast(Shares, answer)
            streams = shares.streams if shares.streams is not None else np.zeros(len(shares.link))
            columns: list[Floats] = [
                np.asarray(one, np.float64) for one in (shares.link, shares.cpu, streams)
            ]
            apply_shares(self.arrays, lane, *columns)
        else:
            raise RuntimeError(f"no question stands on lane {lane}; call next_question() first")

    def fork(self, source: int, target: int) -> None:
        """Let a lane go on from where another stands: same episode, other answers."""
        copy_lane(self.arrays, source, target)

    def cost(self, lane: int) -> float:
        """Cost that a lane has accrued until now, in seconds."""
        return ledger.accrued(self.arrays, lane)

    def now(self, lane: int) -> float:
        """Seconds since the start of a lane's episode."""
        return float(self.arrays.lanes[lane]["now"])

    def records(self, lane: int) -> list[TransferRecord]:
        """The transfers of a lane that have moved, in the order in which they ended."""
        w, state = self.arrays, self.arrays.lanes[lane]
        done = w.recorded[lane, : state["recorded"]]
        rows = zip(done.tolist(), w.requests[state["episode"], done], w.transfers[lane, done], strict=True)
        return [self._record(request, row, transfer) for request, row, transfer in rows]

    def _record(self, request: int, row: np.void, transfer: np.void) -> TransferRecord:
        return TransferRecord(
            request,
            int(row["dataset"]),
            CLASS_NAMES[row["kind"]],
            int(transfer["path"]),
            self.codecs[transfer["codec"]].name,
            bool(transfer["is_delta"]),
            bool(transfer["is_baseline"]),
            float(row["arrival_s"]),
            float(transfer["start_s"]),
            float(transfer["end_s"]),
            float(row["deadline_s"]),
            float(row["priority"]),
            float(row["size_bytes"]),
            float(row["size_bytes"] / transfer["ratio"]),
            int(transfer["streams"]),
            float(transfer["cpu_s"]),
        )

    def _make_room(self) -> None:
        """Larger arrays, with what the old ones hold."""
        old = self.arrays
        self.arrays = empty_lanes(
            len(self.episodes), len(old.lanes), codecs=len(self.codecs), kinds=len(CLASS_NAMES), **self._room
        )
        rows = empty_rows(len(old.lanes), self._room["paths"], self._room["slots"], self._room["requests"])
        for mine, theirs in zip((*self.arrays, *rows), (*old, *self.rows), strict=True):
            into: NDArray[Any] = mine[tuple(slice(size) for size in theirs.shape)]
            into[:] = theirs
        self.rows = rows
