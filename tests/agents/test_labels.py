"""Labels against the oracle that gives them, and the selectors on a scenario whose answer is plain."""

import numpy as np
import pytest

from agents.one_step_oracle import OneStepOracle
from agents.play import play
from agents.policy import Policy
from agents.supervised import labels as labels_module
from agents.supervised.counterfactual import NO_STRAY, Counterfactor, Counterfactuals
from agents.supervised.ensemble import Ensemble
from agents.supervised.labels import NN19_FEATURES, Labels, Realised, charged, joined, label, nn19_columns
from agents.supervised.network import Layer, NetworkConfig
from agents.supervised.trees import TreesConfig
from envs.features import CODEC_FEATURES
from sim.world import World


class _Replay(Policy):
    """Gives answers that were given before, and asks an oracle what each would cost."""

    name = "replay"
    needs_world = True

    def __init__(self, answers, codecs):
        self._answers = list(answers)
        self._codecs = codecs
        self.costs = []

    def bind(self, world):
        self._world = world

    def act(self, observation, mask=None):
        oracle = OneStepOracle(self._codecs)
        oracle.bind(self._world)
        self.costs.append(oracle.costs())
        assert int(oracle.act(observation)) == int(np.argmin(self.costs[-1]))
        return self._answers.pop(0)


def test_costs_are_those_of_the_one_step_oracle_in_the_states_that_were_met(
    pool, make_env, three_codecs, monkeypatch
):
    answers = []
    answer = World.answer
    with monkeypatch.context() as patched:
        patched.setattr(
            World, "answer", lambda world, codec: (answers.append(codec), answer(world, codec))[1]
        )
        labels = label(make_env(), pool[0].episode)
    replay = _Replay(answers, three_codecs)
    play(make_env(), pool[0].episode, replay)
    np.testing.assert_array_equal(labels.costs, replay.costs)
    np.testing.assert_array_equal(labels.best, np.argmin(replay.costs, axis=1))
    wandered = np.mean(np.array(answers) != labels.best)
    assert 0 < wandered < 0.5  # 0.3 of the answers are dice, and a third of those hit the best


def test_costs_are_seconds_times_priority_plus_cores_and_lateness(pool, make_env, three_codecs):
    labels = label(make_env(), pool[1].episode)
    world = World(pool[1].episode, three_codecs)
    world.next_question()
    scenario = world.episode.scenario
    for codec in range(3):
        outlook = world.outlook(codec)
        due_s = world.episode.deadline_s[0] - world.clock.now
        cost = world.episode.requests.priority[0] * outlook.seconds + scenario.cpu_price * outlook.cpu_s
        cost += scenario.late_price * max(0.0, outlook.seconds - due_s)
        assert labels.costs[0, codec] == pytest.approx(cost, rel=1e-12)


def test_the_same_episode_gets_the_same_labels(pool, make_env):
    first, second = (label(make_env(), pool[2].episode) for _ in range(2))
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.costs, second.costs)
    assert first.rows.dtype == np.float32
    assert first.rows.shape == (32, len(CODEC_FEATURES))


def test_a_row_is_what_the_sender_saw_at_that_question(pool, make_env, three_codecs):
    world = World(pool[3].episode, three_codecs)
    seen = CODEC_FEATURES.observe(world.next_question())
    np.testing.assert_array_equal(label(make_env(), pool[3].episode).rows[0], seen)


def test_decisions_weigh_as_the_logarithm_of_how_much_is_at_stake():
    labels = Labels(np.zeros((3, 2), np.float32), np.array([[1.0, np.e], [2.0, 2.0], [1.0, np.e**2]]))
    np.testing.assert_allclose(labels.stakes, [1.0, 0.0, 2.0], atol=1e-12)
    even = Labels(np.zeros((2, 2), np.float32), np.full((2, 2), 3.0))
    np.testing.assert_array_equal(even.stakes, [1.0, 1.0])


def test_parts_are_joined_in_their_order(pool, make_env):
    parts = [label(make_env(), one.episode) for one in pool[:2]]
    whole = joined(parts)
    np.testing.assert_array_equal(whole.rows[32:], parts[1].rows)
    np.testing.assert_array_equal(whole.costs[:32], parts[0].costs)


def test_the_nineteen_columns_are_nineteen_different_features():
    assert len(NN19_FEATURES) == len(set(NN19_FEATURES)) == 19
    assert [CODEC_FEATURES.names[column] for column in nn19_columns()] == list(NN19_FEATURES)


def test_the_ensemble_agrees_with_the_oracle_on_97_of_100_decisions_where_the_best_is_plain(
    pool, unseen, make_env
):
    labels = [label(make_env(), one.episode) for one in pool[:12]]
    train, held = joined(labels[:9]), joined(labels[9:])
    selector = Ensemble(3, TreesConfig(rounds=40, depth=4), NetworkConfig(layers=(Layer(32),), epochs=10))
    selector.fit(
        train.rows,
        train.best,
        train.stakes,
        validation=(held.rows, held.best, held.stakes),
        rng=np.random.default_rng(1),
    )
    fresh = joined([label(make_env(), episode) for episode in unseen])
    assert np.mean(selector.act(fresh.rows) == fresh.best) >= 0.97
    assert len(np.unique(fresh.best)) == 2


@pytest.mark.parametrize("kind", ["one_step", "continued"])
def test_realised_labels_are_the_counterfactual_costs_with_the_estimate_as_base(
    pool, make_env, three_codecs, kind
):
    labels = Realised(three_codecs, kind).label(pool[0].episode)
    first = Counterfactor(three_codecs, "shortest").label(pool[0].episode)
    np.testing.assert_array_equal(labels.rows[0], CODEC_FEATURES.scaled(first.features[0]))
    assert labels.rows.dtype == np.float32 and labels.costs.shape == (32, 3)
    alone = first.one_step_s[0]  # nobody meets anybody here, so the rest of the episode adds nothing
    np.testing.assert_allclose(labels.costs[0], alone, rtol=1e-6)


def test_continued_labels_charge_the_best_its_own_cost_and_the_others_what_all_lose_besides():
    found = Counterfactuals(
        *[np.zeros(2)] * 3,
        np.zeros((2, 42)),
        np.zeros(2, np.int64),
        one_step_s=np.array([[5.0, 3.0], [2.0, 4.0]]),
        continued_s=np.array([[100.0, 103.0], [70.0, 70.5]]),
    )
    np.testing.assert_allclose(charged(found), [[5.0, 8.0], [2.0, 2.5]])


def test_realised_labels_come_from_states_in_which_three_of_ten_answers_were_chance(
    pool, three_codecs, monkeypatch
):
    given = []

    class Spy(Counterfactor):
        def label(self, episode, strays=None):
            given.extend(strays)
            return super().label(episode, strays)

    monkeypatch.setattr(labels_module, "Counterfactor", Spy)
    realised = Realised(three_codecs, "one_step")
    for one in pool[:10]:
        realised.label(one.episode)
    assert np.mean(np.array(given) != NO_STRAY) == pytest.approx(0.3, abs=0.08)  # 320 answers: 3 sd
