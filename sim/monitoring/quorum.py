"""Who has to agree, and how long it takes until enough of them have: the quorum as an order statistic.

Source:
    Ongaro, Ousterhout: In Search of an Understandable Consensus Algorithm. USENIX ATC 2014. Castro, Liskov:
    Practical Byzantine Fault Tolerance. OSDI 1999 (2f + 1 of 3f + 1, two phases of agreement). RFC 6298 and
    Linux' floor of 200 ms for timeouts.
"""

import itertools
from typing import Final, NamedTuple

import numpy as np

from sim.monitoring.courses import DOWN, NONE, Bools, Floats, Ints, Kind, draw_courses, state_at
from sim.units import MINUTE, MS

RAFT: Final = 0
PBFT: Final = 1
PAXOS: Final = 2
"""Protocols as the table counts them."""
FLUSH_S: Final = 2 * MS
"""Mean time until a replica has the entry on disk."""
TIMEOUT_FLOOR_S: Final = 0.2
_ABSENT: Final = Kind("absent", 1.0, precursor_s=0.0, down_s=8 * MINUTE)
_ABSENCES_PER_DAY: Final = 0.5
"""Replicas that are restarted for an upgrade; assumed."""


class Group(NamedTuple):
    """Who has to agree.

    Attributes:
        replicas: How many, the leader with them.
        protocol: `RAFT`, `PBFT` or `PAXOS`.
        links: Link to each follower; -1 for one at the leader's site.
    """

    replicas: int
    protocol: int
    links: Ints

    @property
    def quorum(self) -> int:
        """Replicas that must agree: a majority, or two thirds and one against liars."""
        return self.replicas - (self.replicas - 1) // 3 if self.protocol == PBFT else self.replicas // 2 + 1

    @property
    def liars(self) -> int:
        """Replicas that go wrong in a byzantine anomaly: all that PBFT can do without, but one of others."""
        return self.replicas - self.quorum if self.protocol == PBFT else 1

    @property
    def phases(self) -> int:
        """Rounds of messages that a commit takes."""
        return 2 if self.protocol == PBFT else 1


def draw_groups(wide_share: float, count: int, links: int, rng: np.random.Generator) -> tuple[Group, ...]:
    """Draw groups of 3, 5 or 7 replicas (4 or 7 with PBFT); the first of them stand apart, over links."""
    groups = []
    for number in range(count):
        protocol = int(rng.integers(3))
        replicas = int(rng.choice([4, 7] if protocol == PBFT else [3, 5, 7]))
        wide = number / max(count, 1) < wide_share
        at = rng.integers(links, size=replicas - 1) if wide else np.full(replicas - 1, NONE)
        groups.append(Group(replicas, protocol, at))
    return tuple(groups)


def quorum_s(answers_s: Floats, needed: int) -> Floats:
    """Time until ``needed`` of the followers have answered, shape (..., followers); inf from who never does.

    >>> quorum_s(np.array([[0.3, 0.1, 0.2, np.inf]]), 2).tolist()
    [0.2]
    """
    if needed == 0:
        return np.zeros(answers_s.shape[:-1])
    return np.asarray(np.partition(answers_s, needed - 1, axis=-1)[..., needed - 1])


def answers(rtt_s: Floats, loss: Floats, jitter: float, rng: np.random.Generator) -> Floats:
    """Time of each follower's answer: round trip, flush to disk, and a timeout for each message lost."""
    answer = rtt_s * (1 + jitter * np.abs(rng.standard_normal(rtt_s.shape)))
    answer += FLUSH_S * rng.standard_exponential(rtt_s.shape)
    lost = np.minimum(loss * (2 - loss), 0.9)  # there or back
    luck = rng.random(rtt_s.shape)
    hit = np.nonzero(luck < lost)
    times = np.floor(np.log(luck[hit]) / np.log(lost[hit]))  # lost so often in a row: a geometric law
    answer[hit] += times * np.maximum(TIMEOUT_FLOOR_S, 2 * rtt_s[hit])
    return np.asarray(answer)


def expected_s(rtt_s: Floats, loss: Floats, needed: int) -> Floats:
    """Mean time until ``needed`` of the followers have answered, shape (..., followers); without jitter.

    Each message is lost once or not at all, so the mean runs over all subsets of followers that wait for a
    timeout.

    >>> expected_s(np.array([[0.01, 0.02]]), np.array([[0.1, 0.0]]), 1).round(4).tolist()  # 0.81 12, 0.19 22
    [0.0139]
    """
    lost = np.minimum(loss * (2 - loss), 0.9)
    late = np.maximum(TIMEOUT_FLOOR_S, 2 * rtt_s)
    total = np.zeros(rtt_s.shape[:-1])
    for missed in itertools.product((False, True), repeat=rtt_s.shape[-1]):
        chance = np.where(missed, lost, 1 - lost).prod(axis=-1)
        total += chance * quorum_s(np.where(missed, rtt_s + late, rtt_s) + FLUSH_S, needed)
    return total


def draw_absences(group: Group, middle_s: Floats, duration_s: float, rng: np.random.Generator) -> Bools:
    """Followers under restart in each interval, shape (intervals, followers); a quorum always remains."""
    followers = group.replicas - 1
    courses = draw_courses(
        (_ABSENT,), _ABSENCES_PER_DAY, 0.0, entities=followers, duration_s=duration_s, rng=rng
    )
    away = state_at(courses, (_ABSENT,), followers, middle_s).phase.T == DOWN
    return np.asarray(away & (np.cumsum(away, axis=1) <= group.replicas - group.quorum))
