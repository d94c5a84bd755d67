"""The transfers of a dispatch question that an agent is shown, in an order that makes learning easy."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.codecs import FITTED
from sim.decisions import DispatchQuestion, PathView, Waiting
from sim.estimates import alone
from sim.jit import njit
from sim.payloads import CLASS_NAMES

Floats = NDArray[np.float64]

_FAMILIES: Final = ("none", "zstd", "hde", "amst")
"""Order of `sim.estimates.Estimates`."""
_OF_TRANSFER: Final = ("size_bytes", "sample_ratio", "kind", "has_baseline", "changed", "delta_ratio")
_OF_PATH: Final = ("capacity", "bandwidth", "rtt_s", "loss", "window_bytes")
_ROW: Final = np.dtype([(name, np.float64) for name in (*_OF_TRANSFER, *_OF_PATH)])
"""What `sim.estimates.alone` reads of a codec question."""
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


class Shortlister:
    """Makes the shortlist of a question.

    Attributes:
        slots: Candidates shown, at most.
        paths: Paths there is room for.
        any_path: Whether a transfer may take any path.

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
        self._offered = np.array([family in named for family in _FAMILIES])
        self._question: DispatchQuestion | None = None
        self._list: Shortlist | None = None

    def __call__(self, question: DispatchQuestion) -> Shortlist:
        """The shortlist of a question; of the same question the same one again.

        Raises:
            ValueError: If there are more paths than there is room for.
        """
        if self._list is None or question is not self._question:
            if len(question.paths) > self.paths:
                raise ValueError(
                    f"there is room for {self.paths} paths, got {len(question.paths)}; "
                    "make the environment with all the scenarios that it is to run"
                )
            self._question, self._list = question, self._shortlist(question)
        return self._list

    def _shortlist(self, question: DispatchQuestion) -> Shortlist:
        waiting = question.waiting
        seconds, wire_bytes = self._estimates(waiting, question.paths)
        best_s, path = [], []
        for one, by_path in zip(waiting, seconds.tolist(), strict=True):
            may_take = one.path if not self.any_path else None
            fastest = may_take
            if fastest is None:
                fastest = min(one.paths or range(len(by_path)), key=by_path.__getitem__)
            path.append(fastest)
            best_s.append(by_path[fastest])
        order = sorted(
            range(len(waiting)),
            key=lambda place: (not waiting[place].paths, -waiting[place].priority / best_s[place], place),
        )
        positions = order[: self.slots]
        oldest = next(place for place, one in enumerate(waiting) if one.paths)
        if oldest not in positions:
            positions[-1] = oldest
        return Shortlist(positions, seconds, path, best_s, wire_bytes, self._backlog(question))

    def _estimates(self, waiting: Sequence[Waiting], paths: Sequence[PathView]) -> tuple[Floats, list[float]]:
        """Seconds by each path, shape (waiting, paths), and bytes on the wire with its own path's codec."""
        of_paths = [(one.capacity, one.bandwidth, one.rtt_s, one.loss, one.window_bytes) for one in paths]
        rows = np.array(
            [
                (
                    one.size_bytes,
                    one.sample_ratio,
                    one.kind,
                    one.has_baseline,
                    one.changed,
                    one.delta_ratio,
                    *path,
                )
                for one in waiting
                for path in of_paths
            ],
            _ROW,
        )
        seconds, wire_bytes = np.empty((len(waiting), len(paths))), np.empty((len(waiting), len(paths)))
        _estimate_each(rows, self._offered, seconds.ravel(), wire_bytes.ravel())
        return seconds, [row[one.path] for one, row in zip(waiting, wire_bytes.tolist(), strict=True)]

    def _backlog(self, question: DispatchQuestion) -> Floats:
        backlog = np.array([path.wire_backlog_bytes for path in question.paths])
        if question.opening:
            _, wire_bytes = self._estimates(question.opening, question.paths)
            for one, size in zip(question.opening, wire_bytes, strict=True):
                backlog[one.path] += size
        return backlog


@njit
def _estimate_each(
    rows: NDArray[np.void], offered: NDArray[np.bool_], seconds: Floats, wire_bytes: Floats
) -> None:
    """Time and bytes on the wire of each row with the codec of the offered families that takes the least."""
    for i in range(rows.shape[0]):
        row = rows[i]
        plain = max(row["sample_ratio"], 1.0) ** _EXPONENTS[int(row["kind"])]
        delta = max(row["delta_ratio"], 1.0) if row["has_baseline"] else plain
        times, ratios = alone(rows[i : i + 1]), (1.0, plain, delta, 1.0)
        seconds[i] = np.inf
        for family in range(offered.shape[0]):
            if offered[family] and times[family] < seconds[i]:
                seconds[i] = times[family]
                wire_bytes[i] = row["size_bytes"] / ratios[family]
