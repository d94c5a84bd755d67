"""What the probes of a path have said so far, as a table that is read by probe and path."""

from typing import Final

import numpy as np
import numpy.typing as npt

from agents.supervised.feature_windows import rolled
from sim.episode import Probes

Floats = npt.NDArray[np.float64]

SPANS: Final = (4, 16, 64)
"""Probes that an average reaches back."""
HISTORY: Final = (
    *(f"bandwidth_share_{span}" for span in SPANS),
    *(f"bandwidth_spread_{span}" for span in SPANS),
    *(f"rtt_share_{span}" for span in SPANS),
    "bandwidth_most_share",
    "loss_mean_64",
    "jitter_share_16",
)
"""Logarithm of the average bandwidth over the last one, spread of its logarithm, the same of the round trip;
the most bandwidth of 64 probes over the last; mean loss; and jitter over the round trip.
"""
_LEAST: Final = 1.0
"""Bytes/s below which a path counts as dead."""


def probe_history(probes: Probes) -> Floats:
    """`HISTORY` after each probe, from it and those before alone, shape (rows, paths, len(HISTORY))."""
    rows, paths = probes.values.shape[:2]
    table = np.empty((rows, paths, len(HISTORY)))
    for path in range(paths):
        rtt_s, jitter_s, bandwidth, loss = probes.values[:, path].T
        width = np.log(np.maximum(bandwidth, _LEAST))
        trip = np.log(rtt_s)
        columns = [rolled(width, span, "mean") - width for span in SPANS]
        columns += [rolled(width, span, "std") for span in SPANS]
        columns += [rolled(trip, span, "mean") - trip for span in SPANS]
        columns += [rolled(width, 64, "max") - width, rolled(loss, 64, "mean")]
        columns += [rolled(jitter_s, 16, "mean") / rtt_s]
        table[:, path] = np.stack(columns, axis=1)
    return table


def row_at(probes: Probes, now_s: float) -> int:
    """Row of the last probe that a sender has seen at a moment."""
    return min(int(now_s / probes.period_s), len(probes.values) - 1)
