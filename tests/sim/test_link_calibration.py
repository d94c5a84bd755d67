"""Calibration of links: known parameters come back from their log, and what has no effect is not told."""

from dataclasses import replace

import numpy as np
import pytest

from sim.catalogue import SCENARIOS
from sim.codecs import FITTED, parse_codec
from sim.episode import draw_episode
from sim.errors import InputError
from sim.links import LinkModel
from sim.scenario_file import load_scenario, save_scenario
from sim.telemetry_file import write_transfers
from sim.testbed.link_fit import LinkFit, fit_link
from sim.testbed.link_log import read_link_log
from sim.testbed.link_replay import PARAMETERS, Replay, from_search, to_search
from sim.testbed.link_search import ranked_scores
from sim.testbed.link_site import site_calibration, site_scenario
from sim.units import MBIT, MS
from sim.workloads import Workload
from sim.world import World

TRUE = LinkModel(24 * MBIT, rtt_s=30 * MS, loss=2e-3, cross_streams=0.0, step_s=5.0)
SITE = SCENARIOS["internet"].with_(
    requests=400,
    start_hour=12.0,
    paths=(replace(SCENARIOS["internet"].paths[0], link=TRUE),),
    workload=Workload(
        mix={"text-log": 0.5, "compressed": 0.5}, interval_s=3.0, size_scale=0.05, max_bytes=3e7
    ),
)
HEADER = "arrival_s,size_bytes,codec,end_s"


@pytest.fixture(scope="module")
def log_file(tmp_path_factory):
    """Telemetry of transfers by copies of one and of eight streams: no coder is at work."""
    codecs = [parse_codec(name) for name in ("none", "amst")]
    world = World(draw_episode(SITE, 3), codecs)
    rng = np.random.default_rng(0)
    while world.next_question() is not None:
        world.answer(int(rng.integers(2)))
    path = tmp_path_factory.mktemp("log") / "transfers.parquet"
    write_transfers(world, path)
    return path


@pytest.fixture(scope="module")
def fit(log_file) -> LinkFit:
    log = read_link_log(log_file, ["main"], 0)
    base = SCENARIOS["internet"]
    return fit_link(log, base, 0, evaluations=800, draws=2, rng=np.random.default_rng(2), tick=lambda: None)


def test_the_log_of_a_known_link_is_replayed_to_the_second(log_file):
    log = read_link_log(log_file, ["main"], 0)
    values = np.array([TRUE.capacity, 0.0, TRUE.rtt_s, TRUE.loss, 0.0, 1.0])
    seconds = Replay(log, SITE, 0, draws=2).seconds(values)
    assert np.median(np.abs(seconds / log.seconds - 1)) < 0.01


def test_known_parameters_come_back(fit):
    found = {one.name: one for one in fit.estimates}
    for name, true, tolerance in (
        ("capacity", TRUE.capacity, 0.1),
        ("rtt_s", TRUE.rtt_s, 0.1),
        ("loss", TRUE.loss, 0.25),
    ):
        assert found[name].identified, found[name]
        assert found[name].value == pytest.approx(true, rel=tolerance), found[name]
        assert found[name].low <= found[name].value <= found[name].high


def test_a_parameter_without_effect_is_not_told(fit):
    coder = fit.estimates[-1]
    assert coder.name == "encode_factor" and not coder.identified
    assert coder.high == PARAMETERS[-1].high  # however fast the coders
    assert any(set(direction.factors) == {"encode_factor"} for direction in fit.flat)
    assert site_calibration(FITTED, fit) is None


def test_the_later_part_of_the_log_is_foretold_better_than_before(fit):
    assert fit.held_out[0] < 0.05 < fit.held_out_before[0]


def test_the_fitted_site_is_a_scenario_that_episodes_are_drawn_from(fit, log_file, tmp_path):
    log = read_link_log(log_file, ["main"], 0)
    site = site_scenario("mine", SCENARIOS["internet"], 0, log, fit)
    save_scenario(site, tmp_path / "mine.yaml")
    assert load_scenario(tmp_path / "mine.yaml") == site
    episode = draw_episode(site, 1)
    assert episode.nominal[0] == pytest.approx(TRUE.capacity, rel=0.1)
    assert site.workload.interval_s == pytest.approx(3.0, rel=0.3)


def test_search_space_and_values_turn_into_each_other():
    values = np.array([1e7, 0.0, 0.05, 0.0, 0.0, 1.0])
    assert from_search(to_search(values)) == pytest.approx(values, rel=1e-9, abs=1e-12)


def test_the_score_prefers_the_true_spread():
    rng = np.random.default_rng(0)
    observed = rng.standard_normal(2000)
    scores = {
        sd: ranked_scores(sd * rng.standard_normal((20, 2000)), observed).mean() for sd in (0.2, 1.0, 3.0)
    }
    assert min(scores, key=scores.__getitem__) == 1.0
    assert scores[1.0] == pytest.approx(np.pi**-0.5, rel=0.05)  # of a standard normal law, by its formula


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (["arrival_s,size_bytes,end_s", "0,1000,1"], "missing: codec"),
        (["arrival_s,size_bytes,codec", "0,1000,none"], "missing: end_s"),
        ([HEADER, "5,1000,none,4"], "line 2: end_s must be after the start at 5 s, got 4"),
        ([HEADER, "0,1000,zstdd,4"], "line 2: unknown codec 'zstdd'; did you mean 'zstd'"),
        ([HEADER, "0,1000,none,soon"], "line 2: end_s must be a finite number above 0, got 'soon'"),
        ([HEADER, "0,1000,none,4"], "expected at least 40 transfers on path 'main', got 1; log for longer"),
    ],
)
def test_a_log_that_cannot_be_fitted_is_refused_in_one_line(tmp_path, rows, problem):
    path = tmp_path / "log.csv"
    path.write_text("\n".join(rows) + "\n")
    with pytest.raises(InputError, match=problem) as refused:
        read_link_log(path, ["main"], 0)
    assert str(refused.value).startswith(str(path)) and "\n" not in str(refused.value)
