"""What a codec rule, few streams and ageing baselines leave of a bound: by hand, and never too much."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from agents.bound import bound
from agents.bound_crowd import crowd
from agents.bound_leave import as_recorded, at_will, by_shortest_estimate
from agents.bound_options import Freedom, draw_up_options, path_capacity
from agents.bound_slack import slack
from agents.catalogue import static_policies
from agents.planner_bracket import bound_for, questions_of, realised
from envs.allocation import Allocation
from envs.codec_rule import shortest_alone
from envs.compression import Compression
from envs.scheduling import Scheduling
from sim.catalogue import SCENARIOS, find_scenario
from sim.codecs import parse_codec
from sim.decisions import WAIT, DispatchQuestion, Go, Rules
from sim.episode import Episode, draw_episode
from sim.world import World

CODECS = tuple(parse_codec(name) for name in ("none", "zstd", "hde", "amst"))
PLAIN = {"free_shares": False, "free_streams": False}


def small(name: str, seed: int = 1, requests: int = 32, slots: int = 3) -> Episode:
    return draw_episode(find_scenario(name).with_(requests=requests, slots=slots), seed)


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_the_codec_rule_never_sends_a_transfer_in_a_way_that_the_bound_rules_out(name: str) -> None:
    episode = small(name)
    leave, names = by_shortest_estimate(episode, CODECS), [codec.name for codec in CODECS]
    rng = np.random.default_rng(1)

    def anyone(question: DispatchQuestion) -> Go | None:
        if question.may_wait and rng.random() < 0.3:
            return WAIT
        choices = [(at, path) for at, one in enumerate(question.waiting) for path in one.paths]
        return Go(*choices[int(rng.integers(len(choices)))])

    world = World(episode, CODECS, Rules(codec=shortest_alone(CODECS), dispatch=anyone, quantum_s=1.0))
    assert world.next_question() is None
    for one in world.records:
        way = leave.delta if one.is_delta else leave.whole
        assert way[one.request, one.path, names.index(one.codec)] <= one.start_s
    found = bound(episode, CODECS, leave=leave, **PLAIN).cost_s
    assert bound(episode, CODECS, **PLAIN).cost_s <= found * (1 + 1e-3)  # nodes lie elsewhere
    assert found <= world.cost * (1 + 1e-9)


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_no_choice_of_codecs_in_turn_costs_less_than_its_bound(name: str) -> None:
    episode, rng = draw_episode(find_scenario(name).with_(requests=40), 7), np.random.default_rng(7)
    found = bound(episode, CODECS, free_order=False, **PLAIN).cost_s
    for likely in (0.25, 0.7, 0.95):  # of HDE: few and many baselines and deltas
        world = World(episode, CODECS)
        world.run(lambda question, often=likely: 2 if rng.random() < often else int(rng.integers(4)))
        assert found <= world.cost * (1 + 1e-9)
        told = bound(
            episode,
            CODECS,
            free_order=False,
            leave=as_recorded(episode, CODECS, world.records, starts=True),
            **PLAIN,
        )
        assert told.cost_s <= world.cost * (1 + 1e-9)


@pytest.mark.parametrize("name", ["wan", "cpu-starved", "diurnal"])
def test_the_cheapest_of_all_ways_to_choose_codecs_costs_no_less_than_the_bound(name: str) -> None:
    scenario = find_scenario(name)
    workload = replace(scenario.workload, datasets=1, one_off=0.0)
    episode = draw_episode(scenario.with_(requests=4, workload=workload), 4)
    costs = []
    for answers in product(range(len(CODECS)), repeat=4):
        world = World(episode, CODECS)
        world.run(lambda question, given=answers: given[question.request])
        costs.append(world.cost)
    found = bound(episode, CODECS, free_order=False, **PLAIN).cost_s
    assert 0.4 * min(costs) <= found <= min(costs) * (1 + 1e-9)


@pytest.mark.parametrize("name", ["night-shift", "outages", "deadline-mix", "two-links", "backup-window"])
def test_no_order_costs_less_than_the_bound_that_knows_the_codec_rule(name: str) -> None:
    env = Scheduling(name)
    episode = draw_episode(find_scenario(name).with_(requests=40), 3)
    questions = questions_of(env, episode.scenario)
    found = bound_for(env, episode, questions).cost_s
    for policy in static_policies(env):
        world, _ = realised(env, episode, policy, questions)
        assert found <= world.cost * (1 + 1e-9)


@pytest.mark.parametrize("name", ["wan", "constrained", "hybrid", "cpu-starved"])
def test_no_shares_cost_less_than_the_bound_that_knows_the_codec_rule(name: str) -> None:
    env = Allocation(name, streams=[1, 8, 32])
    episode = draw_episode(find_scenario(name).with_(requests=40), 3)
    questions = questions_of(env, episode.scenario)
    found = bound_for(env, episode, questions).cost_s
    for policy in static_policies(env):
        world, _ = realised(env, episode, policy, questions)
        assert found <= world.cost * (1 + 1e-9)


def test_two_single_streams_beside_one_other_share_two_thirds() -> None:
    # u = 1: two of ours and one other get a third each; one of ours beside eight, and one other, a tenth
    episode = small("night-shift", slots=2)
    links = np.array([[[1e6, 0.02, 0.0, 1.0]]])
    conditions = episode.conditions._replace(
        times=np.zeros(1), links=links, cores=episode.conditions.cores[:1]
    )
    episode = replace(episode, conditions=conditions, path_limits=np.array([[1e12, 1e12, 0.0]]))
    freedom, leave = Freedom(False, False, True), at_will(episode, CODECS)
    options = draw_up_options(episode, CODECS, path_capacity(episode, CODECS, freedom, leave), freedom, leave)
    beside, one = crowd(episode, options), np.ones(1)
    usable = beside.capacity.item() * 1.5
    assert beside.capacity.item() == pytest.approx(usable * 2 / 3)
    counts = beside.displaces(np.zeros(1, np.int64), 8 * one, one).item()
    assert beside.capacity.item() / counts == pytest.approx(usable * 16 / 17)  # two of eight streams each


def test_a_baseline_that_grows_too_old_serves_no_one() -> None:
    episode = draw_episode(find_scenario("diurnal").with_(requests=48), 2)
    values = []
    for max_age_s in (1e9, 3600.0, 60.0, 0.0):
        host = replace(episode.scenario.host, max_age_s=max_age_s)
        aged = replace(episode, scenario=episode.scenario.with_(host=host))
        values.append(bound(aged, CODECS[2:3], free_order=False, **PLAIN).cost_s)
    assert values == sorted(values)
    none = replace(episode, scenario=aged.scenario.with_(host=replace(host, max_deltas=0)))
    assert values[-1] == pytest.approx(bound(none, CODECS[2:3], **PLAIN).cost_s, rel=1e-3)


def test_what_a_bound_is_told_raises_it_towards_the_plan_and_never_beyond() -> None:
    env = Compression("wan")
    episode = small("wan", slots=16)
    policy = static_policies(env)[2]
    _, plans = realised(env, episode, policy, questions_of(env, episode.scenario))
    found = slack(env, episode, plans[0])
    assert found.bound_s <= found.codecs_s <= found.starts_s <= found.plan_s * (1 + 1e-9)
    assert (found + found).plan_s == 2 * found.plan_s
