"""What our transfers take of a path beside the traffic of others, where each stream weighs the same."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.bound_options import Options, most_moving
from agents.bound_transport import Floats, Ints
from sim.episode import Episode
from sim.paths import CONTROL, CROSS, usable_capacity
from sim.physics import BBR


class Crowd(NamedTuple):
    """How few streams of ours leave more of a path to others.

    All streams of a path come to at most one level l of bytes/s, and c streams of others take all that it
    allows. So transfers i with s_i streams, that take w_i bytes/s of the usable u, leave ``sum of w_i + c l
    <= u``. At most m of ours move at once, each with ``w_i <= s_i l``; so ``sum of w_i / s_i <= m l``, and

        sum of w_i (1 + c / (m s_i)) <= u.

    u falls with the streams there are, so it is taken with the fewest. Divided by their factor, bytes of the
    fewest streams count as they are, and of more for less: the less, the larger c is, so under a hat c is
    taken at its largest. BBR meets others by another law and is left out.

    Attributes:
        known: Where this holds, shape (paths,).
        capacity: u over the factor of the fewest streams, in bytes/s, shape (pieces, paths).
        cross: Streams of others, shape (pieces, paths).
        moving: m, shape (paths,).
        fewest: Streams of the option with the fewest, shape (paths,).
    """

    known: NDArray[np.bool_]
    capacity: Floats
    cross: Floats
    moving: Floats
    fewest: Floats

    def displaces(self, path: Ints, streams: Floats, cross: Floats) -> Floats:
        """What a byte counts for at the least, in bytes of the fewest streams.

        Args:
            path: Shape (rows,).
            streams: Of the transfer, shape (rows,).
            cross: Most streams of others, shape (rows,).
        """
        moving = self.moving[path]
        counts: Floats = (1.0 + cross / (moving * streams)) / (1.0 + cross / (moving * self.fewest[path]))
        return np.where(self.known[path], counts, 1.0)


def crowd(episode: Episode, options: Options) -> Crowd:
    """The paths of an episode beside others, for these ways to go."""
    links, limits = episode.conditions.links, episode.path_limits
    cross, moving = links[:, :, CROSS], most_moving(episode)
    fewest = np.ones(len(limits))
    for path in np.unique(options.path):
        fewest[path] = options.streams[options.path == path].min()
    usable = np.array(
        [
            [
                usable_capacity(link, limit, few + link[CROSS])
                for link, limit, few in zip(piece, limits, fewest, strict=True)
            ]
            for piece in links
        ]
    )
    return Crowd(limits[:, CONTROL] != BBR, usable / (1.0 + cross / (moving * fewest)), cross, moving, fewest)


def most_under(times: Floats, values: Floats, nodes: Floats) -> Floats:
    """Most of piecewise constant values under the hat of each node.

    Args:
        times: Start of each piece, shape (pieces,).
        values: Shape (pieces, columns).
        nodes: Increasing, shape (nodes,).

    Returns:
        Shape (nodes, columns).

    >>> times, values = np.array([0.0, 2.0, 3.0]), np.array([[1.0], [5.0], [2.0]])
    >>> most_under(times, values, np.array([0.0, 1.0, 4.0])).tolist()
    [[1.0], [5.0], [5.0]]
    """
    before, after = np.append(nodes[:1], nodes[:-1]), np.append(nodes[1:], np.inf)
    first = np.maximum(np.searchsorted(times, before, side="right") - 1, 0)
    last = np.maximum(np.searchsorted(times, after, side="left"), first + 1)
    return np.array([values[low:high].max(axis=0) for low, high in zip(first, last, strict=True)])
