"""The running world: alone it is the formula, together it conserves bytes, work and cost."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import inf

import numpy as np
import pytest

from sim.catalogue import SCENARIOS
from sim.codecs import STREAM_CPU_S, parse_codec
from sim.crowding import transfer_time
from sim.decisions import CodecQuestion
from sim.episode import Episode, draw_episode
from sim.faults import FaultModel
from sim.hosts import Host
from sim.physics import TYPICAL
from sim.scenarios import CONTROLS
from sim.telemetry import TransferRecord
from sim.world import World

Lay = Callable[..., Episode]
Play = Callable[..., World]
InTurn = Callable[[CodecQuestion], int]
ByRequest = Callable[[World], list[TransferRecord]]

CODECS = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]
VARIED = ("wan", "hybrid", "lossy", "cpu-starved", "internet")
"""Scenarios that between them have several paths, loss, outages, bursts, lost cores and cross traffic."""


@pytest.mark.parametrize("codec", ["none", "amst"])
@pytest.mark.parametrize("size_bytes", [1e5, 1e7, 5e8])
@pytest.mark.parametrize("loss", [0.0, 1e-4, 5e-3])
@pytest.mark.parametrize("rtt_s", [1e-3, 0.02, 0.1])
def test_alone_a_transfer_takes_what_the_transport_model_says(
    lay: Lay, play: Play, rtt_s: float, loss: float, size_bytes: float, codec: str
) -> None:
    for carries, cross, control in (
        (1e6, 0.0, "cubic"),
        (12.5e6, 2.0, "reno"),
        (60e6, 0.0, "bbr"),
        (60e6, 2.0, "cubic"),
    ):
        for window in (3e6, 1e12):
            queue = max(carries * rtt_s, 1e5)
            episode = lay(
                [0.0], [size_bytes], carries=carries, rtt_s=rtt_s, loss=loss, cross=cross, control=control,
                window=window, queue=queue,
            )  # fmt: skip
            (record,) = play(episode, codec).records
            capacity = float(episode.conditions.links[0, 0, 0])
            expected = transfer_time(
                size_bytes,
                capacity,
                rtt_s,
                loss,
                record.streams,
                CONTROLS.index(control),
                window,
                queue,
                cross,
                TYPICAL,
            )
            assert record.end_s == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("name", VARIED)
def test_the_outlook_of_a_transfer_comes_true_when_it_is_alone_and_nothing_changes(
    name: str, in_turn: InTurn
) -> None:
    drawn = draw_episode(SCENARIOS[name], 3)
    still = drawn.conditions._replace(
        times=drawn.conditions.times[:1], links=drawn.conditions.links[:1], cores=drawn.conditions.cores[:1]
    )
    spread = drawn.requests._replace(arrival_s=1e5 * np.arange(len(drawn)))
    world = World(replace(drawn, conditions=still, requests=spread), CODECS)
    foreseen = []
    while (question := world.next_question()) is not None:
        foreseen.append(world.outlook(in_turn(question)))
        world.answer(in_turn(question))
    for outlook, record in zip(foreseen, world.records, strict=True):
        assert record.end_s - record.start_s == pytest.approx(outlook.seconds, rel=1e-6)
        assert record.wire_bytes == pytest.approx(outlook.wire_bytes)
        assert record.cpu_s == pytest.approx(outlook.cpu_s)


def test_the_bytes_sent_are_the_integral_of_the_capacity_while_the_path_is_full(lay: Lay, play: Play) -> None:
    pieces = [(0.0, 1e6), (10.0, 0.0), (13.0, 3e6), (20.0, 0.5e6)]
    size = np.random.default_rng(0).exponential(1e6, 40)
    world = play(lay(np.zeros(40), size, pieces=pieces), "none", "zstd", "amst", "zstd", "none")
    sent = sum(record.wire_bytes for record in world.records)
    edges = np.array([time for time, _ in pieces] + [max(record.end_s for record in world.records)])
    could = sum((b - a) * rate for (a, b), (_, rate) in zip(pairwise(edges), pieces, strict=True))
    assert edges[-1] > 20.0
    assert sent == pytest.approx(could, rel=1e-3)  # the first 0.6 ms are start-up


@pytest.mark.parametrize("name", VARIED)
def test_the_cost_is_what_the_records_add_up_to(name: str, played: Play) -> None:
    scenario = SCENARIOS[name]
    world = played(draw_episode(scenario, 5))
    assert len({record.request for record in world.records}) == scenario.requests
    expected = sum(
        record.priority * (record.end_s - record.arrival_s)
        + scenario.cpu_price * record.cpu_s
        + scenario.late_price * max(0.0, record.end_s - record.deadline_s)
        for record in world.records
    )
    assert world.cost == pytest.approx(expected, rel=1e-9)
    assert world.cpu_s == pytest.approx(sum(record.cpu_s for record in world.records), rel=1e-12)


@pytest.mark.parametrize("name", VARIED)
def test_the_cost_never_falls_and_the_steps_of_a_policy_add_up_to_it(name: str, in_turn: InTurn) -> None:
    world = World(draw_episode(SCENARIOS[name], 6), CODECS)
    costs = [0.0]
    while (question := world.next_question()) is not None:
        costs.append(world.cost)
        world.answer(in_turn(question))
    costs.append(world.cost)
    assert all(after >= before - 1e-9 * after for before, after in pairwise(costs))


@pytest.mark.parametrize("name", VARIED)
def test_no_more_transfers_run_at_once_than_there_are_slots_and_the_oldest_goes_first(
    name: str, played: Play
) -> None:
    scenario = SCENARIOS[name].with_(slots=3)
    records = sorted(played(draw_episode(scenario, 7)).records)
    starts = np.array([record.start_s for record in records])
    ends = np.sort([record.end_s for record in records])
    assert (np.diff(starts) >= 0).all()
    assert (starts[3:] >= ends[:-3] - 1e-9).all()
    assert all(record.start_s >= record.arrival_s - 1e-9 for record in records)


def test_a_transfer_takes_its_core_seconds_for_its_bytes_and_its_streams(lay: Lay, play: Play) -> None:
    # each byte is encoded and decoded once, alone or in a crowd
    alone = play(lay([0.0], [1e7]), "zstd").records[0].cpu_s
    crowd = play(lay(np.zeros(9), [1e7] * 9, host=Host(cores=1, background=0.0)), "zstd")
    assert [record.cpu_s for record in crowd.records] == pytest.approx([alone] * 9)
    none, amst = (play(lay([0.0], [1e7]), codec).records[0].cpu_s for codec in ("none", "amst"))
    assert amst - none == pytest.approx(2 * 7 * STREAM_CPU_S)  # seven streams more, at both ends


def test_a_broken_transfer_goes_on_where_it_broke_after_two_round_trips(lay: Lay, play: Play) -> None:
    sound = lay([0.0], [5e6], rtt_s=0.05)
    broken = replace(sound, faults=sound.faults._replace(break_share=np.array([0.3])))
    (whole,), (parts,) = (play(episode, "none").records for episode in (sound, broken))
    assert parts.end_s - whole.end_s == pytest.approx(0.1)
    assert parts.cpu_s == pytest.approx(whole.cpu_s)
    assert parts.wire_bytes == whole.wire_bytes


def test_one_that_starts_in_an_outage_of_a_lossy_path_runs_as_fast_as_others_when_it_is_over(
    lay: Lay, play: Play
) -> None:
    # a stream's own loss response must not be taken from what an outage left it
    ends = []
    for arrival_s in (0.5, 1.0):
        episode = lay([arrival_s], [2e7], pieces=[(0.0, 2e4), (1.0, 12e6)], rtt_s=0.02, loss=1e-4, queue=1e6)
        ends.append(play(episode, "none").records[0].end_s)
    assert ends[0] == pytest.approx(ends[1], abs=0.5)


def test_the_clock_stops_when_the_last_transfer_is_decoded(played: Play) -> None:
    world = played(draw_episode(SCENARIOS["wan"], 17))
    assert world.finished
    assert world.clock.now == max(record.end_s for record in world.records)
    assert world.next_question() is None


def test_a_question_tells_what_waits_and_what_runs(lay: Lay) -> None:
    world = World(lay([0.0, 1.0, 1.0, 1.0], [1e7, 1e7, 1e7, 1e7], slots=2), CODECS)
    first = world.next_question()
    assert first is not None
    assert (first.request, first.running, first.waiting, first.slack_s) == (0, 0, 0, inf)
    world.answer(0)
    second = world.next_question()
    assert second is not None
    assert (second.request, second.now_s, second.running, second.waiting) == (1, 1.0, 1, 2)
    assert second.wire_backlog_bytes == pytest.approx(9e6, rel=1e-3)
    world.answer(0)
    third = world.next_question()
    assert third is not None
    # 9 MB at half of 1 MB/s from 1 s on
    assert third.now_s == pytest.approx(19.0, rel=1e-3)
    assert third.waited_s == pytest.approx(18.0, rel=1e-3)


def test_an_answer_without_a_question_or_out_of_range_is_refused(lay: Lay) -> None:
    world = World(lay([0.0], [1e6]), CODECS)
    with pytest.raises(RuntimeError, match="next_question"):
        world.answer(0)
    world.next_question()
    for wrong in (-1, 4):
        with pytest.raises(ValueError, match=f"4 codecs, got {wrong}"):
            world.answer(wrong)
    world.answer(3)
    assert world.next_question() is None


@pytest.mark.parametrize("name", [*VARIED, "constrained", "diurnal", "dwcp-packet-loss"])
def test_events_do_not_grow_with_how_bad_a_policy_is(name: str) -> None:
    # arrival, start of its life, answer, start-up, woken at its join and at its end, end of flow, end of life
    episode = draw_episode(SCENARIOS[name].with_(faults=FaultModel()), 18)
    for codec in range(len(CODECS)):
        world, steps = World(episode, CODECS), 0
        step = world.clock.step

        def counted() -> None:
            nonlocal steps
            steps += 1
            step()  # noqa: B023 - called before the next world is made

        world.clock.step = counted  # type: ignore[method-assign]
        world.run(lambda _, c=codec: c)  # type: ignore[misc]
        assert steps <= 8 * len(episode) + 2


def test_a_world_that_has_moved_all_is_freed_without_the_garbage_collector() -> None:
    episode = draw_episode(SCENARIOS["wan"].with_(requests=8), 3)
    world: World | None = World(episode, CODECS)
    world.run(lambda _: 1)
    assert world.finished and world.next_question() is None  # it may still be asked
    held = weakref.ref(world)
    gc.disable()
    try:
        world = None
        assert held() is None
    finally:
        gc.enable()
