"""How a divergence is told: one engine has another copy of an episode, the message says what and where."""

from collections.abc import Callable

import pytest

from sim.batch.layout import OPEN, Lanes
from sim.batch.world import BatchWorld, OpenTo
from sim.codecs import parse_codec

CODECS = [parse_codec("none"), parse_codec("hde")]


@pytest.fixture
def pair(lay, lane_twins):
    """Both engines after some questions; then the arrays of the compiled one are changed."""

    def start(change: Callable[[Lanes], None], after: int = 0):
        episode = lay([0.0, 1.0, 2.0, 30.0], [4e6, 1e6, 1e6, 1e6])
        batch = BatchWorld([episode], 1, CODECS, OpenTo(OPEN, False, False, 1.0))
        if not after:
            change(batch.arrays)
        batch.start(0, 0)
        twins = lane_twins(batch, 0)
        for _ in range(after):
            twins.step(lambda _: 0)
        if after:
            change(batch.arrays)
        return twins

    return start


@pytest.fixture
def said(pair):
    """What is said of the first difference."""

    def play(change: Callable[[Lanes], None], after: int = 0) -> str:
        with pytest.raises(AssertionError) as caught:
            pair(change, after).play(lambda _: 0)
        return str(caught.value)

    return play


def set_request(column: str, request: int, value: float) -> Callable[[Lanes], None]:
    def change(w: Lanes) -> None:
        w.requests[column][0, request] = value

    return change


def test_another_size_is_told_when_its_question_is_put(said):
    assert said(set_request("size_bytes", 2, 1.5e6)) == (
        "by-hand, seed 0, question 3 at 2 s, CodecQuestion of request 2 at 2.0 s: "
        "size_bytes is 1000000.0 in sim.world and 1500000.0 in sim.batch"
    )


def test_another_arrival_is_told_by_its_time(said):
    assert said(set_request("arrival_s", 3, 25.0)) == (
        "by-hand, seed 0, question 4 at 30 s, CodecQuestion of request 3 at 30.0 s: "
        "now_s is 30.0 in sim.world and 25.0 in sim.batch"
    )


def test_a_question_that_one_of_them_does_not_put_is_told(said):
    def fewer(w: Lanes) -> None:
        w.sites["requests"][0] = 3

    assert said(fewer).endswith(
        "the question is 'CodecQuestion of request 3 at 30.0 s' in sim.world and 'the end' in sim.batch"
    )


def test_a_cost_that_no_question_shows_is_told_at_the_next(said):
    def later(w: Lanes) -> None:
        w.lanes["completion_cost"][0] += 0.5

    message = said(later, after=3)
    assert message.startswith("by-hand, seed 0, question 4 at 30 s: cost is ")


def test_a_record_is_told_by_its_number_and_its_request(said):
    def dearer(w: Lanes) -> None:
        w.transfers["cpu_s"][0, 1] += 1e-3  # nothing costs a core-second here

    assert said(dearer, after=3).startswith("by-hand, seed 0, record 1, of request 1: cpu_s is ")


def test_another_order_of_records_is_told(said):
    def swap(w: Lanes) -> None:
        w.recorded[0, :2] = w.recorded[0, 1::-1]

    message = said(swap, after=4)
    assert message.startswith("by-hand, seed 0, record 1: the record is TransferRecord(request=1,")
    assert "TransferRecord(request=2," in message.partition("sim.world and ")[2]


def test_a_hundred_millionth_of_the_time_is_a_difference_and_a_rounding_is_none(pair, said):
    assert ": now_s is " in said(set_request("arrival_s", 2, 2.0 * (1 + 1e-8)))
    twins = pair(set_request("arrival_s", 2, 2.0 * (1 + 1e-12))).play(lambda _: 0)
    assert twins.worst["now_s"] == pytest.approx(1e-12, rel=1e-3)
