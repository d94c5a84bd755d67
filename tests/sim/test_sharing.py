"""Who gets how much: rates, ends, cores and streams that follow from the weights on paper."""

from collections.abc import Callable, Sequence
from typing import cast

import pytest

from sim.catalogue import SCENARIOS
from sim.codecs import STREAM_CPU_S, parse_codec
from sim.decisions import BY_DEFAULT, Rules, Running, ShareQuestion, ShareRule, Shares, equal
from sim.episode import Episode, draw_episode
from sim.hosts import Host
from sim.telemetry import TransferRecord
from sim.world import World

Lay = Callable[..., Episode]
ByRequest = Callable[[World], list[TransferRecord]]
TwoPaths = Callable[..., Episode]

MEGABYTE = 1e6
"""Bytes that take one second on a path that carries 1 MB/s."""
TO_A_HUNDREDTH = 0.01
"""Seconds: each start takes 0.6 ms."""


def one_codec(_: object) -> int:
    return 0


def by_weight(weight: Callable[[Running], float]) -> ShareRule:
    """The same weights on wire and cores; even ones where all would be 0."""

    def rule(question: ShareQuestion) -> Shares:
        weights = [weight(running) for running in question.running]
        weights = weights if any(weights) else [1.0] * len(weights)
        return Shares(weights, weights)

    return rule


def in_request_order(*weights: float) -> ShareRule:
    """A weight for each request, whoever is still there."""
    return by_weight(lambda running: weights[running.request])


def on_cores(*weights: float) -> ShareRule:
    """A weight on the cores for each request, whoever is still there; on the wire all the same."""
    return lambda question: in_request_order(*weights)(question)._replace(link=[1.0] * len(question.running))


def least_remaining(question: ShareQuestion) -> Shares:
    """All to the one that has least left to send."""
    left = [running.remaining_bytes for running in question.running]
    chosen = [float(place == left.index(min(left))) for place in range(len(left))]
    return Shares(chosen, chosen)


def shared(
    episode: Episode, share: ShareRule, codec: str = "none", control_s: float = 1.0
) -> tuple[World, list[ShareQuestion]]:
    """Run to the end under a rule; the share questions, too."""
    seen = []

    def watched(question: ShareQuestion) -> Shares:
        seen.append(question)
        return share(question)

    world = World(episode, [parse_codec(codec)], Rules(codec=one_codec, share=watched, control_s=control_s))
    assert world.next_question() is None
    return world, seen


def ends(records: Sequence[TransferRecord]) -> list[float]:
    return [record.end_s for record in records]


def rates(question: ShareQuestion) -> list[float]:
    return [running.rate for running in question.running]


def test_three_to_one_gives_the_rates_and_ends_worked_out_on_paper(lay: Lay, by_request: ByRequest) -> None:
    # 6 MB each at 1 MB/s: half a megabyte each in the first second, then .75 and .25 a second; the first ends
    # after 1 + 5.5 / .75 s, the second when all 12 MB have moved
    world, questions = shared(lay([0.0, 0.0], [6 * MEGABYTE] * 2), in_request_order(3, 1))
    assert ends(by_request(world)) == pytest.approx([1 + 5.5 / 0.75, 12], abs=TO_A_HUNDREDTH)
    assert [question.now_s for question in questions] == list(range(1, 13))
    assert rates(questions[0]) == pytest.approx([0.5e6, 0.5e6], rel=1e-6)
    assert rates(questions[1]) == pytest.approx([0.75e6, 0.25e6], rel=1e-6)
    assert questions[2].running[0].remaining_bytes == pytest.approx(6e6 - 0.5e6 - 2 * 0.75e6, rel=1e-3)


def test_only_proportions_count(lay: Lay) -> None:
    episode = lay([0.0, 0.0], [6 * MEGABYTE, 4 * MEGABYTE])
    few, _ = shared(episode, in_request_order(3, 1))
    many, _ = shared(episode, in_request_order(3e6, 1e6))
    assert ends(many.records) == pytest.approx(ends(few.records), rel=1e-9)


def test_all_to_the_least_remaining_ends_each_when_one_server_would(lay: Lay, by_request: ByRequest) -> None:
    # 10 s of work at 0, 3 s at 2 s, 1 s at 3 s: the third from 3 to 4, the second from 2 to 3 and from 4 to
    # 6, the first from 0 to 2 and from 6 to 14; who comes waits a control interval at most
    control_s = 0.1
    episode = lay([0.0, 2.0, 3.0], [10 * MEGABYTE, 3 * MEGABYTE, 1 * MEGABYTE])
    world, _ = shared(episode, least_remaining, control_s=control_s)
    assert ends(by_request(world)) == pytest.approx([14, 6, 4], abs=2 * control_s)
    # and the sum is least: equal shares end them at 14, 9 and 6 s (1.5 + 1.5 and 1 more left at 6 s)
    even, _ = shared(episode, equal, control_s=control_s)
    assert sum(ends(world.records)) < sum(ends(even.records))


@pytest.mark.parametrize("weights", [(3, 1), (1, 1), (0, 1), (1e9, 1)])
def test_against_cross_traffic_all_together_keep_what_their_streams_had(
    lay: Lay, weights: tuple[float, float]
) -> None:
    # two streams against two of others: half of 1 MB/s, however it is divided
    _, questions = shared(lay([0.0, 0.0], [6 * MEGABYTE] * 2, cross=2.0), in_request_order(*weights))
    both = rates(questions[1])
    assert sum(both) == pytest.approx(0.5e6, rel=1e-6)
    assert both[0] / sum(both) == pytest.approx(weights[0] / sum(weights), abs=2e-6)


def test_what_one_cannot_use_the_other_gets(lay: Lay) -> None:
    # a window of 20 kB a tenth of a second holds one stream to 0.2 MB/s; of 0.3 MB/s the other has the rest
    episode = lay([0.0, 0.0], [MEGABYTE] * 2, carries=0.3e6, rtt_s=0.1, window=2e4)
    _, questions = shared(episode, in_request_order(9, 1))
    assert rates(questions[2]) == pytest.approx([0.2e6, 0.1e6], rel=1e-3)


def test_a_weight_of_zero_stops_no_one_for_ever(lay: Lay, by_request: ByRequest) -> None:
    # 5 and 5 MB: the first half second each, then all to the first until 1 + 4.5 s, then all to the second
    world, questions = shared(lay([0.0, 0.0], [5 * MEGABYTE] * 2), in_request_order(1, 0))
    assert ends(by_request(world)) == pytest.approx([5.5, 10], abs=TO_A_HUNDREDTH)
    assert rates(questions[1])[1] == pytest.approx(1.0, rel=1e-3)  # a millionth of the path
    # one who is alone has all of it, whatever it weighs beside others
    assert rates(questions[-1]) == pytest.approx([1e6], rel=1e-6)


def test_a_path_on_which_all_weigh_zero_is_shared_evenly(lay: Lay, two_paths: TwoPaths) -> None:
    # 3 MB/s to the only one on its path, 1 MB/s to the two on the other, though the first has all the weight
    episode = two_paths(lay([0.0] * 3, [9e6] * 3), (3e6, 1e6), [0, 1, 1], slots=(None, None))
    _, questions = shared(episode, in_request_order(1, 0, 0))
    assert rates(questions[1]) == pytest.approx([3e6, 0.5e6, 0.5e6], rel=1e-6)


@pytest.mark.parametrize("name", ["wan", "hybrid", "cpu-starved", "backup-window"])
def test_equal_as_a_question_gives_what_the_built_in_rule_gives(name: str) -> None:
    episode = draw_episode(SCENARIOS[name].with_(requests=60), 4)
    codecs = [parse_codec(codec) for codec in ("none", "zstd", "hde", "amst")]
    built_in = World(episode, codecs)
    built_in.run(lambda question: question.request % 4)
    asked = World(episode, codecs, Rules(codec=lambda question: question.request % 4, share=None))
    while (question := asked.next_question()) is not None:
        asked.answer(equal(cast(ShareQuestion, question)))
    assert [record.request for record in asked.records] == [record.request for record in built_in.records]
    assert ends(asked.records) == pytest.approx(ends(built_in.records), rel=1e-9)
    assert asked.cost == pytest.approx(built_in.cost, rel=1e-9)


def test_the_built_in_equal_rule_asks_nothing(lay: Lay) -> None:
    world = World(lay([0.0], [9 * MEGABYTE]), [parse_codec("none")], BY_DEFAULT._replace(codec=one_codec))
    assert world.next_question() is None


def test_one_core_is_shared_by_weight(lay: Lay) -> None:
    # the wire is wide; 3:1 of one core at the rate that each encoder has shown
    host = Host(cores=1, background=0.0, background_sd=0.0)
    episode = lay([0.0, 0.0], [4e9, 4e9], carries=1e12, host=host, dataset=[0, 1])
    _, questions = shared(episode, on_cores(3, 1), codec="zstd")
    first, second = questions[1].running
    assert first.rate / first.encode == pytest.approx(0.75, rel=1e-6)
    assert second.rate / second.encode == pytest.approx(0.25, rel=1e-6)
    assert questions[1].host.cpu_load == pytest.approx(1.0)
    even = questions[0].running
    assert [one.rate / one.encode for one in even] == pytest.approx([0.5, 0.5], rel=1e-6)


def test_an_encoder_can_use_one_core_whatever_it_weighs(lay: Lay) -> None:
    host = Host(cores=2, background=0.0, background_sd=0.0)
    episode = lay([0.0, 0.0, 0.0], [4e9] * 3, carries=1e12, host=host, dataset=[0, 1, 2])
    _, questions = shared(episode, on_cores(8, 1, 1), codec="zstd")
    used = [running.rate / running.encode for running in questions[1].running]
    assert used == pytest.approx([1.0, 0.5, 0.5], rel=1e-6)


def with_streams(*streams: int) -> ShareRule:
    return lambda question: Shares(
        [1.0] * len(question.running),
        [1.0] * len(question.running),
        [streams[running.request] for running in question.running],
    )


def test_more_streams_speed_up_a_path_that_windows_hold_back_and_cost_their_set_up(lay: Lay) -> None:
    # 50 kB a window and 50 ms: 1 MB/s a stream. Two streams for a second, then eight: 20 MB are 2 MB and 18
    # at 8 MB/s, on top of what the start takes
    episode = lay([0.0], [20 * MEGABYTE], carries=1e9, rtt_s=0.05, window=5e4)
    two, slow = shared(episode, with_streams(2), codec="amst-2")
    eight, fast = shared(episode, with_streams(8), codec="amst-2")
    assert rates(slow[2]) == pytest.approx([2e6], rel=1e-6)
    assert rates(fast[2]) == pytest.approx([8e6], rel=1e-6)
    assert [question.running[0].streams for question in fast[:2]] == [2, 8]
    first_s = fast[0].running[0].size_bytes - fast[0].running[0].remaining_bytes
    assert ends(eight.records) == pytest.approx([1 + (20e6 - first_s) / 8e6], rel=1e-6)
    assert ends(two.records) == pytest.approx([1 + (20e6 - first_s) / 2e6], rel=1e-6)
    # six more streams are opened at both ends, and the bytes cost what they cost
    assert eight.cpu_s - two.cpu_s == pytest.approx(2 * 6 * STREAM_CPU_S, rel=1e-6)
    assert eight.records[0].cpu_s == pytest.approx(eight.cpu_s, rel=1e-9)
    assert eight.records[0].streams == 8


def test_fewer_streams_leave_the_path_to_others_and_cost_nothing(lay: Lay) -> None:
    episode = lay([0.0], [20 * MEGABYTE], carries=1e9, rtt_s=0.05, window=5e4)
    world, questions = shared(episode, with_streams(1), codec="amst-4")
    assert rates(questions[2]) == pytest.approx([1e6], rel=1e-6)
    alone, _ = shared(episode, equal, codec="amst-4")
    assert world.cpu_s == pytest.approx(alone.cpu_s, rel=1e-9)


def test_one_stream_that_has_no_choice_ignores_it(lay: Lay) -> None:
    _, questions = shared(lay([0.0], [5 * MEGABYTE]), with_streams(16))
    assert [question.running[0].streams for question in questions] == [1] * len(questions)


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        (Shares([1.0], [1.0, 1.0]), "link needs an entry for each of the 2 running, got 1"),
        (Shares([1.0, 1.0], [1.0] * 3), "cpu needs an entry for each of the 2 running, got 3"),
        (Shares([1.0, 1.0], [1.0, 1.0], [8]), "streams needs an entry"),
        (Shares([0.0, 0.0], [1.0, 1.0]), "not all 0"),
        (Shares([1.0, 1.0], [2.0, -1.0]), "at least 0"),
        (Shares([float("inf"), 1.0], [1.0, 1.0]), "finite"),
        (Shares([float("nan"), 1.0], [1.0, 1.0]), "finite"),
        (Shares([1.0, 1.0], [1.0, 1.0], [0, 8]), "streams must be from 1 to 64, got 0"),
        (Shares([1.0, 1.0], [1.0, 1.0], [4, 65]), "streams must be from 1 to 64, got 65"),
        (Shares([1.0, 1.0], [0.0, 0.0], [16, 16]), "cpu weights .* not all 0"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(lay: Lay, shares: Shares, says: str) -> None:
    episode = lay([0.0, 0.0], [50 * MEGABYTE] * 2)
    world = World(episode, [parse_codec("amst")], Rules(codec=one_codec, share=None))
    world.next_question()
    before = world.cpu_s
    with pytest.raises(ValueError, match=says):
        world.answer(shares)
    assert world.cpu_s == before
    world.answer(Shares([1.0, 1.0], [1.0, 1.0]))  # the question still stands
    after = cast(ShareQuestion, world.next_question())
    assert [running.streams for running in after.running] == [8, 8]


@pytest.mark.parametrize("control_s", [0.0, -1.0, float("inf"), float("nan")])
def test_a_control_interval_must_be_finite_and_above_zero(lay: Lay, control_s: float) -> None:
    with pytest.raises(ValueError, match="control_s must be finite and above 0"):
        World(lay([0.0], [1.0]), [parse_codec("none")], Rules(share=None, control_s=control_s))


def test_questions_stand_at_whole_intervals_and_only_while_something_moves(lay: Lay) -> None:
    # 2.5 s from 0 and from 10.2: at 1 and 2, and at 11 and 12, but never between
    _, questions = shared(lay([0.0, 10.2], [2.5 * MEGABYTE] * 2), equal)
    assert [question.now_s for question in questions] == [1.0, 2.0, 11.0, 12.0]
