"""The transfers of a dispatch question that an agent is shown, in an order that makes learning easy."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.batch.layout import Floats, Ints, Row, Rows
from sim.codecs import FITTED
from sim.decisions import DispatchQuestion
from sim.estimates import alone
from sim.jit import njit
from sim.payloads import CLASS_NAMES
from sim.question_rows import CODEC_ROW, QuestionRows, rows_of

_FAMILIES: Final = ("none", "zstd", "hde", "amst")
"""Order of `sim.estimates.Estimates`."""
_EXPONENTS: Final = tuple(1.0 / FITTED.classes[name].sample_exponent for name in CLASS_NAMES)
"""From the ratio of a scattered sample to that of the payload, by class (measured)."""


class Shortlist(NamedTuple):
    """Which of those that wait are shown, with what the sender estimates of all.

    Attributes:
        positions: In the question's ``waiting``; those that may go first, then by priority over estimated
            seconds, highest first, the older of equals first. Of those that may go the oldest is always
            there: in the last place when its rank is lower.
        seconds: Estimated time alone by each path, shape (waiting, paths).
        path: The one it is meant for, or the fastest of those it may take, shape (waiting,).
        best_s: Estimated time by that path, shape (waiting,).
        wire_bytes: Estimated bytes on the wire, shape (waiting,).
        backlog_bytes: Estimated bytes on the wire of what is underway, shape (paths,).
    """

    positions: list[int]
    seconds: Floats
    path: list[int]
    best_s: list[float]
    wire_bytes: list[float]
    backlog_bytes: Floats


class ShortlistRows(NamedTuple):
    """A `Shortlist` of each of ``K`` lanes; beyond what a question has, what is there says nothing."""

    positions: Ints  # (K, slots)
    shown: Ints  # positions that say something, (K,)
    seconds: Floats  # (K, waiting, paths)
    path: Ints  # (K, waiting)
    best_s: Floats  # (K, waiting)
    wire_bytes: Floats  # (K, waiting)
    backlog_bytes: Floats  # (K, paths)
    asked: Rows  # scratch: what an estimate is made of, CODEC_ROW, (K,)


class Choice(NamedTuple):
    """What there is to choose from.

    Attributes:
        any_path: Whether a transfer may take any path.
        offered: Whether the codec rule has a codec of each family, in the order of `sim.estimates.Estimates`.
    """

    any_path: bool
    offered: NDArray[np.bool_]


@njit
def make_shortlist(rows: QuestionRows, k: int, choice: Choice, lists: ShortlistRows) -> None:
    """Write the shortlist of the dispatch question of a lane."""
    site, positions = rows.site[k], lists.positions[k]
    shown, oldest = 0, -1
    for place in range(site["waiting"]):
        _estimate_waiting(rows, k, choice, lists, place)
        if oldest < 0 and rows.waiting[k, place]["paths"]:
            oldest = place
        if shown < len(positions):
            shown += 1
        elif not _before(rows, k, lists, place, positions[shown - 1]):
            continue
        at = shown - 1
        while at > 0 and _before(rows, k, lists, place, positions[at - 1]):
            positions[at] = positions[at - 1]
            at -= 1
        positions[at] = place
    lists.shown[k] = shown
    if oldest >= 0 and not is_shown(lists, k, oldest):
        positions[shown - 1] = oldest
    for path in range(site["paths"]):
        lists.backlog_bytes[k, path] = rows.paths[k, path]["wire_backlog_bytes"]
    for place in range(site["opening"]):
        one = rows.opening[k, place]
        path = int(one["path"])
        _, wire_bytes = _least(one, rows.paths[k, path], choice.offered, lists.asked[k : k + 1])
        lists.backlog_bytes[k, path] += wire_bytes


@njit
def is_shown(lists: ShortlistRows, k: int, place: int) -> bool:
    """Whether one that waits is on the shortlist of a lane."""
    found = False
    for slot in range(lists.shown[k]):
        found |= lists.positions[k, slot] == place
    return found


@njit
def _before(rows: QuestionRows, k: int, lists: ShortlistRows, place: int, other: int) -> bool:
    """Whether one that waits is shown before another that came before it."""
    one, earlier = rows.waiting[k, place], rows.waiting[k, other]
    if (one["paths"] > 0) != (earlier["paths"] > 0):
        return bool(one["paths"] > 0)
    index, its = one["priority"] / lists.best_s[k, place], earlier["priority"] / lists.best_s[k, other]
    return bool(index > its)


@njit
def _estimate_waiting(rows: QuestionRows, k: int, choice: Choice, lists: ShortlistRows, place: int) -> None:
    """Write the estimates of one that waits, and which path they are for."""
    one = rows.waiting[k, place]
    own, bits = int(one["path"]), np.int64(one["paths"])
    best = -1
    for path in range(rows.site[k]["paths"]):
        least_s, wire_bytes = _least(one, rows.paths[k, path], choice.offered, lists.asked[k : k + 1])
        lists.seconds[k, place, path] = least_s
        if path == own:
            lists.wire_bytes[k, place] = wire_bytes
        if (bits == 0 or bits >> path & 1) and (best < 0 or least_s < lists.seconds[k, place, best]):
            best = path
    if not choice.any_path:
        best = own
    lists.path[k, place], lists.best_s[k, place] = best, lists.seconds[k, place, best]


@njit
def _least(one: Row, path: Row, offered: NDArray[np.bool_], asked: Rows) -> tuple[float, float]:
    """Time and bytes on the wire of a transfer with that codec of the offered families which is fastest."""
    row = asked[0]
    row["size_bytes"], row["sample_ratio"], row["kind"] = one["size_bytes"], one["sample_ratio"], one["kind"]
    row["has_baseline"], row["changed"] = one["has_baseline"], one["changed"]
    row["delta_ratio"], row["capacity"], row["bandwidth"] = (
        one["delta_ratio"],
        path["capacity"],
        path["bandwidth"],
    )
    row["rtt_s"], row["loss"], row["window_bytes"] = path["rtt_s"], path["loss"], path["window_bytes"]
    plain = max(one["sample_ratio"], 1.0) ** _EXPONENTS[int(one["kind"])]
    delta = max(one["delta_ratio"], 1.0) if one["has_baseline"] else plain
    times, ratios = alone(asked), (1.0, plain, delta, 1.0)
    least_s, wire_bytes = np.inf, 0.0
    for family in range(offered.shape[0]):
        if offered[family] and times[family] < least_s:
            least_s, wire_bytes = times[family], one["size_bytes"] / ratios[family]
    return least_s, wire_bytes


class Shortlister:
    """Makes the shortlist of a question.

    Attributes:
        slots: Candidates shown, at most.
        paths: Paths there is room for.
        any_path: Whether a transfer may take any path.
        choice: What compiled code is told of that.

    Args:
        slots: Candidates shown, at most.
        paths: Paths there is room for.
        any_path: Whether a transfer may take any path.
        families: Families of codecs that the codec rule chooses from: the shortest estimate counts.
    """

    def __init__(self, slots: int, paths: int, any_path: bool, families: Sequence[str]) -> None:
        self.slots = slots
        self.paths = paths
        self.any_path = any_path
        named = {family.removesuffix("_xor") for family in families}
        self.choice = Choice(any_path, np.array([family in named for family in _FAMILIES]))
        self._question: DispatchQuestion | None = None
        self._rows: QuestionRows | None = None
        self._lists = self.room(1, 1)

    def __call__(self, question: DispatchQuestion) -> Shortlist:
        """The shortlist of a question.

        Raises:
            ValueError: If there are more paths than there is room for.
        """
        lists, waiting = self.listed(question)[1], len(question.waiting)
        return Shortlist(
            lists.positions[0, : lists.shown[0]].tolist(),
            lists.seconds[0, :waiting, : len(question.paths)].copy(),
            lists.path[0, :waiting].tolist(),
            lists.best_s[0, :waiting].tolist(),
            lists.wire_bytes[0, :waiting].tolist(),
            lists.backlog_bytes[0, : len(question.paths)].copy(),
        )

    def listed(self, question: DispatchQuestion) -> tuple[QuestionRows, ShortlistRows]:
        """A question and its shortlist as rows of one lane, which hold until another question comes.

        Raises:
            ValueError: If there are more paths than there is room for.
        """
        if self._rows is None or question is not self._question:
            if len(question.paths) > self.paths:
                raise ValueError(
                    f"there is room for {self.paths} paths, got {len(question.paths)}; "
                    "make the environment with all the scenarios that it is to run"
                )
            if len(question.waiting) > self._lists.path.shape[1]:
                self._lists = self.room(1, 2 * len(question.waiting))
            self._question, self._rows = question, rows_of(question)
            make_shortlist(self._rows, 0, self.choice, self._lists)
        return self._rows, self._lists

    def room(self, lanes: int, waiting: int) -> ShortlistRows:
        """Room for the shortlists of lanes on which so many wait, at most."""
        return ShortlistRows(
            np.zeros((lanes, self.slots), np.int64),
            np.zeros(lanes, np.int64),
            np.zeros((lanes, waiting, self.paths)),
            np.zeros((lanes, waiting), np.int64),
            np.zeros((lanes, waiting)),
            np.zeros((lanes, waiting)),
            np.zeros((lanes, self.paths)),
            np.zeros(lanes, CODEC_ROW),
        )
