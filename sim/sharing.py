"""Who of those that move gets how much: when that is asked, and what an answer does to the network."""

from collections.abc import Callable, Sequence
from math import floor, inf
from typing import Final

import simpy

from sim.codecs import STREAM_CPU_S
from sim.decisions import ShareQuestion, Shares
from sim.network import Network
from sim.sender import Transfer
from sim.transfers import Stage

LEAST_SHARE: Final = 1e-6
"""A weight counts at least as this share of the sum: no transfer is stopped for ever."""
MOST_STREAMS: Final = 64
"""Connections that a transfer may be given: past them a path is full whatever its length."""

Opening = Callable[[int, Stage, int, float, float], tuple[float, float, float, float]]
"""`sim.paths.opening` for the stage of a request on a path, so many bytes and so many other streams."""


class Sharing:
    """The end of every control interval in which something moves, and the shares until the next.

    Args:
        clock: SimPy's environment.
        network: The transfers in flight.
        control_s: Seconds between two questions, above 0.
        opening: How new connections would run now.
        announce: Called when a question has become due.
    """

    def __init__(
        self,
        clock: simpy.Environment,
        network: Network[Transfer],
        control_s: float,
        opening: Opening,
        announce: Callable[[], None],
    ) -> None:
        if not 0 < control_s < inf:
            raise ValueError(f"control_s must be finite and above 0, got {control_s}")
        self._clock = clock
        self._network = network
        self._control_s = control_s
        self._opening = opening
        self._announce = announce
        self._due_s = -inf
        self._interval = 0  # number of the interval whose end was scheduled last
        self._scheduled = False

    @property
    def due(self) -> bool:
        """Whether an interval ends now, and something moves."""
        return self._due_s == self._clock.now and bool(self._network.carried)

    def schedule(self) -> None:
        """Something moves: be woken at the end of this interval."""
        if self._scheduled:
            return
        now = self._clock.now
        self._interval = max(self._interval + 1, floor(now / self._control_s) + 1)
        self._scheduled = True
        over = self._clock.timeout(max(0.0, self._interval * self._control_s - now))
        over.callbacks.append(self._interval_over)

    def _interval_over(self, _: simpy.Event) -> None:
        self._scheduled = False
        if self._network.carried:
            self._due_s = self._clock.now
            self._announce()
            self.schedule()

    def apply(self, question: ShareQuestion, shares: Shares) -> float:
        """Weigh those that move as answered.

        Weights are brought to a sum of the streams on each path; against cross traffic only streams count.

        Returns:
            Core-seconds, both ends, to set new connections up.

        Raises:
            ValueError: If the answer does not fit the question.
        """
        carried = self._network.carried
        place_of = {running.request: place for place, running in enumerate(question.running)}
        order = [place_of[transfer.request] for transfer in carried]
        _check(shares, order, carried)
        weights = [shares.link[place] for place in order], [shares.cpu[place] for place in order]
        setup_s = 0.0
        if shares.streams is not None:
            for place, transfer in zip(order, carried, strict=True):
                remaining = question.running[place].remaining_bytes
                setup_s += self._set_streams(transfer, int(shares.streams[place]), remaining)
        flows = [transfer.flow for transfer in carried]
        streams = [flow.streams for flow in flows]
        self._network.change(
            weight=_divide(weights[0], [flow.path for flow in flows], streams),
            core_weight=_divide(weights[1], [0] * len(flows), [1.0] * len(flows)),
            streams=streams,
            ratio=[flow.ratio for flow in flows],
            loss_gain=[flow.loss_gain for flow in flows],
            cores_max=[flow.cores_max for flow in flows],
            decode=[flow.decode for flow in flows],
        )
        self._due_s = -inf
        return setup_s

    def _set_streams(self, transfer: Transfer, streams: int, remaining_bytes: float) -> float:
        """Open or close connections of a multi-stream transfer that moves; bytes go on meanwhile."""
        stage, flow = transfer.stage, transfer.flow
        if not _has_choice(transfer, streams):
            return 0.0
        setup_s = 2 * STREAM_CPU_S * max(0.0, streams - stage.streams)
        others = self._network.tally(flow.path).streams - stage.streams
        decode = stage.decode * streams / stage.streams
        stage = stage._replace(streams=float(streams), cores_max=float(streams), decode=decode)
        _, gain, overhead, _ = self._opening(
            transfer.request, stage, flow.path, max(remaining_bytes, 1.0), others
        )
        transfer.cpu_s += setup_s
        transfer.stage = stage
        transfer.flow = flow._replace(
            streams=stage.streams,
            weight=stage.streams,
            ratio=stage.ratio / overhead,
            loss_gain=gain,
            cores_max=stage.cores_max,
            decode=stage.decode,
        )
        return setup_s


def _has_choice(transfer: Transfer, streams: int) -> bool:
    """Whether a transfer would be changed by that many streams."""
    return transfer.codec.family == "amst" and streams != transfer.stage.streams


def _check(shares: Shares, order: Sequence[int], carried: Sequence[Transfer]) -> None:
    """Refuse an answer that does not fit before any of it takes effect; ``order`` is that of `carried`."""
    for name, entries in zip(shares._fields, shares, strict=True):
        if entries is not None and len(entries) != len(order):
            raise ValueError(
                f"{name} needs an entry for each of the {len(order)} running, got {len(entries)}"
            )
    for name, weights in (("link", shares.link), ("cpu", shares.cpu)):
        if not 0 < sum(weights) < inf or min(weights) < 0:
            raise ValueError(f"{name} weights must be finite, at least 0 and not all 0, got {list(weights)}")
    if shares.streams is not None:
        for place, transfer in zip(order, carried, strict=True):
            streams = int(shares.streams[place])
            if _has_choice(transfer, streams) and not 1 <= streams <= MOST_STREAMS:
                raise ValueError(f"streams must be from 1 to {MOST_STREAMS}, got {streams}")


def _divide(wanted: Sequence[float], groups: Sequence[int], entitled: Sequence[float]) -> list[float]:
    """Divide what the members of each group are entitled to together in the proportions wanted."""
    least = LEAST_SHARE * sum(wanted)
    weights = [max(weight, least) for weight in wanted]
    for group in set(groups):
        members = [number for number, own in enumerate(groups) if own == group]
        unit = sum(entitled[number] for number in members) / sum(weights[number] for number in members)
        for number in members:
            weights[number] *= unit
    return weights
