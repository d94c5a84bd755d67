"""Queues whose mean times are known: the world, its slots and its sharing against closed forms."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.codecs import parse_codec
from sim.episode import Episode
from sim.hosts import Host
from sim.telemetry import TransferRecord
from sim.world import World

Lay = Callable[..., Episode]
Play = Callable[..., World]
Floats = NDArray[np.float64]

TRANSFERS = 12_000
LOAD = 0.5
ONE_SECOND = 1e6
"""Bytes that take one second on a path that carries 1 MB/s."""
TOLERANCE = 0.05
"""Mean times over 12000 transfers at half load have a standard error of about 2.5 % of themselves, less for
fixed sizes: asymptotic variance (2 r + 5 r^2 - 4 r^3 + r^4) / (1 - r)^4 of an M/M/1 queue."""


def poisson(seed: int) -> tuple[np.random.Generator, Floats]:
    rng = np.random.default_rng(seed)
    return rng, np.cumsum(rng.exponential(1 / LOAD, TRANSFERS))


def sizes(law: str, rng: np.random.Generator) -> Floats:
    """Bytes that take one second in the mean."""
    exponential = rng.exponential(1.0, TRANSFERS)
    seconds = {
        "exponential": exponential,
        "fixed": np.ones(TRANSFERS),
        "mixed": exponential * np.where(rng.random(TRANSFERS) < 0.5, 0.2, 1.8),
    }[law]
    return ONE_SECOND * np.maximum(seconds, 1e-3)


def mean_s(records: list[TransferRecord]) -> float:
    return float(np.mean([record.end_s - record.arrival_s for record in records]))


def test_one_slot_is_an_m_m_1_queue(lay: Lay, play: Play) -> None:
    rng, arrival_s = poisson(1)
    world = play(lay(arrival_s, sizes("exponential", rng), slots=1), "none")
    assert mean_s(world.records) == pytest.approx(1 / (1 - LOAD), rel=TOLERANCE)


def test_one_slot_with_fixed_sizes_follows_pollaczek_and_khinchine(lay: Lay, play: Play) -> None:
    rng, arrival_s = poisson(2)
    world = play(lay(arrival_s, sizes("fixed", rng), slots=1), "none")
    assert mean_s(world.records) == pytest.approx(1 + LOAD / (2 * (1 - LOAD)), rel=TOLERANCE)


def test_one_slot_follows_lindley_transfer_by_transfer(
    lay: Lay, play: Play, by_request: Callable[..., list[TransferRecord]]
) -> None:
    rng, arrival_s = poisson(3)
    arrival_s, size = arrival_s[:2000], sizes("mixed", rng)[:2000]
    records = by_request(play(lay(arrival_s, size, slots=1), "none"))
    start_up_s = 2 * 0.3e-3  # two of the shortest round trips
    free_s = 0.0
    for record, at_s, one in zip(records, arrival_s, size, strict=True):
        assert record.start_s == pytest.approx(max(at_s, free_s), abs=0.5)
        free_s = max(at_s, free_s) + one / ONE_SECOND + start_up_s
        assert record.end_s == pytest.approx(free_s, abs=1e-3 * (1 + record.request))
        free_s = record.end_s


@pytest.mark.parametrize("law", ["exponential", "fixed", "mixed"])
def test_many_slots_share_evenly_and_the_mean_does_not_know_the_law_of_sizes(
    lay: Lay, play: Play, law: str
) -> None:
    rng, arrival_s = poisson(4)
    world = play(lay(arrival_s, sizes(law, rng)), "none")
    assert mean_s(world.records) == pytest.approx(1 / (1 - LOAD), rel=TOLERANCE)


def test_processor_sharing_is_fair_to_all_sizes(lay: Lay, play: Play) -> None:
    rng, arrival_s = poisson(5)
    records = play(lay(arrival_s, sizes("exponential", rng)), "none").records
    size = np.array([record.size_bytes for record in records]) / ONE_SECOND
    stay_s = np.array([record.end_s - record.arrival_s for record in records])
    for low, high in ((0.1, 0.5), (0.5, 1.5), (1.5, 8.0)):  # E[T | size] = size / (1 - load)
        some = (low < size) & (size <= high)
        assert (stay_s[some] / size[some]).mean() == pytest.approx(1 / (1 - LOAD), rel=0.1)


def test_the_work_in_the_system_is_the_same_however_it_is_shared(lay: Lay, play: Play) -> None:
    # work conservation: idle and busy periods do not depend on the order of service
    rng, arrival_s = poisson(6)
    arrival_s, size = arrival_s[:2000], sizes("mixed", rng)[:2000]
    idle_ends = []
    for slots in (1, 100_000):
        records = play(lay(arrival_s, size, slots=slots, rtt_s=1e-9), "none").records
        end_s = np.sort([record.end_s for record in records])
        idle_ends.append(end_s[:-1][end_s[:-1] < arrival_s[1:]])
    few, many = idle_ends
    assert len(few) == pytest.approx(len(many), rel=0.02)  # 0.6 ms of start-up separates some of them
    assert max(abs(few[-1] - many[-1]), abs(few[0] - many[0])) < 0.1


def test_littles_law_holds_of_the_cost_that_accrues(lay: Lay) -> None:
    rng, arrival_s = poisson(7)
    episode = lay(arrival_s[:3000], sizes("exponential", rng)[:3000])
    world = World(episode, [parse_codec("none")])
    seen: list[tuple[float, float]] = []
    while world.next_question() is not None:
        seen.append(
            (world.clock.now, world.cost)
        )  # priority 1, no other price: the integral of how many are inside
        world.answer(0)
    arrivals = np.array([record.arrival_s for record in world.records])
    ends = np.array([record.end_s for record in world.records])
    for now, cost in seen[::100]:
        inside = np.minimum(ends, now) - np.minimum(arrivals, now)
        assert cost == pytest.approx(inside.sum(), rel=1e-9, abs=1e-9)
    horizon_s = ends.max()
    rate, stay_s = len(ends) / horizon_s, (ends - arrivals).mean()
    assert world.cost / horizon_s == pytest.approx(rate * stay_s, rel=1e-9)  # L = lambda W
    assert world.cost / horizon_s == pytest.approx(LOAD / (1 - LOAD), rel=0.1)  # and L of M/M/1-PS


def test_cores_are_shared_evenly_too(lay: Lay, play: Play) -> None:
    # an amply wide path: every transfer needs one of the only core, so the core is an M/D/1-PS queue
    _, arrival_s = poisson(8)
    host = Host(cores=1, background=0.0, background_sd=0.0)
    size = np.full(TRANSFERS, 1e8)
    (alone,) = play(lay([0.0], size[:1], carries=1e12, host=host), "zstd").records
    world = play(lay(arrival_s * alone.end_s, size, carries=1e12, host=host), "zstd")
    assert mean_s(world.records) == pytest.approx(alone.end_s / (1 - LOAD), rel=TOLERANCE)
