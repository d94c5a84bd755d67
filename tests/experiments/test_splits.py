"""Training, validation and test never share an episode: no seed, no held-out scenario, no link trace."""

from pathlib import Path

import numpy as np
import pytest

from experiments.config import ExperimentConfig
from experiments.splits import Episodes, Place, episodes_of
from experiments.variation import varied
from sim.catalogue import find_scenario
from sim.errors import InputError
from sim.settings import load

CONFIGS = Path(__file__).parents[2] / "experiments" / "configs"
SPLITS = ("train", "validation", "test", "held-out")


def config(seed: int = 5, evaluation: dict | None = None, **environment) -> ExperimentConfig:
    given = {"scenarios": ["wan", "metro"], "held_out": ["lossy"], "requests": 8} | environment
    counts = {"train_episodes": 6, "validation_episodes": 3, "test_episodes": 4} | (evaluation or {})
    return ExperimentConfig.model_validate(
        {"name": "x", "title": "x", "seed": seed, "environment": given, "evaluation": counts}
    )


@pytest.fixture
def traces(tmp_path) -> Path:
    """Ten traces of constant capacity, each its own: 10, 20, ... 100 Mbit/s."""
    folder = tmp_path / "traces"
    folder.mkdir()
    for number in range(10):
        rows = "".join(f"{second},{10 * (number + 1)},20,0\n" for second in range(0, 600, 60))
        (folder / f"site-{number}.csv").write_text("time_s,capacity_mbps,rtt_ms,loss\n" + rows)
    return folder


@pytest.mark.parametrize("name", ["compression", "quick"])
def test_no_two_episodes_of_a_shipped_experiment_share_a_seed(name):
    episodes = Episodes(load(CONFIGS / f"{name}.yaml", ExperimentConfig))
    places = [place for split in SPLITS for place in episodes.places(split)]
    by_scenario = {}
    for place in places:
        by_scenario.setdefault(place.scenario, []).append(episodes.seed(place))
    for seeds in by_scenario.values():
        assert len(set(seeds)) == len(seeds)


def test_no_two_splits_share_a_seed_whatever_the_seed_of_the_experiment():
    for seed in range(20):
        episodes = Episodes(config(seed, evaluation={"train_episodes": 40}))
        seeds = [episodes.seed(place) for split in SPLITS for place in episodes.places(split)]
        assert len(set(seeds)) == len(seeds)


def test_a_scenario_held_out_is_met_in_its_own_split_alone():
    episodes = Episodes(config())
    met = {split: {place.scenario for place in episodes.places(split)} for split in SPLITS}
    assert met == {
        "train": {"wan", "metro"},
        "validation": {"wan", "metro"},
        "test": {"wan", "metro"},
        "held-out": {"lossy"},
    }
    assert [len(episodes.places(split)) for split in SPLITS] == [12, 6, 8, 4]


def test_the_same_place_is_the_same_episode_in_whatever_order_places_are_drawn():
    places = [Place("wan", "train", 2), Place("wan", "test", 2), Place("lossy", "held-out", 0)]
    first, second = Episodes(config()), Episodes(config())
    drawn = {place: first.draw(place) for place in places}
    for place in reversed(places):
        again = second.draw(place)
        np.testing.assert_array_equal(again.requests.arrival_s, drawn[place].requests.arrival_s)
        np.testing.assert_array_equal(again.conditions.links, drawn[place].conditions.links)
        assert again.seed == drawn[place].seed


def test_more_episodes_of_one_split_leave_the_others_as_they_were():
    few, many = Episodes(config()), Episodes(config(evaluation={"train_episodes": 60}))
    for split in ("validation", "test", "held-out"):
        assert [few.seed(place) for place in few.places(split)] == [
            many.seed(place) for place in many.places(split)
        ]


def test_no_two_splits_share_a_trace(traces):
    episodes = Episodes(config(traces=str(traces), evaluation={"train_episodes": 30, "test_episodes": 30}))
    met = {
        split: {round(float(episodes.draw(place).nominal[0]) * 8e-6) for place in episodes.places(split)}
        for split in SPLITS
    }
    # of ten traces in the order of their names, numbers 3 and 8 are for validation, 4 and 9 for the test
    assert met["train"] == {10, 20, 30, 60, 70, 80}
    assert met["validation"] <= {40, 90}
    assert met["test"] == met["held-out"] == {50, 100}


def test_a_folder_of_four_traces_is_too_small_to_split(traces):
    for trace in sorted(traces.iterdir())[4:]:
        trace.unlink()
    with pytest.raises(InputError, match=r"expected at least 5 traces to split .* got 4"):
        Episodes(config(traces=str(traces)))


def test_overrides_of_requests_and_prices_arrive_in_every_scenario():
    episodes = Episodes(config(cpu_price=0.7, late_price=2.5))
    for split in SPLITS:
        episode = episodes.draw(episodes.places(split)[0])
        assert len(episode) == 8
        assert (episode.scenario.cpu_price, episode.scenario.late_price) == (0.7, 2.5)
    kept = Episodes(config(requests=None)).draw(Place("wan", "test", 0))
    assert (len(kept), kept.scenario.cpu_price) == (kept.scenario.requests, 0.1)


def test_two_scenario_files_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "office.yaml").write_text("base: constrained\n")
    with pytest.raises(InputError, match="two of the scenarios bear the name 'office'"):
        Episodes(
            config(scenarios=[str(tmp_path / "a" / "office.yaml")], held_out=[f"{tmp_path}/b/office.yaml"])
        )


def test_a_scenario_file_runs_under_its_own_name(tmp_path):
    (tmp_path / "office.yaml").write_text("base: constrained\n")
    episodes = Episodes(config(scenarios=[str(tmp_path / "office.yaml")]))
    assert [place.scenario for place in episodes.places("test")] == ["office"] * 4
    assert episodes.draw(episodes.places("test")[0]).scenario.name == "office"


def test_equal_configs_share_their_episodes_and_others_do_not():
    assert episodes_of(config()) is episodes_of(config())
    assert episodes_of(config()) is not episodes_of(config(seed=6))


def test_every_second_training_episode_is_of_another_site_when_sites_vary_and_no_other_episode_is():
    plain, varying = Episodes(config()), Episodes(config(vary=0.5))
    for split in SPLITS:
        for place in plain.places(split):
            one, other = plain.draw(place).scenario, varying.draw(place).scenario
            assert one.name == other.name
            assert (one != other) == (split == "train" and place.number % 2 == 1)
    first, again = (varying.draw(Place("wan", "train", 1)).scenario for _ in range(2))
    third = varying.draw(Place("wan", "train", 3)).scenario
    assert first == again
    assert first.paths[0].model.capacity != third.paths[0].model.capacity


def test_a_wider_site_is_asked_more_often_so_that_its_load_stays_about_the_same():
    wan, rng = find_scenario("wan"), np.random.default_rng(1)
    sites = [varied(wan, 0.5, rng) for _ in range(400)]
    capacity = np.log([site.paths[0].model.capacity / wan.paths[0].model.capacity for site in sites])
    arrivals = np.log([wan.workload.interval_s / site.workload.interval_s for site in sites])
    assert np.std(capacity) == pytest.approx(0.5, rel=0.1)
    assert abs(np.mean(capacity)) < 0.1
    assert np.std(arrivals - capacity) == pytest.approx(0.15, rel=0.15)
    assert all(0 <= site.host.background <= 0.8 and site.paths[0].model.loss <= 0.02 for site in sites)
