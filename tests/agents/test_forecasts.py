"""Predictors of links and transfers: what they may see, what they come to, and policies that read them."""

from dataclasses import replace

import numpy as np
import pytest

from agents.predicted import Predicted
from agents.supervised.boosted import BoostedConfig
from agents.supervised.density import DensityConfig
from agents.supervised.forecaster import INPUTS as STEP_INPUTS
from agents.supervised.forecaster import OUTPUTS, Forecaster, windows
from agents.supervised.foresight import BandwidthForesight, PerformanceForesight, probe_windows
from agents.supervised.futures import another_future, seconds_in
from agents.supervised.link_futures import State, next_bandwidth
from agents.supervised.model import Part
from agents.supervised.outcomes import INPUTS, PROSPECT_S, Exploring, record
from agents.supervised.performance import (
    QUANTILES,
    SAID_S,
    PerformancePredictor,
    likeliest,
    performance_part,
    within,
)
from agents.supervised.probe_history import probe_history
from agents.supervised.prospects import prospects
from agents.supervised.sequences import SequenceConfig
from envs.codec_lanes import CodecLanes
from envs.compression import Compression
from envs.features import CODEC_FEATURES, Feature
from experiments.forecasts import options_with_forecasts
from experiments.supervised.graphs import graph, measure
from sim.catalogue import SCENARIOS, UNCOUPLED
from sim.codecs import parse_codec
from sim.episode import draw_episode
from sim.errors import InputError
from sim.links import LinkModel
from sim.scenarios import Probe
from sim.units import MBIT
from sim.world import World

SMALL = DensityConfig(units=16, epochs=3)
CODECS = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]
EPISODE = draw_episode(SCENARIOS["wan"].with_(requests=24), seed=3)


@pytest.fixture(scope="module")
def outcomes():
    return record([EPISODE], CODECS, Exploring(0.5, np.random.default_rng(0)))


@pytest.fixture(scope="module")
def predictor(outcomes):
    model = PerformancePredictor(BoostedConfig("quantile", QUANTILES, rounds=20, depth=3), SMALL)
    part = performance_part(outcomes)
    model.fit(part, part, np.random.default_rng(0))
    return model


@pytest.fixture(scope="module")
def forecaster():
    """Trained on noise around a level that differs from window to window: the mean is the best forecast."""
    rng = np.random.default_rng(0)
    level = np.exp(rng.normal(2.0, 1.0, (1500, 1, 1)))
    steps = level * np.exp(0.5 * rng.normal(size=(1500, 31, 7)))
    part = Part(steps[:, :30].astype(np.float32), steps[:, 30, :4])
    model = Forecaster(STEP_INPUTS, OUTPUTS, SequenceConfig(30, units=8, epochs=4, batch=64, rate=1e-2))
    model.fit(part, part, rng)
    return model


def test_windows_end_at_each_step_and_hold_the_steps_before():
    found = windows(np.arange(12.0).reshape(6, 2), 3)
    assert found.shape == (4, 3, 2)
    assert found[1].tolist() == [[2, 3], [4, 5], [6, 7]]
    assert windows(np.zeros((2, 2)), 3).shape == (0, 3, 2)


def test_a_forecast_of_noise_is_nearer_than_the_last_value_and_near_the_mean(forecaster):
    rng = np.random.default_rng(1)
    steps = 20 * np.exp(0.5 * rng.normal(size=(1000, 31, 7)))
    rows, truth = steps[:, :30].astype(np.float32), steps[:, 30, :4]
    error = np.abs(forecaster.predict(rows) - truth).mean()
    assert error < 0.8 * np.abs(rows[:, -1, :4] - truth).mean()
    assert error < 1.05 * np.abs(rows[:, :, :4].mean(axis=1) - truth).mean()


def test_a_quantity_that_never_varies_does_not_stop_the_others_from_being_learned():
    rng = np.random.default_rng(0)
    steps = 20 * np.exp(0.5 * rng.normal(size=(600, 31, 7)))
    steps[:, :, 3] = 1e-3
    steps[:, 30, 0] = 1.5 * steps[:, :30, 0].mean(axis=1)  # what is to be learned
    part = Part(steps[:, :30].astype(np.float32), steps[:, 30, :4])
    model = Forecaster(STEP_INPUTS, OUTPUTS, SequenceConfig(30, units=8, epochs=12, batch=32, rate=1e-2))
    model.fit(part, part, rng)
    said = model.predict(part.rows)[:, 0] / part.truth[:, 0]
    assert abs(np.median(said) - 1) < 0.15


def test_a_forecaster_read_back_and_its_graph_say_the_same(forecaster, tmp_path):
    forecaster.save(tmp_path / "model.npz")
    rows = probe_windows(EPISODE, 0)[:50]
    again = Forecaster.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.predict(rows), forecaster.predict(rows))
    assert measure(graph(forecaster), forecaster, rows, rounds=1).gap < 1e-3


def test_forecasts_and_history_of_a_probe_do_not_change_when_later_probes_do(forecaster):
    values = EPISODE.probes.values.copy()
    values[20:] *= 3.0
    other = replace(EPISODE, probes=EPISODE.probes._replace(values=values))
    for table in (BandwidthForesight(forecaster).table, lambda one: probe_history(one.probes)):
        np.testing.assert_allclose(table(EPISODE)[:20], table(other)[:20], rtol=1e-6)
        assert not np.allclose(table(EPISODE)[20], table(other)[20])


def test_the_prospect_of_a_lone_transfer_on_a_steady_path_is_its_true_outlook_up_to_its_noises():
    scenario = UNCOUPLED.with_(requests=20, probe=Probe(period_s=60.0, noise=0.0))
    world = World(draw_episode(scenario, seed=1), CODECS)
    ratios = []
    while (question := world.next_question()) is not None:
        said = prospects(question, question.bandwidth, CODECS)
        ratios.append(said[0, 0] / world.outlook(0).seconds)
        assert said[0, 1] == pytest.approx(question.size_bytes / said[0, 0])
        world.answer(0)
    exact = (
        np.abs(np.array(ratios) - 1.0) < 0.001
    )  # the others are held up by their coder, whose speed varies
    assert exact.mean() > 0.6


def test_what_a_transfer_came_to_is_what_the_world_recorded(outcomes):
    assert len(outcomes) == len(EPISODE)
    assert outcomes.rows.shape == (24, len(INPUTS))
    assert np.isfinite(outcomes.rows).all()
    assert (outcomes.seconds > 0).all()
    assert set(outcomes.request) == set(range(24))


def test_another_future_is_the_same_until_its_moment_and_another_from_there(outcomes):
    row = int(np.flatnonzero(outcomes.request == 10)[0])
    when_s = float(outcomes.start_s[row])
    other = another_future(EPISODE, when_s, 10, np.random.default_rng(0))
    for mine, theirs in zip(EPISODE.conditions, other.conditions, strict=True):
        past = int((EPISODE.conditions.times < when_s).sum())
        np.testing.assert_array_equal(mine[:past], theirs[:past])
    at = [np.searchsorted(one.conditions.times, when_s, side="right") - 1 for one in (EPISODE, other)]
    now = [one.conditions.links[place, 0] for one, place in zip((EPISODE, other), at, strict=True)]
    np.testing.assert_allclose(now[0][[0, 3]], now[1][[0, 3]], rtol=1e-9)
    known = EPISODE.requests.arrival_s <= when_s
    np.testing.assert_array_equal(EPISODE.requests.arrival_s[known], other.requests.arrival_s[known])
    assert not np.array_equal(EPISODE.conditions.links[-50:, :, 0], other.conditions.links[-50:, :, 0])


def test_where_nothing_is_left_to_chance_all_futures_are_what_happened():
    scenario = UNCOUPLED.with_(requests=6)
    episode = draw_episode(scenario, seed=2)
    found = record([episode], CODECS, Exploring(0.0, np.random.default_rng(0)))
    row = int(np.flatnonzero(found.request == 5)[0])
    order = np.argsort(found.request)
    futures = [
        another_future(episode, float(found.start_s[row]), 5, np.random.default_rng(n)) for n in (0, 1)
    ]
    calm = [replace(one, payloads=episode.payloads) for one in futures]  # its coder's speed is chance
    seconds = seconds_in(calm, CODECS, found.codec[order].tolist(), 0.0, np.random.default_rng(0))
    np.testing.assert_allclose(seconds, found.seconds[row], rtol=1e-9)


def test_a_link_that_forgets_at_once_has_its_mean_ahead_and_a_slow_one_its_present():
    fast = LinkModel(1e6, sigma=0.5, tau_s=0.01)
    slow = LinkModel(1e6, sigma=0.5, tau_s=1e7)
    state = State(hour=0.0, level=1e6, capacity=2e6, cross_streams=0.0)
    rng = np.random.default_rng(0)
    assert next_bandwidth(fast, state, 60.0, 400, rng).mean() == pytest.approx(1e6, rel=0.02)
    np.testing.assert_allclose(next_bandwidth(slow, state, 60.0, 50, rng), 2e6, rtol=0.02)


def test_streams_of_others_ahead_are_as_many_as_come_on_average():
    model = LinkModel(1e6, cross_streams=3.0, cross_tau_s=0.5)
    state = State(hour=0.0, level=1e6, capacity=1e6, cross_streams=50.0)
    drawn = next_bandwidth(model, state, 600.0, 50, np.random.default_rng(0))
    expected = 1e6 * (1 - np.exp(-3.0)) / 3.0  # mean of 1 / (1 + N) for a Poisson number of mean 3
    assert drawn.mean() == pytest.approx(expected, rel=0.05)


def test_the_likeliest_prediction_is_within_a_fifth_of_most_samples():
    samples = np.array([1.0, 1.1, 1.3, 9.0])
    assert within(np.array(likeliest(samples)), samples).sum() == 3


def test_a_predictor_of_transfers_that_all_take_thrice_the_promise_says_so(outcomes):
    part = performance_part(outcomes)
    promised = part.rows[:, PROSPECT_S].astype(np.float64)
    truth = np.stack([3 * promised, part.truth[:, 1]], axis=1)
    model = PerformancePredictor(
        BoostedConfig("quantile", QUANTILES, rounds=5, depth=2), DensityConfig(32, 0.0, 100)
    )
    model.fit(part._replace(truth=truth), part._replace(truth=truth), np.random.default_rng(0))
    assert np.median(np.abs(model.predict(part.rows)[:, SAID_S] / (3 * promised) - 1)) < 0.05


def test_a_predictor_read_back_and_its_graph_say_the_same(predictor, outcomes, tmp_path):
    predictor.save(tmp_path / "model.npz")
    again = PerformancePredictor.load(tmp_path / "model.npz")
    said = predictor.predict(outcomes.rows)
    np.testing.assert_array_equal(again.predict(outcomes.rows), said)
    assert (np.diff(said[:, :3], axis=1) >= 0).all()
    assert measure(graph(predictor), predictor, outcomes.rows, rounds=1).gap < 1e-4


class Told:
    """A forecast that is easy to work out: the size in MB, and the seconds since the start."""

    features = (Feature("told_mb", "MB", 0, 1e4, "linear", ""), Feature("told_s", "s", 0, 1e4, "linear", ""))

    def __call__(self, questions, episodes):
        assert len(questions) == len(episodes)
        return np.array([[one.size_bytes / 1e6, one.now_s] for one in questions])


def test_forecasts_follow_the_question_in_the_observation_and_lanes_see_the_same():
    scenario = SCENARIOS["wan"].with_(requests=12)
    env = Compression(scenario, forecasts=[Told()])
    plain = Compression(scenario)
    seen, _ = env.reset(options={"episode": EPISODE})
    bare, _ = plain.reset(options={"episode": EPISODE})
    own = len(CODEC_FEATURES)
    assert env.observation_space.shape == (own + 2,)
    np.testing.assert_array_equal(seen[:own], bare)
    asked = env.world.question
    assert env.features.unscaled(seen)[own] == pytest.approx(asked.size_bytes / 1e6, abs=1e-2)
    lanes = CodecLanes(env, 2, [EPISODE])
    lanes.begin([0, 1])
    ended = False
    while not ended:
        np.testing.assert_allclose(lanes.seen.observations[1], seen, atol=1e-5)
        lanes.step(np.array([1, 1]))
        seen, _, ended, _, _ = env.step(1)
    assert not lanes.seen.observations[1].any()


def test_a_rule_takes_the_codec_with_the_least_predicted_time(predictor):
    env = Compression(SCENARIOS["wan"], forecasts=[PerformanceForesight(predictor, CODECS)])
    seen, _ = env.reset(options={"episode": EPISODE})
    told = env.features.unscaled(seen)
    times = [told[env.features.index(f"predicted_{codec.name}_s")] for codec in CODECS]
    rule = Predicted(env.codecs, env.features, cpu_price=0.0)
    assert times[rule.act(seen)] == min(times)


def test_a_rule_that_reads_predictions_is_refused_where_none_are_seen():
    env = Compression(SCENARIOS["wan"])
    with pytest.raises(ValueError, match="add performance_forecast"):
        Predicted(env.codecs, env.features)


def test_bandwidth_forecasts_are_in_the_units_of_the_probes(forecaster):
    env = Compression(SCENARIOS["wan"], forecasts=[BandwidthForesight(forecaster)])
    seen, _ = env.reset(options={"episode": EPISODE})
    told = env.features.unscaled(seen)
    bandwidth = env.world.question.bandwidth / MBIT
    assert 0.2 < told[env.features.index("bandwidth_forecast_mbps")] / bandwidth < 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"features": ["bandwith_forecast"], "models": "x"}, "did you mean 'bandwidth_forecast'"),
        ({"features": ["bandwidth_forecast"]}, "models: expected the folder"),
    ],
)
def test_forecasts_that_cannot_be_had_are_refused_in_a_line(options, said):
    with pytest.raises(InputError, match=said):
        options_with_forecasts(options, ["zstd"])


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(InputError, match=r"probes\.npz"):
        options_with_forecasts({"features": ["bandwidth_forecast"], "models": str(tmp_path)}, ["zstd"])
