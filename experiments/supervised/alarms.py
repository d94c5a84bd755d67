"""What alarms for nodes are worth: incidents caught and foreseen, false alarms, and the most there is."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from agents.supervised.matched import recall_at
from agents.supervised.trailing import trailing_mean
from experiments.supervised.nodes import Incident
from experiments.supervised.telemetry import Grid

_MEMORY: Final = 240
"""Rows that the filter of a row looks back; the longest trend that the features have."""


class Watch(NamedTuple):
    """A part: metrics, incidents, and which rows are what."""

    grid: Grid
    found: list[Incident]
    of_incident: NDArray[np.bool_]
    open_: NDArray[np.bool_]

    @property
    def quiet(self) -> NDArray[np.bool_]:
        """Rows at which an alarm is false; degradations that heal by themselves are among them."""
        return np.asarray(~self.of_incident & ~self.open_)


class Outcome(NamedTuple):
    """What an alarm does over the incidents of a part, (incidents,), and over its rows.

    Attributes:
        caught: Whether it stood between half an hour before and the end.
        early: Whether it stood at some row of the last half hour before the failure.
        lead_min: Minutes from the start of the run of alarms that reaches into that half hour to the failure.
        false_positives: Share of quiet rows with an alarm.
        row_recall: Share of rows of incidents with one.
        precision: Share of alarms on rows of incidents, precursors left out.
    """

    caught: NDArray[np.bool_]
    early: NDArray[np.bool_]
    lead_min: NDArray[np.float64]
    false_positives: float
    row_recall: float
    precision: float


def outcome(alarm: NDArray[np.bool_], watch: Watch) -> Outcome:
    """Hold alarms, (nodes, times), against the incidents of a part."""
    caught, early, lead = [], [], []
    for one in watch.found:
        row = alarm[one.node]
        caught.append(row[one.first : one.stop].any())
        before = row[one.first : one.start]
        early.append(bool(before.any()))
        first = one.start
        if before.any():
            first = one.first + int(before.argmax())
            floor = min(one.precursor, one.first)
            while first > floor and row[max(floor, first - 5) : first].any():  # a gap of four rows is no end
                first -= 1
            while not row[first]:
                first += 1
        lead.append(float(one.start - first))
    of, quiet = watch.of_incident, watch.quiet
    hits, false = float((alarm & of).sum()), float((alarm & quiet).sum())
    return Outcome(
        np.array(caught, np.bool_),
        np.array(early, np.bool_),
        np.array(lead),
        false / max(1.0, float(quiet.sum())),
        hits / max(1.0, float(of.sum())),
        hits / max(1.0, hits + false),
    )


def ceilings(test: Watch, alarm: NDArray[np.bool_], rate: float) -> tuple[float, float]:
    """Recall of a matched filter over what counts as of each incident, and over what comes before it."""
    signal = test.grid.column("signal") ** 2
    z = norm.isf(_window_rate(alarm, test.quiet, rate))
    seen, foreseen = [], []
    for one in test.found:
        floor = min(one.precursor, one.first)
        seen.append(norm.cdf(np.sqrt(signal[one.node, floor : one.stop].sum()) - z))
        foreseen.append(norm.cdf(np.sqrt(signal[one.node, floor : one.start].sum()) - z))
    return float(np.mean(seen)), float(np.mean(foreseen))


def row_ceiling(test: Watch, rate: float) -> float:
    """Recall of a matched filter over rows of incidents, each from what the last four hours show."""
    squares = trailing_mean(test.grid.column("signal").T ** 2, _MEMORY).T * _MEMORY
    return recall_at(np.asarray(squares[test.of_incident]), rate)


def _window_rate(alarm: NDArray[np.bool_], quiet: NDArray[np.bool_], rate: float) -> float:
    """Share of quiet half hours with a false alarm: what an incident would be found by without any sign."""
    rows = 30
    times = alarm.shape[1] // rows * rows
    if not times:
        return min(0.5, max(rate, 1e-6))
    false = np.asarray(alarm[:, :times].reshape(len(alarm), -1, rows).any(axis=2))
    calm = np.asarray(quiet[:, :times].reshape(len(alarm), -1, rows).all(axis=2))
    return float(np.clip(false[calm].mean(), 1e-6, 0.5)) if calm.any() else rate
