"""An episode played for real follows the rules, questions and cost of the simulated world."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from sim.catalogue import find_scenario
from sim.codecs import parse_codec
from sim.faults import FaultModel
from sim.testbed.mover import mover
from sim.testbed.paths import PathSettings
from sim.testbed.payload_making import make_payloads
from sim.testbed.play import Player
from sim.testbed.staging import staged_episode, staged_scenario
from sim.world import World

pytestmark = pytest.mark.usefixtures("sockets")
CODECS = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]
PATH = PathSettings(125e6, 0.001)  # about what the loopback is


def episode(transfers=20, slots=3, **faults):
    site = find_scenario("metro")
    site = replace(
        site,
        workload=replace(site.workload, max_bytes=1e6, interval_s=3.0, datasets=3, one_off=0.2),
        faults=FaultModel(**faults),
        slots=slots,
    )
    return staged_episode(staged_scenario(site, PATH, cores=2, transfers=transfers), 5)


def played(staged, folder, answer):
    payloads = make_payloads(staged, folder)

    async def run():
        async with mover() as both:
            return await Player(staged, payloads, CODECS, answer, both).play()

    return asyncio.run(asyncio.wait_for(run(), 120))


def test_twenty_transfers_go_end_to_end_with_all_codecs(tmp_path):
    staged = episode()
    real = played(staged, tmp_path, lambda question: question.request % 4)
    world = World(staged, CODECS)
    world.run(lambda question: question.request % 4)
    by_request = sorted(real.records)
    simulated = sorted(world.records)
    assert [one.codec for one in by_request] == [one.codec for one in simulated]
    assert [one.is_delta for one in by_request] == [one.is_delta for one in simulated]
    assert any(one.is_delta for one in by_request)
    for one in by_request:
        assert one.arrival_s <= one.start_s < one.end_s
        if one.codec in ("none", "amst"):
            assert one.wire_bytes == pytest.approx(one.size_bytes, rel=0.01)
    # The cost is the ledger's: priorities times seconds, CPU, lateness; summed here once more by hand.
    waited = sum(one.priority * (one.end_s - one.arrival_s) for one in by_request)
    late = sum(max(0.0, one.end_s - one.deadline_s) for one in by_request)
    scenario = staged.scenario
    cpu_s = sum(one.cpu_s for one in by_request)
    by_hand = waited + scenario.cpu_price * cpu_s + scenario.late_price * late
    assert real.cost_s == pytest.approx(by_hand, rel=1e-9)


def test_a_real_question_says_of_the_past_what_the_simulated_one_says(tmp_path):
    staged = episode()
    real = played(staged, tmp_path, lambda question: 2)
    world = World(staged, CODECS)
    asked = []
    world.run(lambda question: asked.append(question) or 2)
    same = "request kind size_bytes entropy sample_ratio priority path capacity rtt_s loss seen has_baseline"
    for (question, _), simulated in zip(real.decisions, asked, strict=True):
        for name in same.split():
            assert getattr(question, name) == getattr(simulated, name), name
        assert question.waited_s == pytest.approx(simulated.waited_s, abs=0.3)
        assert question.baseline_age_s == pytest.approx(simulated.baseline_age_s, abs=0.3)
        assert question.deltas == simulated.deltas


def test_no_more_than_the_slots_move_at_once(tmp_path):
    staged = episode(slots=2)
    staged.requests.arrival_s[:] = 0.0  # all at once
    real = played(staged, tmp_path, lambda question: 0)
    edges = sorted([(one.start_s, 1) for one in real.records] + [(one.end_s, -1) for one in real.records])
    assert np.cumsum([step for _, step in edges]).max() == 2


def test_a_transfer_that_the_episode_breaks_is_moved_all_the_same(tmp_path):
    staged = episode(transfers=6, broken_share=1.0)
    real = played(staged, tmp_path, lambda question: 1)
    assert len(real.records) == 6 and sum(one.reconnects for one in real.moved) >= 6


def test_a_baseline_that_the_receiver_loses_is_sent_anew(tmp_path):
    staged = episode(transfers=12)
    faults = staged.faults
    times = staged.requests.arrival_s
    datasets = staged.requests.dataset
    again = next(place for place in range(1, 12) if datasets[place] in datasets[:place])
    lost = faults._replace(
        baseline_loss_s=np.array([times[again] - 1e-3]), baseline_loss_dataset=np.array([datasets[again]])
    )
    real = played(replace(staged, faults=lost), tmp_path, lambda question: 2)
    record, moved = next(
        pair for pair in zip(real.records, real.moved, strict=True) if pair[0].request == again
    )
    assert len(real.records) == 12
    assert moved.attempts == 2 and record.is_baseline
