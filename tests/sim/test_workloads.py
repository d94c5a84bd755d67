"""What is drawn of a workload, against the rates, shares and sizes that it states."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sim.payloads import CLASS_NAMES, MIXES
from sim.workloads import Workload, _by_share, draw_requests

PLAIN = Workload(interval_s=2.0, datasets=10)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def gaps(
    workload: Workload, count: int = 20_000, start_hour: float = 0.0
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.diff(draw_requests(workload, count, rng(), start_hour).arrival_s)


def test_poisson_gaps_have_the_stated_mean_and_as_large_a_spread() -> None:
    found = gaps(PLAIN)
    assert found.mean() == pytest.approx(2.0, rel=0.03)
    assert found.std() == pytest.approx(2.0, rel=0.03)


def test_bursty_gaps_have_the_same_mean_and_a_larger_spread() -> None:
    found = gaps(replace(PLAIN, arrivals="bursty"), 100_000)
    assert found.mean() == pytest.approx(2.0, rel=0.05)
    # of a lognormal mixture of exponentials: cv^2 = 2 exp(0.8^2) - 1
    assert (found.std() / found.mean()) ** 2 == pytest.approx(2 * np.exp(0.64) - 1, rel=0.2)


def test_the_middle_third_of_a_flash_crowd_is_six_times_faster() -> None:
    found = gaps(replace(PLAIN, arrivals="flash"), 30_001)
    thirds = [part.mean() for part in np.array_split(found, 3)]
    assert thirds == pytest.approx([2.0, 2.0 / 6, 2.0], rel=0.05)


def test_by_day_more_is_sent_than_by_night() -> None:
    slow = replace(PLAIN, arrivals="diurnal")
    day, night = (
        gaps(slow, 1000, start_hour=hour).mean() for hour in (13.7, 1.7)
    )  # 2000 s about the extremes
    assert night / day == pytest.approx(1.4 / 0.6, rel=0.15)


def test_state_sync_has_the_stated_mean_interval_over_many_sites() -> None:
    sync = replace(PLAIN, arrivals="sync", one_off=0.0)
    rates = [99 / np.ptp(draw_requests(sync, 100, rng(seed)).arrival_s) for seed in range(300)]
    assert np.mean(rates) == pytest.approx(1 / 2.0, rel=0.05)


def test_in_state_sync_every_dataset_keeps_its_own_period() -> None:
    drawn = draw_requests(replace(PLAIN, arrivals="sync", one_off=0.0), 2000, rng())
    for dataset in range(10):
        steps = np.diff(drawn.arrival_s[drawn.dataset == dataset])
        assert steps.std() / steps.mean() < 0.1  # sqrt(2) times 5 % of jitter


def test_arrivals_never_run_backwards() -> None:
    for arrivals in ("poisson", "bursty", "diurnal", "sync", "flash"):
        drawn = draw_requests(replace(PLAIN, arrivals=arrivals), 500, rng(3))
        assert (np.diff(drawn.arrival_s) >= 0).all()
        assert drawn.arrival_s[0] >= 0


def test_one_offs_are_sent_once_and_numbered_after_the_others() -> None:
    drawn = draw_requests(replace(PLAIN, one_off=0.3), 10_000, rng())
    once = drawn.dataset >= 10
    assert once.mean() == pytest.approx(0.3, abs=0.02)
    assert drawn.dataset[once].tolist() == list(range(10, 10 + once.sum()))
    assert len(drawn.kind_of_dataset) == 10 + once.sum()


def test_a_draw_by_shares_is_the_choice_of_numpy() -> None:
    shares = np.array([0.2, 0.0, 0.5, 0.3])
    drawn = _by_share(shares, 1000, np.random.default_rng(5))
    assert (drawn == np.random.default_rng(5).choice(4, size=1000, p=shares)).all()


def test_popularity_falls_as_zipf() -> None:
    drawn = draw_requests(replace(PLAIN, one_off=0.0), 50_000, rng())
    share = np.sort(np.bincount(drawn.dataset, minlength=10))[::-1] / 50_000
    expected = np.arange(1, 11) ** -0.8
    assert share == pytest.approx(expected / expected.sum(), abs=0.01)


def test_classes_of_recurring_datasets_are_as_near_to_the_mix_as_whole_numbers_go() -> None:
    workload = Workload(mix={"db": 0.5, "random": 0.3, "float": 0.2}, datasets=10)
    drawn = draw_requests(workload, 100, rng())
    counts = np.bincount(drawn.kind_of_dataset[:10], minlength=len(CLASS_NAMES))
    assert [counts[CLASS_NAMES.index(name)] for name in ("db", "random", "float")] == [5, 3, 2]


def test_a_dataset_keeps_its_size_within_a_tenth() -> None:
    drawn = draw_requests(replace(PLAIN, one_off=0.0, max_bytes=1e15), 5000, rng())
    for dataset in range(10):
        assert np.log(drawn.size_bytes[drawn.dataset == dataset]).std() == pytest.approx(0.1, rel=0.25)


def test_sizes_scale_end_at_the_largest_and_can_be_fixed() -> None:
    one = draw_requests(replace(PLAIN, max_bytes=1e15), 500, rng()).size_bytes
    tenth = draw_requests(replace(PLAIN, max_bytes=1e15, size_scale=0.1), 500, rng()).size_bytes
    assert tenth == pytest.approx(one / 10, abs=1025)
    assert draw_requests(replace(PLAIN, max_bytes=1e6), 500, rng()).size_bytes.max() == 1e6
    assert set(draw_requests(replace(PLAIN, fixed_bytes=4e9), 50, rng()).size_bytes) == {4e9}


def test_priorities_and_deadlines_come_in_the_stated_shares() -> None:
    drawn = draw_requests(PLAIN, 20_000, rng())
    tiers = [(drawn.priority == tier).mean() for tier in (3.0, 2.0, 1.0)]
    assert tiers == pytest.approx([0.2, 0.3, 0.5], abs=0.01)
    slack = drawn.deadline_slack[np.isfinite(drawn.deadline_slack)]
    assert len(slack) / 20_000 == pytest.approx(0.4, abs=0.01)
    assert slack.min() >= 1.5
    assert slack.max() <= 6.0
    assert slack.mean() == pytest.approx(3.75, rel=0.02)


def test_the_same_generator_draws_the_same() -> None:
    for one, other in zip(draw_requests(PLAIN, 100, rng(5)), draw_requests(PLAIN, 100, rng(5)), strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("mix", [*MIXES, {"db": 3.0, "float": 1.0}])
def test_shares_of_every_mix_sum_to_one(mix: Any) -> None:
    assert Workload(mix=mix).shares.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"mix": "nonsense"}, "mix"),
        ({"mix": {"nonsense": 1.0}}, "mix .*nonsense"),
        ({"mix": {"db": 0.0}}, "mix"),
        ({"interval_s": 0.0}, "interval_s"),
        ({"size_scale": -1.0}, "size_scale"),
        ({"max_bytes": 0.0}, "max_bytes"),
        ({"fixed_bytes": 0.5}, "fixed_bytes"),
        ({"flash_factor": 0.0}, "flash_factor"),
        ({"datasets": 0}, "datasets"),
        ({"one_off": 1.1}, "one_off"),
        ({"deadlines": -0.1}, "deadlines"),
        ({"priority_shares": (0.5, 0.5)}, "priority_shares"),
        ({"priorities": (1.0, 0.0, 1.0)}, "priorities"),
        ({"slack": (2.0, 1.0)}, "slack"),
        ({"arrivals": "sometimes"}, "arrivals"),
    ],
)
def test_a_bad_workload_names_the_field(change: dict[str, Any], names: str) -> None:
    with pytest.raises(ValueError, match=f"workload {names}"):
        replace(PLAIN, **change)


def test_a_single_dataset_in_sync_is_sent_as_often_as_asked() -> None:
    alone = replace(PLAIN, arrivals="sync", datasets=1, one_off=0.0)
    for seed in range(200):
        assert len(draw_requests(alone, 128, np.random.default_rng(seed)).arrival_s) == 128
