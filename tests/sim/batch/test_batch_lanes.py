"""Lanes: used again, side by side, forked and moved to larger arrays, each stays a world of its own."""

from math import inf

import numpy as np
import pytest

from sim.batch.layout import OPEN
from sim.batch.world import BatchWorld, OpenTo
from sim.catalogue import SCENARIOS
from sim.codecs import parse_codec
from sim.episode import draw_episode
from sim.hosts import Host

CODECS = tuple(parse_codec(name) for name in ("none", "zstd", "hde", "amst", "hde_xor"))
ALL = OpenTo(OPEN, dispatch=True, share=True, control_s=15.0)
QUANTUM_S = 20.0


@pytest.fixture(scope="module")
def shelf():
    names = ("two-links", "deadline-mix", "hybrid", "internet", "uncoupled", "outages")
    return [draw_episode(SCENARIOS[name].with_(requests=24), 7) for name in names]


@pytest.fixture
def batch(shelf):
    return BatchWorld(shelf, 6, CODECS, ALL)


@pytest.fixture
def answers(random_answers):
    return lambda seed: random_answers(seed, len(CODECS))


@pytest.fixture
def rest(answers):
    """All that a lane says until its end, answered by chance from a seed."""

    def of(batch, lane, seed):
        answer, said = answers(seed), []
        while (question := batch.next_question(lane)) is not None:
            said.append((question, batch.cost(lane)))
            batch.answer(lane, answer(question))
        return [*said, batch.cost(lane), batch.records(lane)]

    return of


def test_a_lane_that_is_started_again_remembers_nothing(batch, lane_twins, answers):
    for place in (*range(6), *reversed(range(6))):
        batch.start(0, place, QUANTUM_S)
        lane_twins(batch, 0).play(answers(place))


def test_baselines_of_an_earlier_episode_make_no_room_for_those_of_the_next(lay, lane_twins):
    wide = lay([0.0], [1e6], dataset=[3])
    tight = lay(
        [0.0, 100.0, 200.0, 300.0],
        [1e6] * 4,
        dataset=[0, 0, 1, 0],
        host=Host(cores=64, background=0.0, background_sd=0.0, baseline_memory=1.5e6),
    )
    batch = BatchWorld([wide, tight], 1, [parse_codec("hde")], OpenTo(OPEN, False, False, 1.0))
    for place in (0, 1):
        batch.start(0, place)
        lane_twins(batch, 0).play(lambda _: 0)
    assert [record.is_delta for record in batch.records(0)] == [False, True, False, False]


def test_lanes_side_by_side_go_as_each_alone(batch, lane_twins, answers):
    rng = np.random.default_rng(1)
    for lane, place in enumerate((0, 1, 0, 2, 3, 5)):
        batch.start(lane, place, QUANTUM_S)
    pairs = [lane_twins(batch, lane) for lane in range(6)]
    replies = [answers(lane) for lane in range(6)]
    running = list(range(6))
    while running:
        lane = int(rng.choice(running))
        if not pairs[lane].step(replies[lane]):
            running.remove(lane)
            pairs[lane].play(replies[lane])


def test_a_question_that_is_asked_for_again_is_the_same(batch, lane_twins, answers):
    batch.start(0, 0, QUANTUM_S)
    pair = lane_twins(batch, 0)
    while (question := pair.next_question()) is not None:
        assert pair.next_question() == question
        pair.step(answers(len(pair.given)))


@pytest.mark.parametrize("place", range(6))
def test_a_fork_that_is_answered_alike_goes_on_alike_to_the_last_bit(batch, place, lane_twins, answers, rest):
    batch.start(0, place, QUANTUM_S)
    lane_twins(batch, 0).play(answers(1), most=20 + 9 * place)
    batch.start(1, (place + 1) % 6)  # what stood on the target before says nothing
    rest(batch, 1, 2)
    batch.fork(0, 1)
    assert rest(batch, 0, 3) == rest(batch, 1, 3)


@pytest.mark.parametrize("place", range(6))
def test_a_fork_goes_its_own_way_and_leaves_its_source_alone(batch, place, lane_twins, answers):
    batch.start(0, place, QUANTUM_S)
    stem = lane_twins(batch, 0).play(answers(1), most=15)
    stem.next_question()  # forked while a question stands
    batch.fork(0, 1)
    branch = lane_twins(batch, 1, stem.given).play(answers(2), most=10)
    batch.fork(1, 2)
    twig = lane_twins(batch, 2, branch.given)
    for pair, seed in ((twig, 3), (stem, 4), (branch, 5)):
        pair.play(answers(seed))
    costs = {round(batch.cost(lane), 6) for lane in range(3)}
    assert len(costs) == 3


def test_running_lanes_go_on_when_a_larger_episode_is_shelved(shelf, lane_twins, answers):
    batch = BatchWorld([*shelf[:2], shelf[0]], 3, CODECS, ALL)
    pairs = []
    for lane in range(2):
        batch.start(lane, lane, QUANTUM_S)
        pairs.append(lane_twins(batch, lane).play(answers(lane), most=12))
        pairs[lane].next_question()
    before = batch.arrays
    paths = SCENARIOS["uncoupled"].paths
    batch.shelve(2, draw_episode(SCENARIOS["hybrid"].with_(requests=90, slots=40, paths=paths), 3))
    assert all(new.shape >= old.shape for new, old in zip(batch.arrays, before, strict=True))
    assert batch.arrays.averages.shape[1] == 4 > before.averages.shape[1]
    batch.start(2, 2)
    for lane, pair in enumerate((*pairs, lane_twins(batch, 2))):
        pair.play(answers(10 + lane))


def test_a_wait_without_a_quantum_lasts_until_something_happens(batch, lane_twins, answers):
    batch.start(0, 1, inf)
    lane_twins(batch, 0).play(answers(9))
