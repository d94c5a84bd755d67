"""Rules that plan by predicted times, and what they and the selectors are told of a path's law."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from agents.catalogue import make_policy
from agents.play import play
from agents.supervised.boosted import BoostedConfig
from agents.supervised.density import DensityConfig
from agents.supervised.foretelling import UNTOLD, Foreteller, without_untold
from agents.supervised.model import Part
from agents.supervised.outcomes import INPUTS, Exploring, record
from agents.supervised.past import Past
from agents.supervised.path_law import PathLaw, edge
from agents.supervised.performance import QUANTILES, PerformancePredictor, performance_part
from envs.allocation import TILT, Allocation
from envs.compression import Compression
from envs.scheduling import Scheduling
from sim.catalogue import SCENARIOS, UNCOUPLED
from sim.codecs import parse_codec
from sim.episode import draw_episode
from sim.scenarios import Probe
from sim.world import World

SMALL = DensityConfig(units=16, epochs=3)
CODECS = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]
SITE = SCENARIOS["flash-crowd"].with_(requests=24)
EPISODE = draw_episode(SITE, seed=4)


def a_choice(env):
    """The first question with three transfers or more."""
    env.reset(options={"episode": EPISODE})
    ended = False
    while not ended:
        asked = env.world.question
        if len(asked.waiting if isinstance(env, Scheduling) else asked.running) >= 3:
            return asked
        action = np.flatnonzero(env.action_masks())[-1] if env.masked else np.zeros(env.action_space.shape)
        _, _, ended, _, _ = env.step(action)
    pytest.fail("three transfers never stand side by side")


def told(*seconds):
    """Predicts these seconds for the first transfers of a question, and an hour for all others."""

    def foretell(question, episode):
        count = len(question.waiting if hasattr(question, "free_slots") else question.running)
        return np.array([*seconds, *[3600.0] * count])[:count]

    return foretell


@pytest.mark.parametrize(("name", "first"), [("predictor_sjf", 1), ("predictor_wspt", 2)])
def test_the_one_with_the_least_predicted_time_or_the_most_worth_for_it_goes(name, first):
    env = Scheduling(SITE)
    env.foretelling = told(9.0, 1.0, 2.0)
    asked, rule = a_choice(env), make_policy(name, env)
    priorities = [1.0, 1.0, 4.0]
    waiting = tuple(
        one._replace(priority=worth, paths=(0,))
        for one, worth in zip(asked.waiting[:3], priorities, strict=True)
    )
    asked = asked._replace(waiting=waiting)
    rule.bind(SimpleNamespace(question=asked, episode=EPISODE))
    answer = rule.act(env.features.observe(asked))
    assert env.shortlister(asked).positions[answer] == first


def test_shares_go_first_to_the_one_whose_rest_is_predicted_to_be_shortest():
    env = Allocation(SITE)
    env.foretelling = told(50.0, 60.0, 0.1)
    asked, rule = a_choice(env), make_policy("predictor_greedy", env)
    running = tuple(one._replace(priority=1.0) for one in asked.running)
    asked = asked._replace(running=running)
    rule.bind(SimpleNamespace(question=asked, episode=EPISODE))
    shares = env._answer(asked, rule.act(env.features.observe(asked)))
    assert np.argmax(shares.cpu) == 2
    assert max(shares.cpu) / min(shares.cpu) <= np.exp(2 * TILT) * 1.001


@pytest.mark.parametrize(("env", "name"), [(Scheduling, "predictor_sjf"), (Allocation, "predictor_greedy")])
def test_a_rule_that_plans_is_refused_where_nothing_predicts(env, name):
    with pytest.raises(ValueError, match=r"as models to environment\.options"):
        make_policy(name, env(SITE))


@pytest.fixture(scope="module")
def foreteller():
    found = record([EPISODE], CODECS, Exploring(0.5, np.random.default_rng(0)))
    part = performance_part(found)
    model = PerformancePredictor(BoostedConfig("quantile", QUANTILES, rounds=20, depth=3), SMALL)
    part = Part(without_untold(part.rows), part.truth)
    model.fit(part, part, np.random.default_rng(0))
    return Foreteller(model, CODECS, CODECS)


@pytest.mark.parametrize(("env", "name"), [(Scheduling, "predictor_wspt"), (Allocation, "predictor_greedy")])
def test_a_rule_that_plans_by_a_trained_predictor_plays_an_episode_to_its_end(env, name, foreteller):
    made = env(SITE)
    made.foretelling = foreteller
    costs = [play(made, EPISODE, make_policy(name, made)).cost for _ in range(2)]
    assert costs[0] == costs[1] > 0


def test_what_a_dispatch_question_does_not_tell_is_missing_and_nothing_else():
    rows = without_untold(np.ones((2, len(INPUTS)), np.float32))
    assert [INPUTS[place] for place in np.flatnonzero(np.isnan(rows[0]))] == [
        name for name in INPUTS if name in UNTOLD
    ]


def test_the_past_of_a_moment_does_not_change_when_later_probes_and_arrivals_do():
    now_s = float(EPISODE.requests.arrival_s[9])
    values, sizes = EPISODE.probes.values.copy(), EPISODE.requests.size_bytes.copy()
    values[int(now_s / EPISODE.probes.period_s) + 1 :] *= 3.0
    sizes[10:] *= 5.0
    other = replace(
        EPISODE,
        probes=EPISODE.probes._replace(values=values),
        requests=EPISODE.requests._replace(size_bytes=sizes),
    )
    one, two = Past(EPISODE), Past(other)
    np.testing.assert_array_equal(one.path(now_s, 0), two.path(now_s, 0))
    np.testing.assert_array_equal(one.arrivals(now_s), two.arrivals(now_s))
    last_s = float(EPISODE.requests.arrival_s[-1])
    assert two.arrivals(last_s)[1] > one.arrivals(last_s)[1]


def test_arrivals_are_told_as_their_mean_gap_and_size():
    arrival_s = np.array([0.0, 2.0, 4.0, 100.0])
    requests = SimpleNamespace(arrival_s=arrival_s, size_bytes=np.array([1e6, 3e6, 5e6, 9e9]))
    past = Past(SimpleNamespace(probes=EPISODE.probes, requests=requests))
    assert past.arrivals(6.0).tolist() == [2.0, 3.0]  # three in six seconds, of three MB each


def test_the_cheapest_codec_alone_stands_below_one():
    assert edge(np.array([3.0, 1.5, 6.0])).tolist() == [2.0, 0.5, 4.0]


def test_the_law_of_a_steady_quiet_path_is_the_true_outlook_up_to_the_coder():
    scenario = UNCOUPLED.with_(requests=16, probe=Probe(period_s=60.0, noise=0.0))
    world = World(draw_episode(scenario, seed=1), CODECS)
    law, ratios = PathLaw(CODECS), []
    while (question := world.next_question()) is not None:
        said = law([question], [world.episode])[0]
        ratios.append(said[0] / world.outlook(0).seconds)
        assert said.shape == (len(law.features),)
        assert (said[len(CODECS) : 2 * len(CODECS)] < 1).sum() <= 1
        world.answer(0)
    assert (np.abs(np.array(ratios) - 1.0) < 0.001).mean() > 0.6


def test_a_selector_may_see_the_law_of_the_path_after_the_question():
    env = Compression(SITE, forecasts=[PathLaw(CODECS)])
    seen, _ = env.reset(options={"episode": EPISODE})
    assert env.features.names[-1] == "class_edge_amst"
    assert np.isfinite(seen).all()
