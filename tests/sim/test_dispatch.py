"""Who goes next: orders and waits worked out by hand on one and on two paths, and what is no answer."""

from collections.abc import Callable, Sequence
from math import inf
from typing import cast

import pytest

from sim.catalogue import SCENARIOS
from sim.codecs import parse_codec
from sim.decisions import (
    WAIT,
    Dispatch,
    DispatchQuestion,
    DispatchRule,
    Go,
    Rules,
    first_come,
)
from sim.episode import Episode, draw_episode
from sim.telemetry import TransferRecord
from sim.world import World

Lay = Callable[..., Episode]
ByRequest = Callable[[World], list[TransferRecord]]
TwoPaths = Callable[..., Episode]

NONE = [parse_codec("none")]
MEGABYTE = 1e6
"""Bytes that take one second on a path that carries 1 MB/s."""
TO_A_HUNDREDTH = 0.01
"""Seconds: each start takes 0.6 ms."""


def one_codec(_: object) -> int:
    return 0


def oldest(question: DispatchQuestion) -> Dispatch:
    """The built-in rule under another name, so that it is asked."""
    return first_come(question)


def shortest(question: DispatchQuestion) -> Dispatch:
    waiting = question.waiting
    position = min(
        (at for at in range(len(waiting)) if waiting[at].paths), key=lambda at: waiting[at].size_bytes
    )
    return Go(position, waiting[position].paths[0])


def ruled(episode: Episode, dispatch: DispatchRule, quantum_s: float = inf) -> World:
    """Run to the end under a rule, raw bytes only."""
    world = World(episode, NONE, Rules(codec=one_codec, dispatch=dispatch, quantum_s=quantum_s))
    assert world.next_question() is None
    return world


def open_(episode: Episode, quantum_s: float = inf) -> World:
    """A world that leaves the dispatch questions open."""
    return World(episode, NONE, Rules(codec=one_codec, dispatch=None, quantum_s=quantum_s))


def asked(world: World) -> DispatchQuestion:
    return cast(DispatchQuestion, world.next_question())


def ends(records: Sequence[TransferRecord]) -> list[float]:
    return [record.end_s for record in records]


CROWDED = ("wan", "hybrid", "two-links", "outages")


@pytest.mark.parametrize("name", CROWDED)
def test_first_come_asked_as_a_question_gives_the_records_of_the_built_in_rule(name: str) -> None:
    episode = draw_episode(SCENARIOS[name].with_(requests=60, slots=3), 1)
    built_in = ruled(episode, first_come)
    assert any(record.start_s > record.arrival_s for record in built_in.records)  # it mattered
    assert ruled(episode, oldest).records == built_in.records


@pytest.mark.parametrize("name", CROWDED)
@pytest.mark.parametrize("quantum_s", [inf, 5.0])
def test_left_open_and_answered_on_the_spot_give_the_same_records(name: str, quantum_s: float) -> None:
    episode = draw_episode(SCENARIOS[name].with_(requests=60, slots=2), 2)

    def patient(question: DispatchQuestion) -> Dispatch:
        """Waits in every third second that it may, else the shortest."""
        return WAIT if question.may_wait and int(question.now_s) % 3 == 0 else shortest(question)

    world = open_(episode, quantum_s)
    while (question := world.next_question()) is not None:
        world.answer(patient(cast(DispatchQuestion, question)))
    assert world.records == ruled(episode, patient, quantum_s).records


def test_the_shortest_first_ends_three_transfers_when_it_does_on_paper(
    lay: Lay, by_request: ByRequest
) -> None:
    # 5, 3 and 1 s on one slot: 1, then 1 + 3, then 1 + 3 + 5; first come: 5, 8, 9
    episode = lay([0.0, 0.0, 0.0], [5 * MEGABYTE, 3 * MEGABYTE, 1 * MEGABYTE], slots=1)
    assert ends(by_request(ruled(episode, shortest))) == pytest.approx([9, 4, 1], abs=TO_A_HUNDREDTH)
    assert ends(by_request(ruled(episode, oldest))) == pytest.approx([5, 8, 9], abs=TO_A_HUNDREDTH)


def test_all_that_arrive_at_one_moment_stand_in_its_first_question(lay: Lay) -> None:
    world = open_(lay([0.0, 2.0, 2.0], [5 * MEGABYTE, 3 * MEGABYTE, 1 * MEGABYTE], slots=2))
    first = asked(world)
    assert [waiting.request for waiting in first.waiting] == [0]
    assert (first.free_slots, first.may_wait) == (2, True)  # others will come
    world.answer(Go(0, 0))
    second = asked(world)
    assert (second.now_s, second.free_slots) == (2.0, 1)
    assert [waiting.request for waiting in second.waiting] == [1, 2]
    assert second.paths[0].running == 1


def test_who_waits_for_the_next_arrival_is_asked_again_when_it_comes(lay: Lay, by_request: ByRequest) -> None:
    # a long one waits two seconds for a short one, which goes first: 2 + 1, then 3 + 10
    world = open_(lay([0.0, 2.0], [10 * MEGABYTE, 1 * MEGABYTE], slots=1))
    assert asked(world).now_s == 0.0
    world.answer(WAIT)
    assert asked(world).now_s == 2.0
    world.answer(Go(1, 0))
    assert world.next_question() is None
    assert ends(by_request(world)) == pytest.approx([13, 3], abs=TO_A_HUNDREDTH)


def test_who_waits_for_the_next_end_has_the_path_to_itself(lay: Lay, by_request: ByRequest) -> None:
    # two of 4 s with two slots: side by side both take 8 s, one after the other 4 and 8
    episode = lay([0.0, 0.0], [4 * MEGABYTE, 4 * MEGABYTE], slots=2)
    assert ends(by_request(ruled(episode, oldest))) == pytest.approx([8, 8], abs=TO_A_HUNDREDTH)
    world = open_(episode)
    asked(world)
    world.answer(Go(0, 0))
    second = asked(world)
    assert (second.now_s, second.free_slots, second.may_wait) == (0.0, 1, True)
    world.answer(WAIT)
    assert world.next_question() is None  # at 4 s only one can go, and nothing more can come
    assert ends(by_request(world)) == pytest.approx([4, 8], abs=TO_A_HUNDREDTH)


def test_who_waits_is_asked_again_each_quantum_and_can_meet_better_conditions(lay: Lay) -> None:
    # 1 MB/s for 10 s, then 4 MB/s: 8 MB end at 8 s, or at 12 + 2 s after four waits of 3 s; then it goes by
    # itself, for no other conditions come
    episode = lay([0.0], [8 * MEGABYTE], pieces=[(0.0, 1e6), (10.0, 4e6)], slots=1)
    world = open_(episode, quantum_s=3.0)
    seen = []
    while (question := world.next_question()) is not None:
        seen.append(question.now_s)
        world.answer(WAIT)
    assert seen == [0.0, 3.0, 6.0, 9.0]
    assert ends(world.records) == pytest.approx([14], abs=TO_A_HUNDREDTH)


def test_without_a_quantum_one_that_is_alone_and_last_goes_unasked(lay: Lay) -> None:
    world = open_(lay([0.0], [MEGABYTE], pieces=[(0.0, 1e6), (10.0, 4e6)], slots=1))
    assert world.next_question() is None
    assert ends(world.records) == pytest.approx([1], abs=TO_A_HUNDREDTH)


def test_an_arrival_ends_a_wait_and_its_quantum_with_it(lay: Lay) -> None:
    # waits from 0 with a quantum of 3 s; an arrival at 2 s asks again, and the next quantum ends at 5 s
    world = open_(lay([0.0, 2.0, 90.0], [MEGABYTE] * 3, slots=1), quantum_s=3.0)
    seen = []
    for _ in range(4):
        seen.append(asked(world).now_s)
        world.answer(WAIT)
    assert seen == [0.0, 2.0, 5.0, 8.0]


@pytest.mark.parametrize("answer", [Go(2, 0), Go(-1, 0), Go(0, 1), Go(0, -1)])
def test_one_that_does_not_wait_and_a_path_that_is_not_there_are_refused(lay: Lay, answer: Go) -> None:
    world = open_(lay([0.0, 0.0], [MEGABYTE, MEGABYTE], slots=1))
    asked(world)
    with pytest.raises(ValueError, match=r"one of the 2 waiting|path must be one"):
        world.answer(answer)
    world.answer(Go(1, 0))  # the question still stands
    assert world.next_question() is None
    assert [record.request for record in world.records] == [1, 0]


def test_waiting_for_nothing_is_refused(lay: Lay) -> None:
    world = open_(lay([0.0, 0.0], [MEGABYTE, 2 * MEGABYTE], slots=1))
    assert not asked(world).may_wait
    with pytest.raises(ValueError, match="nothing more will come; let one go"):
        world.answer(WAIT)


def test_a_path_that_is_full_is_refused_and_holds_up_only_its_own(
    lay: Lay, two_paths: TwoPaths, by_request: ByRequest
) -> None:
    # two of 4 s share path 0, whose one slot the first takes; the third has path 1 to itself
    episode = two_paths(lay([0.0] * 3, [4 * MEGABYTE] * 3), (1e6, 1e6), [0, 0, 1])
    world = ruled(episode, oldest)
    assert ends(by_request(world)) == pytest.approx([4, 8, 4], abs=TO_A_HUNDREDTH)
    assert ruled(episode, first_come).records == world.records
    world = open_(episode)
    assert [waiting.paths for waiting in asked(world).waiting] == [(0,), (0,), (1,)]
    world.answer(Go(0, 0))
    assert [waiting.paths for waiting in asked(world).waiting] == [(), (1,)]
    with pytest.raises(ValueError, match="path must be one that is free for it"):
        world.answer(Go(0, 0))


def test_of_two_paths_the_fast_one_is_worth_waiting_for(
    lay: Lay, two_paths: TwoPaths, by_request: ByRequest
) -> None:
    # 4 MB each at 2 and at 0.5 MB/s. Never waiting: 2 s, 8 s on the slow one, 2 + 2 s. Waiting for the fast
    # one: 2, 4, 6 s
    episode = two_paths(lay([0.0] * 3, [4 * MEGABYTE] * 3), (2e6, 0.5e6), [1, 1, 1], any_path=True)

    def only_fast(question: DispatchQuestion) -> Dispatch:
        return Go(0, 0) if 0 in question.waiting[0].paths else WAIT

    eager = by_request(ruled(episode, first_come))
    assert [record.path for record in eager] == [0, 1, 0]
    assert ends(eager) == pytest.approx([2, 8, 4], abs=TO_A_HUNDREDTH)
    waited = by_request(ruled(episode, only_fast))
    assert [record.path for record in waited] == [0, 0, 0]
    assert ends(waited) == pytest.approx([2, 4, 6], abs=TO_A_HUNDREDTH)
    assert by_request(ruled(episode, first_come)) == eager  # the choice of path is not left in the episode


def test_slots_of_the_host_bind_before_those_of_the_paths(
    lay: Lay, two_paths: TwoPaths, by_request: ByRequest
) -> None:
    episode = two_paths(lay([0.0] * 3, [4 * MEGABYTE] * 3, slots=1), (1e6, 1e6), [0, 1, 0], slots=(None, 2))
    assert ends(by_request(ruled(episode, oldest))) == pytest.approx([4, 8, 12], abs=TO_A_HUNDREDTH)


@pytest.mark.parametrize("quantum_s", [inf, 7.0])
@pytest.mark.parametrize("name", ["night-shift", "two-links", "internet"])
def test_who_always_waits_when_it_may_still_ends(name: str, quantum_s: float) -> None:
    quantum_s *= 100 if name == "night-shift" else 1
    world = open_(draw_episode(SCENARIOS[name].with_(requests=25, slots=2), 3), quantum_s)
    asked_for = 0
    while (question := world.next_question()) is not None:
        assert isinstance(question, DispatchQuestion)
        world.answer(WAIT if question.may_wait else oldest(question))
        asked_for += 1
        assert asked_for < 5000
    assert world.finished


@pytest.mark.parametrize("quantum_s", [0.0, -1.0, float("nan")])
def test_a_quantum_must_be_above_zero(lay: Lay, quantum_s: float) -> None:
    with pytest.raises(ValueError, match="quantum_s must be above 0"):
        open_(lay([0.0], [MEGABYTE]), quantum_s)
