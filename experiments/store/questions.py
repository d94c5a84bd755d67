"""Questions that are often put to a store, in SQL that every store understands."""

from typing import Final, NamedTuple


class NamedQuery(NamedTuple):
    """One question.

    Attributes:
        about: What it answers.
        sql: The query.
    """

    about: str
    sql: str


QUERIES: Final = {
    "links": NamedQuery(
        "what each link was like",
        "SELECT run, link, count(*) AS n, avg(rtt_s) AS mean_rtt_s, "
        "quantile(rtt_p95_s, 0.99) AS worst_rtt_s, avg(bandwidth) AS mean_bandwidth, "
        "avg(loss) AS mean_loss, avg(utilisation) AS mean_utilisation "
        "FROM link_metrics GROUP BY run, link ORDER BY run, link",
    ),
    "codecs": NamedQuery(
        "what each codec achieved",
        "SELECT run, codec, count(*) AS n, sum(size_bytes) / sum(wire_bytes) AS ratio, "
        "quantile(end_s - arrival_s, 0.5) AS median_s, quantile(end_s - arrival_s, 0.99) AS p99_s, "
        "sum(cpu_s) AS core_s FROM transfers GROUP BY run, codec ORDER BY run, codec",
    ),
    "nodes": NamedQuery(
        "how nodes are, healthy, before a failure and down",
        "SELECT run, phase, count(*) AS n, avg(error_rate) AS mean_error_rate, "
        "quantile(latency_p99_s, 0.5) AS typical_p99_s, avg(memory) AS mean_memory, "
        "avg(temperature_c) AS mean_temperature_c FROM node_metrics GROUP BY run, phase ORDER BY run, phase",
    ),
    "incidents": NamedQuery(
        "what failed how often, and whether there was a sign before",
        "SELECT run, scope, kind, count(*) AS n, "
        "avg(CASE WHEN forewarned THEN 1 ELSE 0 END) AS forewarned_share, "
        "avg(CASE WHEN failed THEN 1 ELSE 0 END) AS failed_share, avg(start_s - precursor_s) AS mean_lead_s, "
        "avg(end_s - start_s) AS mean_down_s "
        "FROM incidents GROUP BY run, scope, kind ORDER BY run, scope, kind",
    ),
    "consensus": NamedQuery(
        "how consensus groups are with and without anomalies",
        "SELECT run, anomaly, count(*) AS n, avg(queue_depth) AS mean_queue, "
        "quantile(latency_p99_s, 0.5) AS typical_p99_s, avg(leader_changes) AS mean_changes, "
        "avg(active_nodes) AS mean_active FROM consensus_rounds GROUP BY run, anomaly ORDER BY run, anomaly",
    ),
}
"""All of them by name."""
