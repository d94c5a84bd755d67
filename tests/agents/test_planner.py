"""The hindsight planner: the optimum where all can be tried, exact costs, never worse than its starts."""

from itertools import product
from math import inf

import numpy as np
import pytest

from agents.catalogue import static_policies
from agents.planner import foresee, search
from agents.planner_bracket import bracket, plain_starts, realised
from agents.planner_steps import STEP, Questions, plain_plan, played
from envs.compression import Compression
from envs.scheduling import Scheduling
from sim.catalogue import find_scenario
from sim.codecs import parse_codec
from sim.decisions import Answer, CodecQuestion, DispatchQuestion, Go, Question, Rules
from sim.episode import Episode, draw_episode
from sim.world import World

CODECS = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]
ALL = Questions(True, dispatch=True, share=True, control_s=1.0, quantum_s=5.0, streams=(1, 4, 16))


def drawn(scenario: str, seed: int, requests: int, **changes: object) -> Episode:
    return draw_episode(find_scenario(scenario).with_(requests=requests, **changes), seed)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def cheapest(episode: Episode, rules: Rules) -> float:
    """Least cost over all answers to codec and dispatch questions: every way is tried."""
    least, ways = inf, [[]]  # type: float, list[list[Answer]]
    while ways:
        answers = ways.pop()
        world = World(episode, CODECS, rules)
        for answer in answers:
            world.next_question()
            world.answer(answer)
        question = world.next_question()
        if question is None:
            least = min(least, world.cost)
        else:
            ways += [[*answers, answer] for answer in choices(question)]
    return least


def choices(question: Question) -> list[Answer]:
    if isinstance(question, CodecQuestion):
        return list(range(len(CODECS)))
    assert isinstance(question, DispatchQuestion)
    go = [Go(place, path) for place, one in enumerate(question.waiting) for path in one.paths]
    return [*go, None] if question.may_wait else [*go]


@pytest.mark.parametrize(("scenario", "seed"), [("metro", 0), ("metro", 1), ("cpu-starved", 2)])
def test_on_five_transfers_it_finds_the_codecs_that_trying_all_finds(scenario, seed):
    episode = drawn(scenario, seed, 5)
    optimum = inf
    for codecs in product(range(4), repeat=5):
        plan = plain_plan(5)
        plan["codec"] = codecs
        optimum = min(optimum, played(episode, CODECS, plan, Questions(True)).cost)
    found = search(episode, CODECS, Questions(True), [plain_plan(5, 0)], budget=2000, rng=rng())
    assert found.cost_s == pytest.approx(optimum, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_on_four_transfers_with_waits_it_finds_the_order_that_trying_all_finds(seed):
    episode = drawn("deadline-mix", seed, 4, slots=1)
    optimum = cheapest(episode, Rules(codec=lambda _: 1, dispatch=None))
    questions = Questions(False, dispatch=True)
    found = search(episode, CODECS, questions, [plain_plan(4, 1)], budget=3000, rng=rng(seed))
    assert found.cost_s == pytest.approx(optimum, rel=1e-9)


@pytest.mark.parametrize("scenario", ["wan", "two-links", "internet"])
def test_a_plan_costs_on_lanes_what_it_costs_in_the_world(scenario):
    episode, dice = drawn(scenario, 3, 24), rng(1)
    plan = np.zeros(24, STEP)
    plan["codec"], plan["turn"] = dice.integers(-1, 4, 24), dice.permutation(24)
    plan["not_before_s"] = episode.requests.arrival_s + dice.exponential(2.0, 24)
    plan["level"], plan["core_level"] = dice.normal(size=24), dice.normal(size=24)
    plan["haste"], plan["streams"] = dice.random(24), dice.choice([0, 1, 4, 16], 24)
    plan["path"] = dice.integers(-1, len(episode.path_limits), 24)
    found = search(episode, CODECS, ALL, [plan], budget=0, rng=rng())  # compares both, to 1e-9
    assert found.cost_s == played(episode, CODECS, plan, ALL).cost
    assert found.start_cost_s == pytest.approx(found.cost_s, rel=1e-9)
    assert found.plan.tolist() == plan.tolist()


@pytest.mark.parametrize("questions", [Questions(True), Questions(False, dispatch=True, quantum_s=5.0), ALL])
def test_a_larger_budget_never_finds_a_dearer_plan(questions):
    episode = drawn("two-links", 4, 20)
    starts = plain_starts(episode, CODECS, questions)
    costs = [
        search(episode, CODECS, questions, starts, budget=budget, rng=rng(2)).cost_s
        for budget in (0, 100, 700, 4200)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0]


def test_the_same_generator_finds_the_same_plan():
    episode = drawn("wan", 5, 16)
    plans = [search(episode, CODECS, ALL, [plain_plan(16)], budget=600, rng=rng(7)).plan for _ in range(2)]
    assert plans[0].tolist() == plans[1].tolist()


def test_what_a_codec_policy_or_a_scheduler_did_is_a_plan_of_the_same_cost():
    codecs, schedule = Compression("metro"), Scheduling("backup-window")
    for env, questions in (
        (codecs, Questions(True)),
        (schedule, Questions(False, dispatch=True, quantum_s=schedule.quantum_s(schedule.scenarios[0]))),
    ):
        episode = drawn(env.scenarios[0].name, 6, 20)
        for policy in static_policies(env):
            world, plans = realised(env, episode, policy, questions)
            assert played(episode, env.codecs, plans[0], questions).cost == pytest.approx(
                world.cost, rel=1e-9
            )


def test_no_static_policy_is_cheaper_than_the_plan_and_no_plan_than_the_bound():
    env = Scheduling("night-shift")
    found = bracket(env, drawn("night-shift", 8, 20), budget=1000, rng=rng())
    assert found.bound_s <= found.planned.cost_s <= found.best_policy_s


def test_an_endless_view_of_what_comes_is_worth_no_less_than_a_short_one_here():
    episode = drawn("night-shift", 2, 16)
    questions = Questions(True, dispatch=True, quantum_s=600.0)
    window_s = float(episode.conditions.times[-1]) + 1.0
    base = plain_plan(16, 1)
    seen = foresee(
        episode, CODECS, questions, base, window_s=window_s, every_s=window_s, budget=2000, rng=rng()
    )
    whole = search(episode, CODECS, questions, [base], budget=2000, rng=rng())
    assert seen.cost_s == pytest.approx(whole.cost_s, rel=1e-9)  # all is known at the first planning


def test_a_short_view_without_a_budget_does_as_the_plan_that_it_began_with():
    episode, base = drawn("wan", 3, 20), plain_plan(20, 2)
    seen = foresee(episode, CODECS, Questions(True), base, window_s=10.0, every_s=5.0, budget=0, rng=rng())
    assert seen.cost_s == pytest.approx(played(episode, CODECS, base, Questions(True)).cost, rel=1e-9)


def test_a_short_view_saves_and_is_paid_for_in_the_real_world():
    episode, base, questions = drawn("flash-crowd", 3, 40), plain_plan(40, 2), Questions(True)
    seen = foresee(episode, CODECS, questions, base, window_s=20.0, every_s=5.0, budget=300, rng=rng())
    assert seen.cost_s < seen.start_cost_s
    assert played(episode, CODECS, seen.plan, questions).cost == pytest.approx(seen.cost_s, rel=1e-9)


def test_planning_again_later_than_it_sees_is_refused():
    episode = drawn("wan", 3, 4)
    with pytest.raises(ValueError, match="at most window_s"):
        foresee(
            episode, CODECS, Questions(True), plain_plan(4), window_s=1.0, every_s=2.0, budget=0, rng=rng()
        )


def test_a_search_without_a_start_is_refused():
    with pytest.raises(ValueError, match="plain_plan"):
        search(drawn("wan", 3, 4), CODECS, Questions(True), [], budget=0, rng=rng())
