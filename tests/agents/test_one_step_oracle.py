"""The oracle of one step: its costs worked by hand, and its answers the cheapest of them."""

import numpy as np
import pytest

from agents.one_step_oracle import OneStepOracle, PublishedOracle
from agents.play import play
from envs.compression import Compression
from sim.catalogue import find_scenario
from sim.codecs import parse_codec
from sim.episode import draw_episode
from sim.world import World

CODECS = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]
NOTHING = np.zeros(1, np.float32)


def asked(scenario: str, seed: int, **changes: object) -> World:
    """A world that waits for its first answer."""
    world = World(draw_episode(find_scenario(scenario).with_(**changes), seed), CODECS)
    assert world.next_question() is not None
    return world


def bound(oracle: OneStepOracle, world: World) -> OneStepOracle:
    oracle.bind(world)
    return oracle


def test_an_oracle_that_was_shown_no_world_says_so():
    for oracle in (OneStepOracle(CODECS), PublishedOracle(CODECS)):
        with pytest.raises(RuntimeError, match=r"bind\(world\) before act\(\)"):
            oracle.act(NOTHING)


@pytest.mark.parametrize("seed", range(4))
def test_the_cost_of_a_lone_transfer_is_what_it_comes_to_when_it_is_played(seed):
    lone = {"requests": 1, "cpu_price": 0.3, "late_price": 2.0}
    costs = bound(OneStepOracle(CODECS), asked("uncoupled", seed, **lone)).costs()
    played = []
    for codec in range(4):
        world = asked("uncoupled", seed, **lone)
        world.answer(codec)
        assert world.next_question() is None
        played.append(world.cost)
    assert costs == pytest.approx(played, rel=1e-6)


def test_it_takes_the_cheapest_codec_at_every_question():
    world = asked("hybrid", 2, requests=30)
    oracle = bound(OneStepOracle(CODECS), world)
    answers = set()
    question: object = True
    while question is not None:
        answer = oracle.act(NOTHING)
        assert answer == int(np.argmin(oracle.costs()))
        answers.add(answer)
        world.answer(answer)
        question = world.next_question()
    assert len(answers) > 1


def test_among_allowed_codecs_it_takes_the_cheapest():
    oracle = bound(OneStepOracle(CODECS), asked("wan", 0))
    order = np.argsort(oracle.costs())
    mask = np.ones(4, bool)
    mask[order[0]] = False
    assert oracle.act(NOTHING, mask) == order[1]


def test_the_cost_counts_priority_cores_and_lateness():
    world = asked("wan", 1)
    (priority, left_s), scenario = world.open_stakes(), world.episode.scenario
    for codec, cost in enumerate(bound(OneStepOracle(CODECS), world).costs()):
        outlook = world.outlook(codec)
        by_hand = priority * outlook.seconds + scenario.cpu_price * outlook.cpu_s
        assert cost == pytest.approx(
            by_hand + scenario.late_price * max(0.0, outlook.seconds - left_s), rel=1e-12
        )


def test_the_published_label_is_size_over_bandwidth_and_a_price_on_compression():
    world = asked("wan", 1)
    for price in (0.001, 1.0):
        for codec, cost in enumerate(bound(PublishedOracle(CODECS, price), world).costs()):
            outlook = world.outlook(codec)
            assert cost == pytest.approx(
                outlook.wire_bytes / outlook.wire_rate + price * outlook.encode_s, rel=1e-12
            )


def test_a_dear_core_second_turns_the_published_label_from_compression():
    answers = {price: [] for price in (0.001, 1000.0)}
    for seed in range(8):
        for price, given in answers.items():
            world = asked("constrained", seed)
            given.append(CODECS[bound(PublishedOracle(CODECS, price), world).act(NOTHING)].family)
    compressed = {
        price: sum(family in ("zstd", "hde") for family in given) for price, given in answers.items()
    }
    assert compressed[0.001] > compressed[1000.0]


def test_looking_ahead_changes_nothing():
    plain = play(
        Compression("wan"), draw_episode(find_scenario("wan").with_(requests=20), 5), OneStepOracle(CODECS)
    )
    curious = asked("wan", 5, requests=20)
    oracle = bound(OneStepOracle(CODECS), curious)
    question: object = True
    while question is not None:
        for _ in range(3):
            oracle.costs()
        curious.answer(oracle.act(NOTHING))
        question = curious.next_question()
    assert curious.cost == plain.cost


def test_it_is_best_where_no_transfer_meets_another():
    scenario = find_scenario("uncoupled").with_(requests=16)
    for seed in range(3):
        episode = draw_episode(scenario, seed)
        oracle = play(Compression(scenario), episode, OneStepOracle(CODECS)).cost
        for codec in range(4):
            world = World(episode, CODECS)
            world.run(lambda question, codec=codec: codec)
            assert oracle <= world.cost * (1 + 1e-9)
