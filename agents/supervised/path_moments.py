"""What the probes of a path leave open: moments of other episodes at which they said much the same."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from agents.supervised.probe_history import HISTORY, probe_history, row_at
from sim.episode import Episode

Floats = NDArray[np.float64]

_OF_HISTORY: Final = tuple(
    HISTORY.index(name) for name in ("bandwidth_share_4", "bandwidth_share_64", "bandwidth_most_share")
)
_LEAST_LOSS: Final = 1e-5
_LIKE: Final = 64
"""Moments that count as alike: of some hundred thousand so few that what probes said hardly differs."""


class PathMoments:
    """Moments of one path of a scenario over many episodes: what probes said of it, and what it truly was.

    Args:
        episodes: Of one scenario.
        path: Which path.
        each: Moments of an episode.
        rng: Draws them.
    """

    def __init__(self, episodes: Sequence[Episode], path: int, each: int, rng: np.random.Generator) -> None:
        said, missed = [], []
        for episode in episodes:
            now = rng.uniform(0.0, float(episode.requests.arrival_s[-1]), each)
            history, probes = probe_history(episode.probes), episode.probes
            row = np.array([row_at(probes, one) for one in now])
            conditions = episode.conditions
            link = conditions.links[np.searchsorted(conditions.times, now, side="right") - 1, path]
            told = probes.values[row, path]
            capacity = episode.scenario.paths[path].model.capacity
            said.append(_said(told, history[row, path], capacity))
            free = link[:, 0] / (1 + link[:, 3])
            missed.append(
                np.stack(
                    [free / np.maximum(told[:, 2], 1.0), link[:, 1] / told[:, 0], link[:, 2] - told[:, 3],
                     link[:, 3]], axis=1)
            )  # fmt: skip
        rows = np.concatenate(said)
        self._centre, self._spread = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-9)
        self._tree = KDTree((rows - self._centre) / self._spread)
        self._missed = np.concatenate(missed)
        self._path = path

    def links(
        self, episode: Episode, history: Floats, now_s: float, draws: int, rng: np.random.Generator
    ) -> Floats:
        """What the path may be, seen by the probes until now, (draws, 4) as in `sim.episode.Conditions`.

        Args:
            episode: An episode of the same scenario.
            history: Its `probe_history`.
            now_s: When.
            draws: How many.
            rng: Draws them among moments that looked alike.
        """
        row = row_at(episode.probes, now_s)
        told = episode.probes.values[row, self._path]
        capacity = episode.scenario.paths[self._path].model.capacity
        seen = _said(told[None], history[row, self._path][None], capacity)[0]
        _, near = self._tree.query((seen - self._centre) / self._spread, k=min(_LIKE, len(self._missed)))
        free, rtt, loss, cross = self._missed[rng.choice(np.atleast_1d(near), draws, replace=draws > _LIKE)].T
        found: Floats = np.stack(
            [told[2] * free * (1 + cross), told[0] * rtt, np.clip(told[3] + loss, 0.0, 0.99), cross], axis=1
        )
        return found


def _said(told: Floats, history: Floats, capacity: float) -> Floats:
    """Last probe's bandwidth over what is provisioned, how it stands to those before, and loss."""
    return np.column_stack(
        [
            np.log(np.maximum(told[:, 2], 1.0) / capacity),
            history[:, _OF_HISTORY],
            np.log(told[:, 3] + _LEAST_LOSS),
        ]
    )
