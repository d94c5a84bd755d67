"""What the mover takes on this host beside codecs and path, for a transfer, stream, byte and second.

Constants of a host, measured by ``dwcp-gym testbed validate`` on single transfers; episodes are told them.
"""

from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from experiments.testbed_simulated import Setup
from sim.codecs import STACK_CPU_S_PER_BYTE, STREAM_CPU_S

_FEWEST: Final = 20
"""Transfers below which no constants are fitted."""


class Stack(NamedTuple):
    """CPU of both network stacks: core-seconds, all at least 0.

    Attributes:
        transfer_s: Of a transfer.
        stream_s: Of each of its connections.
        byte_s: Of each byte on the wire.
        second_s: Of each second that it moves: a slow path hands over less at a time.
    """

    transfer_s: float
    stream_s: float
    byte_s: float
    second_s: float

    def seconds(self, transfers: float, streams: float, wire_bytes: float, moving_s: float) -> float:
        """Core-seconds of so many transfers.

        >>> Stack(0.001, 0.0005, 1e-8, 0.01).seconds(2, 4, 1e6, 3.0)
        0.044
        """
        byte_s, second_s = self.byte_s * wire_bytes, self.second_s * moving_s
        return round(self.transfer_s * transfers + self.stream_s * streams + byte_s + second_s, 9)


class HostFit(NamedTuple):
    """Constants, and how near they come."""

    stack: Stack
    transfers: int
    off: float  # median of the relative error


SIMULATED: Final = Stack(0.0, 2 * STREAM_CPU_S, 2 * STACK_CPU_S_PER_BYTE, 0.0)
"""What the simulator takes for granted: a core for 10 Gbit/s at each end."""


def fit_stack(rows: pd.DataFrame) -> HostFit | None:
    """Constants that meet raw rows of single transfers, by relative error; None of too few rows."""
    rows = rows[rows["stack_cpu_s"] > 0]
    if len(rows) < _FEWEST:
        return None
    parts = (
        np.column_stack([np.ones(len(rows)), rows["streams"], rows["wire_bytes"], rows["real_s"]])
        / rows["stack_cpu_s"].to_numpy(float)[:, None]
    )
    scale = parts.max(axis=0)
    found = nnls(parts / scale, np.ones(len(rows)))[0] / scale
    return HostFit(Stack(*map(float, found)), len(rows), float(np.median(np.abs(parts @ found - 1))))


def told_cost(plays: pd.DataFrame, stack: Stack, setup: Setup) -> "pd.Series[float]":
    """Simulated cost of each play with what the host takes: CPU by its price, set-up by the priorities.

    Args:
        plays: As ``plays.parquet`` has them.
        stack: Of this host, in place of `SIMULATED`.
        setup: Seconds before the first byte of a transfer.
    """
    counts = plays[["transfers", "simulated_streams", "simulated_wire_bytes", "simulated_moving_s"]]
    more_s = [stack.seconds(*one) - SIMULATED.seconds(*one) for one in counts.itertuples(index=False)]
    each = setup.transfer_s + setup.stream_s * plays["simulated_streams"] / plays["transfers"]
    return plays["simulated_cost_s"] + plays["cpu_price"] * np.array(more_s) + plays["priorities"] * each
