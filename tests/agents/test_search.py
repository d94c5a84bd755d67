"""The local search over a whole episode: never worse than its starts, the optimum where all are tried."""

from itertools import product

import numpy as np
import pytest

from agents.one_step_oracle import OneStepOracle
from agents.play import play
from agents.search import Sequel, best_found, replay_cost
from envs.compression import Compression
from sim.catalogue import find_scenario
from sim.codecs import parse_codec
from sim.episode import Episode, draw_episode

CODECS = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]


def drawn(scenario: str, seed: int, requests: int) -> Episode:
    return draw_episode(find_scenario(scenario).with_(requests=requests), seed)


def constant(answer: int, count: int) -> np.ndarray:
    return np.full(count, answer, np.int64)


@pytest.mark.parametrize("seed", range(3))
def test_on_four_transfers_it_finds_what_trying_all_finds(seed):
    episode = drawn("metro", seed, 4)
    optimum = min(replay_cost(episode, CODECS, np.array(answers)) for answers in product(range(4), repeat=4))
    starts = [constant(answer, 4) for answer in range(4)]
    cost, answers = best_found(episode, CODECS, starts, passes=5, rng=np.random.default_rng(seed))
    assert cost == pytest.approx(optimum, rel=1e-9)
    assert replay_cost(episode, CODECS, answers) == cost


@pytest.mark.parametrize("scenario", ["hybrid", "cpu-starved"])
def test_it_is_never_worse_than_the_best_of_its_starts(scenario):
    episode = drawn(scenario, 3, 12)
    taken: list[int] = []
    env = Compression(scenario)
    oracle = play(
        env, episode, OneStepOracle(env.codecs), watch=lambda world, seen, action: taken.append(action)
    )
    starts = [*(constant(answer, 12) for answer in range(4)), np.array(taken)]
    cost, _ = best_found(episode, CODECS, starts, passes=1, rng=np.random.default_rng(0))
    assert cost <= min(oracle.cost, *(replay_cost(episode, CODECS, start) for start in starts))


def test_without_a_pass_it_gives_back_the_best_start():
    episode = drawn("wan", 0, 6)
    costs = [replay_cost(episode, CODECS, constant(answer, 6)) for answer in range(4)]
    starts = [constant(answer, 6) for answer in range(4)]
    cost, answers = best_found(episode, CODECS, starts, passes=0, rng=np.random.default_rng(0))
    assert cost == min(costs) and set(answers.tolist()) == {int(np.argmin(costs))}


def test_the_starts_are_left_as_they_were():
    starts = [constant(answer, 5) for answer in range(4)]
    best_found(drawn("wan", 1, 5), CODECS, starts, passes=1, rng=np.random.default_rng(0))
    assert [start.tolist() for start in starts] == [[answer] * 5 for answer in range(4)]


def test_the_same_generator_finds_the_same():
    episode, starts = drawn("metro", 5, 8), [constant(1, 8)]
    found = [best_found(episode, CODECS, starts, passes=1, rng=np.random.default_rng(9)) for _ in range(2)]
    assert found[0][0] == found[1][0] and (found[0][1] == found[1][1]).all()


def test_what_was_found_costs_the_same_when_a_policy_plays_it():
    episode, answers = drawn("hybrid", 2, 10), np.arange(10) % 4
    sequel = Sequel("best_found", answers)
    for _ in range(2):  # play() resets it
        world = play(Compression("hybrid"), episode, sequel)
        assert world.cost == replay_cost(episode, CODECS, answers)
        assert min(world.records, key=lambda one: one.start_s).codec == "none"
