"""What a model sees of a node's metrics: levels, trends and departures from the node's own habit."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from agents.supervised.trailing import trailing_max, trailing_mean, trailing_spread, usual
from experiments.supervised.telemetry import Grid, grid
from sim.monitoring.schema import NODE_METRICS
from sim.units import MINUTE

BEFORE_S: Final = 30 * MINUTE
"""A row counts as of an incident from so long before it until so long after (published: 30 minutes)."""
METRICS: Final = tuple(column.name for column in NODE_METRICS.metrics)
_LOGS: Final = tuple(name for name in METRICS if name.endswith("_s") or "rate" in name or "failures" in name)
"""Metrics in which factors count, not differences."""
_WINDOWS: Final = (5, 15, 60)
_TREND: Final = 240
_HABIT: Final = (24 * 60, 120)
"""Rows of a habit, and after how many it is looked at anew."""

FEATURES: Final = tuple(
    f"{name} {what}"
    for what in (
        "now",
        *(f"mean {rows}" for rows in _WINDOWS),
        "max 15",
        "spread 15",
        "trend",
        "against habit",
    )
    for name in METRICS
)


class Incident(NamedTuple):
    """An incident of a node, in rows of its grid: [first, stop) holds it with what counts before and after.

    Attributes:
        node: Which.
        kind: What.
        first: First row that counts, half an hour before the failure.
        start: First row that knows of the failure.
        stop: One after the last row of it.
        end: One after the last row that counts as of it.
        precursor: First row of its precursor; ``start`` where there is none.
        forewarned: Whether it has one.
        critical: Whether it is a long one.
    """

    node: int
    kind: str
    first: int
    start: int
    stop: int
    end: int
    precursor: int
    forewarned: bool
    critical: bool


def node_grid(table: pa.Table) -> Grid:
    """Metrics and the hidden signal of all nodes."""
    return grid(table, "node", (*METRICS, "signal", "phase"))


def features(metrics: NDArray[np.float64]) -> NDArray[np.float32]:
    """`FEATURES` of one node, (times, F), from its metrics (times, metrics); none looks ahead."""
    logs = np.isin(METRICS, _LOGS)
    level = np.where(logs, np.log(np.maximum(metrics, 1e-6) + 1e-4), metrics)
    parts = [level, *(trailing_mean(level, rows) for rows in _WINDOWS)]
    parts += [trailing_max(level, 15), trailing_spread(level, 15)]
    parts += [parts[2] - trailing_mean(level, _TREND), parts[2] - usual(level, *_HABIT)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def incidents(table: pa.Table, time_s: NDArray[np.float64]) -> list[Incident]:
    """Failures of nodes, in order of node and time; degradations that healed are none."""
    rows = table.to_pylist()
    found = []
    for row in rows:
        if row["scope"] == "node" and row["failed"]:
            edges = (
                row["start_s"] - BEFORE_S,
                row["start_s"],
                row["end_s"],
                row["end_s"] + BEFORE_S,
                row["precursor_s"],
            )
            # A row is of the interval that ends at its time: it knows of a failure that began before that.
            first, start, stop, end, precursor = np.searchsorted(time_s, edges, side="right").tolist()
            if start < len(time_s):
                found.append(
                    Incident(
                        row["node"],
                        row["kind"],
                        first,
                        start,
                        min(max(stop + 1, start + 1), len(time_s)),
                        min(end + 1, len(time_s)),
                        min(precursor, start),
                        row["forewarned"],
                        row["severity"] == "critical",
                    )
                )
    return found


def labels(found: Sequence[Incident], nodes: int, times: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Rows of incidents, and rows of precursors before them, which are not quiet either, (nodes, times)."""
    of_incident, open_ = np.zeros((nodes, times), np.bool_), np.zeros((nodes, times), np.bool_)
    for one in found:
        of_incident[one.node, one.first : one.end] = True
        open_[one.node, min(one.precursor, one.first) : one.first] = True
    return of_incident, open_ & ~of_incident
