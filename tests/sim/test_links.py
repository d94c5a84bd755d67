"""Generated links: closed cases, stationary laws, and the statistics of the public traces they stand for."""

import math
from dataclasses import replace

import numpy as np
import pytest

from sim.links import LINKS, LTE_CHAIN, Chain, LinkModel, generate
from sim.units import GBIT, HOUR, MBIT, MS


def steps(trace, count):
    """Capacity at 0, 1, 2 ... s."""
    return trace.capacity[np.searchsorted(trace.time_s, np.arange(count), side="right") - 1]


def autocorrelation(values, lag):
    centred = values - values.mean()
    return float((centred[:-lag] * centred[lag:]).mean() / values.var())


def medians(model, seconds, traces, rng):
    """Medians over traces of mean, coefficient of variation and autocorrelation at 1, 5 and 10 s."""
    rows = []
    for _ in range(traces):
        x = steps(generate(model, seconds, rng), seconds) / model.capacity
        rows.append([x.mean(), x.std() / x.mean(), *(autocorrelation(x, lag) for lag in (1, 5, 10))])
    return np.median(rows, axis=0)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def test_a_link_without_variation_is_one_row(rng):
    trace = generate(LinkModel(capacity=1e6, rtt_s=0.02, loss=0.01), 3600.0, rng)
    columns = (trace.time_s, trace.capacity, trace.rtt_s, trace.loss, trace.cross_streams)
    assert [column.tolist() for column in columns] == [[0], [1e6], [0.02], [0.01], [0]]


def test_log_capacity_has_the_stationary_law_of_an_ornstein_uhlenbeck_process(rng):
    model = LinkModel(capacity=1e6, sigma=0.5, tau_s=5.0)
    x = np.log(steps(generate(model, 200_000.0, rng), 200_000) / 1e6)
    assert x.mean() == pytest.approx(-0.125, abs=0.02)
    assert x.std() == pytest.approx(0.5, abs=0.01)
    for lag in (1, 5, 15):
        assert autocorrelation(x, lag) == pytest.approx(math.exp(-lag / 5), abs=0.02)


def test_a_trace_begins_in_the_stationary_law_and_keeps_its_mean(rng):
    model = LinkModel(capacity=1e6, sigma=0.5, tau_s=1e4)
    first = np.array([generate(model, 1.0, rng).capacity[0] for _ in range(4000)]) / 1e6
    assert np.log(first).std() == pytest.approx(0.5, abs=0.02)
    assert first.mean() == pytest.approx(1.0, abs=0.03)


def test_variation_does_not_depend_on_the_step(rng):
    fine = replace(LinkModel(capacity=1e6, sigma=0.5, tau_s=5.0), step_s=0.25)
    trace = generate(fine, 50_000.0, rng)
    x = np.log(trace.capacity)
    assert trace.time_s[1] == 0.25
    assert autocorrelation(x, 20) == pytest.approx(math.exp(-1), abs=0.03)


def test_outages_have_their_share_and_their_mean_length(rng):
    model = LinkModel(capacity=1e6, outage_share=0.1, outage_s=5.0)
    out = steps(generate(model, 200_000.0, rng), 200_000) < 1e6
    lengths = np.diff(np.flatnonzero(np.diff(np.concatenate(([False], out, [False])).astype(int))))[::2]
    assert out.mean() == pytest.approx(0.1, abs=0.01)
    # An exponential length seen once a second, given that it is seen: 1 / (1 - exp(-1/5)); up times join few.
    assert lengths.mean() == pytest.approx(1 / (1 - math.exp(-1 / 5)), rel=0.06)
    assert set(np.unique(steps(generate(model, 500.0, rng), 500))) <= {1e6, 2e4}


def test_the_busy_hour_takes_its_share(rng):
    model = LinkModel(capacity=1e6, diurnal=0.3, busy_hour=21.0)
    trace = generate(model, 24 * HOUR, rng, start_hour=9.0)
    assert trace.capacity[0] == pytest.approx(1e6)
    assert trace.capacity[trace.at(12 * HOUR)] == pytest.approx(0.7e6)
    assert trace.capacity[trace.at(6 * HOUR)] == pytest.approx(0.85e6)
    assert trace.mean_capacity(24 * HOUR) == pytest.approx(0.85e6, rel=1e-4)


def test_cross_streams_follow_the_infinite_server_queue(rng):
    model = LinkModel(capacity=1e6, cross_streams=4.0, cross_tau_s=10.0)
    trace = generate(model, 200_000.0, rng)
    streams = trace.cross_streams[np.searchsorted(trace.time_s, np.arange(200_000), side="right") - 1]
    assert streams.mean() == pytest.approx(4.0, abs=0.1)
    assert streams.var() == pytest.approx(4.0, abs=0.3)
    assert autocorrelation(streams, 10) == pytest.approx(math.exp(-1), abs=0.03)
    assert (streams == 0).mean() == pytest.approx(math.exp(-4), abs=0.005)


def test_the_chain_spends_its_time_as_measured(rng):
    model = LinkModel(capacity=1.0, chain=LTE_CHAIN)
    x = np.concatenate([steps(generate(model, 1000.0, rng), 1000) for _ in range(100)])
    below = [np.mean(x < bound) for bound in (0.05, 0.4, 0.8, 1.4)]
    assert below == pytest.approx(np.cumsum([0.027, 0.145, 0.258, 0.355]), abs=0.06)
    assert x.mean() == pytest.approx(0.98, abs=0.03)


def test_lte_varies_like_the_public_traces(rng):
    model = replace(LINKS["lte"], capacity_log_sd=0.0, diurnal=0.0)
    mean, spread, *memory = medians(model, 500, 100, rng)
    assert mean == pytest.approx(1.0, abs=0.05)
    assert spread == pytest.approx(0.60, abs=0.10)
    assert memory == pytest.approx([0.82, 0.44, 0.27], abs=0.16)


def test_the_last_mile_varies_like_the_public_traces(rng):
    model = replace(LINKS["internet"], capacity_log_sd=0.0, diurnal=0.0)
    _, spread, lag_1, *_ = medians(model, 500, 100, rng)
    assert spread == pytest.approx(0.36, abs=0.04)
    assert lag_1 == pytest.approx(0.80, abs=0.04)


def test_five_g_varies_like_the_public_traces(rng):
    model = replace(LINKS["fiveg"], capacity_log_sd=0.0, diurnal=0.0)
    _, spread, lag_1, *_ = medians(model, 2000, 40, rng)
    assert spread == pytest.approx(1.6, abs=0.25)
    assert lag_1 == pytest.approx(0.84, abs=0.17)


def test_wide_area_paths_are_spread_like_the_measured_region_pairs(rng):
    traces = [generate(LINKS["wan"], 1.0, rng) for _ in range(6000)]
    rtt_s = np.array([trace.rtt_s[0] for trace in traces])
    capacity = np.array([trace.capacity[0] for trace in traces])
    loss = np.array([trace.loss[0] for trace in traces])
    assert rtt_s.mean() == pytest.approx(0.149, rel=0.03)
    assert rtt_s.std() == pytest.approx(0.086, rel=0.10)
    assert np.median(capacity) == pytest.approx(5.7 * GBIT, rel=0.03)
    assert np.log(capacity).std() == pytest.approx(math.hypot(0.44, 0.1), rel=0.04)
    assert (loss == 0).mean() == pytest.approx(0.37, abs=0.02)
    assert np.median(loss) == pytest.approx(3e-4, rel=0.35)
    assert loss.max() <= 0.05


def test_wide_area_round_trips_jitter_by_a_third_of_a_percent(rng):
    trace = generate(LINKS["wan"], 2000.0, rng)
    assert trace.rtt_s.std() / trace.rtt_s.mean() == pytest.approx(0.003, rel=0.15)


def test_the_constrained_scenario_matches_its_published_recurrence(rng):
    used, path = 0.8, []
    for noise in rng.uniform(-0.025, 0.025, 50_000):
        used += 0.1 * (0.8 - used) + noise
        path.append((1 - used) * 100 * MBIT)
    published = np.array(path)
    ours = steps(generate(LINKS["constrained"], 50_000.0, rng), 50_000)
    assert ours.mean() == pytest.approx(published.mean(), rel=0.02)
    assert ours.std() == pytest.approx(published.std(), rel=0.05)
    assert autocorrelation(ours, 10) == pytest.approx(autocorrelation(published, 10), abs=0.05)


def test_the_same_generator_state_gives_the_same_trace():
    for model in LINKS.values():
        first, same, other = (generate(model, 60.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert first.capacity.tolist() == same.capacity.tolist()
        assert first.rtt_s.tolist() == same.rtt_s.tolist()
        assert first.capacity.tolist() != other.capacity.tolist()


@pytest.mark.parametrize("name", LINKS)
def test_every_link_gives_a_trace_of_any_length(name, rng):
    for seconds in (0.3, 1.0, 90.5, 600.0):
        trace = generate(LINKS[name], seconds, rng, start_hour=20.5)
        assert trace.time_s[-1] < seconds + LINKS[name].step_s
        assert 0.1 * MS < trace.rtt_s.min() <= trace.rtt_s.max() < 3.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"capacity": 0.0}, r"capacity must be finite and above 0, got 0"),
        ({"rtt_s": -1.0}, r"rtt_s must be finite and above 0"),
        ({"sigma": -0.1}, r"sigma must be finite and at least 0"),
        ({"tau_s": math.nan}, r"tau_s must be finite and above 0, got nan"),
        ({"loss": 1.5}, r"loss must be a share in \[0, 1\), got 1\.5; write 1 % as 0\.01"),
        ({"outage_share": 1.0}, r"outage_share must be a share"),
        ({"loss_zero_share": 2.0}, r"loss_zero_share must be in \[0, 1\]"),
        ({"busy_hour": 24.0}, r"busy_hour in \[0, 24\)"),
        ({"chain": LTE_CHAIN, "step_s": 0.1}, r"chain steps once a second"),
        ({"chain": LTE_CHAIN, "sigma": 0.1}, r"set no others"),
    ],
)
def test_a_link_model_out_of_range_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        LinkModel(**{"capacity": 1e6, **change})


@pytest.mark.parametrize(
    ("levels", "transition"),
    [((1.0, 2.0), ((1.0, 0.0),)), ((1.0,), ((0.5,),)), ((0.0,), ((1.0,),)), ((1.0,), ((0.5, 0.5),))],
)
def test_a_chain_that_is_no_chain_is_refused(levels, transition):
    with pytest.raises(ValueError, match=r"chain .*needs"):
        Chain(levels, transition)
