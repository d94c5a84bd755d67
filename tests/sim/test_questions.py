"""All three questions at once: bytes, slots and cost add up whatever is answered, and answers repeat."""

from collections.abc import Callable
from itertools import groupby

import numpy as np
import pytest

from sim.catalogue import SCENARIOS
from sim.codecs import parse_codec
from sim.decisions import (
    WAIT,
    Answer,
    CodecQuestion,
    DispatchQuestion,
    Question,
    Rules,
    ShareQuestion,
    equal,
    first_come,
)
from sim.episode import Episode, draw_episode
from sim.faults import FaultModel
from sim.world import World

Lay = Callable[..., Episode]
Played = Callable[[Episode, int], tuple[World, list[Question]]]

CODECS = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]
ORDER = (DispatchQuestion, CodecQuestion, ShareQuestion)
"""Of one moment's questions, who goes comes before how, and that before who gets how much."""


def few(name: str) -> Episode:
    """The first transfers of a scenario, with fewer slots than it has."""
    scenario = SCENARIOS[name]
    return draw_episode(scenario.with_(requests=20, slots=min(scenario.slots, 3)), 6)


def pace(episode: Episode) -> float:
    """A control interval that puts some hundred questions while transfers arrive, in seconds."""
    return float(episode.requests.arrival_s[-1]) / 100


def all_open(episode: Episode) -> World:
    control_s = pace(episode)
    return World(episode, CODECS, Rules(None, None, None, control_s=control_s, quantum_s=5 * control_s))


@pytest.fixture
def played(random_answers: Callable[[int, int], Callable[[Question], Answer]]) -> Played:
    """Plays an episode with any legal answers, from a seed; the world, and what it asked."""

    def play(episode: Episode, seed: int) -> tuple[World, list[Question]]:
        world, answers, asked = all_open(episode), random_answers(seed, len(CODECS)), []
        while (question := world.next_question()) is not None:
            asked.append(question)
            world.answer(answers(question))
        return world, asked

    return play


def most_at_once(spans: list[tuple[float, float]]) -> int:
    """Most spans that hold at one moment; one that ends as another begins is over."""
    edges = sorted([(end, -1) for _, end in spans] + [(start, 1) for start, _ in spans])
    return int(np.max(np.cumsum([step for _, step in edges])))


@pytest.mark.parametrize("name", SCENARIOS)
def test_bytes_slots_and_cost_add_up_under_random_answers_to_all_three(name: str, played: Played) -> None:
    episode = few(name)
    scenario, requests = episode.scenario, episode.requests
    world, _ = played(episode, 7)
    records = sorted(world.records)
    assert [record.request for record in records] == list(range(20))
    assert [record.size_bytes for record in records] == requests.size_bytes.tolist()
    assert all(record.arrival_s <= record.start_s < record.end_s for record in records)
    # the cost is the one that the records tell, and the cores are those of the transfers
    late_s = sum(max(0.0, record.end_s - record.deadline_s) for record in records)
    waited = sum(record.priority * (record.end_s - record.arrival_s) for record in records)
    cpu_s = sum(record.cpu_s for record in records)
    assert world.cpu_s == pytest.approx(cpu_s, rel=1e-9)
    cost = waited + scenario.cpu_price * cpu_s + scenario.late_price * late_s
    assert world.cost == pytest.approx(cost, rel=1e-9)
    # no more than there are slots, on the host and on each path
    assert most_at_once([(record.start_s, record.end_s) for record in records]) <= scenario.slots
    for path, spec in enumerate(scenario.paths):
        spans = [(record.start_s, record.end_s) for record in records if record.path == path]
        assert not spans or most_at_once(spans) <= (spec.slots or scenario.slots)
    if not scenario.any_path:
        assert [record.path for record in records] == episode.path.tolist()


def test_what_breaks_and_goes_on_adds_up_too(played: Played) -> None:
    # every transfer breaks once; its bytes are metered on, its streams may have changed in between
    scenario = SCENARIOS["wan"].with_(requests=20, slots=3, faults=FaultModel(broken_share=1.0))
    world, asked = played(draw_episode(scenario, 6), 12)
    assert world.cpu_s == pytest.approx(sum(record.cpu_s for record in world.records), rel=1e-9)
    remaining: dict[int, float] = {}
    for question in asked:
        if isinstance(question, ShareQuestion):
            for running in question.running:
                assert 0 <= running.remaining_bytes <= remaining.get(running.request, running.size_bytes)
                remaining[running.request] = running.remaining_bytes


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_path_delivers_more_than_its_capacity_under_random_answers(name: str, played: Played) -> None:
    episode = few(name)
    world, _ = played(episode, 8)
    end_s = world.clock.now
    times = np.append(np.minimum(episode.conditions.times, end_s), end_s)
    carried = np.diff(times) @ episode.conditions.links[:, :, 0]
    for path, most in enumerate(carried):
        assert sum(record.wire_bytes for record in world.records if record.path == path) <= most


@pytest.mark.parametrize("name", ["hybrid", "two-links", "backup-window", "internet"])
def test_the_same_answers_give_the_same_bits_and_others_give_others(name: str, played: Played) -> None:
    episode = few(name)
    first, asked = played(episode, 9)
    again, asked_again = played(episode, 9)
    other, _ = played(episode, 10)
    assert asked == asked_again
    assert (first.records, first.cost) == (again.records, again.cost)
    assert first.records != other.records


@pytest.mark.parametrize("name", ["hybrid", "two-links", "backup-window"])
def test_questions_are_put_in_order_and_tell_nothing_impossible(name: str, played: Played) -> None:
    episode = few(name)
    _, asked = played(episode, 11)
    assert {type(question) for question in asked} == set(ORDER)
    moments = [question.now_s for question in asked]
    assert moments == sorted(moments)
    for _, group in groupby(asked, key=lambda question: question.now_s):
        kinds = [type(question) for question in group]
        assert kinds.count(ShareQuestion) <= 1
        assert ShareQuestion not in kinds[:-1]
    for question in asked:
        if isinstance(question, ShareQuestion):
            numbers = [running.request for running in question.running]
            assert numbers == sorted(set(numbers))
            assert all(0 <= one.remaining_bytes <= one.size_bytes * (1 + 1e-9) for one in question.running)
            assert all(one.rate >= 0 and one.cores >= 0 and one.streams >= 1 for one in question.running)
            assert [view.running for view in question.paths] == [
                sum(one.path == path for one in question.running) for path in range(len(question.paths))
            ]
        elif isinstance(question, DispatchQuestion):
            assert question.free_slots > 0
            assert any(waiting.paths for waiting in question.waiting)
            arrived = [waiting.request for waiting in question.waiting]
            assert arrived == sorted(set(arrived))


def by_default(question: Question) -> Answer:
    """What the plain rules would say; another codec each time."""
    if isinstance(question, CodecQuestion):
        return question.request % len(CODECS)
    return equal(question) if isinstance(question, ShareQuestion) else first_come(question)


@pytest.mark.parametrize("name", ["wan", "hybrid", "deadline-mix", "two-links"])
def test_all_three_open_and_answered_like_the_plain_rules_give_their_world(name: str) -> None:
    episode = few(name)
    plain = World(episode, CODECS)
    plain.run(lambda question: question.request % len(CODECS))
    world = all_open(episode)
    while (question := world.next_question()) is not None:
        world.answer(by_default(question))
    assert [record[:7] for record in world.records] == [record[:7] for record in plain.records]
    ends = [record.end_s for record in plain.records]
    assert [record.end_s for record in world.records] == pytest.approx(ends, rel=1e-9)
    assert world.cost == pytest.approx(plain.cost, rel=1e-9)


def test_who_goes_is_asked_before_how_and_how_before_who_gets_how_much(lay: Lay) -> None:
    # the first moves when, at 2 s, an interval ends and the second arrives
    episode = lay([0.0, 2.0, 50.0], [9e6] * 3, slots=2)
    world = World(episode, CODECS[:1], Rules(None, None, None, control_s=2.0))
    asked = []
    while (question := world.next_question()) is not None and question.now_s <= 2.0:
        asked.append((question.now_s, type(question)))
        world.answer(by_default(question) if not isinstance(question, CodecQuestion) else 0)
    at_two = [(2.0, kind) for kind in ORDER]
    assert asked == [(0.0, DispatchQuestion), (0.0, CodecQuestion), *at_two]


def test_an_answer_without_a_question_is_refused(lay: Lay) -> None:
    world = all_open(lay([1.0], [1e6]))
    with pytest.raises(RuntimeError, match=r"call next_question\(\) first"):
        world.answer(WAIT)
