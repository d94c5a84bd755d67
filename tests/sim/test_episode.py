"""What chance decides before the clock: the same from the same seed, each part independent of the others."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from sim.catalogue import SCENARIOS
from sim.episode import Episode, draw_episode
from sim.faults import FaultModel
from sim.hosts import Host
from sim.scenarios import Probe
from sim.traces import Trace

WAN = SCENARIOS["wan"]


def arrays(part: Any) -> Iterator[bytes]:
    """Bytes of all arrays in an episode or a part of one."""
    if isinstance(part, np.ndarray):
        yield part.tobytes()
    elif isinstance(part, tuple):
        for one in part:
            yield from arrays(one)
    elif isinstance(part, Episode):
        for field in fields(part):
            yield from arrays(getattr(part, field.name))


def same(one: Any, other: Any) -> bool:
    return list(arrays(one)) == list(arrays(other))


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_seed_draws_the_same_bytes_and_another_seed_others(name: str) -> None:
    episode = draw_episode(SCENARIOS[name], 1)
    assert same(episode, draw_episode(SCENARIOS[name], 1))
    assert not same(episode.requests, draw_episode(SCENARIOS[name], 2).requests)
    assert len(episode) == SCENARIOS[name].requests


def test_what_is_drawn_of_one_thing_does_not_depend_on_another() -> None:
    plain = draw_episode(WAN, 3)
    faulty = draw_episode(WAN.with_(faults=FaultModel(broken_share=0.5, outages_per_hour=100)), 3)
    assert same(
        (plain.requests, plain.payloads, plain.content), (faulty.requests, faulty.payloads, faulty.content)
    )
    busy = draw_episode(WAN.with_(host=Host(cores=8, background=0.5)), 3)
    assert same((plain.requests, plain.payloads, plain.nominal), (busy.requests, busy.payloads, busy.nominal))
    watched = draw_episode(WAN.with_(probe=Probe(noise=0.5)), 3)
    assert same(plain.conditions, watched.conditions)


@pytest.mark.parametrize("name", SCENARIOS)
def test_conditions_make_sense_and_end_with_a_link_that_works(name: str) -> None:
    for seed in range(3):
        times, links, cores = draw_episode(SCENARIOS[name], seed).conditions
        assert times[0] == 0
        assert (np.diff(times) > 0).all()
        assert links.shape == (len(times), len(SCENARIOS[name].paths), 4)
        assert (links >= 0).all()
        assert (links[-1, :, 0] > 0).all()
        assert (links[:, :, 1] > 0).all()
        assert (links[:, :, 2] < 1).all()
        assert (cores >= 0.1).all()
        assert (cores <= SCENARIOS[name].host.cores).all()


def test_deadlines_are_multiples_of_the_time_on_the_idle_path() -> None:
    episode = draw_episode(WAN, 4)
    rtt_s = episode.conditions.links[:, 0, 1].min()
    slack_s = episode.deadline_s - episode.requests.arrival_s
    idle_s = episode.requests.size_bytes / episode.nominal[0] + 4 * rtt_s
    some = np.isfinite(slack_s)
    assert slack_s[some] / idle_s[some] == pytest.approx(episode.requests.deadline_slack[some], rel=0.01)
    assert 0 < some.mean() < 1


def test_a_probe_without_noise_shows_the_path_as_it_was_a_delay_ago() -> None:
    episode = draw_episode(WAN.with_(probe=Probe(period_s=2.0, noise=0.0, delay_s=5.0)), 5)
    times, links, _ = episode.conditions
    for row, found in enumerate(episode.probes.values[:, 0]):
        was = links[np.searchsorted(times, max(2.0 * row - 5.0, 0.0), side="right") - 1, 0]
        assert found[0] == was[1]
        assert found[2] == pytest.approx(was[0] / (1 + was[3]))
        assert found[3] >= 0


def test_noise_of_a_probe_has_the_stated_spread_and_no_bias() -> None:
    exact, noisy = (
        draw_episode(WAN.with_(probe=Probe(period_s=0.05, noise=noise)), 6).probes.values
        for noise in (0.0, 0.2)
    )
    factor = noisy[:, 0, 2] / exact[:, 0, 2]
    assert factor.mean() == pytest.approx(1.0, abs=0.02)
    assert np.log(factor).std() == pytest.approx(0.2, rel=0.05)


def test_a_busy_host_leaves_the_cores_that_others_do_not_take() -> None:
    host = Host(cores=4, background=0.3, background_sd=0.1)
    shares = [draw_episode(WAN.with_(host=host), seed).conditions.cores.mean() / 4 for seed in range(60)]
    assert np.mean(shares) == pytest.approx(0.7, abs=0.03)


def test_recorded_traces_take_the_place_of_the_link_model() -> None:
    trace = Trace(np.arange(5.0), [1e6, 2e6, 3e6, 4e6, 5e6], np.full(5, 0.01), np.zeros(5), np.zeros(5))
    scenario = replace(WAN, faults=FaultModel())
    episode = draw_episode(scenario, 7, [trace])
    assert set(episode.conditions.links[:, 0, 0]) == {1e6, 2e6, 3e6, 4e6, 5e6}
    assert set(episode.conditions.links[:, 0, 1]) == {0.01}
    offsets = {draw_episode(scenario, seed, [trace]).conditions.links[0, 0, 0] for seed in range(30)}
    assert len(offsets) == 4  # any moment before the last breakpoint; the last row is reached later
    assert same(episode.requests, draw_episode(scenario, 7).requests)


def test_paths_get_their_shares_and_a_dataset_keeps_its_path() -> None:
    paths = np.concatenate([draw_episode(SCENARIOS["uncoupled"], seed).path for seed in range(20)])
    assert np.bincount(paths) / len(paths) == pytest.approx(np.full(4, 0.25), abs=0.03)
    episode = draw_episode(SCENARIOS["hybrid"], 8)
    for dataset in set(episode.requests.dataset.tolist()):
        assert len(set(episode.path[episode.requests.dataset == dataset].tolist())) == 1


def test_a_start_hour_can_be_fixed_and_is_drawn_otherwise() -> None:
    assert draw_episode(WAN.with_(start_hour=6.5), 1).start_hour == 6.5
    assert len({draw_episode(WAN.with_(start_hour=None), seed).start_hour for seed in range(5)}) == 5
