"""Policies put together answer each question as they do alone, and the catalogue's compositions play."""

import numpy as np
import pytest

from agents.catalogue import POLICIES, make_policy, static_policies
from agents.joint_rules import Composed
from agents.play import play
from agents.policy import Policy
from envs.compression import Compression
from envs.joint import CODEC, DISPATCH, SHARE, Joint
from sim.catalogue import find_scenario
from sim.decisions import CodecQuestion, DispatchQuestion, ShareQuestion
from sim.episode import draw_episode

SITE = find_scenario("flash-crowd").with_(requests=40, slots=2)
ENV = Joint(SITE)
COMPOSITIONS = [name for name, entry in POLICIES["joint"].items() if entry.build is not None]


class Recorded(Policy):
    """Does as another, and writes down what it was shown, allowed and did."""

    def __init__(self, name, env):
        self.name = name
        self.rows = []
        self.resets = 0
        self._policy = make_policy(name, env)

    def reset(self):
        self.resets += 1

    def act(self, observation, mask=None):
        action = self._policy.act(observation, mask)
        self.rows += zip(observation, mask, action, strict=True)
        return action


def composed(env, codec="contention", dispatch="wspt", share="srpt"):
    return Composed(
        "trial",
        env,
        codec=lambda part: make_policy(codec, part),
        dispatch=lambda part: make_policy(dispatch, part),
        share=lambda part: make_policy(share, part),
    )


@pytest.fixture(scope="module")
def episode():
    return draw_episode(SITE, 5)


@pytest.fixture(scope="module")
def seen(episode):
    """Observations, masks and kinds of question of an episode, side by side."""
    rows = []

    def watch(world, observation, action):
        rows.append((observation, ENV.action_masks(), type(world.question)))

    play(ENV, episode, composed(ENV), watch=watch)
    observations, masks, kinds = zip(*rows, strict=True)
    assert set(kinds) == {CodecQuestion, DispatchQuestion, ShareQuestion}
    return np.array(observations), np.array(masks), np.array(kinds)


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_a_composition_of_the_catalogue_plays_an_episode_legally_and_twice_the_same(name, episode):
    policy, wrong = make_policy(name, ENV), []
    ends = np.cumsum(ENV.action_space.nvec)[:-1]

    def watch(world, observation, action):
        heads = np.split(ENV.action_masks(), ends)
        wrong.extend(one for one, head in zip(action, heads, strict=True) if not head[one])

    costs = [play(ENV, episode, policy, watch=watch).cost for _ in range(2)]
    assert policy.name == name and costs[0] == costs[1] > 0 and not wrong


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_a_batch_is_answered_like_its_rows(name, seen):
    policy = make_policy(name, ENV)
    observations, masks, _ = seen
    single = [policy.act(row, mask) for row, mask in zip(observations, masks, strict=True)]
    np.testing.assert_array_equal(policy.act(observations, masks), single)
    assert single[0].dtype == np.int64 and single[0].shape == (len(ENV.action_space.nvec),)


def test_each_policy_is_shown_its_own_questions_and_answers_only_those(seen):
    observations, masks, kinds = seen
    parts = {}

    def recorded(name, place):
        def make(env):
            parts[place] = Recorded(name, env)
            return parts[place]

        return make

    policy = Composed(
        "trial",
        ENV,
        codec=recorded("estimate", CODEC),
        dispatch=recorded("sjf", DISPATCH),
        share=lambda env: make_policy("equal", env),
    )
    policy.reset()
    actions = policy.act(observations, masks)
    for place, kind in ((CODEC, CodecQuestion), (DISPATCH, DispatchQuestion)):
        mine, part = np.flatnonzero(kinds == kind), ENV.parts[place]
        own, allowed, done = map(np.array, zip(*parts[place].rows, strict=True))
        assert (own == observations[mine, part.seen]).all() and (allowed == masks[mine, part.allowed]).all()
        assert (actions[mine, place] == done).all() and (actions[kinds != kind, place] == 0).all()
        assert parts[place].resets == 1
    levels = actions[:, ENV.parts[SHARE].done]
    assert (levels[kinds != ShareQuestion] == 0).all()
    present = observations[:, [ENV.features.index(f"share_present_{slot}") for slot in range(1, 7)]] > 0
    assert (levels[present] == 1).all() and (levels[~present] == 0).all()  # 0 lies between -1/3 and 1/3


def test_a_strict_order_of_shares_stays_one_in_levels():
    site = find_scenario("backup-window").with_(requests=40)
    env, met = Joint(site, codecs=("none", "zstd")), []

    def watch(world, observation, action):
        if isinstance(world.question, ShareQuestion) and len(world.question.running) >= 4:
            met.append(action[2:6].tolist())

    play(env, draw_episode(site, 0), composed(env, share="wsrpt"), watch=watch)
    assert met and all(levels == [3, 2, 1, 0] for levels in met)


def test_where_nothing_waits_and_shares_are_equal_a_composition_costs_what_its_codec_policy_does():
    wide = SITE.with_(slots=40)
    drawn = draw_episode(wide, 3)
    env = Joint(wide)
    whole = play(env, drawn, composed(env, codec="estimate", dispatch="fifo", share="equal"))
    alone = Compression(wide)
    assert whole.cost == pytest.approx(play(alone, drawn, make_policy("estimate", alone)).cost, rel=1e-9)


def test_a_composition_makes_do_with_the_codecs_that_there_are(episode):
    few = Joint(SITE, ["none", "zstd-9"])
    assert len(static_policies(few)) == len(COMPOSITIONS)
    assert play(few, episode, make_policy("hde_wspt_wsrpt", few)).finished
    codecs = []
    play(few, episode, make_policy("plain", few), watch=lambda world, _, action: codecs.append(action[0]))
    assert max(codecs) == 1


def test_an_environment_of_one_question_is_refused():
    with pytest.raises(ValueError, match="a composition needs dwcp/Joint-v0, got Compression"):
        composed(Compression(SITE))
