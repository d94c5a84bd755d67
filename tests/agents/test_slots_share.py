"""Layers whose slots share their weights: what one slot learns holds for all, and all readers agree."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium.spaces.utils import flatdim
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from agents.catalogue import make_policy
from agents.learners.forward import network_policy
from agents.learners.imitation import imitate
from agents.learners.models import load_model, make_model
from agents.learners.settings import MaskedDQNConfig, MaskedPPOConfig, PPOConfig, QRDQNConfig
from agents.learners.sharing import linear_layers, share, widths
from agents.play import play
from envs.allocation import Allocation
from envs.base import Slots
from envs.compression import Compression
from envs.joint import Joint
from envs.scheduling import Scheduling
from experiments.onnx_graphs import sb3_graph
from sim.episode import draw_episode

SLOTS = Slots(seen=((1, 2), (3, 4), (5, 6)), done=((0,), (1,), (2,)))
"""Three slots of two inputs after one input of no slot; a score for each, and one of no slot."""

TWO_KINDS = Slots(
    seen=((1, 2), (3, 4), (5, 6), (7,), (8,)),
    done=((1,), (2,), (3,), (4, 5), (6, 7)),
    groups=(3, 2),
)
"""Three slots of two inputs and a score, then two of one input and two scores, after what is of no slot."""


def shared_network(slots: Slots = SLOTS, inputs: int = 7, outputs: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    hidden = widths(slots, [5])[0]
    network = nn.Sequential(
        nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, outputs)
    )
    share(linear_layers(network), slots)
    for layer in linear_layers(network):
        nn.init.zeros_(layer.bias)  # biases are free: with equal ones, slots differ in nothing
    return network


def test_slots_that_change_places_take_their_scores_along():
    network, rng = shared_network(), np.random.default_rng(0)
    seen = torch.as_tensor(rng.normal(size=(50, 7)), dtype=torch.float32)
    swapped = seen[:, [0, 5, 6, 3, 4, 1, 2]]
    before, after = network(seen)[:, :3], network(swapped)[:, :3]
    torch.testing.assert_close(after, before[:, [2, 1, 0]])
    assert not torch.allclose(before, after)


def test_slots_of_each_kind_change_places_among_themselves_and_the_other_kind_does_not_notice():
    network, rng = shared_network(TWO_KINDS, 9, 8), np.random.default_rng(0)
    last = linear_layers(network)[-1]
    with torch.no_grad():  # the score of no slot may tell them apart
        last.bias[:] = torch.as_tensor([0.3, 0.1, 0.1, 0.1, 0.2, -0.2, 0.2, -0.2])
    seen = torch.as_tensor(rng.normal(size=(50, 9)), dtype=torch.float32)
    before = network(seen)
    waiting, moving = (
        network(seen[:, [0, 3, 4, 1, 2, 5, 6, 7, 8]]),
        network(seen[:, [0, 1, 2, 3, 4, 5, 6, 8, 7]]),
    )
    torch.testing.assert_close(waiting[:, 1:], before[:, [2, 1, 3, 4, 5, 6, 7]])
    torch.testing.assert_close(moving[:, 1:], before[:, [1, 2, 3, 6, 7, 4, 5]])
    for row, column in [(1, 3), (1, 5), (1, 8), (4, 3), (4, 8), (0, 4), (0, 7), (1, 0)]:  # all is seen by all
        changed = seen.clone()
        changed[:, column] += 1.0
        assert (network(changed)[:, row] - before[:, row]).abs().max() > 1e-6


def test_slots_of_one_kind_keep_the_order_of_weights_that_stored_models_have():
    layer = nn.Linear(7, 4)
    share([layer], SLOTS)
    shared = layer.parametrizations["weight"][0]
    assert shared.index.tolist() == [  # as recorded before there were several kinds
        [2, 0, 3, 1, 4, 1, 4],
        [2, 1, 4, 0, 3, 1, 4],
        [2, 1, 4, 1, 4, 0, 3],
        [8, 5, 9, 6, 10, 7, 11],
    ]
    assert shared.factor[0].tolist() == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]
    one_kind = nn.Linear(7, 4)
    share([one_kind], SLOTS._replace(groups=(3,)))
    assert one_kind.parametrizations["weight"][0].index.tolist() == shared.index.tolist()


def test_each_kind_of_slot_has_weights_of_its_own():
    first = linear_layers(shared_network(TWO_KINDS, 9, 8))[0]
    # 5 units of a waiting slot: own 2, others 2, other kind 1, no slot 1; of a moving one: 1, 1, 2, 1;
    # and 10 units for the whole: a waiting one 2, a moving one 1, no slot 1
    assert first.parametrizations["weight"].original.numel() == 5 * 6 + 5 * 5 + 10 * 4
    assert first.out_features == 5 * 5 + 10


def test_what_is_learned_in_one_slot_is_known_in_the_others():
    network, rng = shared_network(), np.random.default_rng(1)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)

    def examples(slot: int) -> tuple[torch.Tensor, torch.Tensor]:
        seen = np.zeros((256, 7), np.float32)
        seen[:, 1 + 2 * slot : 3 + 2 * slot] = rng.normal(size=(256, 2))
        return torch.as_tensor(seen), torch.as_tensor(np.tanh(seen[:, 1 + 2 * slot] - seen[:, 2 + 2 * slot]))

    for _ in range(500):
        seen, wanted = examples(0)
        loss = (network(seen)[:, 0] - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for layer in linear_layers(network):  # of the biases, slot 0 has learned its own
        rest = layer.bias.detach()
        size = 1 if layer.out_features == 4 else layer.out_features // 3
        rest[: 3 * size] = rest[:size].repeat(3)
    seen, wanted = examples(2)
    missed = float((network(seen)[:, 2].detach() - wanted).square().mean())
    assert missed < 0.02 < float(wanted.square().mean()) / 5


def test_a_shared_layer_has_as_many_weights_as_one_slot_needs():
    free = [name for name, _ in shared_network().named_parameters() if "bias" not in name]
    sizes = [dict(shared_network().named_parameters())[name].numel() for name in free]
    # 5 units a slot: from its own 2 inputs, from those of the others, from the one of no slot
    assert sizes == [5 * (2 + 2 + 1), 5 * (5 + 5), (5 + 5) + 15]


@pytest.mark.parametrize(
    ("config", "env"),
    [
        (
            MaskedDQNConfig(kind="masked_dqn", shared=True, layers=(8, 8), envs=1),
            Scheduling("outages", slots=3),
        ),
        (
            QRDQNConfig(kind="qrdqn", shared=True, layers=(8, 8), envs=1, quantiles=5),
            Scheduling("two-links", slots=3),
        ),
        (
            MaskedPPOConfig(kind="masked_ppo", shared=True, layers=(8, 8), envs=1, batch=256),
            Scheduling("two-links", slots=3),
        ),
        (
            PPOConfig(kind="ppo", shared=True, layers=(8, 8), envs=1, batch=256),
            Allocation("backup-window", slots=4, streams=(1, 8)),
        ),
        (
            MaskedPPOConfig(kind="masked_ppo", shared=True, layers=(8, 8), envs=1, batch=256),
            Joint("two-links", candidates=3, slots=2),
        ),
    ],
)
def test_every_kind_acts_alike_when_saved_and_when_unrolled(config, env, tmp_path: Path):
    model = make_model(config, DummyVecEnv([lambda: env]), 0)
    model.save(tmp_path / "model.zip")
    loaded = load_model(config.kind, tmp_path / "model.zip")
    ours, theirs = network_policy("ours", model), network_policy("theirs", loaded)
    rng = np.random.default_rng(0)  # not what an empty slot shows: two of those score alike, to the last bits
    seen = rng.uniform(-1, 1, (21, *env.observation_space.shape)).astype(np.float32)
    np.testing.assert_array_equal(ours.scores(seen), theirs.scores(seen))
    allowed = np.ones((len(seen), flatdim(env.action_space)), bool)
    masks = {"action_masks": allowed} if env.masked else {}
    expected, _ = model.predict(seen, deterministic=True, **masks)
    np.testing.assert_allclose(ours.act(seen), expected, atol=2e-6)
    assert sb3_graph(model, masked=env.masked).ByteSize() < 1e6
    np.testing.assert_array_equal(model.predict(seen, deterministic=True, **masks)[0], expected)  # unharmed


def test_without_slots_there_is_nothing_to_share():
    config = PPOConfig(kind="ppo", shared=True)
    with pytest.raises(ValueError, match="shows no transfers side by side"):
        make_model(config, DummyVecEnv([lambda: Compression("wan")]), 0)


@pytest.mark.parametrize(
    ("kind", "env", "rule"),
    [
        (PPOConfig(kind="ppo", envs=1, batch=256), Allocation("cpu-starved", slots=4), "wsrpt"),
        (
            MaskedPPOConfig(kind="masked_ppo", envs=1, batch=256, shared=True, layers=(16, 16)),
            Scheduling("deadline-mix", slots=4),
            "wspt",
        ),
    ],
)
def test_an_actor_that_imitates_a_rule_costs_about_what_the_rule_costs(kind, env, rule):
    model = make_model(kind, DummyVecEnv([lambda: env]), 0)
    policy = make_policy(rule, env)
    scenario = env.scenarios[0].with_(requests=48)
    imitate(model, env, policy, [draw_episode(scenario, seed) for seed in range(8)], np.random.default_rng(0))
    fresh = [draw_episode(scenario, seed) for seed in range(50, 54)]
    theirs = sum(play(env, episode, policy).cost for episode in fresh)
    ours = sum(play(env, episode, network_policy("ours", model)).cost for episode in fresh)
    assert ours < 1.15 * theirs


def test_an_actor_of_all_three_questions_imitates_each_part_of_a_composition(monkeypatch):
    monkeypatch.setattr("agents.learners.imitation._STEPS", 150)
    env = Joint("deadline-mix", candidates=4, slots=3, control_s=4.0)
    config = MaskedPPOConfig(kind="masked_ppo", envs=1, batch=256, shared=True, layers=(16, 16))
    model = make_model(config, DummyVecEnv([lambda: env]), 0)
    policy = make_policy("hde_wspt_wsrpt", env)
    scenario = env.scenarios[0].with_(requests=32)
    imitate(model, env, policy, [draw_episode(scenario, seed) for seed in range(4)], np.random.default_rng(0))
    actor, alike = network_policy("ours", model), []
    play(
        env,
        draw_episode(scenario, 50),
        policy,
        watch=lambda world, seen, action: alike.append(actor.act(seen, env.action_masks()) == action),
    )
    assert (np.mean(alike, axis=0) > 0.95).all()  # codec, who goes, three levels


def test_an_actor_of_some_spread_keeps_to_the_rule_but_is_less_sure_of_it(monkeypatch):
    monkeypatch.setattr("agents.learners.imitation._STEPS", 200)
    env = Scheduling("deadline-mix", slots=3)
    config = MaskedPPOConfig(kind="masked_ppo", envs=1, batch=256, shared=True, layers=(16, 16))
    scenario, policy = env.scenarios[0].with_(requests=32), make_policy("wspt", env)
    episodes, sure = [draw_episode(scenario, seed) for seed in range(4)], {}
    for spread in (0.0, 0.4):
        model = make_model(config, DummyVecEnv([lambda: env]), 0)
        imitate(model, env, policy, episodes, np.random.default_rng(0), spread=spread)
        of_rule = []

        def watch(world, seen, action, model=model, of_rule=of_rule):
            mask = env.action_masks()
            if mask.sum() == 3:
                given = model.policy.get_distribution(torch.as_tensor(seen[None]), mask[None])
                of_rule.append(given.distribution.probs[0, action].item())

        play(env, episodes[0], policy, watch=watch)
        sure[spread] = np.mean(of_rule)
    assert sure[0.0] > 0.9
    assert sure[0.4] == pytest.approx(1 - 0.4 * 2 / 3, abs=0.15)  # of three legal choices, any of them
