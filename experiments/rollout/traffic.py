"""A service that is simulated: sessions arrive, the side that the hash says answers, outcomes follow."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.rollout.assignment import SHARES, STAGES, takes_candidate
from experiments.rollout.world import CODECS, TRANSFERS, Sessions
from experiments.shadow.bundle import open_bundle
from experiments.shadow.store import Store
from experiments.shadow.store_rows import Decision, Outcome

HOUR_S: Final = 3600.0
_GAP_S: Final = 60.0
"""Between two decisions of a session."""
_TOOK_MS: Final = 0.05
"""Typical time of an answer."""


class Clock:
    """Simulated seconds since 1970.

    Args:
        now: At the start.
    """

    def __init__(self, now: float = 1.75e9) -> None:
        self.now = now

    def __call__(self) -> float:
        """Now."""
        return self.now


class Fault(NamedTuple):
    """How a candidate misbehaves once it answers someone.

    Attributes:
        slow: Share of its answers that take 20 ms.
        silent: Share of decisions to which it has no answer.
        dear: What its answers cost, in multiples of what they should: they are carried out wrongly.
    """

    slow: float = 0.0
    silent: float = 0.0
    dear: float = 1.0


class Traffic:
    """Plays sessions against the roles and stages of a store, and writes what a service would.

    Args:
        store: With an incumbent; time comes from ``clock``.
        clock: Moves on as traffic runs.
        daily: Sessions a day, divided among the regions.
        regions: Where they come from.
        explore: Chance of an answer at random, whoever's turn it is.
        told: Share of decisions of which it becomes known what each answer would have cost.
        rng: The only source of chance.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        daily: int,
        regions: tuple[str, ...],
        explore: float,
        told: float,
        rng: np.random.Generator,
    ) -> None:
        self._store, self._clock, self._rng = store, clock, rng
        self._daily, self._regions, self._explore, self._told = daily, regions, explore, told
        self.faults: Mapping[str, Fault] = {}
        self.decisions = 0
        self._sessions = 0
        self._answers: dict[tuple[str, int], NDArray[np.int64]] = {}

    def run(self, world: Sessions, hours: float) -> None:
        """Let sessions of a world come for some hours, and their outcomes with them."""
        start, count = self._clock.now, round(self._daily * hours / 24)
        for region in self._regions:
            own = count // len(self._regions)
            begins = np.sort(self._rng.random(own)) * hours * HOUR_S + start
            picked = self._rng.integers(len(world), size=own)
            self._write(world, region, begins, picked)
        self._clock.now = start + hours * HOUR_S

    def _write(
        self, world: Sessions, region: str, begins: NDArray[np.float64], picked: NDArray[np.int64]
    ) -> None:
        store, rng, count = self._store, self._rng, len(CODECS)
        first, second = store.role("incumbent"), store.role("candidate")
        assert first is not None  # a store with an incumbent
        stage = store.stages(second).get(region, STAGES[0]) if second else STAGES[0]
        asked = second if stage != STAGES[0] else None
        share = SHARES[stage]
        keys = [f"session-{self._sessions + number}" for number in range(len(begins))]
        self._sessions += len(begins)
        sides = [asked is not None and takes_candidate(key, region, asked, share) for key in keys]
        rows = (picked[:, None] * TRANSFERS + np.arange(TRANSFERS)).ravel()
        mine = self._of(first, world)[rows]
        theirs = mine if asked is None else self._of(asked, world)[rows]
        treated = np.repeat(np.array(sides, np.bool_), TRANSFERS)
        fault = self.faults.get(asked or "", Fault()) if share > 0 else Fault()
        silent = (rng.random(len(rows)) < fault.silent) & (asked is not None)
        meant = np.where(treated & ~silent, theirs, mine)
        strays = rng.random(len(rows)) < self._explore
        actions = np.where(strays, rng.integers(count, size=len(rows)), meant)
        chance = (1 - self._explore) * (share * (actions == theirs) + (1 - share) * (actions == mine))
        propensity = chance + self._explore / count
        took = _TOOK_MS * rng.lognormal(0.0, 0.5, (2, len(rows)))
        took[1, rng.random(len(rows)) < fault.slow] = 20.0
        told = rng.random(len(rows)) < self._told
        extra = np.where(treated & ~silent, fault.dear, 1.0)
        times = np.repeat(begins, TRANSFERS) + np.tile(np.arange(TRANSFERS) * _GAP_S, len(begins))
        decisions, outcomes = [], []
        for place in np.argsort(times, kind="stable").tolist():
            row, quiet = int(rows[place]), bool(silent[place])
            answered = asked is not None and not quiet
            costs = world.costs[row]
            decisions.append(
                Decision(
                    f"decision-{self.decisions}",
                    float(times[place]),
                    region,
                    keys[place // TRANSFERS],
                    stage,
                    "candidate" if treated[place] and answered else "incumbent",
                    CODECS[actions[place]],
                    float(propensity[place]),
                    None,
                    world.features[row],
                    world.names,
                    None,
                    first,
                    CODECS[mine[place]],
                    float(took[0, place]),
                    asked,
                    CODECS[theirs[place]] if answered else None,
                    float(took[1, place]) if answered else None,
                    "crashed" if quiet else None,
                )
            )
            every = dict(zip(CODECS, costs.tolist(), strict=True)) if told[place] else None
            outcomes.append(
                Outcome(
                    decisions[-1].id,
                    float(times[place]),
                    float(costs[actions[place]] * extra[place]),
                    costs=every,
                )
            )
            self.decisions += 1
        store.write(decisions, outcomes)

    def _of(self, version: str, world: Sessions) -> NDArray[np.int64]:
        """What a model answers to every decision of a world."""
        key = version, id(world)
        if key not in self._answers:
            bundle = open_bundle(self._store.bundle(version), world.names)
            places = np.array([CODECS.index(name) for name in bundle.actions])
            self._answers[key] = places[bundle.act(world.features)]
        return self._answers[key]


Teller = Callable[[str], object]
"""Is told a line of what happens."""
