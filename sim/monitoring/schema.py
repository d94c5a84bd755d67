"""What each monitoring table holds: its keys, what an observer sees, and the truth that no observer has."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import pyarrow as pa

from sim.telemetry_file import Column, arrow_schema

VERSION: Final = 1
"""Version of these tables; a column more, fewer or other is another version."""


class Table(NamedTuple):
    """One table.

    Attributes:
        name: As in the store.
        about: What a row is.
        keys: When and of what the row is.
        metrics: What an observer sees.
        truth: Labels and hidden state, for labels, scores and ceilings; never for a model's input.
    """

    name: str
    about: str
    keys: tuple[Column, ...]
    metrics: tuple[Column, ...]
    truth: tuple[Column, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """All of them, in order."""
        return (*self.keys, *self.metrics, *self.truth)

    @property
    def observed(self) -> tuple[str, ...]:
        """Names of what a model may see."""
        return tuple(column.name for column in (*self.keys, *self.metrics))

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, each column with its unit and meaning; nothing is null."""
        return arrow_schema(self.name, self.columns, VERSION)

    def fill(self, columns: Mapping[str, object]) -> pa.Table:
        """An Arrow table of these columns, which are all there and no others.

        Raises:
            ValueError: If one is missing or unknown.
        """
        schema = self.schema
        if set(columns) != set(schema.names):
            odd = sorted(set(columns) ^ set(schema.names))
            raise ValueError(f"{self.name} needs exactly its columns, these differ: {', '.join(odd)}")
        arrays = [pa.array(columns[field.name], field.type) for field in schema]
        return pa.table(arrays, schema=schema)


_WHEN: Final = (
    Column("time_s", "double", "s", "end of the interval, from the start; the row is known from then on"),
    Column("day", "int64", "", "day, from 0, 24 h each from the start"),
    Column("hour", "double", "h", "local hour of day, from 0 to below 24"),
)

LINK_METRICS: Final = Table(
    "link_metrics",
    "one link and interval, as probes and counters see it",
    (
        *_WHEN,
        Column("site", "int64", "", "sending site"),
        Column("link", "int64", "", "link: site times paths plus path"),
        Column("path", "int64", "", "path, from 0, in the order of the scenario"),
        Column("link_type", "string", "", "kind of link as the sender's configuration names it"),
    ),
    (
        Column("capacity", "double", "bytes/s", "capacity as provisioned"),
        Column("rtt_s", "double", "s", "round-trip time, mean of the probes"),
        Column("rtt_p95_s", "double", "s", "round-trip time, 95th percentile of the probes"),
        Column("jitter_s", "double", "s", "change of the round-trip time from probe to probe, mean"),
        Column("loss", "double", "share", "packets lost, by the counters"),
        Column("bandwidth", "double", "bytes/s", "available to a new bundle of streams, mean of the probes"),
        Column("bandwidth_min", "double", "bytes/s", "the least of the probes"),
        Column("bandwidth_last", "double", "bytes/s", "the last of the probes"),
        Column("throughput", "double", "bytes/s", "carried for our transfers"),
        Column("utilisation", "double", "share", "throughput over capacity as provisioned, at most 1"),
        Column("backlog_bytes", "double", "bytes", "still to be sent at the end"),
        Column("bytes_sent", "double", "bytes", "carried in the interval"),
        Column("retransmits", "int64", "packets", "sent again"),
        Column("streams", "double", "", "TCP connections of ours, mean"),
        Column("probes", "int64", "", "probes seen"),
    ),
    (
        Column("true_bandwidth", "double", "bytes/s", "available to a new bundle of streams, mean"),
        Column("true_rtt_s", "double", "s", "round-trip time without queueing, mean"),
        Column("true_loss", "double", "share", "probability that a packet is lost, mean"),
        Column("cross_streams", "double", "", "TCP connections of others, mean"),
        Column("incident", "int64", "", "incident in force or in the coming; -1 without one"),
        Column("severity", "double", "share", "from 0, healthy, to 1, failed"),
    ),
)

HOST_METRICS: Final = Table(
    "host_metrics",
    "one sending site and interval",
    (*_WHEN, Column("site", "int64", "", "sending site")),
    (
        Column("cores", "int64", "", "cores of the sender"),
        Column("cpu_load", "double", "share", "cores in use, by us and by others"),
        Column("core_backlog_s", "double", "core-s", "encoding still to do at the end"),
        Column("memory_pressure", "double", "share", "baseline memory in use"),
        Column("requests", "int64", "", "transfers asked for"),
        Column("size_bytes", "double", "bytes", "raw size of these, together"),
        Column("active_transfers", "double", "", "transfers under way, mean"),
    ),
    (Column("background", "double", "share", "cores that other work takes"),),
)

NODE_METRICS: Final = Table(
    "node_metrics",
    "one node and interval",
    (
        *_WHEN,
        Column("node", "int64", "", "node, from 0"),
        Column("link", "int64", "", "link over which it is reached"),
        Column("tier", "int64", "", "1 same site, 2 metro, 3 wide area"),
        Column("dwcp_mode", "int64", "", "0 datacenter, 1 hybrid, 2 internet, by round trip and bandwidth"),
    ),
    (
        Column("requests", "int64", "", "requests served"),
        Column("error_rate", "double", "share", "requests that failed"),
        Column("timeout_rate", "double", "share", "requests that took too long"),
        Column("latency_p50_s", "double", "s", "median time of a request"),
        Column("latency_p95_s", "double", "s", "95th percentile of the time of a request"),
        Column("latency_p99_s", "double", "s", "99th percentile of the time of a request"),
        Column("sla_violations", "double", "share", "requests slower than agreed"),
        Column("connection_failures", "int64", "", "connections that failed"),
        Column("packet_loss_rate", "double", "share", "packets lost"),
        Column("retransmit_rate", "double", "share", "packets sent again"),
        Column("cpu", "double", "share", "processors in use"),
        Column("memory", "double", "share", "memory in use"),
        Column("disk_io", "double", "share", "time that the disk is busy"),
        Column("disk_latency_s", "double", "s", "mean time of a disk access"),
        Column("temperature_c", "double", "C", "temperature of the processors"),
        Column("availability", "double", "share", "health checks passed over the last 30 minutes"),
        Column("health_check_failures", "int64", "", "health checks failed, of 6 a minute"),
        Column("error_budget_burn_rate", "double", "1", "error rate over the one agreed"),
    ),
    (
        Column("load", "double", "share", "demand over what the healthy node can serve"),
        Column("incident", "int64", "", "incident in force or in the coming; -1 without one"),
        Column("phase", "int64", "", "0 healthy, 1 before a failure, 2 down"),
        Column("severity", "double", "share", "from 0, healthy, to 1, failed"),
        Column("cause", "string", "", "kind of the incident; empty without one"),
        Column("seconds_to_incident", "double", "s", "until the next failure, 0 while down; inf: none comes"),
        Column("signal", "double", "1", "distance of the row from a healthy one, in its noise"),
    ),
)

INCIDENTS: Final = Table(
    "incidents",
    "one incident, also one that healed before it came to a failure",
    (
        Column("incident", "int64", "", "number of the incident, from 0"),
        Column("scope", "string", "", "node or link"),
        Column("node", "int64", "", "node; -1 for a link"),
        Column("link", "int64", "", "link; -1 for a node"),
        Column("kind", "string", "", "what befell it"),
    ),
    (),
    (
        Column("precursor_s", "double", "s", "first sign; the failure where there is none"),
        Column("start_s", "double", "s", "failure; the moment when it had healed where none came"),
        Column("end_s", "double", "s", "repair"),
        Column("failed", "bool", "", "whether it came to a failure"),
        Column("forewarned", "bool", "", "whether there was any sign before"),
        Column("severity", "string", "", "critical, major or minor, by its length"),
    ),
)

CONSENSUS_ROUNDS: Final = Table(
    "consensus_rounds",
    "one consensus group and interval",
    (*_WHEN, Column("group", "int64", "", "group of replicas")),
    (
        Column("queue_depth", "double", "", "proposals that wait, mean"),
        Column("proposals_pending", "double", "", "proposals under way and not yet committed, mean"),
        Column("proposals_committed", "int64", "", "proposals committed"),
        Column("latency_p50_s", "double", "s", "median time from proposal to commit"),
        Column("latency_p95_s", "double", "s", "95th percentile of that time"),
        Column("latency_p99_s", "double", "s", "99th percentile of that time"),
        Column("leader_changes", "int64", "", "elections"),
        Column("quorum_size", "int64", "", "replicas that must agree, the leader with them"),
        Column("active_nodes", "int64", "", "replicas that answer"),
        Column("network_tier", "int64", "", "0 local, 1 wide area"),
        Column("dwcp_mode", "int64", "", "0 datacenter, 1 hybrid, 2 internet"),
        Column("consensus_type", "int64", "", "0 Raft, 1 PBFT, 2 Paxos"),
        Column("round_s", "double", "s", "time until a quorum has answered, mean"),
        Column("rejected", "int64", "", "proposals refused because the queue was full"),
    ),
    (
        Column("anomaly", "string", "", "congestion, election_storm, queue_overflow, byzantine; else empty"),
        Column("intensity", "double", "share", "from 0, none, to 1, the worst of its kind"),
    ),
)

TABLES: Final = {
    table.name: table for table in (LINK_METRICS, HOST_METRICS, NODE_METRICS, INCIDENTS, CONSENSUS_ROUNDS)
}
"""All of them by name."""
