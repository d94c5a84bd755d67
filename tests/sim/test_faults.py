"""Faults: overlays worked by hand, and the long-run shares of the processes that draw them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.faults import FaultModel, Faults, draw_faults, host_cores, intervals, overlay
from sim.traces import Trace


def faults(cuts=(), bursts=(), cores=()):
    held = (np.array(rows, dtype=float).reshape(-1, 3) for rows in (cuts, bursts, cores))
    return Faults(*held, np.empty(0), np.empty(0, dtype=np.int64), np.empty(0))


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def link():
    return Trace(
        np.array([0.0, 10.0]),
        np.array([8.0, 4.0]),
        np.array([0.1, 0.2]),
        np.array([0.0, 0.5]),
        np.array([1.0, 2.0]),
    )


def test_nothing_fails_by_default(rng, link):
    drawn = draw_faults(FaultModel(), 1e6, datasets=9, transfers=3, rng=rng)
    assert not any(len(array) for array in drawn[:5])
    assert np.isnan(drawn.break_share).tolist() == [True] * 3
    assert overlay(link, drawn) is link


def test_a_cut_takes_capacity_between_its_ends(link):
    hit = overlay(link, faults(cuts=[(4, 12, 0.5)]))
    assert hit.time_s.tolist() == [0, 4, 10, 12]
    assert hit.capacity.tolist() == [8, 4, 2, 4]
    assert hit.rtt_s.tolist() == [0.1, 0.1, 0.2, 0.2]
    assert hit.cross_streams.tolist() == [1, 1, 2, 2]


def test_where_two_cuts_overlap_the_lower_holds(link):
    hit = overlay(link, faults(cuts=[(1, 5, 0.5), (2, 3, 0.0)]))
    assert hit.time_s.tolist() == [0, 1, 2, 3, 5, 10]
    assert hit.capacity.tolist() == [8, 4, 0, 4, 8, 4]


def test_a_cut_from_the_start_and_past_the_end_has_an_end(link):
    hit = overlay(link, faults(cuts=[(0, 99, 0.0)]))
    assert hit.time_s.tolist() == [0, 10, 99]
    assert hit.capacity.tolist() == [0, 0, 4]


def test_burst_and_link_lose_packets_independently(link):
    hit = overlay(link, faults(bursts=[(9, 11, 0.1)]))
    assert hit.time_s.tolist() == [0, 9, 10, 11]
    assert hit.loss.tolist() == pytest.approx([0, 0.1, 1 - 0.5 * 0.9, 0.5])
    assert hit.loss[-1] == 0.5


def test_a_fault_without_effect_leaves_no_breakpoint(link):
    assert overlay(link, faults(cuts=[(3, 4, 1.0)])).time_s.tolist() == [0, 10]


HELD = st.lists(st.tuples(st.floats(0, 50), st.floats(0.1, 50), st.floats(0, 0.9)), max_size=5)


@given(HELD, HELD, st.floats(0, 120))
@settings(max_examples=80, deadline=None)
def test_at_any_time_the_worst_of_all_faults_holds(cuts, bursts, time_s):
    calm = Trace(np.array([0.0]), np.array([100.0]), np.array([0.1]), np.array([0.2]), np.array([0.0]))
    hit = overlay(calm, faults(*([(a, a + b, c) for a, b, c in rows] for rows in (cuts, bursts))))
    left = min([c for a, b, c in cuts if a <= time_s < a + b], default=1.0)
    lost = max([c for a, b, c in bursts if a <= time_s < a + b], default=0.0)
    row = hit.at(time_s)
    assert hit.capacity[row] == pytest.approx(100 * left)
    assert hit.loss[row] == pytest.approx(1 - 0.8 * (1 - lost))


def test_bursts_lose_the_mean_of_a_gilbert_elliott_channel(rng):
    # 40 in an hour of good link: 90 s good, 10 s bad, so 10 % of the time at 5 % loss on top of 0.1 %.
    model = FaultModel(bursts_per_hour=40, burst_s=10.0, burst_loss=0.05)
    calm = Trace(np.array([0.0]), np.array([1.0]), np.array([0.1]), np.array([0.001]), np.array([0.0]))
    hit = overlay(calm, draw_faults(model, 1e6, datasets=1, transfers=0, rng=rng))
    lengths_s = np.diff(np.append(hit.time_s, 1e6))
    mean = float((hit.loss * lengths_s).sum() / 1e6)
    assert mean == pytest.approx(0.9 * 0.001 + 0.1 * (0.05 + 0.95 * 0.001), rel=0.05)


def test_outages_take_their_share_of_capacity(rng):
    # 36 an hour of working link, 5 s each: out 5 of 105 s, and 2 % of the capacity left.
    model = FaultModel(outages_per_hour=36, outage_s=5.0, outage_capacity=0.02)
    calm = Trace(np.array([0.0]), np.array([1.0]), np.array([0.1]), np.array([0.0]), np.array([0.0]))
    hit = overlay(calm, draw_faults(model, 1e6, datasets=1, transfers=0, rng=rng))
    assert 1 - hit.mean_capacity(1e6) == pytest.approx(0.98 * 5 / 105, rel=0.05)


def test_an_on_off_process_begins_in_its_steady_state(rng):
    down = [len(found := intervals(30.0, 10.0, 1.0, rng)) > 0 and found[0, 0] == 0 for _ in range(4000)]
    assert np.mean(down) == pytest.approx(0.25, abs=0.025)


def test_intervals_increase_and_do_not_touch(rng):
    found = intervals(3.0, 2.0, 5000.0, rng)
    assert (np.diff(found.ravel()) > 0).all()
    assert (found[:, 1] - found[:, 0]).mean() == pytest.approx(2.0, rel=0.12)
    assert found[-1, 0] < 5000.0


def test_a_host_loses_cores_and_gets_them_back():
    time_s, cores = host_cores(16, faults(cores=[(0, 2, 0.25), (5, 6, 0.5)]))
    assert time_s.tolist() == [0, 2, 5, 6]
    assert cores.tolist() == [4, 16, 8, 16]


def test_baselines_are_lost_at_their_rate_and_by_every_dataset(rng):
    drawn = draw_faults(FaultModel(baseline_losses_per_hour=2), 36_000.0, datasets=50, transfers=0, rng=rng)
    assert len(drawn.baseline_loss_s) == pytest.approx(1000, abs=4 * 1000**0.5)
    assert (np.diff(drawn.baseline_loss_s) >= 0).all()
    assert set(drawn.baseline_loss_dataset.tolist()) == set(range(50))


def test_transfers_break_at_their_share_and_anywhere(rng):
    drawn = draw_faults(FaultModel(broken_share=0.2), 60.0, datasets=1, transfers=20_000, rng=rng)
    breaks = drawn.break_share[~np.isnan(drawn.break_share)]
    assert len(breaks) / 20_000 == pytest.approx(0.2, abs=0.012)
    assert breaks.min() >= 0
    assert breaks.max() < 1
    assert breaks.mean() == pytest.approx(0.5, abs=0.02)


def test_more_breakage_breaks_the_same_transfers_and_others():
    few, many = (
        draw_faults(
            FaultModel(broken_share=p), 60.0, datasets=1, transfers=500, rng=np.random.default_rng(1)
        ).break_share
        for p in (0.1, 0.3)
    )
    broken = ~np.isnan(few)
    assert few[broken].tolist() == many[broken].tolist()


def test_the_same_generator_state_gives_the_same_faults():
    model = FaultModel(30, drops_per_hour=9, bursts_per_hour=60, core_losses_per_hour=9, broken_share=0.5)
    first, same = (draw_faults(model, 3600.0, 4, 20, np.random.default_rng(7)) for _ in range(2))
    for a, b in zip(first, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(first.capacity_cuts) and len(first.loss_bursts) and len(first.core_cuts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outages_per_hour": -1.0}, r"outages_per_hour must be finite and at least 0, got -1"),
        ({"bursts_per_hour": float("nan")}, r"bursts_per_hour must be finite"),
        ({"outage_s": 0.0}, r"outage_s must be above 0, got 0; for no such fault set its rate to 0"),
        (
            {"drop_capacity": 10.0},
            r"drop_capacity must be a share in \[0, 1\], got 10\.0; write 1 % as 0\.01",
        ),
        ({"burst_loss": 1.0}, r"burst_loss must be in \[0, 1\), got 1"),
        ({"cores_left": 0.0}, r"cores_left must be above 0"),
        ({"broken_share": 1.1}, r"broken_share must be a share"),
    ],
)
def test_a_fault_model_out_of_range_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        FaultModel(**change)
