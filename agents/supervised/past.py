"""What has been seen of an episode by some moment: the probes of each path, and how much has come."""

from typing import Final

import numpy as np
import numpy.typing as npt

from agents.supervised.probe_history import probe_history, row_at
from sim.episode import Episode

Floats = npt.NDArray[np.float64]

_LAST: Final = 16
"""Arrivals that are looked back on."""
ARRIVALS: Final = ("arrival_gap_s", "arrival_mb")
"""Mean time between the last arrivals until now, and their mean size."""
_LEAST_S: Final = 1e-3


class Past:
    """The past of an episode at any moment; nothing of what comes after it.

    Args:
        episode: The episode.
    """

    def __init__(self, episode: Episode) -> None:
        self._probes = episode.probes
        self._history = probe_history(episode.probes)
        self._arrival_s = episode.requests.arrival_s
        self._sizes_mb = np.concatenate(([0.0], np.cumsum(episode.requests.size_bytes / 1e6)))

    def path(self, now_s: float, path: int) -> Floats:
        """`agents.supervised.probe_history.HISTORY` of a path."""
        found: Floats = self._history[row_at(self._probes, now_s), path]
        return found

    def arrivals(self, now_s: float) -> Floats:
        """`ARRIVALS`; before the first arrival as of one that comes now."""
        came = int(np.searchsorted(self._arrival_s, now_s, side="right"))
        count = min(max(came, 1), _LAST)
        first = max(came, 1) - count
        gap_s = max((now_s - float(self._arrival_s[first])) / count, _LEAST_S)
        return np.array([gap_s, (self._sizes_mb[first + count] - self._sizes_mb[first]) / count])
