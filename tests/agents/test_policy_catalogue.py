"""Every name of the catalogue keeps the contract of a policy."""

import numpy as np
import pytest

from agents.catalogue import POLICIES, kind_of, make_policy, policies_of, static_policies
from agents.play import play
from envs.compression import Compression
from experiments.evidence import KINDS
from sim.catalogue import find_scenario
from sim.codecs import CODECS
from sim.episode import draw_episode

ENV = Compression("metro")
OF_CODECS = policies_of("compression")
READY = [name for name, entry in OF_CODECS.items() if entry.build is not None]
STATIC = [codec.name for codec in ENV.codecs]


@pytest.fixture(scope="module")
def episode():
    return draw_episode(find_scenario("metro").with_(requests=24), 5)


@pytest.fixture(scope="module")
def rows(episode):
    seen = []
    play(ENV, episode, make_policy("zstd", ENV), watch=lambda _, row, __: seen.append(row))
    return np.array(seen)


@pytest.mark.parametrize("name", READY + STATIC)
def test_a_ready_policy_plays_an_episode_to_its_end_the_same_way_twice(name, episode):
    costs = []
    for _ in range(2):
        policy = make_policy(name, ENV)
        assert policy.name == name
        costs.append([play(ENV, episode, policy).cost, play(ENV, episode, policy).cost])
    assert costs[0] == costs[1]
    assert costs[0][0] == costs[0][1] > 0


@pytest.mark.parametrize("name", [name for name in READY + STATIC if "oracle" not in name])
def test_a_policy_answers_one_row_with_an_int_and_a_batch_with_one_action_a_row(name, rows):
    policy = make_policy(name, ENV)
    single = [policy.act(row) for row in rows]
    batch = policy.act(rows)
    assert all(type(action) is int for action in single)
    assert batch.dtype == np.int64
    np.testing.assert_array_equal(batch, single)
    assert 0 <= batch.min() <= batch.max() < len(STATIC)


@pytest.mark.parametrize("name", [name for name in READY if "oracle" not in name])
def test_a_rule_takes_only_what_is_allowed(name, rows):
    policy = make_policy(name, ENV)
    for only in range(len(STATIC)):
        assert set(policy.act(rows, np.arange(len(STATIC)) == only).tolist()) == {only}


@pytest.mark.parametrize("name", READY)
def test_only_an_oracle_looks_into_the_world(name):
    assert make_policy(name, ENV).needs_world == (OF_CODECS[name].kind == "oracle")


@pytest.mark.parametrize("name", READY)
def test_a_policy_makes_do_with_the_codecs_that_there_are(name, episode):
    few = Compression("metro", ["none", "zstd-9"])
    assert play(few, episode, make_policy(name, few)).finished


def test_an_oracle_that_was_shown_no_world_says_so(rows):
    with pytest.raises(RuntimeError, match="bind"):
        make_policy("one_step_oracle", ENV).act(rows[0])


def test_the_one_step_oracle_costs_least_of_all_where_no_transfer_meets_another(unseen, make_env):
    env = make_env()
    oracle = make_policy("one_step_oracle", env)
    for episode in unseen[:3]:
        best = play(env, episode, oracle).cost
        for policy in static_policies(env):
            assert play(env, episode, policy).cost >= best


def test_constants_stand_in_the_order_of_the_actions_under_the_names_of_their_codecs(rows):
    policies = static_policies(ENV)
    assert [policy.name for policy in policies] == STATIC
    assert [policy.act(rows[0]) for policy in policies] == [0, 1, 2, 3]


def test_no_policy_bears_the_name_of_a_codec_and_every_kind_is_one_that_reports_know():
    for entries in POLICIES.values():
        assert not set(entries) & set(CODECS)
        assert {entry.kind for entry in entries.values()} <= set(KINDS)
    assert {kind_of(name, ENV) for name in STATIC} == {"static"}
    assert kind_of("ppo", ENV) == "learner"


def test_what_must_be_trained_and_what_there_is_not_are_refused():
    with pytest.raises(ValueError, match="ppo does not come ready made; train it"):
        make_policy("ppo", ENV)
    with pytest.raises(KeyError):
        make_policy("bogus", ENV)
    with pytest.raises(ValueError, match="unknown task 'routing'; there are compression"):
        policies_of("routing")
