"""What the environments share: which episodes an agent meets."""

import pytest

from envs.allocation import Allocation
from sim.catalogue import find_scenario
from sim.episode import draw_episode

SHORT = find_scenario("datacenter").with_(requests=2)
"""Now and then all is done before the first control interval is over."""


def silent(env: Allocation, seeds: range) -> list[int]:
    """Seeds of episodes that are over without a question."""
    return [seed for seed in seeds if env._start(draw_episode(SHORT, seed)).next_question() is None]


def test_a_drawn_episode_that_asks_nothing_is_drawn_again_the_same_way_each_time():
    env, told = Allocation(SHORT), []
    for _ in range(2):
        env.reset(seed=1)
        seeds = [env.world.episode.seed]
        for _ in range(12):
            env.reset()
            assert env.world.question is not None
            seeds.append(env.world.episode.seed)
        told.append(seeds)
    assert told[0] == told[1]
    assert len(set(told[0])) == 13


@pytest.mark.parametrize("given", ["episode", "episode_seed"])
def test_a_given_episode_that_asks_nothing_is_refused_in_one_line(given):
    env = Allocation(SHORT)
    seed = silent(env, range(20))[0]
    options = {"episode": draw_episode(SHORT, seed)} if given == "episode" else {"episode_seed": seed}
    with pytest.raises(
        ValueError, match=r"^this episode of 'datacenter' asks dwcp/Allocation a question; .*$"
    ):
        env.reset(options=options)


def test_a_scenario_that_never_asks_is_refused_and_not_drawn_for_ever():
    with pytest.raises(ValueError, match=r"^none of 100 episodes of 'datacenter' asks dwcp/Allocation"):
        Allocation(SHORT, control_s=1e6).reset(seed=0)
