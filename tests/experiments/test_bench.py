"""The bench: its figures have the promised shape, and are what a clock says."""

import io
import json

import pytest
from rich.console import Console

from experiments import bench, bench_lanes
from experiments.bench import bench_table, measure


@pytest.fixture(scope="module")
def found():
    return measure(0.1, scenarios=("wan", "lossy"), lanes=False)


def test_it_can_be_written_as_json_and_read_back(found):
    assert json.loads(json.dumps(found)) == found


def test_it_names_the_machine_and_the_libraries(found):
    machine = found["machine"]
    assert machine["cpu"] and machine["cores"] >= 1 and machine["python"].startswith("3.")
    assert {"simpy", "gymnasium", "stable-baselines3", "torch", "numpy", "numba"} == set(machine["versions"])


def test_it_measures_decisions_of_each_scenario_and_training(found):
    names = [row["name"] for row in found["rows"]]
    assert len(names) == 4 and sum("training" in name for name in names) == 1
    assert all(any(scenario in name for name in names) for scenario in ("wan", "lossy"))


def test_every_row_says_how_fast_cartpole_is_and_the_ratio(found):
    for row in found["rows"]:
        assert set(row) == {"name", "value", "unit", "cartpole", "ratio"} and row["unit"] == "1/s"
        assert row["value"] > 0 and row["cartpole"] > 0
        assert row["ratio"] == pytest.approx(row["value"] / row["cartpole"], rel=0.8)


def test_the_ratio_is_the_median_of_what_the_clock_says(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(bench, "process_time", lambda: clock[0])

    def takes(second_a_step: float) -> bench_lanes.Block:
        def block(steps: int) -> None:
            clock[0] += steps * second_a_step

        return block

    row = bench._row("one", takes(1e-4), takes(1e-5), seconds=1.0)
    assert row["value"] == pytest.approx(1e4) and row["cartpole"] == pytest.approx(1e5)
    assert row["ratio"] == pytest.approx(0.1)


def test_the_table_shows_every_row(found):
    out = io.StringIO()
    Console(file=out, width=160).print(bench_table(found))
    assert all(row["name"] in out.getvalue() for row in found["rows"])


def test_more_transfers_in_flight_cost_no_more_than_n_log_n_an_event():
    few, _ = bench_lanes.event_us(16)
    many, events = bench_lanes.event_us(512)
    assert many / few < 10 * (512 * 9) / (16 * 4)  # ten times what the law says: clocks are noisy
    assert events >= 3.0  # it comes, it moves, it ends


def test_a_lane_takes_the_memory_of_its_transfers_not_of_its_episode():
    assert 10_000 < bench_lanes.bytes_a_lane("wan") < 200_000
