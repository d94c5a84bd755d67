"""An episode: everything that chance or the outside world decides, drawn before the clock starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.faults import Faults, draw_faults, host_cores, no_faults, overlay
from sim.links import generate, remembered
from sim.payloads import Content, Payloads, draw_content, draw_payloads
from sim.physics import GAPS
from sim.randomness import stream
from sim.scenarios import CONTROLS, Scenario
from sim.traces import Trace
from sim.workloads import Requests, draw_requests

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LOAD_STEP_S = 10.0
"""Seconds for which the background load of a host holds."""
_LOAD_MEMORY = 0.9
"""Correlation of the background load from one step to the next."""
_CHANGED_NOISE = 0.3
"""Log standard deviation of the estimated share of changed blocks, from 16 to 64 sampled blocks."""
_FEWEST_CORES = 0.1
"""Cores that a scheduler leaves to us on the busiest host."""
_COUNTED_PACKETS = 1e5
"""Packets behind a measured loss: what a sender moves in seconds to minutes; its kernel counts resends."""
_HORIZON = 1.5
"""Conditions are drawn this much longer than transfers arrive; then the last ones hold."""


class Conditions(NamedTuple):
    """Paths and cores over time, piecewise constant on one grid.

    Attributes:
        times: Start of each piece, shape (pieces,), the first 0; the last piece holds for ever.
        links: Capacity, RTT, loss and cross streams, shape (pieces, paths, 4); bytes/s, s, share, streams.
        cores: Cores there for encoding, shape (pieces,).
    """

    times: Floats
    links: Floats
    cores: Floats


class Probes(NamedTuple):
    """Measurements of the paths, late and noisy; row k is seen from ``k * period_s`` on.

    Attributes:
        period_s: Seconds between rows.
        values: RTT, jitter, available bandwidth and loss, shape (rows, paths, 4).
    """

    period_s: float
    values: Floats


@dataclass(frozen=True, eq=False)
class Episode:
    """One draw of a scenario, or a site's own log and traces.

    Attributes:
        scenario: What it was drawn from: network, host and prices.
        seed: The seed it was drawn with.
        start_hour: Local hour at time 0.
        requests: Wishes to move, in order of arrival.
        path: Path of each transfer, shape (transfers,).
        deadline_s: Deadline of each transfer, inf without one.
        content: What each dataset is.
        payloads: What each transfer is, with what a sender can sample of it.
        changed_noise: Factor on the sender's estimate of the share of changed blocks, shape (transfers,).
        loss_gaps: Distances between the first packets that a transfer loses by chance, over their mean, shape
            (transfers, `sim.physics.GAPS`).
        conditions: Paths and cores over time.
        path_limits: Window, queue and congestion control of each path, shape (paths, 3).
        nominal: Capacity of each path as provisioned, shape (paths,), bytes/s.
        probes: What a sender has measured of the paths.
        faults: What breaks besides paths and cores.
    """

    scenario: Scenario
    seed: int
    start_hour: float
    requests: Requests
    path: Ints
    deadline_s: Floats
    content: Content
    payloads: Payloads
    changed_noise: Floats
    loss_gaps: Floats
    conditions: Conditions
    path_limits: Floats
    nominal: Floats
    probes: Probes
    faults: Faults

    def __len__(self) -> int:
        """Number of transfers."""
        return len(self.path)


def draw_episode(scenario: Scenario, seed: int, traces: Sequence[Trace] = ()) -> Episode:
    """Draw an episode; the same arguments give the same bytes.

    Args:
        scenario: What to draw from.
        seed: Seed of all its random streams.
        traces: Recorded link conditions to use in place of the link model: each path takes one of them at a
            random offset, repeated when too short.
    """
    start_hour = draw_start_hour(scenario, seed)
    requests = draw_requests(scenario.workload, scenario.requests, stream(seed, "requests"), start_hour)
    path = draw_paths(scenario, seed, requests)
    return complete_episode(scenario, seed, requests, path, start_hour=start_hour, traces=traces)


def draw_start_hour(scenario: Scenario, seed: int) -> float:
    """Local hour at time 0, drawn unless the scenario says it."""
    drawn = float(stream(seed, "setting").uniform(0, 24))
    return drawn if scenario.start_hour is None else scenario.start_hour


def draw_paths(scenario: Scenario, seed: int, requests: Requests) -> Ints:
    """Path of each transfer, shape (transfers,); a dataset keeps to one."""
    if len(scenario.paths) == 1:
        return np.zeros(len(requests.dataset), np.int64)
    shares = np.cumsum([path.share for path in scenario.paths])
    dataset_path = np.searchsorted(shares, stream(seed, "paths").random(len(requests.kind_of_dataset)))
    return np.minimum(dataset_path, len(shares) - 1)[requests.dataset]


def complete_episode(
    scenario: Scenario,
    seed: int,
    requests: Requests,
    path: Ints,
    *,
    start_hour: float,
    traces: Sequence[Trace] = (),
) -> Episode:
    """Draw what requests do not say: payloads, conditions, probes, faults; arguments as of `Episode`."""
    count = len(path)
    content = draw_content(requests.kind_of_dataset, stream(seed, "content"))
    payloads = draw_payloads(content, requests.dataset, requests.size_bytes, stream(seed, "payloads"))
    duration_s = _HORIZON * float(requests.arrival_s[-1]) + 1.0
    if scenario.faults.never:
        faults = no_faults(count)
    else:
        datasets = len(requests.kind_of_dataset)
        faults = draw_faults(scenario.faults, duration_s, datasets, count, stream(seed, "faults"))
    links = []
    for number, spec in enumerate(scenario.paths):
        rng = stream(seed, f"link {number}")
        if traces:
            trace = _excerpt(traces[int(rng.integers(len(traces)))], duration_s, rng)
        else:
            trace = generate(spec.model, duration_s, rng, start_hour)
        links.append(overlay(trace, faults))
    load = _background(scenario, duration_s, stream(seed, "load"))
    conditions = _on_one_grid(links, load, scenario, faults)
    nominal = np.array([link.mean_capacity(duration_s) for link in links])
    base_rtt = np.array([link.rtt_s.min() for link in links])
    limits = np.array(
        [
            (spec.window_bytes, spec.queue_bdp * capacity * rtt, CONTROLS.index(spec.control))
            for spec, capacity, rtt in zip(scenario.paths, nominal, base_rtt, strict=True)
        ]
    )
    return Episode(
        scenario=scenario,
        seed=seed,
        start_hour=start_hour,
        requests=requests,
        path=path,
        deadline_s=requests.arrival_s
        + requests.deadline_slack * (requests.size_bytes / nominal[path] + 4 * base_rtt[path]),
        content=content,
        payloads=payloads,
        changed_noise=np.exp(stream(seed, "changed").normal(0.0, _CHANGED_NOISE, count)),
        loss_gaps=stream(seed, "losses").standard_exponential((count, GAPS)),
        conditions=conditions,
        path_limits=limits,
        nominal=nominal,
        probes=_measure(conditions, scenario, duration_s, stream(seed, "probes")),
        faults=faults,
    )


def _excerpt(trace: Trace, duration_s: float, rng: np.random.Generator) -> Trace:
    """Part of a recorded trace from a random moment on, repeated when it is too short."""
    offset_s = float(rng.uniform(0.0, trace.time_s[-1])) if len(trace.time_s) > 1 else 0.0
    return trace.looped(offset_s + duration_s).window(offset_s, duration_s)


def _background(scenario: Scenario, duration_s: float, rng: np.random.Generator) -> Floats:
    """Share of the cores that other work takes, one entry a load step."""
    host = scenario.host
    steps = int(duration_s / _LOAD_STEP_S) + 1
    if host.background_sd == 0:
        return np.full(1, host.background)
    noise = rng.normal(0.0, host.background_sd, steps)
    noise[1:] = (1 - _LOAD_MEMORY**2) ** 0.5 * noise[:-1]
    return np.clip(host.background + remembered(noise, _LOAD_MEMORY), 0.0, 0.95)


def _on_one_grid(links: Sequence[Trace], load: Floats, scenario: Scenario, faults: Faults) -> Conditions:
    load_times = np.arange(len(load)) * _LOAD_STEP_S
    core_times, cores = host_cores(scenario.host.cores, faults)
    times = np.unique(np.concatenate([load_times, core_times, *(link.time_s for link in links)]))
    rows = np.empty((len(times), len(links), 4))
    for number, link in enumerate(links):
        at = np.searchsorted(link.time_s, times, side="right") - 1
        rows[:, number, 0] = link.capacity[at]
        rows[:, number, 1] = link.rtt_s[at]
        rows[:, number, 2] = link.loss[at]
        rows[:, number, 3] = link.cross_streams[at]
    free = cores[np.searchsorted(core_times, times, side="right") - 1]
    free *= 1.0 - load[np.searchsorted(load_times, times, side="right") - 1]
    return Conditions(times, rows, np.maximum(free, _FEWEST_CORES))


def _measure(
    conditions: Conditions, scenario: Scenario, duration_s: float, rng: np.random.Generator
) -> Probes:
    """Probe every path: what it was ``delay_s`` ago, with noise; loss comes from the kernel's counters."""
    probe = scenario.probe
    rows = int(duration_s / probe.period_s) + 1
    taken = np.maximum(np.arange(rows) * probe.period_s - probe.delay_s, 0.0)
    links = conditions.links[np.searchsorted(conditions.times, taken, side="right") - 1]
    noise = rng.normal(0.0, 1.0, (3, *links.shape[:2]))
    rtt = links[:, :, 1] * (1 + 0.2 * probe.noise * np.abs(noise[0]))
    bandwidth = links[:, :, 0] / (1 + links[:, :, 3]) * np.exp(probe.noise * noise[1] - probe.noise**2 / 2)
    loss = np.maximum(0.0, links[:, :, 2] + np.sqrt(links[:, :, 2] / _COUNTED_PACKETS) * noise[2])
    values = np.zeros(links.shape)
    values[:, :, 0] = rtt
    values[1:, :, 1] = np.abs(rtt[1:] - rtt[:-1])
    values[:, :, 2] = bandwidth
    values[:, :, 3] = loss
    return Probes(probe.period_s, values)
