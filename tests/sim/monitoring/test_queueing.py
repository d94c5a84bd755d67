"""A queue with limited room against its theory, and averages over intervals against sums done by hand."""

import numpy as np
import pytest

from sim.monitoring.queueing import mean_inside, quantiles, serve
from sim.monitoring.wires import carry


def test_an_m_m_1_k_queue_refuses_the_share_that_its_formula_says() -> None:
    rng = np.random.default_rng(1)
    rho, room, count = 0.9, 4, 400_000
    arrival = np.cumsum(rng.exponential(1.0, count))
    begin = serve(arrival, rng.exponential(rho, count), room)
    places = room + 1  # those who wait, and the one who is served
    blocked = (1 - rho) * rho**places / (1 - rho ** (places + 1))
    assert np.mean(np.isnan(begin)) == pytest.approx(blocked, rel=0.03)


def test_the_mean_wait_is_that_of_pollaczek_and_khinchine() -> None:
    rng = np.random.default_rng(2)
    count, rho = 400_000, 0.5
    arrival = np.cumsum(rng.exponential(1.0, count))
    fixed = serve(arrival, np.full(count, rho), count) - arrival  # M/D/1
    random = serve(arrival, rng.exponential(rho, count), count) - arrival  # M/M/1
    assert fixed.mean() == pytest.approx(rho * rho / (2 * (1 - rho)), rel=0.03)
    assert random.mean() == pytest.approx(rho * rho / (1 - rho), rel=0.03)


def test_the_number_waiting_is_the_arrival_rate_times_the_wait() -> None:
    rng = np.random.default_rng(3)
    arrival = np.sort(rng.uniform(0.0, 1000.0, 3000))
    begin = serve(arrival, rng.exponential(0.3, 3000), 3000)
    edges = np.linspace(0.0, begin.max() + 1.0, 50)
    waiting = mean_inside(arrival, begin, edges)
    total = float((waiting * np.diff(edges)).sum())
    assert total == pytest.approx(float((begin - arrival).sum()), rel=1e-9)  # Little's law, on this very path


def test_quantiles_are_those_of_numpy_group_by_group() -> None:
    rng = np.random.default_rng(4)
    values, groups = rng.exponential(1.0, 5000), rng.integers(0, 7, 5000)
    found = quantiles(values, groups, 7, (0.5, 0.99))
    for group in range(7):
        mine = np.sort(values[groups == group])
        wanted = [mine[round(share * (len(mine) - 1))] for share in (0.5, 0.99)]
        assert found[:, group].tolist() == pytest.approx(wanted, rel=1e-9)


def test_a_fluid_queue_keeps_every_byte_and_never_carries_more_than_there_is_room() -> None:
    rng = np.random.default_rng(5)
    asked, room = rng.exponential(1.0, 2000), rng.exponential(1.2, 2000)
    carried, left = carry(asked, room)
    before = 0.0
    for step in range(2000):
        before = max(0.0, before + asked[step] - room[step])
        assert left[step] == pytest.approx(before, abs=1e-6)
    assert (carried <= room + 1e-9).all()
    assert carried.sum() + left[-1] == pytest.approx(asked.sum())
