"""Links that change by chance: a generator of traces and a catalogue fitted to public measurements."""

import math
from bisect import bisect
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

import numpy as np

from sim.faults import intervals
from sim.jit import njit
from sim.traces import FloatArray, Trace
from sim.units import GBIT, HOUR, MBIT, MS

OUT_CAPACITY: Final = 0.02
"""Share of the capacity left in an outage: 9 public LTE traces where below 5 % of their mean, by us."""
SLOW_LOG_SD: Final = 0.3
SLOW_TAU_S: Final = 30.0
"""Slow lognormal factor on the chain, for the long memory that it lacks against the same traces, by us."""
CHAIN_STEP_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Chain:
    """Capacity that jumps between levels once a second.

    Attributes:
        levels: Capacity over the mean in each state.
        transition: Probability of the next state, a row for each state; rows sum to 1 up to rounding.
    """

    levels: tuple[float, ...]
    transition: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        states = len(self.levels)
        if any(len(row) != states or abs(sum(row) - 1) > 0.01 for row in self.transition):
            raise ValueError(
                f"chain transition needs {states} rows of {states} that sum to 1: {self.transition}"
            )
        if len(self.transition) != states or min(self.levels) <= 0:
            raise ValueError(f"chain needs a row for each level and levels above 0, got {self.levels}")


LTE_CHAIN: Final = Chain(
    levels=(0.02, 0.25, 0.6, 1.07, 1.9),
    transition=(
        (0.656, 0.155, 0.094, 0.061, 0.034),
        (0.042, 0.613, 0.218, 0.091, 0.035),
        (0.009, 0.140, 0.594, 0.231, 0.027),
        (0.003, 0.029, 0.185, 0.645, 0.137),
        (0.0, 0.023, 0.026, 0.246, 0.704),
    ),
)
"""Levels below .05, .4, .8, 1.4 and above, pooled over 9 public LTE traces in 1 s bins, computed by us from
Winstein, Sivaraman, Balakrishnan: Stochastic Forecasts Achieve High Throughput and Low Delay over Cellular
Networks. NSDI 2013."""


@dataclass(frozen=True, slots=True)
class LinkModel:
    """A family of links; each trace draws its level, round trip and loss, then changes from step to step.

    Capacity is `level * exp(x - sigma^2 / 2)` with x an Ornstein-Uhlenbeck process, times 2 % in an outage
    and times a diurnal factor that is lowest at the busy hour. Defaults give a link that never changes.

    Attributes:
        capacity: Median over traces of the mean outside outages and busy hours, bytes per second, above 0.
        capacity_log_sd: Standard deviation of its logarithm between traces.
        sigma: Standard deviation of x.
        tau_s: Correlation time of x, above 0.
        chain: Markov chain that takes the place of x and of outages, times a slow lognormal factor.
        outage_share: Share of the time in outage, in [0, 1).
        outage_s: Mean length of an outage, above 0.
        diurnal: Share of the capacity that the busy hour takes, in [0, 1).
        busy_hour: Local hour of day with the least capacity.
        rtt_s: Median round trip over traces, above 0.
        rtt_log_sd: Standard deviation of its logarithm between traces.
        rtt_jitter: Standard deviation of its logarithm from step to step, white; queueing is not in it.
        loss: Median over the traces that lose packets at random, in [0, 1).
        loss_log_sd: Standard deviation of its logarithm between traces.
        loss_zero_share: Share of traces without random loss.
        loss_cap: Largest loss, in [0, 1).
        cross_streams: Mean number of streams of others, a birth-death process with a Poisson law.
        cross_tau_s: Mean lifetime of such a stream, which is its correlation time, above 0.
        step_s: Seconds between breakpoints, above 0; 1 s for a chain.

    Raises:
        ValueError: If a value is out of range.
    """

    capacity: float
    capacity_log_sd: float = 0.0
    sigma: float = 0.0
    tau_s: float = 10.0
    chain: Chain | None = None
    outage_share: float = 0.0
    outage_s: float = 5.0
    diurnal: float = 0.0
    busy_hour: float = 21.0
    rtt_s: float = 50 * MS
    rtt_log_sd: float = 0.0
    rtt_jitter: float = 0.0
    loss: float = 0.0
    loss_log_sd: float = 0.0
    loss_zero_share: float = 0.0
    loss_cap: float = 0.05
    cross_streams: float = 0.0
    cross_tau_s: float = 20.0
    step_s: float = 1.0

    def __post_init__(self) -> None:
        for name in ("capacity", "tau_s", "outage_s", "rtt_s", "cross_tau_s", "step_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"link {name} must be finite and above 0, got {getattr(self, name)}")
        for name in ("capacity_log_sd", "sigma", "rtt_log_sd", "rtt_jitter", "loss_log_sd", "cross_streams"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"link {name} must be finite and at least 0, got {getattr(self, name)}")
        for name in ("outage_share", "diurnal", "loss", "loss_cap"):
            if not 0 <= getattr(self, name) < 1:
                problem = f"must be a share in [0, 1), got {getattr(self, name)}; write 1 % as 0.01"
                raise ValueError(f"link {name} {problem}")
        if not 0 <= self.loss_zero_share <= 1 or not 0 <= self.busy_hour < 24:
            got = f"{self.loss_zero_share} and {self.busy_hour}"
            raise ValueError(f"link loss_zero_share must be in [0, 1] and busy_hour in [0, 24), got {got}")
        if self.chain is not None and (self.step_s != CHAIN_STEP_S or self.sigma or self.outage_share):
            raise ValueError(
                "link chain steps once a second and has its own spread and outages: set no others"
            )


def generate(model: LinkModel, duration_s: float, rng: np.random.Generator, start_hour: float = 0.0) -> Trace:
    """Draw a trace of `duration_s` seconds from a local hour of day on, without rows that change nothing.

    >>> generate(LinkModel(capacity=1e6), 600.0, np.random.default_rng(0)).capacity.tolist()
    [1000000.0]
    """
    steps = max(1, math.ceil(duration_s / model.step_s))
    time_s = np.arange(steps, dtype=np.float64) * np.float64(model.step_s)
    level = model.capacity * math.exp(model.capacity_log_sd * rng.standard_normal())
    rtt_s = model.rtt_s * math.exp(model.rtt_log_sd * rng.standard_normal())
    loss = model.loss * math.exp(model.loss_log_sd * rng.standard_normal())
    loss = 0.0 if rng.random() < model.loss_zero_share else min(loss, model.loss_cap)
    capacity = level * _variation(model, time_s, rng)
    if model.diurnal:
        hours = start_hour + time_s / HOUR - model.busy_hour
        capacity *= 1 - model.diurnal * (1 + np.cos(hours * (2 * math.pi / 24))) / 2
    jitter = np.exp(model.rtt_jitter * rng.standard_normal(steps)) if model.rtt_jitter else np.ones(steps)
    cross = _birth_death(model.cross_streams, model.cross_tau_s, time_s, rng)
    return Trace(time_s, capacity, rtt_s * jitter, np.full(steps, loss), cross).coalesced()


def _variation(model: LinkModel, time_s: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Capacity over its level at each step."""
    steps = len(time_s)
    if model.chain is not None:
        slow = _ornstein_uhlenbeck(steps, math.exp(-model.step_s / SLOW_TAU_S), rng)
        return _chain(model.chain, steps, rng) * np.exp(SLOW_LOG_SD * slow - SLOW_LOG_SD**2 / 2)
    variation = np.ones(steps)
    if model.sigma:
        x = _ornstein_uhlenbeck(steps, math.exp(-model.step_s / model.tau_s), rng)
        variation = np.exp(model.sigma * x - model.sigma**2 / 2)
    if model.outage_share:
        up_s = model.outage_s * (1 - model.outage_share) / model.outage_share
        edges = intervals(up_s, model.outage_s, float(time_s[-1]) + model.step_s, rng).ravel()
        variation[np.searchsorted(edges, time_s, side="right") % 2 == 1] = OUT_CAPACITY
    return variation


def remembered(noise: FloatArray, rho: float) -> FloatArray:
    """Each entry plus `rho` times what the one before has become."""
    process = noise.copy()
    _remember(process, rho)
    return process


@njit
def _remember(process: FloatArray, rho: float) -> None:
    for step in range(1, len(process)):
        process[step] += rho * process[step - 1]


def _ornstein_uhlenbeck(steps: int, rho: float, rng: np.random.Generator) -> FloatArray:
    """Stationary Gaussian process of mean 0 and variance 1 with correlation `rho` from step to step."""
    noise = rng.standard_normal(steps)
    noise[1:] *= math.sqrt(1 - rho * rho)
    return remembered(noise, rho)


def _chain(chain: Chain, steps: int, rng: np.random.Generator) -> FloatArray:
    """Levels of a Markov chain that starts in its stationary law."""
    last = len(chain.levels) - 1
    matrix = np.array(chain.transition)
    matrix /= matrix.sum(axis=1, keepdims=True)
    stationary = np.linalg.matrix_power(matrix, 1024)[0]
    cumulative = [row.tolist() for row in np.cumsum(matrix, axis=1)]
    first, *draws = rng.random(steps).tolist()
    start = min(bisect(np.cumsum(stationary).tolist(), first), last)
    states = list(accumulate(draws, lambda state, u: min(bisect(cumulative[state], u), last), initial=start))
    return np.array(chain.levels)[states]


def _birth_death(mean: float, tau_s: float, time_s: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Streams alive at each time: births Poisson, lifetimes exponential, so Poisson of this mean."""
    if not mean:
        return np.zeros(len(time_s))
    born = rng.uniform(0.0, time_s[-1], rng.poisson(mean / tau_s * time_s[-1]))
    born = np.concatenate((np.zeros(rng.poisson(mean)), born))
    died = born + rng.exponential(tau_s, len(born))
    alive = np.searchsorted(np.sort(born), time_s, side="right") - np.searchsorted(
        np.sort(died), time_s, side="right"
    )
    return alive.astype(np.float64)


def _dwcp(capacity: float, used: float, rtt_s: float, jitter_s: float, loss: float) -> LinkModel:
    """A link of DWCP's test scenarios: background use returns to `used` by 10 % a second, with uniform noise.

    The noise of +-2.5 % gives a use with a standard deviation of `0.05 / sqrt(12) / sqrt(1 - 0.9^2)` = 3.3 %.

    Source:
        NovaCron, backend/core/network/dwcp/testing/{scenarios,network_simulator}.go.
    """
    spread = 0.05 / math.sqrt(12) / math.sqrt(1 - 0.9**2) / (1 - used)
    return LinkModel(
        capacity=capacity * (1 - used),
        sigma=math.sqrt(math.log1p(spread**2)),
        tau_s=-1 / math.log(0.9),
        rtt_s=rtt_s,
        rtt_jitter=jitter_s / rtt_s,
        loss=loss,
    )


# Mahimahi LTE and 3G traces (Winstein et al., NSDI 2013): level, chain; RTT, loss, diurnal share assumed.
_LTE: Final = LinkModel(
    5.3 * MBIT,
    capacity_log_sd=0.91,
    chain=LTE_CHAIN,
    diurnal=0.3,
    rtt_s=55 * MS,
    rtt_log_sd=0.2,
    rtt_jitter=0.1,
    loss=3e-4,
    loss_log_sd=0.8,
    loss_zero_share=0.5,
    loss_cap=1e-3,
)

LINKS: Final = {
    # 10 Gbit/s and RTT assumed; spread: 1 s coefficient of variation of CloudPilot tests between near zones.
    "datacenter": LinkModel(
        10 * GBIT,
        sigma=0.05,
        rtt_s=0.25 * MS,
        rtt_log_sd=0.5,
        rtt_jitter=0.05,
        loss=3e-6,
        loss_log_sd=0.6,
        loss_zero_share=0.5,
        loss_cap=1e-5,
    ),
    # CloudPilot single-flow tests of 10 s at 2 to 4 ms; capacity: cap of AWS on traffic that leaves a VM.
    "metro": LinkModel(
        5 * GBIT,
        sigma=0.085,
        rtt_s=2.8 * MS,
        rtt_log_sd=0.2,
        rtt_jitter=0.05,
        loss=1e-5,
        loss_log_sd=1.0,
        loss_zero_share=0.5,
        loss_cap=1e-3,
    ),
    # Skyplane grid of 7 053 region pairs: level lognormal (5.7 Gbit/s, .44), RTT of mean 149 and sd 86 ms
    # (lognormal of these moments). CloudPilot, 4 214 tests: loss 0 in 37 %, else lognormal. Cross: assumed.
    "wan": LinkModel(
        5.7 * GBIT,
        capacity_log_sd=0.44,
        sigma=0.1,
        tau_s=30.0,
        rtt_s=129 * MS,
        rtt_log_sd=0.536,
        rtt_jitter=0.003,
        loss=1.4e-3,
        loss_log_sd=2.2,
        loss_zero_share=0.37,
        cross_streams=4.0,
    ),
    # FCC Measuring Broadband America 2016, 523 traces: spread. Outages between those of the access networks
    # below. Level, RTT, loss, diurnal share and cross streams assumed.
    "internet": LinkModel(
        100 * MBIT,
        capacity_log_sd=0.9,
        sigma=0.35,
        tau_s=5.0,
        outage_share=0.01,
        outage_s=3.5,
        diurnal=0.3,
        rtt_s=25 * MS,
        rtt_log_sd=0.5,
        rtt_jitter=0.15,
        loss=5e-4,
        loss_log_sd=1.2,
        cross_streams=2.0,
    ),
    "lte": _LTE,
    # UCC 5G download traces, 16 driving (Raca et al., MMSys 2020); RTT, loss and diurnal share as for LTE.
    "fiveg": replace(
        _LTE,
        capacity=25 * MBIT,
        capacity_log_sd=1.0,
        chain=None,
        sigma=1.05,
        tau_s=5.6,
        outage_share=0.17,
        outage_s=2.6,
    ),
    # The published test scenarios of DWCP; their loss comes in runs, here it is spread evenly.
    "us_eu": _dwcp(10 * GBIT, used=0.3, rtt_s=80 * MS, jitter_s=10 * MS, loss=1e-3),
    "us_ap": _dwcp(5 * GBIT, used=0.5, rtt_s=200 * MS, jitter_s=20 * MS, loss=5e-3),
    "eu_ap": _dwcp(8 * GBIT, used=0.4, rtt_s=150 * MS, jitter_s=15 * MS, loss=2e-3),
    "high_latency": _dwcp(1 * GBIT, used=0.6, rtt_s=300 * MS, jitter_s=50 * MS, loss=1e-2),
    "lossy": _dwcp(10 * GBIT, used=0.3, rtt_s=50 * MS, jitter_s=10 * MS, loss=5e-2),
    "constrained": _dwcp(100 * MBIT, used=0.8, rtt_s=30 * MS, jitter_s=5 * MS, loss=1e-3),
    "replication": _dwcp(10 * GBIT, used=0.2, rtt_s=20 * MS, jitter_s=3 * MS, loss=1e-4),
}
"""Link families by name; the comment over each says which figures were measured and which are assumed."""
