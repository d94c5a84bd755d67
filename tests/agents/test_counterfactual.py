"""Counterfactual costs against the SimPy world with the same answers, and against sums that must come out."""

import numpy as np
import pytest

from agents.supervised.counterfactual import NO_STRAY, Counterfactor, joined
from envs.codec_rule import codec_rule
from envs.features import CODEC_FEATURES
from sim.catalogue import SCENARIOS
from sim.codecs import parse_codec
from sim.episode import draw_episode
from sim.world import World

CODECS = tuple(parse_codec(name) for name in ("none", "zstd", "hde", "amst-16", "hde_xor"))
EXACT = 1e-9


def episode_of(name, requests=24, seed=3):
    return draw_episode(SCENARIOS[name].with_(requests=requests), seed)


def played(episode, answers, rule):
    """A SimPy world at its end: the first answers as given, the others by the rule."""
    world = World(episode, CODECS)
    left = list(answers)
    while (question := world.next_question()) is not None:
        world.answer(left.pop(0) if left else rule(question))
    return world


def own_cost(world, request):
    """What a transfer costs, by its record and the definition of the cost."""
    record = next(one for one in world.records if one.request == request)
    scenario = world.episode.scenario
    late_s = max(0.0, record.end_s - record.deadline_s)
    seconds = record.priority * (record.end_s - record.arrival_s)
    return seconds + scenario.cpu_price * record.cpu_s + scenario.late_price * late_s


@pytest.mark.parametrize("base", ["hde", "shortest"])
@pytest.mark.parametrize("name", ["wan", "deadline-mix", "outages", "diurnal"])
@pytest.mark.parametrize("straying", [False, True])
def test_each_answer_costs_what_it_costs_in_the_simpy_world(name, base, straying):
    episode, rule = episode_of(name), codec_rule(base, CODECS)
    rng = np.random.default_rng(7)
    strays = np.full(len(episode), NO_STRAY)
    if straying:
        strays[[2, 11, 17]] = rng.integers(len(CODECS), size=3)
    found = Counterfactor(CODECS, base).label(episode, strays)
    for place in rng.choice(len(episode), 4, replace=False):
        for answer in range(len(CODECS)):
            world = played(episode, [*found.answer[:place], answer], rule)
            continued_s = world.cost - found.accrued_s[place]
            assert found.continued_s[place, answer] == pytest.approx(continued_s, rel=EXACT)
            one_step_s = own_cost(world, found.request[place])
            assert found.one_step_s[place, answer] == pytest.approx(one_step_s, rel=EXACT)


def test_what_is_answered_is_the_base_policys_answer_but_where_it_strays():
    episode, strays = episode_of("wan"), np.full(24, NO_STRAY)
    strays[5] = 3
    found = Counterfactor(CODECS, "zstd").label(episode, strays)
    assert found.answer.tolist() == [1] * 5 + [3] + [1] * 18


@pytest.mark.parametrize("base", ["hde", "shortest"])
def test_features_time_and_cost_are_those_of_the_questions_that_the_simpy_world_puts(base):
    episode, rule = episode_of("hybrid"), codec_rule(base, CODECS)
    found = Counterfactor(CODECS, base).label(episode)
    world = World(episode, CODECS)
    for place in range(len(episode)):
        question = world.next_question()
        assert (question.request, question.now_s) == pytest.approx((found.request[place], found.now_s[place]))
        assert world.cost == pytest.approx(found.accrued_s[place], rel=EXACT)
        seen = CODEC_FEATURES.scaled(found.features[place])
        np.testing.assert_allclose(seen, CODEC_FEATURES.observe(question), atol=1e-6)
        assert rule(question) == found.answer[place]
        world.answer(rule(question))
    assert world.next_question() is None


def test_the_costs_of_all_transfers_under_the_answers_given_add_up_to_that_of_the_episode():
    found = Counterfactor(CODECS, "shortest").label(episode_of("deadline-mix", 60))
    given = found.answer[:, None]
    total_s = found.accrued_s + np.take_along_axis(found.continued_s, given, axis=1)[:, 0]
    np.testing.assert_allclose(total_s, total_s[0], rtol=EXACT)
    own_s = np.take_along_axis(found.one_step_s, given, axis=1).sum()
    assert own_s == pytest.approx(total_s[0], rel=EXACT)


def test_where_nobody_meets_anybody_an_answer_changes_nothing_but_its_own_transfer(two_paths, three_codecs):
    found = Counterfactor(three_codecs, "none").label(draw_episode(two_paths, 11))
    alone = np.diff(found.now_s, append=np.inf) > found.one_step_s.max(axis=1) + 60.0
    assert alone.sum() > 20
    changes = [costs - costs[:, :1] for costs in (found.one_step_s[alone], found.continued_s[alone])]
    np.testing.assert_allclose(changes[1], changes[0], atol=1e-6)
    assert np.abs(changes[0]).max() > 1.0


def test_the_last_answer_of_an_episode_costs_others_only_what_it_takes_from_those_still_moving(
    two_paths, three_codecs
):
    found = Counterfactor(three_codecs, "zstd").label(draw_episode(two_paths, 5))
    np.testing.assert_allclose(found.continued_s[-1], found.one_step_s[-1], rtol=1e-6)


def test_episodes_are_labelled_alike_whatever_was_labelled_before():
    episodes = [episode_of("wan", 12), episode_of("hybrid", 30), episode_of("outages", 20)]
    one = Counterfactor(CODECS, "hde")
    for episode in [*episodes, episodes[0]]:
        fresh = Counterfactor(CODECS, "hde").label(episode)
        for mine, theirs in zip(one.label(episode), fresh, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_parts_are_joined_in_their_order():
    parts = [Counterfactor(CODECS, "hde").label(episode_of("wan", count)) for count in (5, 7)]
    whole = joined(parts)
    np.testing.assert_array_equal(whole.now_s[5:], parts[1].now_s)
    assert whole.continued_s.shape == (12, len(CODECS))


def test_a_base_policy_that_is_no_codec_of_the_list_is_refused_with_the_names():
    with pytest.raises(ValueError, match="base must be 'shortest' or one of none, zstd, hde"):
        Counterfactor(CODECS, "amst")
