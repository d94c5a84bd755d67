"""How much there is to win: costs that stand in the right order, and a label where there is nothing."""

import io

import pytest
from rich.console import Console

from agents.catalogue import make_policy
from agents.play import play
from envs.compression import Compression
from experiments.headroom import SEED, Headroom, headroom_table, measure_headroom, scenario_table
from experiments.work import Crew
from sim.catalogue import SCENARIOS
from sim.episode import draw_episode

NAMES = ("none", "zstd", "hde", "amst")


@pytest.fixture(scope="module")
def chosen():
    return [SCENARIOS[name].with_(requests=10) for name in ("metro", "lossy")]


@pytest.fixture(scope="module")
def rows(chosen):
    with Crew(1, Console(quiet=True)) as crew:
        return measure_headroom(chosen, 2, 1, crew)


def _printed(table, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def test_costs_are_means_over_episodes_in_seconds_a_decision(rows, chosen):
    for row, scenario in zip(rows, chosen, strict=True):
        assert row.scenario == scenario.name
        assert set(row.cost) == {*NAMES, "contention", "one_step_oracle"}
        env = Compression(scenario, NAMES)
        drawn = [draw_episode(scenario, SEED + number) for number in range(2)]
        for name in ("zstd", "one_step_oracle"):
            costs = [play(env, episode, make_policy(name, env)).cost for episode in drawn]
            assert row.cost[name] == pytest.approx(sum(costs) / 20, rel=1e-12)


def test_the_best_static_codec_is_the_cheapest_and_the_best_found_costs_no_more(rows):
    for row in rows:
        assert row.best_static == min(NAMES, key=row.cost.__getitem__)
        assert 0 < row.found <= 1


def test_a_scenario_with_less_than_3_percent_to_win_is_labelled():
    cost = {"none": 4.0, "zstd": 2.0, "one_step_oracle": 1.9}
    little, much = Headroom("little", cost, "zstd", 0.98), Headroom("much", cost, "zstd", 0.8)
    lines = [line.split() for line in _printed(headroom_table([little, much]), 80).splitlines()]
    at = lines.index(["little", "200", "100", "95", "98.0", "2", "%"])
    assert lines[at + 1] == ["nothing", "to", "learn", "here"]
    assert lines[at + 2] == ["much", "200", "100", "95", "80.0", "20", "%"]


def test_the_table_of_a_long_name_is_whole_on_80_columns():
    cost = dict.fromkeys((*NAMES, "contention", "one_step_oracle"), 12.345) | {"zstd": 1.0}
    printed = _printed(headroom_table([Headroom("dwcp-high-latency", cost, "zstd", 0.99)]), 80)
    assert "…" not in printed
    assert "1234" in printed


def test_the_list_of_scenarios_names_each_with_its_summary():
    printed = _printed(scenario_table(list(SCENARIOS.values())))
    for name, scenario in SCENARIOS.items():
        assert name in printed
        assert " ".join(scenario.summary.split()[:3]) in printed
