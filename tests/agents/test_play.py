"""Many episodes played side by side cost what each of them costs alone, whatever the question."""

from itertools import pairwise

import numpy as np
import pytest
from gymnasium import spaces

from agents.catalogue import make_policy
from agents.learners.forward import NetworkPolicy, RecurrentPolicy
from agents.play import play, played_costs
from envs.allocation import Allocation
from envs.compression import Compression
from envs.joint import Joint
from envs.scheduling import Scheduling
from sim.catalogue import find_scenario
from sim.episode import draw_episode

WAN, NIGHT, DEADLINES = (
    find_scenario(name).with_(requests=24) for name in ("wan", "night-shift", "deadline-mix")
)
ASKED = {
    "compression": Compression(WAN),
    "scheduling": Scheduling([NIGHT, DEADLINES]),
    "allocation": Allocation(WAN),
    "joint": Joint(DEADLINES),
}


def network(env, rng):
    """A network that was never trained: it answers now this, now that."""
    space = env.action_space
    outputs = int(space.nvec.sum()) if isinstance(space, spaces.MultiDiscrete) else spaces.flatdim(space)
    sizes = (len(env.features), 16, outputs)
    layers = [
        (rng.normal(0, 1, (into, out)).astype(np.float32), np.zeros(out, np.float32))
        for into, out in pairwise(sizes)
    ]
    return NetworkPolicy("untrained", layers, "tanh", space)


@pytest.mark.parametrize("env", ASKED.values(), ids=ASKED)
def test_side_by_side_episodes_cost_what_they_cost_alone(env):
    rng = np.random.default_rng(3)
    episodes = [draw_episode(scenario, seed) for scenario in env.scenarios for seed in range(5)]
    policy = network(env, rng)
    alone = [play(env, episode, policy).cost for episode in episodes]
    np.testing.assert_allclose(played_costs(env, episodes, policy), alone, rtol=1e-9)
    assert len(set(np.round(alone, 6))) == len(episodes)


def test_each_row_is_remembered_by_itself():
    env, rng = ASKED["compression"], np.random.default_rng(4)
    units, features = 8, len(env.features)
    cell = rng.normal(0, 1, (features + units, 4 * units)).astype(np.float32), np.zeros(4 * units, np.float32)
    head = [(rng.normal(0, 1, (units, 4)).astype(np.float32), np.zeros(4, np.float32))]
    policy = RecurrentPolicy(cell, NetworkPolicy("untrained", head, "tanh", env.action_space))
    episodes = [draw_episode(WAN, seed) for seed in range(5)]
    alone = [play(env, episode, policy).cost for episode in episodes]
    for _ in range(2):  # the second time it has to forget the first
        np.testing.assert_allclose(played_costs(env, episodes, policy), alone, rtol=1e-9)


def test_who_needs_the_world_plays_one_after_the_other():
    env, episodes = ASKED["compression"], [draw_episode(WAN, seed) for seed in range(2)]
    policy = make_policy("one_step_oracle", env)
    alone = [play(env, episode, policy).cost for episode in episodes]
    assert played_costs(env, episodes, policy).tolist() == alone
