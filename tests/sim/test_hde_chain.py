"""The chain of HDE baselines and deltas, worked by hand: who is sent whole, who as a delta, and how large."""

from collections.abc import Callable
from dataclasses import replace
from math import exp

import numpy as np
import pytest

from sim.codecs import FITTED
from sim.episode import Episode
from sim.hosts import Host
from sim.telemetry import TransferRecord
from sim.world import World

Lay = Callable[..., Episode]
Play = Callable[..., World]
ByRequest = Callable[[World], list[TransferRecord]]

SIZE = 1e7
FAST = 1e8
"""Bytes/s of a path on which a transfer is over long before the next arrives."""


def chain(records: list[TransferRecord]) -> str:
    """Each transfer as B (leaves a baseline), d (delta) or - (neither)."""
    return "".join("B" if one.is_baseline else "d" if one.is_delta else "-" for one in records)


def drifted(age_s: float) -> float:
    """Wire bytes of a delta: in the long run half of the blocks change, with 100 s; zstd-3 makes ratio 4."""
    return SIZE * (0.5 * (1 - exp(-age_s / 100)) / 4 + FITTED.delta.overhead)


def test_ten_deltas_grow_against_the_same_baseline_then_a_new_one_is_sent(
    lay: Lay, play: Play, by_request: ByRequest
) -> None:
    episode = lay(20.0 * np.arange(14), [SIZE] * 14, carries=FAST)
    records = by_request(play(episode, "hde"))
    assert chain(records) == "B" + 10 * "d" + "B" + "dd"
    assert records[0].wire_bytes == pytest.approx(SIZE / 4)
    assert [one.wire_bytes for one in records[1:11]] == pytest.approx(
        [drifted(20.0 * k) for k in range(1, 11)]
    )
    assert records[12].wire_bytes == pytest.approx(drifted(20.0))
    assert records[13].wire_bytes == pytest.approx(drifted(40.0))


def test_a_baseline_older_than_five_minutes_is_replaced(lay: Lay, play: Play, by_request: ByRequest) -> None:
    episode = lay(45.0 * np.arange(9), [SIZE] * 9, carries=FAST)
    assert chain(by_request(play(episode, "hde"))) == "BddddddBd"  # 270 s is young enough, 315 s is not


def test_what_other_codecs_send_refreshes_nothing(lay: Lay, play: Play, by_request: ByRequest) -> None:
    episode = lay(20.0 * np.arange(6), [SIZE] * 6, carries=FAST)
    records = by_request(play(episode, "hde", "zstd", "hde", "none", "amst", "hde"))
    assert chain(records) == "B-d--d"
    assert records[2].wire_bytes == pytest.approx(drifted(40.0))
    assert records[5].wire_bytes == pytest.approx(drifted(100.0))


def test_datasets_have_chains_of_their_own(lay: Lay, play: Play, by_request: ByRequest) -> None:
    episode = lay(10.0 * np.arange(6), [SIZE] * 6, carries=FAST, dataset=[0, 1, 0, 1, 1, 0])
    records = by_request(play(episode, "hde"))
    assert chain(records) == "BBdddd"
    assert [one.wire_bytes for one in records[2:]] == pytest.approx(
        [drifted(age) for age in (20, 20, 30, 50)]
    )


def test_memory_for_one_baseline_is_thrashed_by_two_datasets(
    lay: Lay, play: Play, by_request: ByRequest
) -> None:
    host = Host(cores=8, background=0.0, background_sd=0.0, baseline_memory=1.5 * SIZE)
    alternating = lay(10.0 * np.arange(6), [SIZE] * 6, carries=FAST, dataset=[0, 1, 0, 1, 0, 1], host=host)
    assert chain(by_request(play(alternating, "hde"))) == "BBBBBB"
    in_turn = lay(10.0 * np.arange(6), [SIZE] * 6, carries=FAST, dataset=[0, 0, 0, 1, 1, 1], host=host)
    assert chain(by_request(play(in_turn, "hde"))) == "BddBdd"


def test_a_baseline_counts_from_when_it_was_read_and_serves_from_when_it_has_arrived(
    lay: Lay, play: Play, by_request: ByRequest
) -> None:
    # 2.5 MB at 0.25 MB/s: on its way until 10 s, during which a second full one starts
    records = by_request(play(lay([0.0, 5.0, 30.0], [SIZE] * 3, carries=0.25e6), "hde"))
    assert chain(records) == "BBd"
    assert records[2].wire_bytes == pytest.approx(drifted(25.0))


def test_a_receiver_that_lost_its_baseline_costs_a_round_trip_and_a_full_one(
    lay: Lay, play: Play, by_request: ByRequest
) -> None:
    sound = lay([0.0, 20.0, 40.0, 60.0], [SIZE] * 4, carries=FAST, rtt_s=0.05)
    faults = sound.faults._replace(baseline_loss_s=np.array([30.0]), baseline_loss_dataset=np.array([0]))
    records = by_request(play(replace(sound, faults=faults), "hde"))
    assert chain(records) == "BdBd"
    first, again = (one.end_s - one.start_s for one in (records[0], records[2]))
    assert again - first == pytest.approx(0.05)
    assert records[3].wire_bytes == pytest.approx(drifted(20.0))
    elsewhere = sound.faults._replace(baseline_loss_s=np.array([30.0]), baseline_loss_dataset=np.array([1]))
    assert chain(by_request(play(replace(sound, faults=elsewhere), "hde"))) == "Bddd"


def test_the_sender_knows_its_chain_before_it_answers(lay: Lay) -> None:
    from sim.codecs import parse_codec

    world = World(lay([0.0, 20.0, 40.0], [SIZE] * 3, carries=FAST), [parse_codec("hde")])
    seen = []
    while (question := world.next_question()) is not None:
        seen.append((question.has_baseline, question.baseline_age_s, question.deltas, question.changed))
        world.answer(0)
    assert seen[0] == (False, 0.0, 0, 1.0)
    assert seen[1] == (True, 20.0, 0, pytest.approx(0.5 * (1 - exp(-0.2))))
    assert seen[2] == (True, 40.0, 1, pytest.approx(0.5 * (1 - exp(-0.4))))
