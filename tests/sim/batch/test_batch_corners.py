"""Both engines where order is at stake, and on a site's own logs and traces."""

from dataclasses import replace
from itertools import product
from math import inf

import numpy as np
import pytest

from sim.batch.layout import OPEN
from sim.batch.world import BatchWorld, OpenTo
from sim.catalogue import SCENARIOS
from sim.codecs import parse_codec
from sim.decisions import CodecQuestion, DispatchQuestion, Go, Shares
from sim.episode import draw_episode
from sim.hosts import Host
from sim.traces import Trace
from sim.transfer_log import read_transfer_log

SETS = list(product((False, True), repeat=2))
"""Dispatch and share questions, put or not."""

LOG = """\
arrival_s,size_bytes,dataset,kind,path,priority,deadline_s,ratio,entropy,sample_ratio,repetition,changed
0,3e7,orders,db,far,2,90,4,0.5,3,0.1,0.2
0,1e7,orders,,near,1,inf,2,,,,
10,1e6,orders,db,near,5,10.5,2,,,,
10,1e7,,text-log,near,2,11,8,,,,
10,1e9,,,far,1,100,,,,,
12,2e7,orders,,far,1,12.1,2,,,,0.1
300,5e6,,text-log,,3,,8,0.25,1,0,
"""


def alike(question):
    """The same answer to all: no wait, codec 0, equal weights."""
    if isinstance(question, CodecQuestion):
        return 0
    if isinstance(question, DispatchQuestion):
        place = next(place for place, one in enumerate(question.waiting) if one.paths)
        return Go(place, question.waiting[place].paths[-1])
    return Shares([1.0] * len(question.running), [1.0] * len(question.running))


@pytest.mark.parametrize(("dispatch", "share"), SETS)
def test_equal_transfers_that_start_together_end_together_in_the_same_order(dispatch, share, lay, twins):
    episode = lay([0.0] * 40, [1e6] * 40, carries=1e6 / 3)
    for codec in ("none", "zstd", "amst"):
        pair = twins(episode, [parse_codec(codec)], dispatch=dispatch, share=share, control_s=7.0).play(alike)
        ends = [record.end_s for record in pair.batch.records(0)]
        assert ends == pytest.approx([ends[0]] * 40, rel=1e-12)


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize(("dispatch", "share"), SETS)
def test_arrivals_ends_and_intervals_at_the_same_moment_keep_their_order(
    dispatch, share, slots, lay, twins, random_answers
):
    # Sums of whole seconds and equal sizes: three arrivals, an interval, a quantum and two ends at a time.
    episode = lay(np.repeat(np.arange(8.0), 3), [1e6] * 24, carries=4e6, slots=slots)
    pair = twins(episode, [parse_codec("none")], dispatch=dispatch, share=share, control_s=1.0, quantum_s=1.0)
    pair.play(alike)
    twins(episode, dispatch=dispatch, share=share, control_s=1.0, quantum_s=1.0).play(random_answers(slots))


@pytest.mark.parametrize(("dispatch", "share"), SETS)
def test_one_that_ends_as_conditions_change_ends_once(dispatch, share, lay, twins):
    pieces = [(float(second), 1e6 if second % 2 else 0.0) for second in range(40)]
    episode = lay([0.0, 0.0, 1.0, 2.0], [1e6, 1e6, 5e5, 2e6], pieces=[*pieces, (40.0, 1e6)], rtt_s=1e-9)
    twins(episode, [parse_codec("none")], dispatch=dispatch, share=share).play(alike)


@pytest.mark.parametrize(("dispatch", "share"), SETS)
@pytest.mark.parametrize("arrival_s", [0.0, 3.0, 1e6])
def test_one_request_alone(dispatch, share, arrival_s, lay, twins, random_answers):
    for seed, quantum_s in enumerate((inf, 0.5)):
        episode = lay([arrival_s], [1e7], deadline_s=[arrival_s + 1.0], late_price=2.0, slots=1)
        twins(episode, dispatch=dispatch, share=share, quantum_s=quantum_s).play(random_answers(seed))


def test_the_last_that_waits_may_wait_for_other_conditions_but_not_for_ever(lay, twins):
    episode = lay([0.0], [1e6], pieces=[(0.0, 1e3), (10.0, 1e6)])
    asked = []

    def never(question):
        asked.append(question)
        return 0 if isinstance(question, CodecQuestion) else None

    twins(episode, dispatch=True, quantum_s=3.0).play(never)
    assert [question.now_s for question in asked] == [0.0, 3.0, 6.0, 9.0, 12.0]


@pytest.mark.parametrize(("dispatch", "share"), SETS)
def test_transfers_that_break_before_the_first_byte_or_at_the_last(
    dispatch, share, lay, twins, random_answers
):
    sizes = [1e6, 1.3e6, 0.7e6, 1.1e6, 2e6, 1.7e6]  # equal ones would end at one moment, in either order
    episode = lay([0.0] * 6, sizes, slots=4, rtt_s=0.05, loss=1e-3)
    broken = np.array([0.0, 0.0, 0.5, 1 - 1e-16, 1 - 1e-9, np.nan])
    episode = replace(episode, faults=episode.faults._replace(break_share=broken))
    twins(episode, dispatch=dispatch, share=share, control_s=0.5).play(random_answers(4))
    twins(episode, [parse_codec("none")], dispatch=dispatch, share=share, control_s=0.5).play(alike)
    twins(episode, [parse_codec("amst")], dispatch=dispatch, share=share, control_s=0.1).play(
        random_answers(5, 1)
    )


@pytest.mark.parametrize(("dispatch", "share"), SETS)
@pytest.mark.parametrize("memory", [0.0, 1e6, 2.5e6])
def test_baselines_that_do_not_fit_are_dropped_in_the_same_order(
    dispatch, share, memory, lay, twins, random_answers
):
    rng = np.random.default_rng(int(memory))
    host = Host(
        cores=2, background=0.0, background_sd=0.0, baseline_memory=memory, max_age_s=60.0, max_deltas=2
    )
    sizes = rng.choice([3e5, 1e6, 2e6], 40)
    episode = lay(np.arange(40.0), sizes, dataset=rng.integers(6, size=40), host=host, slots=4)
    codecs = [parse_codec(name) for name in ("hde", "hde_xor", "none")]
    pair = twins(episode, codecs, dispatch=dispatch, share=share, quantum_s=2.0).play(random_answers(3, 3))
    assert any(record.is_delta for record in pair.batch.records(0)) == (memory > 0)


@pytest.mark.parametrize(("dispatch", "share"), SETS)
def test_baselines_that_the_receiver_loses(dispatch, share, lay, twins, random_answers):
    episode = lay(
        np.arange(60.0), [1e5] * 60, carries=2e4, dataset=np.arange(60) % 3
    )  # a full one takes 1.25 s
    # Of dataset 0 in between, at the very moment of a question, and once more; of 1 in the far future only.
    faults = episode.faults._replace(
        baseline_loss_s=np.array([10.5, 18.0, 18.5, 500.0]), baseline_loss_dataset=np.array([0, 0, 0, 1])
    )
    pair = twins(replace(episode, faults=faults), [parse_codec("hde")], dispatch=dispatch, share=share)
    pair.play(alike)
    full = [
        record.start_s
        for record in sorted(pair.batch.records(0))
        if record.dataset == 0 and not record.is_delta
    ]
    assert {0.0, 12.0, 18.0, 21.0} <= set(full)
    pair = twins(replace(episode, faults=faults), dispatch=dispatch, share=share, quantum_s=0.4)
    pair.play(random_answers(2))


@pytest.mark.parametrize(("dispatch", "share"), SETS)
def test_deadlines_before_their_arrivals_are_late_at_once(dispatch, share, lay, twins, random_answers):
    episode = lay(
        [0.0, 5.0, 5.0, 6.0, 50.0],
        [1e6] * 5,
        deadline_s=[0.0, 4.0, 5.0, -3.0, 2.0],
        late_price=1.0,
        slots=2,
    )
    pair = twins(episode, dispatch=dispatch, share=share, quantum_s=2.0).play(random_answers(1))
    late_s = sum(record.end_s - record.deadline_s for record in pair.batch.records(0))
    waited_s = sum(record.end_s - record.arrival_s for record in pair.batch.records(0))
    assert pair.batch.cost(0) == pytest.approx(late_s + waited_s, rel=1e-12)


@pytest.mark.parametrize(("dispatch", "share"), SETS)
def test_a_log_of_a_site(dispatch, share, tmp_path, twins, random_answers):
    (tmp_path / "site.csv").write_text(LOG)
    for seed in range(4):
        episode = read_transfer_log(tmp_path / "site.csv", SCENARIOS["hybrid"], seed)
        pair = twins(episode, dispatch=dispatch, share=share, control_s=5.0, quantum_s=4.0)
        pair.play(random_answers(seed))


@pytest.mark.parametrize(("dispatch", "share"), SETS)
def test_recorded_traces_with_outages(dispatch, share, twins, random_answers):
    times = np.arange(0.0, 60.0, 0.5)
    rng = np.random.default_rng(2)
    capacity = np.where(rng.random(120) < 0.2, 0.0, rng.uniform(1e5, 1e8, 120))
    trace = Trace(times, capacity, rng.uniform(1e-3, 0.2, 120), np.where(times > 30, 1e-3, 0.0), times % 3)
    for seed in range(3):
        episode = draw_episode(SCENARIOS["internet"].with_(requests=40), seed, [trace])
        twins(episode, dispatch=dispatch, share=share, control_s=9.0).play(random_answers(seed))


def test_a_transfer_that_can_never_end_is_refused_by_both(lay, lane_twins):
    episode = lay([0.0, 5.0], [1e6, 1e6], pieces=[(0.0, 1e6), (0.5, 0.0)])
    batch = BatchWorld([episode], 1, [parse_codec("none")], OpenTo(OPEN, False, False, 1.0))
    batch.start(0, 0)
    world = lane_twins(batch, 0).world
    with pytest.raises(RuntimeError, match="can never end"):
        world.run(lambda _: 0)
    with pytest.raises(RuntimeError, match="can never end"):
        while batch.next_question(0) is not None:
            batch.answer(0, 0)


def test_equal_transfers_that_break_at_different_points_end_together_in_the_same_order(lay, twins):
    # The window alone holds each to 2 MB/s, so all lose the same time and end at one moment but for rounding.
    for seed in range(20):
        rng = np.random.default_rng(seed)
        arrival_s = [0.0] * 8 + sorted(rng.uniform(0.0, 9.0, 20))
        sizes = [2e7] * 8 + list(rng.uniform(1e5, 4e6, 20))
        episode = lay(arrival_s, sizes, carries=1e9, rtt_s=0.05, window=1e5)
        broken = np.concatenate([rng.random(8), np.full(20, np.nan)])
        episode = replace(episode, faults=episode.faults._replace(break_share=broken))
        pair = twins(episode, [parse_codec("none")], share=seed % 2 == 1, control_s=1.7).play(alike)
        ends = [record.end_s for record in pair.batch.records(0) if record.request < 8]
        assert ends == pytest.approx([ends[0]] * 8, rel=1e-11)
