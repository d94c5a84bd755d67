"""Telemetry of an estate: links, hosts, nodes and consensus groups over days, and the incidents behind it."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from sim.episode import draw_start_hour
from sim.monitoring.consensus import LAN_RTT_S, Network, dwcp_mode, watch_group
from sim.monitoring.courses import HEALTHY, NONE, Courses, Floats, Ints, State, draw_courses, state_at
from sim.monitoring.estate import Estate
from sim.monitoring.hosts import watch_host
from sim.monitoring.nodes import means, measure, signal, surroundings
from sim.monitoring.quorum import draw_groups
from sim.monitoring.schema import CONSENSUS_ROUNDS, HOST_METRICS, INCIDENTS, LINK_METRICS, NODE_METRICS
from sim.monitoring.wires import LINK_KINDS, LinkSeries, WatchedLink, local_hours, watch_link
from sim.randomness import stream
from sim.units import DAY, GBIT, MINUTE

_TIERS = {"datacenter": 1, "metro": 2}
_CRITICAL_S, _MAJOR_S = 30 * MINUTE, 10 * MINUTE
"""A failure at least this long is critical, or major; a shorter one minor."""


class Monitoring(NamedTuple):
    """Tables as `sim.monitoring.schema` has them, each in order of its entity and time."""

    link_metrics: pa.Table
    host_metrics: pa.Table
    node_metrics: pa.Table
    incidents: pa.Table
    consensus_rounds: pa.Table


def draw_monitoring(estate: Estate, seed: int, duration_s: float) -> Monitoring:
    """Draw the telemetry of whole intervals within ``duration_s``; the same arguments give the same bytes.

    Raises:
        ValueError: If not even one interval fits.
    """
    intervals = int(duration_s / estate.interval_s)
    if intervals < 1:
        raise ValueError(
            f"duration_s must be at least {estate.interval_s:g}, one interval, got {duration_s:g}"
        )
    hours = local_hours(draw_start_hour(estate.scenario, seed), intervals, estate.interval_s)
    clock = _Clock(hours, estate.interval_s)
    faults = draw_courses(
        LINK_KINDS,
        estate.links.incidents_per_day,
        estate.links.healing_share,
        entities=estate.link_count,
        duration_s=clock.end_s,
        rng=stream(seed, "link incidents"),
    )
    links = _watch_links(estate, seed, hours, faults)
    kinds = estate.health.kinds
    failures = draw_courses(
        kinds,
        estate.health.incidents_per_day,
        estate.health.healing_share,
        entities=estate.nodes,
        duration_s=clock.end_s,
        rng=stream(seed, "node incidents"),
    )
    offset = len(failures.entity)
    names = [kind.name for kind in kinds]
    tables = Monitoring(
        link_metrics=_link_table(estate, links, clock, offset),
        host_metrics=_host_table(estate, links, clock, seed),
        node_metrics=_node_table(estate, links, failures, clock, seed),
        incidents=_incident_table(failures, names, faults),
        consensus_rounds=_consensus_table(estate, links, clock, seed),
    )
    return tables if not estate.missing_share else _thinned(tables, estate.missing_share, seed)


def detectable_share(incidents: pa.Table, scope: str = "node") -> float:
    """Share of the failures of nodes, or of links, that had any sign before; NaN without a failure.

    No detector that looks before the failure can have a higher recall.
    """
    rows = incidents.to_pydict()
    warned = [
        forewarned
        for failed, forewarned, of in zip(rows["failed"], rows["forewarned"], rows["scope"], strict=True)
        if failed and of == scope
    ]
    return sum(warned) / len(warned) if warned else float("nan")


class _Clock(NamedTuple):
    """Intervals of equal length: the local hour at the start of each."""

    hours: Floats
    interval_s: float

    @property
    def end_s(self) -> float:
        return len(self.hours) * self.interval_s

    @property
    def middle_s(self) -> Floats:
        return np.asarray((np.arange(len(self.hours)) + 0.5) * self.interval_s)

    def keys(self, entities: int) -> dict[str, object]:
        """When each row is, for ``entities`` one after the other."""
        time_s = np.arange(1, len(self.hours) + 1) * self.interval_s
        day = ((time_s - self.interval_s) / DAY).astype(np.int64)
        one = {"time_s": time_s, "day": day, "hour": self.hours}
        return {name: np.tile(column, entities) for name, column in one.items()}


def _watch_links(estate: Estate, seed: int, hours: Floats, faults: Courses) -> list[WatchedLink]:
    paths = estate.scenario.paths
    found = []
    for link in range(estate.link_count):
        mine = np.nonzero(faults.entity == link)[0]
        watched = watch_link(
            estate.scenario,
            paths[link % len(paths)],
            link,
            faults.rows(mine)._replace(entity=np.zeros(len(mine), np.int64)),
            hours,
            interval_s=estate.interval_s,
            trouble=estate.links,
            seed=seed,
        )
        course = np.append(mine, NONE)[watched.series.incident]
        found.append(watched._replace(series=watched.series._replace(incident=course)))
    return found


def _link_table(estate: Estate, links: list[WatchedLink], clock: _Clock, offset: int) -> pa.Table:
    columns = clock.keys(len(links))
    number = np.repeat(np.arange(len(links)), len(clock.hours))
    path = number % len(estate.scenario.paths)
    types = np.array([spec.link_type for spec in estate.scenario.paths])
    columns |= {"link": number, "path": path, "site": number // len(types), "link_type": types[path]}
    for name in LinkSeries._fields:
        columns[name] = np.concatenate([getattr(link.series, name) for link in links])
    columns["incident"] = _from(offset, columns["incident"])  # type: ignore[arg-type]
    return LINK_METRICS.fill(columns)


def _from(offset: int, course: Ints) -> Ints:
    return np.where(course == NONE, NONE, course + offset)


def _host_table(estate: Estate, links: list[WatchedLink], clock: _Clock, seed: int) -> pa.Table:
    scenario, per = estate.scenario, len(estate.scenario.paths)
    hosts = [
        watch_host(
            scenario.host,
            scenario.workload,
            links[site * per : (site + 1) * per],
            estate.interval_s,
            stream(seed, f"host {site}"),
        )
        for site in range(estate.sites)
    ]
    columns = clock.keys(estate.sites) | {"site": np.repeat(np.arange(estate.sites), len(clock.hours))}
    return HOST_METRICS.fill(
        columns | {name: np.concatenate([host[name] for host in hosts]) for name in hosts[0]}
    )


def _node_table(
    estate: Estate, links: list[WatchedLink], failures: Courses, clock: _Clock, seed: int
) -> pa.Table:
    kinds, intervals = estate.health.kinds, len(clock.hours)
    over = np.arange(estate.nodes) % len(links)
    rtt_s, loss, bandwidth = (
        np.stack([getattr(links[link].series, name) for link in over])
        for name in ("rtt_s", "loss", "bandwidth")
    )
    around = surroundings(estate.health, clock.hours, rtt_s, loss, estate.interval_s, stream(seed, "nodes"))
    state = state_at(failures, kinds, estate.nodes, clock.middle_s)
    healthy = _healthy(state)
    now = means(around, state, kinds, estate.interval_s)
    seen = measure(now, estate.interval_s, stream(seed, "node metrics"))
    types = [estate.scenario.paths[link % len(estate.scenario.paths)].link_type for link in over]
    tier = np.array([_TIERS.get(name, 3) for name in types])
    columns = clock.keys(estate.nodes) | {
        "node": np.repeat(np.arange(estate.nodes), intervals),
        "link": np.repeat(over, intervals),
        "tier": np.repeat(tier, intervals),
        "cause": np.array([kind.name for kind in kinds] + [""])[state.kind].ravel(),
    }
    grids: dict[str, Floats | Ints] = {
        **seen,
        "dwcp_mode": dwcp_mode(rtt_s, bandwidth),
        "load": around.load,
        "incident": state.course,
        "phase": state.phase,
        "severity": state.severity,
        "seconds_to_incident": np.maximum(state.ahead_s - estate.interval_s / 2, 0.0),
        "signal": signal(now, means(around, healthy, kinds, estate.interval_s)),
    }
    return NODE_METRICS.fill(columns | {name: grid.ravel() for name, grid in grids.items()})


def _healthy(state: State) -> State:
    """The same nodes at the same moments with nothing wrong."""
    return state._replace(
        course=np.full_like(state.course, NONE),
        kind=np.full_like(state.kind, NONE),
        phase=np.full_like(state.phase, HEALTHY),
        severity=np.zeros_like(state.severity),
    )


def _incident_table(failures: Courses, names: list[str], faults: Courses) -> pa.Table:
    nodes, links = len(failures.entity), len(faults.entity)
    courses = failures.and_then(faults)
    link_names = [kind.name for kind in LINK_KINDS]
    down_s = courses.end_s - courses.start_s
    return INCIDENTS.fill(
        {
            "incident": np.arange(nodes + links),
            "scope": ["node"] * nodes + ["link"] * links,
            "node": np.concatenate((failures.entity, np.full(links, NONE))),
            "link": np.concatenate((np.full(nodes, NONE), faults.entity)),
            "kind": [names[kind] for kind in failures.kind] + [link_names[kind] for kind in faults.kind],
            "precursor_s": courses.precursor_s,
            "start_s": courses.start_s,
            "end_s": courses.end_s,
            "failed": courses.failed,
            "forewarned": courses.forewarned,
            "severity": np.where(
                down_s >= _CRITICAL_S, "critical", np.where(down_s >= _MAJOR_S, "major", "minor")
            ),
        }
    )


def _consensus_table(estate: Estate, links: list[WatchedLink], clock: _Clock, seed: int) -> pa.Table:
    intervals = len(clock.hours)
    groups = draw_groups(estate.consensus.wide_share, estate.groups, len(links), stream(seed, "groups"))
    parts = []
    for number, group in enumerate(groups):
        network = Network(
            rtt_s=_of_all(group.links, LAN_RTT_S, [link.series.true_rtt_s for link in links]),
            loss=_of_all(group.links, 0.0, [link.series.true_loss for link in links]),
            calm_rtt_s=_of_all(group.links, LAN_RTT_S, [link.calm_rtt_s for link in links]),
            calm_loss=_of_all(group.links, 0.0, [link.calm_loss for link in links]),
        )
        bandwidth = _of_all(group.links, 10 * GBIT, [link.series.true_bandwidth for link in links])
        seen = watch_group(
            estate.consensus,
            group,
            network,
            clock.hours,
            interval_s=estate.interval_s,
            seed=seed,
            number=number,
        )
        seen["dwcp_mode"] = dwcp_mode(network.rtt_s.mean(axis=1), bandwidth.min(axis=1))
        seen["group"] = np.full(intervals, number)
        parts.append(CONSENSUS_ROUNDS.fill(clock.keys(1) | seen))
    return pa.concat_tables(parts)


def _of_all(links: Ints, local: float, columns: list[Floats]) -> Floats:
    """What is true of each way, (intervals, ways): a column of its link, or what holds within a site."""
    within = np.full(len(columns[0]), local)
    return np.stack([within if link == NONE else columns[link] for link in links], axis=1)


def _thinned(tables: Monitoring, share: float, seed: int) -> Monitoring:
    """All tables but the incidents without the rows that never arrived."""
    rng = stream(seed, "missing rows")
    kept = {
        name: table.filter(pa.array(rng.random(len(table)) >= share))
        for name, table in tables._asdict().items()
        if name != "incidents"
    }
    return tables._replace(**kept)
