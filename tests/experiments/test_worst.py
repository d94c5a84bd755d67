"""The search for the worst site: it finds what is known to be worst, goes on, and leaves scenarios."""

import re

import numpy as np
import pandas as pd
import pytest

from experiments.config import ExperimentConfig
from experiments.resampling import Resampling
from experiments.splits import Episodes
from experiments.variation import PathShift, Shift, shifted
from experiments.worst.contest import Contest, Costs, player
from experiments.worst.findings import beyond
from experiments.worst.knobs import knobs
from experiments.worst.search import STUDY, Plan, Search, Try, worst_of
from sim.catalogue import find_scenario
from sim.errors import InputError
from sim.scenario_file import load_scenario

pytest.importorskip("optuna", reason="optuna is not installed: pip install 'dwcp-gym[tune]'")

TINY = """
base: uncoupled
requests: 12
paths:
  - {link: {capacity: 1.25e9, rtt_s: 0.0005, loss: 1.0e-6}, window_bytes: 1.6e7}
"""
PLAN = Plan(spread=0.8, episodes=3, seed=4)


@pytest.fixture
def tiny(tmp_path):
    """One path of 10 Gbit/s, about as fast as encoders, on which no transfer meets another."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def test_a_site_one_deviation_off_has_the_figures_worked_out_by_hand():
    wan = find_scenario("wan")
    site = shifted(wan, 0.5, Shift((PathShift(capacity=-1.0, loss=1.0, rtt=2.0),), load=1.0, background=-1.0))
    link, was = site.paths[0].model, wan.paths[0].model
    assert link.capacity == pytest.approx(was.capacity * np.exp(-0.5))
    assert link.loss == pytest.approx(was.loss * np.exp(2.0 * 0.5))
    assert link.rtt_s == pytest.approx(was.rtt_s * np.exp(0.7 * 0.5 * 2))
    arrivals = wan.workload.interval_s / site.workload.interval_s
    assert arrivals == pytest.approx(np.exp(-0.5 + 0.3 * 0.5))
    assert site.host.background == pytest.approx(0.3 - 0.2 * 0.5)
    assert shifted(wan, 0.5, Shift((PathShift(),))) == wan


def test_sending_as_it_is_does_worst_against_zstd_where_the_wire_is_slowest(tiny, tmp_path):
    """Nothing waits for anything: compression saves time on a slow wire, and costs some on a fast one."""
    contest = Contest(player("none", str(tiny)), "zstd")
    search = Search(contest, PLAN, tmp_path / "search")
    search.run(12, lambda: None)
    slow, same, fast = (
        contest.meet(shifted(search.scenario, 0.8, Shift((PathShift(capacity=to),))), [1, 2, 3]).gap
        for to in (-2.0, 0.0, 2.0)
    )
    assert slow > 0 > max(same, fast)
    (worst,) = worst_of(search.tries, 1)
    assert worst.gap > search.tries[0].gap
    assert worst.shift.paths[0].capacity < -1.0


def test_an_interrupted_search_comes_to_the_tries_of_one_that_was_not(tiny, tmp_path):
    contest = Contest(player("none", str(tiny)), "hde")

    def tries(name, *counts):
        for count in counts:  # opened anew each time
            search = Search(contest, PLAN, tmp_path / name)
            search.run(count, lambda: None)
        return search.tries

    whole = tries("whole", 13)
    assert [one.number for one in whole] == list(range(13))
    assert tries("parts", 1, 12, 13) == whole
    study = tmp_path / "whole" / STUDY
    assert study.exists()
    with pytest.raises(InputError, match=r"study\.db: seed: is of another search; name another folder"):
        Search(contest, PLAN._replace(seed=5), study.parent)
    study.write_bytes(b"no database at all")
    with pytest.raises(InputError, match=r"study\.db: cannot be opened as a study"):
        Search(contest, PLAN, study.parent)


def test_a_policy_lies_nowhere_behind_itself(tiny, tmp_path):
    contest = Contest(player("zstd", str(tiny)), "zstd")
    search = Search(contest, PLAN, tmp_path / "search")
    search.run(3, lambda: None)
    assert [one.gap for one in search.tries] == [0.0, 0.0, 0.0]
    assert worst_of(search.tries, 3) == []


def test_the_worst_sites_lie_apart_and_are_worse_than_the_scenario():
    def tried(number, gap, capacity, load=0.0):
        return Try(number, Shift((PathShift(capacity=capacity),), load=load), gap, 1.0, 1.0, "zstd")

    tries = [tried(0, 0.1, 0.0), tried(1, 0.5, -1.9), tried(2, 0.6, -2.0), tried(3, 0.4, -1.9, load=1.0)]
    tries += [tried(4, 0.3, 1.0), tried(5, 0.05, 2.0)]
    assert [one.number for one in worst_of(tries, 9)] == [2, 3, 4]
    assert [one.number for one in worst_of(tries, 2)] == [2, 3]


def test_how_much_worse_than_on_the_scenario_is_a_ratio_of_ratios():
    rng = np.random.default_rng(0)
    luck = rng.gamma(4.0, 1.0, 50)
    here = Costs(luck * 0.9, luck, "hde")
    there = Costs(luck * 3.3, luck * 2.0, "zstd")
    value, low, high = beyond(there, here, Resampling(rng))
    # (3.3 / 2.0) / (0.9 / 1.0) - 1: the luck of an episode falls out, so nothing is left for chance
    assert (value, low, high) == pytest.approx((3.3 / 1.8 - 1,) * 3)


def test_every_path_of_a_scenario_is_turned_by_itself():
    assert [one for one in knobs(find_scenario("two-links")) if one.endswith("capacity")] == [
        f"{path.name}.capacity" for path in find_scenario("two-links").paths
    ]


@pytest.fixture
def searched(say, tiny, monkeypatch):
    """Folders of the same search, done twice, and what was printed."""
    found = []
    for home in ("first", "second"):
        (tiny.parent / home).mkdir()
        monkeypatch.chdir(tiny.parent / home)
        words = ["--tries", 6, "--episodes", 2, "--fresh", 6, "--keep", 2, "--spread", 0.8, "--out", "slow"]
        code, out, err = say("worst", "none", tiny, *words)
        assert (code, err) == (0, [])
        found.append((tiny.parent / home / "slow", out))
    return found


def test_the_same_seed_leaves_the_same_files_and_scenarios_that_can_be_trained_on(searched, tmp_path):
    (first, printed), (second, _) = searched
    names = sorted(path.name for path in first.iterdir())
    assert names[-5:] == ["study.db", "tiny-slow-1.yaml", "tiny-slow-2.yaml", "tries.csv", "worst.csv"]
    for name in names:
        if name != STUDY:  # Optuna writes the time of day into it
            assert (first / name).read_bytes() == (second / name).read_bytes(), name
    found, tries = pd.read_csv(first / "worst.csv"), pd.read_csv(first / "tries.csv")
    assert list(found["scenario"]) == ["tiny", "tiny-slow-1", "tiny-slow-2"]
    assert list(tries["try"]) == list(range(6))
    # who sends as it is pays more than the best codec: on fresh episodes, too, and with all of the interval
    assert (found["gap_low"] > 0).all() and found["gap"][1] > found["gap"][0]
    assert "tiny-slow-1" in printed and "fresh: 6 other episodes" in printed

    worst = load_scenario(first / "tiny-slow-1.yaml")
    assert worst.paths[0].model.capacity * 8e-6 == pytest.approx(found["capacity"][1])
    given = {"scenarios": ["wan", str(first / "tiny-slow-1.yaml")]}
    config = ExperimentConfig.model_validate({"name": "x", "title": "x", "environment": given})
    assert Episodes(config).scenarios["tiny-slow-1"] == worst


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["zsdt", "wan"], r"POLICY: unknown policy 'zsdt' .*did you mean 'zstd'"),
        (["ppo", "wan"], r"POLICY: unknown policy 'ppo'"),
        (["none", "wam"], r"did you mean 'wan'"),
        (["none", "wan", "--against", "estimat"], r"--against: unknown policy 'estimat' .*'estimate'"),
        (["none", "wan", "--learner", "ppo"], r"--learner: is for run folders, and none is none"),
        (["results/none", "wan"], r"expected the folder of a run, with a config\.yaml"),
        (["none", "wan", "--spread", "3"], r"Invalid value for '--spread'"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(say, tmp_path, monkeypatch, words, problem):
    monkeypatch.chdir(tmp_path)
    code, _, err = say("worst", *words)
    assert code == 2
    assert len(err) == 1 and re.search(problem, err[0]), err
    assert list(tmp_path.iterdir()) == []


def test_the_policies_of_a_run_and_its_bundles_are_the_same(finished):
    run = (finished / "tiny" / "latest").resolve()
    trained, bundle = player(str(run), "metro", "ppo"), player(str(run / "bundles" / "ppo"), "metro")
    assert trained.scenario.requests == 16  # as the config of the run has it
    costs = [Contest(one, "zstd").meet(trained.scenario, [1, 2, 3]).policy for one in (trained, bundle)]
    np.testing.assert_allclose(*costs, rtol=1e-9)
    with pytest.raises(InputError, match=r"--learner: .* has trained no 'pp'; did you mean 'ppo'"):
        player(str(run), "metro", "pp")
