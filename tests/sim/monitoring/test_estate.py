"""Telemetry of an estate: the same from the same seed, whole, labelled, by queueing theory."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from sim.catalogue import SCENARIOS
from sim.monitoring.courses import DOWN, HEALTHY
from sim.monitoring.estate import Estate
from sim.monitoring.nodes import NOISE, HealthModel, Means, beyond, quantile_s, signal
from sim.monitoring.schema import TABLES, Table
from sim.monitoring.telemetry import Monitoring, detectable_share, draw_monitoring
from sim.units import DAY, HOUR

ESTATE = Estate(SCENARIOS["hybrid"], sites=2, nodes=6, groups=2, health=HealthModel(incidents_per_day=4.0))


@pytest.fixture(scope="module")
def seen() -> Monitoring:
    return draw_monitoring(ESTATE, seed=3, duration_s=12 * HOUR)


def test_the_same_estate_and_seed_give_the_same_tables(seen: Monitoring) -> None:
    assert draw_monitoring(ESTATE, seed=3, duration_s=12 * HOUR) == seen
    assert draw_monitoring(ESTATE, seed=4, duration_s=12 * HOUR).link_metrics != seen.link_metrics


def test_every_table_has_a_row_an_interval_and_all_its_columns(seen: Monitoring) -> None:
    entities = {"link_metrics": 4, "host_metrics": 2, "node_metrics": 6, "consensus_rounds": 2}
    for name, table in seen._asdict().items():
        assert table.schema.equals(TABLES[name].schema, check_metadata=True)
        assert all(column.null_count == 0 for column in table.columns)
        if name in entities:
            assert len(table) == entities[name] * 720
    frame = seen.node_metrics.to_pandas()
    assert not frame.duplicated(["node", "time_s"]).any()
    assert frame.groupby("node").time_s.is_monotonic_increasing.all()


def test_shares_are_shares_and_times_are_finite(seen: Monitoring) -> None:
    for name, table in seen._asdict().items():
        for column in TABLES[name].columns:
            values = table[column.name].to_numpy()
            if column.unit == "share":
                assert 0 <= values.min() <= values.max() <= 1, (name, column.name)
            if column.unit in ("s", "bytes", "bytes/s") and column.name != "seconds_to_incident":
                assert values.min() >= 0, (name, column.name)
                assert np.isfinite(values).all(), (name, column.name)


def test_labels_of_nodes_agree_with_the_incidents(seen: Monitoring) -> None:
    rows, incidents = seen.node_metrics.to_pandas(), seen.incidents.to_pandas().set_index("incident")
    middle = rows.time_s - ESTATE.interval_s / 2
    for number, one in incidents[incidents.scope == "node"].iterrows():
        inside = (rows.node == one.node) & (middle >= one.start_s) & (middle < one.end_s)
        assert (rows.phase[inside] == DOWN).all()
        assert (rows.incident[inside] == number).all()
        assert (rows.cause[inside] == one.kind).all()
    healthy = rows[rows.phase == HEALTHY]
    assert (healthy.signal == 0).all()
    assert (healthy.severity == 0).all()


def test_signal_is_the_power_that_a_matched_filter_has() -> None:
    """Rows whose errors and memory differ are told apart as often as Phi(D - z) says."""
    rng = np.random.default_rng(5)
    rows, size = 10, (20_000, 10)
    healthy = Means(*(np.full((1, rows), 400.0) for _ in Means._fields))
    now = healthy._replace(errors=np.full((1, rows), 408.0), memory=np.full((1, rows), 400.003))
    distance = signal(now, healthy)[0]
    score = []
    for mean in (healthy, now):
        roots = 2 * np.sqrt(rng.poisson(mean.errors[0], size))  # of variance 1
        memory = mean.memory[0] + NOISE["memory"] * rng.standard_normal(size)
        score.append((0.4 * roots + 0.25 * (memory - 400) / NOISE["memory"]).sum(axis=1))
    threshold = np.quantile(score[0], 0.95)
    power = norm.cdf(math.sqrt((distance**2).sum()) - norm.ppf(0.95))
    assert 0.3 < power < 0.95  # a power that could differ
    assert np.mean(score[1] > threshold) == pytest.approx(power, abs=0.02)


def test_times_of_requests_are_those_of_an_m_m_1_queue() -> None:
    rng = np.random.default_rng(6)
    arrival, service = np.cumsum(rng.exponential(1.0, 300_000)), rng.exponential(0.6, 300_000)
    done = np.empty(len(arrival))
    free = 0.0
    for n, (at, takes) in enumerate(zip(arrival, service, strict=True)):
        free = max(at, free) + takes
        done[n] = free
    stay, mean = done - arrival, np.array([0.6 / (1 - 0.6)])
    assert np.quantile(stay, 0.95) == pytest.approx(quantile_s(0.95, mean)[0], rel=0.04)
    assert np.mean(stay > 3.0) == pytest.approx(beyond(3.0, mean)[0], rel=0.06)


def test_the_share_of_failures_with_a_warning_is_stated() -> None:
    estate = Estate(
        SCENARIOS["metro"], sites=1, nodes=60, groups=1, health=HealthModel(4.0, sudden_share=0.3)
    )
    share = detectable_share(draw_monitoring(estate, seed=1, duration_s=1 * DAY).incidents)
    assert share == pytest.approx(0.7, abs=0.12)  # about 200 failures: 4 standard errors are 0.13


def test_rows_that_never_arrive_are_left_out_by_chance(seen: Monitoring) -> None:
    holey = Estate(ESTATE.scenario, sites=2, nodes=6, groups=2, health=ESTATE.health, missing_share=0.2)
    fewer = draw_monitoring(holey, seed=3, duration_s=12 * HOUR)
    assert len(fewer.node_metrics) / len(seen.node_metrics) == pytest.approx(0.8, abs=0.03)
    assert fewer.incidents == seen.incidents


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_the_page_prints_the_schema_that_the_code_has(table: Table) -> None:
    page = (Path(__file__).parents[3] / "docs" / "monitoring.md").read_text("utf-8")
    section = re.search(rf"^`{table.name}`: (.*?)(?=^### |\Z)", page, re.M | re.S)
    assert section is not None
    said = [line for line in section.group(1).splitlines() if line.startswith(("| `", "| *`"))]
    seen = [f"| `{c.name}` | {c.type} | {c.unit} | {c.meaning} |" for c in (*table.keys, *table.metrics)]
    assert said == seen + [f"| *`{c.name}`* | {c.type} | {c.unit} | {c.meaning} |" for c in table.truth]


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_every_scenario_can_be_watched(name: str) -> None:
    estate = Estate(SCENARIOS[name], sites=1, nodes=2, groups=1)
    tables = draw_monitoring(estate, seed=1, duration_s=0.5 * HOUR)
    assert len(tables.node_metrics) == 60
