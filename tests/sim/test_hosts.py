"""Baselines: when a delta may be sent, what memory holds, who goes first."""

import pytest

from sim.hosts import BaselineStore, Host


def test_a_baseline_serves_until_it_is_too_old() -> None:
    store = BaselineStore(Host(max_age_s=300.0))
    store.put(7, taken_s=100.0, size_bytes=1.0)
    assert store.peek(7, 400.0) is not None
    assert store.peek(7, 400.001) is None
    assert store.peek(8, 100.0) is None


def test_a_baseline_serves_ten_deltas() -> None:
    store = BaselineStore(Host())
    store.put(7, taken_s=0.0, size_bytes=1.0)
    for _ in range(10):
        assert store.peek(7, 1.0) is not None
        store.use(7)
    assert store.peek(7, 1.0) is None
    store.put(7, taken_s=2.0, size_bytes=1.0)
    renewed = store.peek(7, 3.0)
    assert renewed is not None
    assert renewed.deltas == 0


def test_the_least_recently_used_goes_first() -> None:
    store = BaselineStore(Host(baseline_memory=10.0))
    for dataset in (1, 2, 3):
        store.put(dataset, taken_s=0.0, size_bytes=3.0)
    store.use(1)
    store.put(4, taken_s=1.0, size_bytes=4.0)  # 9 + 4 - 3: one has to go, and 2 was used least lately
    assert [store.peek(dataset, 1.0) is not None for dataset in (1, 2, 3, 4)] == [True, False, True, True]
    assert store.used_bytes == 10.0
    assert store.pressure == 1.0


def test_a_version_larger_than_the_memory_is_not_kept_and_costs_the_old_one_only() -> None:
    store = BaselineStore(Host(baseline_memory=10.0))
    store.put(1, taken_s=0.0, size_bytes=4.0)
    store.put(2, taken_s=0.0, size_bytes=4.0)
    store.put(2, taken_s=1.0, size_bytes=11.0)
    assert store.peek(2, 1.0) is None
    assert store.peek(1, 1.0) is not None
    assert store.used_bytes == 4.0


def test_a_new_version_takes_the_place_of_the_old() -> None:
    store = BaselineStore(Host(baseline_memory=10.0))
    store.put(1, taken_s=0.0, size_bytes=6.0)
    store.put(1, taken_s=5.0, size_bytes=8.0)
    assert store.used_bytes == 8.0
    kept = store.peek(1, 6.0)
    assert kept is not None
    assert kept.taken_s == 5.0


def test_an_older_version_that_arrives_late_does_not_replace_a_newer_one() -> None:
    store = BaselineStore(Host())
    store.put(1, taken_s=10.0, size_bytes=1.0)
    store.put(1, taken_s=0.0, size_bytes=1.0)
    kept = store.peek(1, 20.0)
    assert kept is not None
    assert kept.taken_s == 10.0


def test_a_dropped_baseline_frees_its_memory_and_dropping_twice_is_harmless() -> None:
    store = BaselineStore(Host(baseline_memory=10.0))
    store.put(1, taken_s=0.0, size_bytes=6.0)
    store.drop(1)
    store.drop(1)
    assert store.used_bytes == 0.0
    assert store.pressure == 0.0


def test_a_host_without_memory_keeps_nothing() -> None:
    store = BaselineStore(Host(baseline_memory=0.0))
    store.put(1, taken_s=0.0, size_bytes=1.0)
    assert store.peek(1, 0.0) is None
    assert store.pressure == 1.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cores", 0),
        ("background", 1.0),
        ("background_sd", -0.1),
        ("baseline_memory", -1.0),
        ("max_age_s", -1.0),
        ("max_deltas", -1),
    ],
)
def test_a_bad_host_names_the_field(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"host .*{field}"):
        Host(**{field: value})  # type: ignore[arg-type]
