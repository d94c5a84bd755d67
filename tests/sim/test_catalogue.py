"""Every scenario of the catalogue draws and runs to its end under every codec; a bad one is refused."""

from dataclasses import replace
from typing import Any, cast

import pytest

from sim.catalogue import PUBLISHED, SCENARIOS, SITES, UNCOUPLED, find_scenario
from sim.codecs import parse_codec
from sim.contended import CONTENDED
from sim.decisions import CodecQuestion
from sim.episode import draw_episode
from sim.links import LinkModel
from sim.scenarios import PathSpec, Probe, Scenario
from sim.units import GBIT, HOUR, MS
from sim.workloads import Workload
from sim.world import World

CODECS = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_runs_to_its_end_under_every_codec(name: str) -> None:
    episode = draw_episode(SCENARIOS[name], 1)
    for codec in range(len(CODECS)):
        world = World(episode, CODECS)
        world.run(lambda _, c=codec: c)  # type: ignore[misc]
        assert world.finished
        assert world.clock.now < 1000 * HOUR
        assert all(record.start_s < record.end_s for record in world.records)
        assert all(record.arrival_s <= record.start_s + 1e-9 for record in world.records)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_has_its_name_and_says_what_it_is(name: str) -> None:
    assert SCENARIOS[name].name == name
    assert 10 < len(SCENARIOS[name].summary) < 120


def test_there_are_ten_sites_five_contended_ones_five_published_tests_and_one_without_coupling() -> None:
    assert (len(SITES), len(CONTENDED), len(PUBLISHED), len(SCENARIOS)) == (10, 5, 5, 21)


@pytest.mark.parametrize("scenario", CONTENDED, ids=lambda scenario: scenario.name)
def test_in_the_contended_ones_many_wait_for_a_slot_and_few_queues_outlast_the_conditions(
    scenario: Scenario,
) -> None:
    waited, late = 0, 0
    for seed in range(8):
        world = World(draw_episode(scenario, seed), CODECS)
        world.run(lambda _: 1)
        waited += sum(record.start_s > record.arrival_s for record in world.records)
        late += world.clock.now > 1.5 * world.episode.requests.arrival_s[-1]
    assert waited > 0.1 * 8 * scenario.requests
    assert late <= 2  # conditions are drawn for half as long again as transfers arrive, and then stay


def test_no_outage_lasts_for_ever() -> None:
    for seed in range(40):
        episode = draw_episode(SCENARIOS["outages"], seed)
        assert episode.conditions.links[-1, 0, 0] > 0.1 * episode.nominal[0]


def test_the_published_tests_send_what_was_published() -> None:
    # NovaCron, testing/scenarios.go: virtual machines and their size, and how many at once
    published = [(s.workload.datasets, s.workload.fixed_bytes, s.slots) for s in PUBLISHED]
    assert published == [(10, 4e9, 2), (5, 8e9, 5), (20, 2e9, 20), (10, 4e9, 1), (50, 8e9, 10)]


def test_without_coupling_no_transfer_meets_another_and_nothing_is_sent_twice() -> None:
    for seed in range(3):
        episode = draw_episode(UNCOUPLED, seed)
        assert len(set(episode.requests.dataset.tolist())) == len(episode)
        world = World(episode, CODECS)
        met = 0
        while (question := world.next_question()) is not None:
            met += cast(CodecQuestion, question).running
            world.answer(0)
        assert met <= 0.02 * len(episode)


def test_a_misspelt_scenario_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'metro'"):
        find_scenario("metor")
    assert find_scenario("wan") is SCENARIOS["wan"]


LINK = LinkModel(1 * GBIT, rtt_s=10 * MS)
PLAIN = Scenario(name="plain", summary="one constant link", paths=(PathSpec(LINK),))


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"paths": ()}, "plain needs at least one path"),
        ({"paths": (PathSpec(LINK, share=0.5), PathSpec(LINK, share=0.4))}, "sum to 1, got 0.9"),
        ({"requests": 0}, "requests"),
        ({"slots": 0}, "slots"),
        ({"cpu_price": -1.0}, "prices"),
        ({"late_price": -1.0}, "prices"),
        ({"start_hour": 24.0}, "start_hour"),
    ],
)
def test_a_bad_scenario_names_itself_and_the_field(change: dict[str, Any], names: str) -> None:
    with pytest.raises(ValueError, match=f"scenario plain.*{names}|scenario {names}"):
        replace(PLAIN, **change)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"link": "carrier-pigeon"}, "link"),
        ({"share": 0.0}, "share"),
        ({"window_bytes": 1000.0}, "window_bytes"),
        ({"queue_bdp": 0.0}, "queue_bdp"),
        ({"link_type": "string"}, "link_type"),
        ({"control": "vegas"}, "control"),
        ({"slots": 0}, "slots"),
    ],
)
def test_a_bad_path_names_the_field(change: dict[str, Any], names: str) -> None:
    with pytest.raises(ValueError, match=f"path {names}"):
        replace(PLAIN.paths[0], **change)


@pytest.mark.parametrize("change", [{"period_s": 0.0}, {"noise": -0.1}, {"delay_s": -1.0}])
def test_a_bad_probe_names_the_field(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"probe .*{next(iter(change))}"):
        Probe(**change)


def test_a_copy_with_other_values_is_checked_like_a_new_one() -> None:
    assert PLAIN.with_(requests=5).duration_s == 5 * Workload().interval_s
    with pytest.raises(ValueError, match="slots"):
        PLAIN.with_(slots=0)
