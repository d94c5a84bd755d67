"""A scenario says which network, which workload and which prices; episodes are drawn from it."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sim.faults import FaultModel
from sim.hosts import Host
from sim.links import LINKS, LinkModel
from sim.units import MB
from sim.workloads import Workload

LINK_TYPES = ("datacenter", "metro", "wan", "internet", "cellular")
"""Kinds of link as a sender's configuration names them."""

CONTROLS = ("cubic", "bbr", "reno")
"""Congestion controls; the index is the code that `sim.physics` uses."""


@dataclass(frozen=True)
class PathSpec:
    """One path from the sending site.

    Attributes:
        name: For people.
        link: Model of its conditions, or its name in `LINKS`.
        link_type: What the sender's configuration calls it.
        share: Share of the transfers that take this path.
        window_bytes: Largest window of one stream; Linux' default buffers give about 3 MB.
        queue_bdp: Queue at the bottleneck in bandwidth-delay products.
        control: Congestion control of our streams.
        slots: Transfers that run on it at once; None leaves that to the host's slots.
    """

    link: LinkModel | str
    name: str = "main"
    link_type: Literal["datacenter", "metro", "wan", "internet", "cellular"] = "wan"
    share: float = 1.0
    window_bytes: float = 3 * MB
    queue_bdp: float = 1.0
    control: Literal["cubic", "bbr", "reno"] = "cubic"
    slots: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.link, str) and self.link not in LINKS:
            raise ValueError(
                f"path link must be one of {', '.join(LINKS)} or a link model, got {self.link!r}"
            )
        for name, known in (("link_type", LINK_TYPES), ("control", CONTROLS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"path {name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        if not 0 < self.share <= 1:
            raise ValueError(f"path share must be in (0, 1], got {self.share}")
        if self.window_bytes < 1448:
            raise ValueError(
                f"path window_bytes must be at least one segment (1448), got {self.window_bytes}"
            )
        if self.queue_bdp <= 0:
            raise ValueError(f"path queue_bdp must be above 0, got {self.queue_bdp}")
        if self.slots is not None and self.slots < 1:
            raise ValueError(f"path slots must be at least 1 or None, got {self.slots}")

    @property
    def model(self) -> LinkModel:
        """The link model, looked up when it was given by name."""
        return LINKS[self.link] if isinstance(self.link, str) else self.link


@dataclass(frozen=True)
class Probe:
    """How often and how well a path is measured.

    Attributes:
        period_s: Seconds between two measurements, above 0.
        noise: Relative standard deviation of a measurement, at least 0.
        delay_s: Age of a measurement when it is first seen, at least 0.
    """

    period_s: float = 1.0
    noise: float = 0.1
    delay_s: float = 0.5

    def __post_init__(self) -> None:
        if self.period_s <= 0:
            raise ValueError(f"probe period_s must be above 0, got {self.period_s}")
        if self.noise < 0 or self.delay_s < 0:
            raise ValueError("probe noise and delay_s must be at least 0")


@dataclass(frozen=True)
class Scenario:
    """A network, a workload and prices.

    Attributes:
        name: Catalogue name.
        summary: One line for people.
        paths: Paths from the sending site; their shares sum to 1.
        workload: What is sent.
        host: The sending site.
        requests: Transfers in an episode.
        slots: Transfers that run at once; the others wait.
        any_path: Whether who lets a transfer go may also choose its path; else it keeps the one drawn.
        cpu_price: Cost of a core-second, in seconds.
        late_price: Cost of a second past a deadline, in seconds.
        probe: How paths are measured.
        faults: What breaks.
        start_hour: Local hour at which an episode starts; None draws it.
    """

    name: str
    summary: str
    paths: tuple[PathSpec, ...]
    workload: Workload = Workload()
    host: Host = Host()
    requests: int = 128
    slots: int = 16
    any_path: bool = False
    cpu_price: float = 0.1
    late_price: float = 1.0
    probe: Probe = Probe()
    faults: FaultModel = field(default_factory=FaultModel)
    start_hour: float | None = None

    def __post_init__(self) -> None:
        if not self.paths:
            raise ValueError(f"scenario {self.name} needs at least one path")
        total = sum(path.share for path in self.paths)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"scenario {self.name}: the shares of its paths must sum to 1, got {total:g}")
        if self.requests < 1 or self.slots < 1:
            raise ValueError(f"scenario {self.name}: requests and slots must be at least 1")
        if self.cpu_price < 0 or self.late_price < 0:
            raise ValueError(f"scenario {self.name}: prices must be at least 0")
        if self.start_hour is not None and not 0 <= self.start_hour < 24:
            raise ValueError(f"scenario {self.name}: start_hour must be in [0, 24), got {self.start_hour}")

    @property
    def duration_s(self) -> float:
        """Expected time over which transfers arrive."""
        return self.requests * self.workload.interval_s

    @property
    def has_chains(self) -> bool:
        """Whether the capacity of a path is a Markov chain, whose state cannot be read off."""
        return any(path.model.chain is not None for path in self.paths)

    def with_(self, **changes: Any) -> "Scenario":
        """Copy with other values; checked like a new one."""
        return replace(self, **changes)
