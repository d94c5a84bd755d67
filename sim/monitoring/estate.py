"""An estate: the sites, links, nodes and groups that are watched, and how they fail."""

from dataclasses import dataclass, field

from sim.monitoring.consensus import ConsensusModel
from sim.monitoring.nodes import HealthModel
from sim.monitoring.wires import LinkTrouble
from sim.scenarios import Scenario
from sim.units import MINUTE


@dataclass(frozen=True)
class Estate:
    """What is watched.

    Attributes:
        scenario: Paths, workload and host of every site.
        sites: Sending sites; each has every path of the scenario, with a level of its own.
        nodes: Nodes; they are reached over the links in turn.
        groups: Consensus groups.
        interval_s: Seconds between two rows, at least a probe's period.
        missing_share: Share of rows that never arrive, in [0, 1).
        links: How links fail, how busy they are.
        health: How nodes fail.
        consensus: What groups agree on, what is wrong with them.
    """

    scenario: Scenario
    sites: int = 4
    nodes: int = 20
    groups: int = 3
    interval_s: float = MINUTE
    missing_share: float = 0.0
    links: LinkTrouble = field(default_factory=LinkTrouble)
    health: HealthModel = field(default_factory=HealthModel)
    consensus: ConsensusModel = field(default_factory=ConsensusModel)

    def __post_init__(self) -> None:
        for name in ("sites", "nodes", "groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"estate {name} must be at least 1, got {getattr(self, name)}")
        if self.interval_s < self.scenario.probe.period_s:
            period = f"{self.scenario.probe.period_s:g} s, the period of the scenario's probes"
            raise ValueError(f"estate interval_s must be at least {period}, got {self.interval_s:g}")
        if not 0 <= self.missing_share < 1:
            raise ValueError(f"estate missing_share must be a share in [0, 1), got {self.missing_share}")

    @property
    def link_count(self) -> int:
        """Links of all sites together."""
        return self.sites * len(self.scenario.paths)
