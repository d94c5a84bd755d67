"""More capacity, more cores and fewer neighbours: what theory says they cannot do, the world does not do."""

from dataclasses import replace
from itertools import pairwise

import pytest

from sim.catalogue import SCENARIOS
from sim.codecs import parse_codec
from sim.episode import Episode, draw_episode
from sim.world import World

CODECS = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]
VARIED = ("wan", "hybrid", "lossy", "cpu-starved", "internet")


def totals(episode: Episode, codec: int) -> tuple[float, float]:
    """Seconds from arrival to end and wire bytes, over all transfers."""
    world = World(episode, CODECS)
    world.run(lambda _: codec)
    records = world.records
    return sum(one.end_s - one.arrival_s for one in records), sum(one.wire_bytes for one in records)


def with_links(episode: Episode, column: int, factor: float = 1.0, more: float = 0.0) -> Episode:
    links = episode.conditions.links.copy()
    links[:, :, column] = links[:, :, column] * factor + more
    return replace(episode, conditions=episode.conditions._replace(links=links))


@pytest.mark.parametrize("name", VARIED)
def test_more_capacity_never_hurts_those_who_send_raw(name: str) -> None:
    episode = draw_episode(SCENARIOS[name], 8)
    found = [totals(with_links(episode, 0, factor), 0) for factor in (0.5, 1.0, 2.0, 4.0)]
    # the loss response of a finite stream is stepped, and monotone to about a thousandth
    assert all(after[0] <= before[0] * 1.003 for before, after in pairwise(found))
    assert len({sent for _, sent in found}) == 1


@pytest.mark.parametrize("name", ["datacenter", "metro", "dwcp-replication"])
def test_without_loss_more_capacity_helps_to_the_last_digit(name: str) -> None:
    episode = with_links(draw_episode(SCENARIOS[name], 8), 2, factor=0.0)
    found = [totals(with_links(episode, 0, factor), 0)[0] for factor in (0.5, 1.0, 2.0, 4.0)]
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(found))


@pytest.mark.parametrize("name", VARIED)
def test_more_cross_traffic_never_helps(name: str) -> None:
    episode = draw_episode(SCENARIOS[name], 9)
    found = [totals(with_links(episode, 3, more=more), 0)[0] for more in (0.0, 1.0, 3.0, 9.0)]
    assert all(after >= before * (1 - 1e-9) for before, after in pairwise(found))


@pytest.mark.parametrize("name", VARIED)
def test_more_cores_never_hurt_those_who_compress(name: str) -> None:
    episode = draw_episode(SCENARIOS[name], 10)
    conditions = episode.conditions
    found = [
        totals(replace(episode, conditions=conditions._replace(cores=conditions.cores * factor)), 1)[0]
        for factor in (0.5, 1.0, 2.0, 8.0)
    ]
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(found))
