"""The bench: its figures have the promised shape, are what a clock says, and are drawn as they are."""

import io
import json

import numpy as np
import pytest
from gymnasium import spaces
from rich.console import Console

from envs.joint import Joint
from experiments import bench_clock
from experiments.bench import FULL, Extent, bench_table, measure
from experiments.bench_clock import Block, rows_of
from experiments.bench_crowd import crowd, crowd_block, event_us, events_a_decision
from experiments.bench_figures import event_cost, throughput, write
from experiments.bench_lanes import Dice, bytes_a_lane, cartpole_block, lanes_block, simpy_block

TINY = Extent(
    seconds=0.02,
    questions=("codec", "joint"),
    scenarios=("lossy",),
    lanes=(1, 4),
    running=(4, 8),
    crowds=(4,),
    simpy_crowds=(4,),
    trained=(),
    processes=1,
    compiles=False,
)


@pytest.fixture(scope="module")
def found():
    return measure(TINY)


@pytest.fixture
def clock(monkeypatch):
    """Hands of both clocks, CPU time and wall, to be moved by hand."""
    hands = {"process_time": 0.0, "perf_counter": 0.0}
    monkeypatch.setattr(bench_clock, "process_time", lambda: hands["process_time"])
    monkeypatch.setattr(bench_clock, "perf_counter", lambda: hands["perf_counter"])
    return hands


def takes(clock, cpu_s: float, wall_s: float) -> Block:
    def block(steps: int) -> int:
        clock["process_time"] += steps * cpu_s
        clock["perf_counter"] += steps * wall_s
        return steps

    return block


def test_it_can_be_written_as_json_and_read_back(found):
    assert json.loads(json.dumps(found)) == found


def test_it_names_the_machine_and_the_libraries(found):
    machine = found["machine"]
    assert machine["cpu"] and machine["cores"] >= 1 and machine["python"].startswith("3.")
    assert {"simpy", "gymnasium", "stable-baselines3", "torch", "numpy", "numba"} == set(machine["versions"])


def test_every_row_has_a_name_of_its_own_and_a_figure_above_0_with_its_unit(found):
    assert len({row["name"] for row in found["rows"]}) == len(found["rows"])
    for row in found["rows"]:
        assert set(row) == {"name", "value", "unit", "cartpole", "ratio"}
        assert row["value"] > 0 and isinstance(row["unit"], str)


@pytest.mark.parametrize(
    "name", ["codec, simpy", "joint, simpy", "codec, simpy, lossy", "codec, batch, 4 lanes"]
)
def test_decisions_are_counted_on_both_clocks_beside_cartpole(found, name):
    rows = {row["name"]: row for row in found["rows"]}
    for clock, unit in (("", "1/CPU s"), (", wall", "1/s")):
        row = rows[f"decisions, {name}{clock}"]
        assert row["unit"] == unit and row["cartpole"] > 0
        assert row["ratio"] == pytest.approx(row["value"] / row["cartpole"], rel=0.8)


def test_the_full_extent_is_what_is_promised():
    assert set(FULL.questions) == {"codec", "share", "dispatch", "joint"}
    assert FULL.lanes == (1, 16, 64, 256, 1024)
    assert (min(FULL.running), max(FULL.running)) == (min(FULL.crowds), max(FULL.crowds)) == (8, 4096)


def test_a_figure_is_the_median_of_what_each_clock_says(clock):
    cpu, wall = rows_of("one", takes(clock, 1e-4, 2e-4), takes(clock, 1e-5, 4e-5), seconds=1.0)
    assert (cpu["name"], cpu["unit"]) == ("one", "1/CPU s") and (wall["name"], wall["unit"]) == (
        "one, wall",
        "1/s",
    )
    assert (cpu["value"], cpu["cartpole"], cpu["ratio"]) == pytest.approx((1e4, 1e5, 0.1))
    assert (wall["value"], wall["cartpole"], wall["ratio"]) == pytest.approx((5e3, 2.5e4, 0.2))


def test_the_table_shows_every_figure_with_both_clocks_on_one_line(found):
    out = io.StringIO()
    table = bench_table(found)
    Console(file=out, width=200).print(table)
    names = {row["name"].removesuffix(", wall") for row in found["rows"]}
    assert table.row_count == len(names) and all(name in out.getvalue() for name in names)


def test_a_block_says_how_many_steps_it_took():
    assert lanes_block("codec", 4)(6) == 8  # whole turns of all lanes
    assert simpy_block("codec")(3) == 3
    assert (cartpole_block()(3), cartpole_block(4)(6)) == (3, 8)


def test_a_crowd_is_played_to_its_end():
    scenario = crowd(4)
    assert (scenario.requests, scenario.slots) == (8, 4)
    for engine in ("simpy", "batch"):
        assert crowd_block("codec", 4, engine=engine)(9) == 16  # two episodes of 8 transfers, a decision each


def test_dice_keep_to_the_masks_of_every_question():
    env = Joint("wan")
    dice = Dice(env.action_space, 1, masked=True)
    _, info = env.reset(seed=0)
    ends = np.cumsum(env.action_space.nvec)
    for number in range(200):
        mask = info["action_mask"]
        action = dice.allowed(number, mask[None])[0]
        assert mask[ends - env.action_space.nvec + action].all()
        *_, ended, _, info = env.step(action)
        if ended:
            _, info = env.reset()


def test_dice_without_masks_throw_every_action_about_as_often():
    thrown = np.concatenate([Dice(spaces.Discrete(4), 16).actions(number) for number in range(256)])
    assert np.bincount(thrown, minlength=4) / len(thrown) == pytest.approx([0.25] * 4, abs=0.03)


def test_more_transfers_in_flight_cost_no_more_than_n_log_n_an_event():
    few, _, _ = event_us(16)
    many, simpy, events = event_us(512)
    assert many / few < 10 * (512 * 9) / (16 * 4)  # ten times what the law says: clocks are noisy
    assert simpy > 0
    assert events == 4.0  # it comes, it is open, and twice it is asked anew who ends next


def test_a_decision_with_which_codec_is_a_transfer_and_so_has_its_events():
    assert 4.0 <= events_a_decision("codec", lanes=2) < 5.0  # some fail, and are opened again


def test_a_lane_takes_the_memory_of_its_transfers_not_of_its_episode():
    lane, episode = bytes_a_lane("codec")
    assert 10_000 < lane < 200_000
    assert episode > 8 * 200 * 5  # five numbers of each of 200 transfers at the least


def test_figures_draw_the_rows_as_they_are(found):
    rows = {row["name"]: row["value"] for row in found["rows"]}
    by_lanes = throughput(found).axes[0].lines
    assert any(
        list(line.get_xdata()) == [1, 4]
        and list(line.get_ydata())
        == [rows["decisions, codec, batch, 1 lane"], rows["decisions, codec, batch, 4 lanes"]]
        for line in by_lanes
    )
    law, ours, _simpy = (list(line.get_ydata()) for line in event_cost(found).axes[0].lines)
    assert ours == [rows["event, batch, 4 running"], rows["event, batch, 8 running"]]
    assert law == pytest.approx([ours[0], 3.0 * ours[0]])  # 8 * 3 over 4 * 2


def test_rows_and_figures_are_written_to_a_folder(found, tmp_path):
    assert [path.name for path in write(found, tmp_path)] == [
        "bench.json",
        "throughput.png",
        "event_cost.png",
    ]
    assert json.loads((tmp_path / "bench.json").read_text("utf-8")) == found
