"""Questions as rows of numbers say what the questions say."""

import pytest

from sim.catalogue import find_scenario
from sim.codecs import parse_codec
from sim.decisions import DispatchQuestion, Rules, ShareQuestion, equal, first_come
from sim.episode import draw_episode
from sim.question_rows import dispatch_question_of, rows_of, share_question_of
from sim.world import World

SITE = find_scenario("hybrid").with_(requests=20, slots=3, any_path=True)


@pytest.mark.parametrize("asked", [DispatchQuestion, ShareQuestion])
def test_a_question_written_as_rows_and_read_again_is_the_same(asked: type) -> None:
    is_dispatch = asked is DispatchQuestion
    rules = Rules(lambda _: 0, equal if is_dispatch else None, None if is_dispatch else first_come, 0.1)
    world, compared = World(draw_episode(SITE, 3), [parse_codec("zstd")], rules), 0
    while (question := world.next_question()) is not None:
        assert isinstance(question, asked) and len(question.paths) == 2
        read = dispatch_question_of if isinstance(question, DispatchQuestion) else share_question_of
        assert read(rows_of(question), 0) == question
        world.answer(first_come(question) if isinstance(question, DispatchQuestion) else equal(question))
        compared += 1
    assert compared >= 10
