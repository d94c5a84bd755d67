"""Faults laid over an episode: outages, loss bursts, lost cores, lost baselines and broken transfers."""

from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sim.traces import FloatArray, Trace
from sim.units import HOUR

RATES: Final = (
    "outages_per_hour",
    "drops_per_hour",
    "bursts_per_hour",
    "core_losses_per_hour",
    "baseline_losses_per_hour",
    "broken_share",
)
SHARES: Final = ("outage_capacity", "drop_capacity", "cores_left", "broken_share")


@dataclass(frozen=True, slots=True)
class FaultModel:
    """How often things fail and for how long; rates of 0, the default, mean never.

    Times between faults and lengths of faults are exponential, and an episode begins in the steady state.

    Attributes:
        outages_per_hour: Outages of the link in an hour of working link.
        outage_s: Mean length; 5.0 s over 9 public LTE traces, computed by us.
        outage_capacity: Share of the capacity left in an outage, in [0, 1]; 2 % in the same traces.
        drops_per_hour: Drops of the capacity, as by a reroute or a token bucket that ran empty, in an hour.
        drop_s: Mean length of a drop; assumed.
        drop_capacity: Share left in a drop, in [0, 1]; 0.1 is the 10 to 1 Gbit/s of an EC2 token bucket
            (Uta et al., NSDI 2020).
        bursts_per_hour: Loss bursts in an hour of good link, the good state of Gilbert and Elliott.
        burst_s: Mean length of a burst; assumed.
        burst_loss: Share of packets lost in a burst, in [0, 1); 5 % is DWCP's published packet-loss scenario.
        core_losses_per_hour: Times in an hour at which a host loses cores to others.
        core_loss_s: Mean time until they come back; assumed.
        cores_left: Share of the cores left meanwhile, in (0, 1].
        baseline_losses_per_hour: Times in an hour at which the receiver loses the baseline of one dataset.
        broken_share: Share of transfers that break once, in [0, 1]; DWCP's scenarios allow 0.01 to 0.05.

    Raises:
        ValueError: If a rate or length is negative or a share is out of range.

    Source:
        Gilbert: Capacity of a Burst-Noise Channel. Bell System Technical Journal 39(5), 1960.
        Elliott: Estimates of Error Rates for Codes on Burst-Noise Channels. BSTJ 42(5), 1963.
    """

    outages_per_hour: float = 0.0
    outage_s: float = 5.0
    outage_capacity: float = 0.02
    drops_per_hour: float = 0.0
    drop_s: float = 60.0
    drop_capacity: float = 0.1
    bursts_per_hour: float = 0.0
    burst_s: float = 2.0
    burst_loss: float = 0.05
    core_losses_per_hour: float = 0.0
    core_loss_s: float = 60.0
    cores_left: float = 0.5
    baseline_losses_per_hour: float = 0.0
    broken_share: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < np.inf:
                raise ValueError(f"fault {field.name} must be finite and at least 0, got {value}")
            if field.name in SHARES and value > 1:
                raise ValueError(
                    f"fault {field.name} must be a share in [0, 1], got {value}; write 1 % as 0.01"
                )
            if field.name.endswith("_s") and value == 0:
                raise ValueError(
                    f"fault {field.name} must be above 0, got 0; for no such fault set its rate to 0"
                )
        if self.burst_loss >= 1:
            raise ValueError(f"fault burst_loss must be in [0, 1), got {self.burst_loss}; write 1 % as 0.01")
        if self.cores_left == 0:
            raise ValueError(
                "fault cores_left must be above 0, got 0; use a small share for a host that stalls"
            )

    @property
    def never(self) -> bool:
        """Whether nothing ever fails; then there is nothing to draw."""
        return not any(getattr(self, name) for name in RATES)


class Faults(NamedTuple):
    """Everything that fails in one episode.

    Intervals have shape (k, 3): start and end in seconds and what holds between. The last one may end after
    the episode, so that every outage has an end.
    """

    capacity_cuts: FloatArray
    """Share of the capacity that is left; where two overlap, the lower holds."""
    loss_bursts: FloatArray
    """Share of packets lost, on top of what the link loses."""
    core_cuts: FloatArray
    """Share of the cores of a host that is left."""
    baseline_loss_s: FloatArray
    """Times at which a receiver loses a baseline, increasing, shape (k,)."""
    baseline_loss_dataset: npt.NDArray[np.int64]
    """Index of the dataset whose baseline is lost, shape (k,)."""
    break_share: FloatArray
    """Progress in [0, 1) at which each transfer breaks once, shape (transfers,); NaN: never."""


def draw_faults(
    model: FaultModel, duration_s: float, datasets: int, transfers: int, rng: np.random.Generator
) -> Faults:
    """Draw the faults of one episode of `duration_s` seconds."""
    outages = _valued(model.outages_per_hour, model.outage_s, model.outage_capacity, duration_s, rng)
    drops = _valued(model.drops_per_hour, model.drop_s, model.drop_capacity, duration_s, rng)
    bursts = _valued(model.bursts_per_hour, model.burst_s, model.burst_loss, duration_s, rng)
    cores = _valued(model.core_losses_per_hour, model.core_loss_s, model.cores_left, duration_s, rng)
    losses = int(rng.poisson(model.baseline_losses_per_hour / HOUR * duration_s * datasets))
    return Faults(
        capacity_cuts=np.concatenate((outages, drops)),
        loss_bursts=bursts,
        core_cuts=cores,
        baseline_loss_s=np.sort(rng.uniform(0.0, duration_s, losses)),
        baseline_loss_dataset=rng.integers(max(datasets, 1), size=losses),
        break_share=np.where(rng.random(transfers) < model.broken_share, rng.random(transfers), np.nan),
    )


def no_faults(transfers: int) -> Faults:
    """What `draw_faults` gives when nothing ever fails."""
    none, no_times = np.empty((0, 3)), np.empty(0)
    return Faults(none, none, none, no_times, np.empty(0, np.int64), np.full(transfers, np.nan))


def overlay(trace: Trace, faults: Faults) -> Trace:
    """The trace with capacity cuts and loss bursts laid over it; losses of link and burst are independent.

    >>> calm = Trace([0.0], [1e6], [0.05], [0.1], [0.0])
    >>> none = draw_faults(FaultModel(), 60.0, datasets=1, transfers=1, rng=np.random.default_rng(0))
    >>> hit = overlay(calm, none._replace(capacity_cuts=np.array([[2.0, 3.0, 0.0]])))
    >>> hit.time_s.tolist(), hit.capacity.tolist()
    ([0.0, 2.0, 3.0], [1000000.0, 0.0, 1000000.0])
    """
    if not len(faults.capacity_cuts) and not len(faults.loss_bursts):
        return trace
    edges = np.concatenate((faults.capacity_cuts[:, :2].ravel(), faults.loss_bursts[:, :2].ravel()))
    time_s = np.union1d(trace.time_s, edges[edges > 0])
    row = np.searchsorted(trace.time_s, time_s, side="right") - 1
    capacity = trace.capacity[row] * _worst(faults.capacity_cuts, time_s, 1.0, np.minimum)
    loss = trace.loss[row]
    loss = loss + (1 - loss) * _worst(faults.loss_bursts, time_s, 0.0, np.maximum)
    return Trace(time_s, capacity, trace.rtt_s[row], loss, trace.cross_streams[row]).coalesced()


def host_cores(cores: float, faults: Faults) -> tuple[FloatArray, FloatArray]:
    """Cores of a host over time: breakpoints from 0 and the cores from each of them on, the last for ever.

    >>> none = draw_faults(FaultModel(), 60.0, datasets=1, transfers=1, rng=np.random.default_rng(0))
    >>> [array.tolist() for array in host_cores(8, none._replace(core_cuts=np.array([[5.0, 9.0, 0.5]])))]
    [[0.0, 5.0, 9.0], [8.0, 4.0, 8.0]]
    """
    if not len(faults.core_cuts):
        return np.zeros(1), np.full(1, float(cores))
    edges = faults.core_cuts[:, :2].ravel()
    time_s = np.union1d([0.0], edges[edges > 0])
    return time_s, cores * _worst(faults.core_cuts, time_s, 1.0, np.minimum)


def intervals(up_s: float, down_s: float, duration_s: float, rng: np.random.Generator) -> FloatArray:
    """Start and end of the down times of an on-off process with exponential times, in its steady state.

    Args:
        up_s: Mean time up; infinity means never down.
        down_s: Mean time down.
        duration_s: Down times that begin before this are returned; the last one may end after it.
        rng: The only source of chance.

    Returns:
        Shape (k, 2), in seconds, increasing. What is down at 0 starts at 0.
    """
    down_first = bool(rng.random() < down_s / (up_s + down_s))
    found: list[tuple[float, float]] = []
    start = 0.0 if down_first else rng.exponential(up_s)
    while start < duration_s:
        end = start + rng.exponential(down_s)
        found.append((start, end))
        start = end + rng.exponential(up_s)
    return np.array(found, dtype=np.float64).reshape(-1, 2)


def _valued(
    per_hour: float, mean_s: float, value: float, duration_s: float, rng: np.random.Generator
) -> FloatArray:
    """Intervals with a value each, shape (k, 3)."""
    pairs = intervals(HOUR / per_hour if per_hour else np.inf, mean_s, duration_s, rng)
    return np.column_stack((pairs, np.full(len(pairs), value)))


def _worst(held: FloatArray, time_s: FloatArray, otherwise: float, worse: np.ufunc) -> FloatArray:
    """Worst value of the intervals that hold at each time."""
    found = np.full(len(time_s), otherwise)
    for start, end, value in held:
        inside = slice(*np.searchsorted(time_s, (start, end)))
        found[inside] = worse(found[inside], value)
    return found
