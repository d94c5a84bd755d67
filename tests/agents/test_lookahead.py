"""A look ahead answers as one who tried every answer, and saves what its base leaves."""

import numpy as np
import pytest

from agents.catalogue import make_policy
from agents.heuristics import Fixed
from agents.learners.forward import NetworkPolicy, RecurrentPolicy
from agents.lookahead import Lookahead
from agents.play import play
from envs.compression import Compression
from envs.scheduling import Scheduling
from sim.catalogue import find_scenario
from sim.episode import draw_episode

SITE = find_scenario("internet").with_(requests=24)
ENV = Compression(SITE)
EPISODES = [draw_episode(SITE, 500 + number) for number in range(4)]


def ahead(base, count=4, seed=0):
    return Lookahead(ENV, base, count, np.random.default_rng(seed))


def fixed(place: int) -> Fixed:
    return Fixed(ENV.codecs[place].name, place)


def test_who_foresees_the_one_future_there_is_takes_the_answer_that_really_costs_least(monkeypatch):
    monkeypatch.setattr("agents.lookahead.another_future", lambda episode, *_: episode)
    episode = EPISODES[0]
    taken: list[int] = []
    play(ENV, episode, ahead(fixed(1), count=1), watch=lambda world, seen, action: taken.append(int(action)))

    class First(Fixed):
        """One answer to the first question, and then always zstd."""

        def reset(self):
            self.asked = 0

        def act(self, observation, mask=None):
            self.asked += 1
            return self.first if self.asked == 1 else 1

    costs = []
    for first in range(4):
        policy = First("first", 1)
        policy.first = first
        costs.append(play(ENV, episode, policy).cost)
    assert taken[0] == int(np.argmin(costs))
    assert len(set(taken)) > 1


def test_it_costs_less_than_its_base_though_its_futures_are_others():
    base = make_policy("contention", ENV)
    plain = sum(play(ENV, one, base).cost for one in EPISODES)
    assert sum(play(ENV, one, ahead(base)).cost for one in EPISODES) < 0.97 * plain


def test_where_no_saving_is_sure_enough_it_answers_as_its_base(monkeypatch):
    taken: list[int] = []
    monkeypatch.setattr("agents.lookahead._ERRORS", 1e9)
    play(ENV, EPISODES[0], ahead(fixed(2)), watch=lambda world, seen, action: taken.append(int(action)))
    assert set(taken) == {2}


def test_who_asks_otherwise_is_refused():
    with pytest.raises(ValueError, match="one codec question at a time"):
        Lookahead(Scheduling("night-shift"), fixed(0), 2, np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="bind"):
        ahead(fixed(0)).act(np.zeros(len(ENV.features), np.float32))
    with pytest.raises(ValueError, match="one_step_oracle looks into the running world"):
        ahead(make_policy("one_step_oracle", ENV))
    head = NetworkPolicy(
        "recalls", [(np.zeros((2, 4), np.float32), np.zeros(4, np.float32))], "tanh", ENV.action_space
    )
    cell = np.zeros((len(ENV.features) + 2, 8), np.float32), np.zeros(8, np.float32)
    with pytest.raises(ValueError, match="recalls remembers its episode"):
        ahead(RecurrentPolicy(cell, head))
