"""Transfers in flight on the clock: who joins, who ends next; it is woken by change, never to poll."""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import simpy

from sim.fluid import FLOW, OFFERS, Floats, Flows, Site, foresee, join, leave, tally
from sim.paths import steady_rates

_FIRST_SLOTS = 32

Parcel = TypeVar("Parcel")
"""What the user of a network knows a transfer by."""


class Flow(NamedTuple):
    """What a transfer asks of wires and cores; see `sim.fluid.FLOW` for units."""

    path: int
    size_bytes: float
    ratio: float
    streams: float
    weight: float
    loss_gain: float
    encode: float
    cores_max: float
    core_weight: float
    decode: float
    cpu_per_byte: float


class Tally(NamedTuple):
    """What is in flight now.

    Attributes:
        running: Transfers on the path.
        streams: TCP connections on the path.
        wire_bytes: Bytes still to be sent on the path.
        core_s: Core-seconds of encoding still to do, on all paths.
        cores: Cores that encode now, on all paths.
        cpu_s: Core-seconds that those in flight have used, on all paths, both ends.
    """

    running: int
    streams: float
    wire_bytes: float
    core_s: float
    cores: float
    cpu_s: float


def _no_one(parcel: object, cpu_s: float) -> None:
    """To whom a closed network delivers."""


class Network(Generic[Parcel]):
    """Fluid paths and encoder cores shared by the transfers in flight.

    Args:
        deliver: Called at the moment a transfer's last byte is decoded, with what it was carried as and the
            core-seconds it used at both ends.
        clock: SimPy's environment.
        times: Start of each piece of the conditions, shape (pieces,), in seconds.
        conditions: Capacity, RTT, loss and cross streams, shape (pieces, paths, 4).
        paths: Window, queue and congestion control, shape (paths, 3).
        cores: Cores there for encoding, shape (pieces,).
    """

    def __init__(
        self,
        deliver: Callable[[Parcel, float], None],
        clock: simpy.Environment,
        times: Floats,
        conditions: Floats,
        paths: Floats,
        cores: Floats,
    ) -> None:
        self._deliver = deliver
        self._clock = clock
        steady = np.empty(conditions.shape[:2])
        steady_rates(conditions, paths, steady)
        self._site: Site = (times, conditions, steady, paths, cores, np.empty((len(paths), OFFERS)))
        self._flows = np.zeros(_FIRST_SLOTS, FLOW)
        self._ahead = np.zeros(_FIRST_SLOTS, FLOW)
        self._carried: list[Parcel] = []
        self._time = 0.0
        self._next_end: simpy.Timeout | None = None  # wakes us when the first ends, and who that is
        self._end_s, self._ended = 0.0, -1
        self._spent_cpu_s = 0.0
        self._tallies: dict[int, Tally] = {}  # by path, as of now

    @property
    def carried(self) -> Sequence[Parcel]:
        """What is in flight, in the order of `flows`."""
        return self._carried

    @property
    def flows(self) -> Flows:
        """State of what is in flight as of the last `tally`: rows of `sim.fluid.FLOW`, to be read only."""
        return self._flows[: len(self._carried)]

    def carry(self, flow: Flow, parcel: Parcel) -> None:
        """Put a transfer on its path."""
        now, count = self._clock.now, len(self._carried)
        if count == len(self._flows):
            self._flows = np.concatenate([self._flows, np.zeros_like(self._flows)])
            self._ahead = np.zeros_like(self._flows)
        self._carried.append(parcel)
        self._wake(*join(self._flows, self._ahead, count, self._site, self._time, now, *flow))
        self._time = now

    def change(self, **columns: Sequence[float]) -> None:
        """Give all in flight other values from now on.

        Args:
            columns: By name of a field of `sim.fluid.FLOW`, one value for each, in the order of `flows`.
        """
        self.tally(0)  # moves them to now
        now, count = self._clock.now, len(self._carried)
        for name, values in columns.items():
            self._flows[name][:count] = values
        self._wake(*foresee(self._flows, self._ahead, count, self._site, now))

    def tally(self, path: int) -> Tally:
        """Count what is in flight now."""
        now = self._clock.now
        if now > self._time:
            self._tallies.clear()
        known = self._tallies.get(path)
        if known is None:
            counts = tally(self._flows, len(self._carried), path, self._site, self._time, now)
            known = self._tallies[path] = Tally._make(counts)
            self._time = now
        return known

    def cpu_s(self) -> float:
        """Core-seconds used since the start, both ends."""
        return self._spent_cpu_s + self.tally(0).cpu_s

    def close(self) -> None:
        """Forget the one to whom transfers are delivered; there will be none any more."""
        self._deliver = _no_one

    def _wake(self, end_s: float, ended: int) -> None:
        """Be woken when the first ends if nothing changes; what we were to be woken for before is void."""
        if ended < 0:
            raise RuntimeError("a transfer can never end: a path or the cores stay at zero for ever")
        self._tallies.clear()
        if self._next_end is not None:
            self._next_end.callbacks.clear()  # SimPy cannot take back an event: it passes, and calls no one
        self._end_s, self._ended = end_s, ended
        self._next_end = simpy.Timeout(self._clock, max(0.0, end_s - self._clock.now))
        self._next_end.callbacks.append(self._end)

    def _end(self, _: simpy.Event) -> None:
        self._next_end = None
        self._flows, self._ahead = self._ahead, self._flows
        now, ended, count = max(self._end_s, self._clock.now), self._ended, len(self._carried)
        self._time = now
        cpu_s, next_s, next_ended = leave(self._flows, self._ahead, count, ended, self._site, now)
        self._spent_cpu_s += cpu_s
        parcel = self._carried[ended]
        self._carried[ended] = self._carried[-1]
        self._carried.pop()
        if self._carried:
            self._wake(next_s, next_ended)
        else:
            self._tallies.clear()
        self._deliver(parcel, cpu_s)
