"""Courses of trouble: when something degrades, fails and is mended, and how bad it is at any moment."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.units import DAY

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NONE: Final = -1
"""Index where there is no trouble."""
HEALTHY, PRECURSOR, DOWN = 0, 1, 2
"""Phases of a course."""
_PRECURSOR_LOG_SD: Final = 0.4
_DOWN_LOG_SD: Final = 0.6
"""Spread of times to failure and of repair times, lognormal as repair times of 22 clusters are (Schroeder,
Gibson: A large-scale study of failures in high-performance computing systems. DSN 2006); sizes assumed."""
_MILDEST, _WORST_HEALED = 0.3, 0.8
"""Range of the severity at which a degradation heals by itself; assumed."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of trouble.

    Attributes:
        name: What people call it.
        share: Share of the troubles that are of this kind, above 0; shares are scaled to sum to 1.
        precursor_s: Median time from the first sign to the failure; 0 for a failure without any.
        down_s: Median time from the failure to its repair, above 0.
        bend: Severity grows as the share of the precursor that has passed, to this power; above 0.
    """

    name: str
    share: float
    precursor_s: float
    down_s: float
    bend: float = 1.0

    def __post_init__(self) -> None:
        if self.share <= 0 or self.precursor_s < 0 or self.down_s <= 0 or self.bend <= 0:
            raise ValueError(f"kind {self.name} needs share, down_s and bend above 0, precursor_s at least 0")


class Courses(NamedTuple):
    """Troubles, in order of entity and time, one entry each.

    Attributes:
        entity: Node or link.
        kind: Row in the kinds they were drawn from.
        precursor_s: First sign; the failure itself where there is none.
        start_s: Failure. Where the trouble heals by itself: the moment when it has.
        end_s: Repair; the same as `start_s` where nothing failed.
        peak: Severity reached, 1 for a failure.
    """

    entity: Ints
    kind: Ints
    precursor_s: Floats
    start_s: Floats
    end_s: Floats
    peak: Floats

    def rows(self, chosen: Ints) -> "Courses":
        """Some of them."""
        return Courses(*(column[chosen] for column in self))  # type: ignore[arg-type]

    def and_then(self, others: "Courses") -> "Courses":
        """These and others."""
        return Courses(*(np.concatenate(pair) for pair in zip(self, others, strict=True)))

    @property
    def failed(self) -> Bools:
        """Whether it came to a failure."""
        return self.end_s > self.start_s

    @property
    def forewarned(self) -> Bools:
        """Whether there was any sign before."""
        return self.start_s > self.precursor_s


class State(NamedTuple):
    """How every entity is at every moment, shape (entities, moments).

    Attributes:
        course: Row in `Courses`, or `NONE`.
        kind: Row in the kinds, or `NONE`.
        phase: `HEALTHY`, `PRECURSOR` or `DOWN`.
        severity: From 0, healthy, to 1, failed.
        ahead_s: Seconds until the next failure, 0 while down, inf when none comes.
    """

    course: Ints
    kind: Ints
    phase: Ints
    severity: Floats
    ahead_s: Floats


def draw_courses(
    kinds: Sequence[Kind],
    per_day: float,
    healing_share: float,
    *,
    entities: int,
    duration_s: float,
    rng: np.random.Generator,
) -> Courses:
    """Draw the troubles that begin within a time, for each entity an alternating renewal process.

    Args:
        kinds: What may befall an entity.
        per_day: Troubles in a day of good health, at least 0; times between them are exponential.
        healing_share: Share of troubles with a precursor that heal by themselves, in [0, 1].
        entities: How many nodes or links.
        duration_s: Troubles begin before this; the last one may end after it.
        rng: The only source of chance.
    """
    edges = np.cumsum([kind.share for kind in kinds])
    found: list[tuple[float, ...]] = []
    for entity in range(entities):
        now = _wait(per_day, rng)
        while now < duration_s:
            row = int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))
            kind = kinds[row]
            ramp_s = kind.precursor_s * math.exp(_PRECURSOR_LOG_SD * rng.standard_normal())
            down_s = kind.down_s * math.exp(_DOWN_LOG_SD * rng.standard_normal())
            peak = 1.0
            if rng.random() < healing_share and kind.precursor_s:
                peak, down_s = float(rng.uniform(_MILDEST, _WORST_HEALED)), 0.0
            found.append((entity, row, now, now + ramp_s, now + ramp_s + down_s, peak))
            now += ramp_s + down_s + _wait(per_day, rng)
    columns = np.array(found, dtype=np.float64).reshape(-1, 6).T
    return Courses(columns[0].astype(np.int64), columns[1].astype(np.int64), *columns[2:])


def mean_length_s(kind: Kind, healing_share: float) -> float:
    """Expected time from the first sign to the end: means of the lognormal laws, no repair where it heals."""
    ramp_s = kind.precursor_s * math.exp(_PRECURSOR_LOG_SD**2 / 2)
    down_s = kind.down_s * math.exp(_DOWN_LOG_SD**2 / 2)
    return ramp_s + down_s * (1 - healing_share * (kind.precursor_s > 0))


def state_at(courses: Courses, kinds: Sequence[Kind], entities: int, moments_s: Floats) -> State:
    """How every entity is at each of the moments, which increase."""
    shape = (entities, len(moments_s))
    state = State(
        course=np.full(shape, NONE),
        kind=np.full(shape, NONE),
        phase=np.full(shape, HEALTHY),
        severity=np.zeros(shape),
        ahead_s=np.full(shape, np.inf),
    )
    failed = courses.failed
    for row in range(len(courses.entity)):
        entity, start = int(courses.entity[row]), float(courses.start_s[row])
        first, fails, ends = np.searchsorted(moments_s, (courses.precursor_s[row], start, courses.end_s[row]))
        here = slice(first, ends)
        state.course[entity, here] = row
        state.kind[entity, here] = courses.kind[row]
        state.phase[entity, first:fails] = PRECURSOR
        state.phase[entity, fails:ends] = DOWN
        passed = (moments_s[first:fails] - courses.precursor_s[row]) / (start - courses.precursor_s[row] or 1)
        state.severity[entity, first:fails] = courses.peak[row] * passed ** kinds[int(courses.kind[row])].bend
        state.severity[entity, fails:ends] = 1.0
    for entity in range(entities):
        of_it = failed & (courses.entity == entity)
        starts, ends_s = courses.start_s[of_it], courses.end_s[of_it]
        coming = np.searchsorted(ends_s, moments_s, side="right")
        next_s = np.append(starts, np.inf)[coming]
        state.ahead_s[entity] = np.maximum(next_s - moments_s, 0.0)
    return state


def _wait(per_day: float, rng: np.random.Generator) -> float:
    return float(rng.exponential(DAY / per_day)) if per_day else math.inf
