"""A log played again: its transfers at their times, encoded as they were, over links of given parameters."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.batch.events import answer_codec
from sim.batch.layout import NO_QUESTION, OPEN
from sim.batch.world import BatchWorld, OpenTo, run_lane
from sim.codecs import Codec
from sim.episode import Episode, complete_episode
from sim.faults import FaultModel
from sim.links import LinkModel
from sim.scenarios import PathSpec, Scenario
from sim.testbed.link_log import LoggedTransfers
from sim.traces import Trace
from sim.units import MS
from sim.workloads import Requests

Floats = NDArray[np.float64]
_NEVER: Final = FaultModel()
_RARE_PROBE_S: Final = 60.0
"""Nobody looks at the probes of a replay."""


class Parameter(NamedTuple):
    """One figure of a link that is fitted: its name, its unit, and the range in which it is searched.

    A parameter that may be 0 has its ``offset`` added before the logarithm is taken.
    """

    name: str
    unit: str
    low: float
    high: float
    offset: float = 0.0


PARAMETERS: Final = (
    Parameter("capacity", "bytes/s", 1e4, 1e10),
    Parameter("sigma", "", 0.0, 1.5, 0.05),
    Parameter("rtt_s", "s", 0.2 * MS, 1.0),
    Parameter("loss", "share", 0.0, 0.05, 1e-6),
    Parameter("cross_streams", "", 0.0, 16.0, 0.25),
    Parameter("encode_factor", "", 0.1, 10.0),
)
"""What is fitted: attributes of `sim.links.LinkModel`, and last a factor on the rates of every coder."""


def to_search(values: Floats) -> Floats:
    """Where values of the parameters lie in the space that is searched: logarithms."""
    return np.log(np.maximum(values, 0.0) + _offsets())


def from_search(place: Floats) -> Floats:
    """Values of the parameters at a place, held to their ranges."""
    low, high = (np.array([getattr(one, end) for one in PARAMETERS]) for end in ("low", "high"))
    return np.clip(np.exp(place) - _offsets(), low, high)


def _offsets() -> Floats:
    return np.array([one.offset for one in PARAMETERS])


def fitted_scenario(base: Scenario, number: int, values: Floats) -> Scenario:
    """The base with one path of the given parameters, without spread between draws and without faults."""
    capacity, sigma, rtt_s, loss, cross_streams, _ = values.tolist()
    spec = base.paths[number]
    known = spec.model
    link = LinkModel(
        capacity,
        sigma=sigma,
        tau_s=known.tau_s,
        rtt_s=rtt_s,
        loss=loss,
        loss_cap=max(known.loss_cap, 0.05),
        cross_streams=cross_streams,
        cross_tau_s=known.cross_tau_s,
        step_s=known.step_s,
    )
    paths = tuple(replace(one, link=link) if place == number else one for place, one in enumerate(base.paths))
    return replace(base, paths=paths)


class Replay:
    """The transfers of a log, played over as many draws of a link as asked.

    Transfers start when they started, whoever had let them wait; those of other paths are not there.

    Args:
        log: What to play.
        base: Host and all of the path that is not fitted.
        number: Which path of it.
        draws: Draws of the link; the same draws whatever the parameters, so that these can be compared.
    """

    def __init__(self, log: LoggedTransfers, base: Scenario, number: int, draws: int) -> None:
        self._log = log
        self._number = number
        count = len(log.start_s)
        spec: PathSpec = replace(base.paths[number], share=1.0, slots=None)
        self._base = replace(
            base,
            paths=(spec,),
            requests=count,
            slots=count,
            faults=_NEVER,
            probe=replace(base.probe, period_s=_RARE_PROBE_S),
            start_hour=12.0,
        )
        self._requests = Requests(
            arrival_s=log.start_s,
            dataset=np.arange(count),
            size_bytes=log.size_bytes,
            priority=np.ones(count),
            deadline_slack=np.full(count, np.inf),
            kind_of_dataset=np.maximum(log.kind, 0),
        )
        bundles = np.unique(log.streams)
        self._codecs = [
            Codec(f"amst-{streams}", "amst", streams=min(streams, 256)) for streams in bundles.tolist()
        ]
        self._answers = np.searchsorted(bundles, log.streams).tolist()
        self._seeds = range(draws)
        self._world: BatchWorld | None = None

    def seconds(self, values: Floats) -> Floats:
        """How long each transfer takes in each draw, shape (draws, transfers).

        Args:
            values: Of `PARAMETERS`.
        """
        scenario = fitted_scenario(self._base, 0, values)
        return self._played([self._episode(scenario, seed) for seed in self._seeds], float(values[-1]))

    def typical_seconds(self, values: Floats) -> Floats:
        """How long each takes over the mean link, which never changes: smooth in the parameters, no chance.

        Streams of others need not be whole there.
        """
        capacity, _, rtt_s, loss, cross_streams, _ = ([value] for value in values.tolist())
        mean = Trace(*(np.array(column) for column in ([0.0], capacity, rtt_s, loss, cross_streams)))
        episode = self._episode(fitted_scenario(self._base, 0, values), 0, [mean])
        episode = replace(episode, loss_gaps=np.ones_like(episode.loss_gaps))
        found: Floats = self._played([episode], float(values[-1]))[0]
        return found

    def _played(self, episodes: list[Episode], encode_factor: float) -> Floats:
        if self._world is None:
            self._world = BatchWorld(
                [episodes[0]] * len(self._seeds),
                len(self._seeds),
                self._codecs,
                OpenTo(OPEN, False, False, np.inf),
            )
        for place, episode in enumerate(episodes):
            self._world.shelve(place, episode)
        return np.array([self._run(lane, encode_factor) for lane in range(len(episodes))])

    def _episode(self, scenario: Scenario, seed: int, traces: Sequence[Trace] = ()) -> Episode:
        """An episode of the log's transfers."""
        paths = np.zeros(len(self._log.start_s), np.int64)
        return complete_episode(scenario, seed, self._requests, paths, start_hour=12.0, traces=traces)

    def _run(self, lane: int, encode_factor: float) -> Floats:
        world, log = self._world, self._log
        assert world is not None
        plain = world.arrays.plain[lane, : len(log.ratio)]
        encode_s, decode_s = log.encode_s / encode_factor, log.decode_s / encode_factor
        plain["ratio"] = log.ratio[:, None]
        plain["encode"] = 1 / encode_s[:, None]
        plain["decode"] = log.streams[:, None] / decode_s[:, None]
        plain["cpu_per_byte"] = (encode_s + decode_s)[:, None]
        world.start(lane, lane)
        while run_lane(world.arrays, lane, world.open_to) != NO_QUESTION:
            answer_codec(world.arrays, lane, self._answers[world.arrays.open[lane, 0]])
        transfers = world.arrays.transfers[lane, : len(log.ratio)]
        found: Floats = transfers["end_s"] - log.start_s
        return found
