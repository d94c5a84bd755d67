"""The graph answers as the policy on 10 000 rows, and a bundle is written whole or not at all."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import onnx
import pytest
import torch
from gymnasium import spaces
from onnx import TensorProto, helper, numpy_helper
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from agents.learners.masking import MaskedDQN, MaskedQRDQN
from agents.supervised.ensemble import Ensemble
from agents.supervised.network import Layer, NetworkConfig
from agents.supervised.trees import TreesConfig
from agents.supervised.two_class import TwoClassNetwork
from experiments.graph_policy import GraphPolicy
from experiments.onnx_graphs import sb3_graph, selector_graph
from experiments.shadow.bundle import measure_latency, open_bundle
from experiments.shadow.bundle_format import LARGEST
from experiments.shadow.writer import ParityRows, Told, write_bundle
from sim.errors import InputError

FEATURES = 8
ACTIONS = 4
SCALES = np.array([1, 1e3, 1e6, 1e-3, 1, 1, 50, 1], np.float32)


class Toy(gymnasium.Env):
    """Rewards the action whose index the first two features spell; ends after 16 steps."""

    def __init__(self, action_space=None):
        self.observation_space = spaces.Box(0, 1e6, (FEATURES,), np.float32)
        self.action_space = action_space or spaces.Discrete(ACTIONS)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 16
        self.seen = self.np_random.random(FEATURES, dtype=np.float32) * SCALES
        return self.seen, {}

    def step(self, action):
        best = 2 * (self.seen[0] > 0.5) + (self.seen[4] > 0.5)
        self.left -= 1
        self.seen = self.np_random.random(FEATURES, dtype=np.float32) * SCALES
        return self.seen, float(np.ravel(action)[0] == best), self.left == 0, False, {}


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(5).random((10_000, FEATURES), dtype=np.float32) * SCALES


def _normalised(action_space=None):
    return VecNormalize(DummyVecEnv([lambda: Toy(action_space)]))


def _ppo(env):
    model = PPO("MlpPolicy", env, n_steps=128, batch_size=64, n_epochs=2, seed=1, device="cpu")
    return model.learn(512)


@pytest.fixture(scope="module")
def ppo():
    env = _normalised()
    return _ppo(env), env


@pytest.fixture(scope="module")
def ppo_graph(ppo):
    return sb3_graph(*ppo)


@pytest.fixture(scope="module")
def ppo_expected(ppo, rows):
    model, env = ppo
    return model.predict(env.normalize_obs(rows), deterministic=True)[0]


@pytest.fixture(scope="module")
def ensemble():
    rng = np.random.default_rng(1)
    rows = rng.random((1200, FEATURES), dtype=np.float32) * SCALES
    labels = 2 * (rows[:, 0] > 0.5) + (rows[:, 4] > 0.5)
    network = NetworkConfig(layers=(Layer(128, 0.3), Layer(64, 0.3), Layer(32, 0.2)), epochs=3)
    selector = Ensemble(ACTIONS, trees=TreesConfig(rounds=60), network=network)
    selector.fit(rows[:1000], labels[:1000], None, validation=(rows[1000:], labels[1000:]), rng=rng)
    return selector


@pytest.fixture(scope="module")
def ensemble_graph(ensemble):
    return selector_graph(ensemble)


def _features(count=FEATURES):
    return [{"name": f"f{i}", "unit": "ms", "low": 0.0, "high": 1e6} for i in range(count)]


def _write(folder, graph, rows, expected, masks=None, **changed):
    told = Told(
        "ppo",
        "learner",
        "compression",
        _features(rows.shape[1]),
        [f"a{i}" for i in range(ACTIONS)],
        {"kind": "Discrete", "sizes": [ACTIONS]},
        {"seeds": {"training": 1}},
        {"cost_s": 12.5},
    )
    return write_bundle(folder, graph, told._replace(**changed), ParityRows(rows, expected, masks))


def test_ppo_behind_its_normaliser_and_the_bundle_agree_on_10_000_rows(
    tmp_path, ppo_graph, ppo_expected, rows
):
    assert len(np.unique(ppo_expected)) > 1
    report = _write(tmp_path / "ppo", ppo_graph, rows, ppo_expected)
    assert (report.parity.rows, report.parity.equal, len(report.parity.wrong)) == (10_000, 10_000, 0)
    policy = open_bundle(tmp_path / "ppo", [f"f{i}" for i in range(FEATURES)])
    np.testing.assert_array_equal([policy.act(row) for row in rows], ppo_expected)
    assert policy.name == "ppo"


def test_dqn_and_the_bundle_agree_on_10_000_rows(tmp_path, rows):
    env = Toy()
    model = DQN("MlpPolicy", env, learning_starts=100, buffer_size=500, seed=1, device="cpu").learn(300)
    small = rows / SCALES
    expected = model.predict(small, deterministic=True)[0]
    assert len(np.unique(expected)) > 1
    report = _write(tmp_path / "dqn", sb3_graph(model), small, expected)
    assert report.parity.equal == 10_000
    np.testing.assert_array_equal(open_bundle(tmp_path / "dqn").act(small), expected)


def test_answers_of_several_parts_agree_on_10_000_rows(tmp_path, rows):
    env = _normalised(spaces.MultiDiscrete([4, 3]))
    model = _ppo(env)
    expected = model.predict(env.normalize_obs(rows), deterministic=True)[0]
    names = [f"codec {i}" for i in range(4)] + [f"level {i}" for i in range(3)]
    report = _write(tmp_path / "multi", sb3_graph(model, env), rows, expected, actions=names)
    assert (report.face.sizes, report.parity.equal) == ((4, 3), 10_000)
    np.testing.assert_array_equal(open_bundle(tmp_path / "multi").act(rows[7]), expected[7])


def test_numbers_of_ppo_are_the_clipped_means_on_10_000_rows(tmp_path, rows):
    small, low, high = rows / SCALES, np.array([-1, 0], np.float32), np.array([1, 0.5], np.float32)
    model = PPO("MlpPolicy", Toy(spaces.Box(low, high)), seed=1, device="cpu")
    with torch.no_grad():
        model.policy.action_net.weight *= 1000
        means = model.policy.get_distribution(torch.from_numpy(small)).distribution.mean
        model.policy.action_net.bias -= means.mean(dim=0)
    expected = model.predict(small, deterministic=True)[0]
    assert (expected == low).any(axis=0).all() and (expected == high).any(axis=0).all()
    told = {"actions": ["link", "cpu"], "task": "allocation"}
    report = _write(tmp_path / "box", sb3_graph(model), small, expected, **told)
    assert (report.face.sizes, report.face.masked, report.parity.equal) == ((), False, 10_000)
    policy = open_bundle(tmp_path / "box")
    np.testing.assert_allclose(policy.act(small[7]), expected[7], rtol=1e-5, atol=1e-5)
    moved = expected.copy()
    moved[4321, 1] += 1e-3
    with pytest.raises(InputError, match="row 4321: the graph must answer as the policy"):
        _write(tmp_path / "off", sb3_graph(model), small, moved, **told)


MASKED = {
    "masked_ppo": lambda env: MaskablePPO("MlpPolicy", env, seed=1, device="cpu"),
    "masked_dqn": lambda env: MaskedDQN("MlpPolicy", env, buffer_size=10, seed=1, device="cpu"),
    "qrdqn": lambda env: MaskedQRDQN(
        "MlpPolicy", env, buffer_size=10, seed=1, device="cpu", policy_kwargs={"n_quantiles": 7}
    ),
}


@pytest.mark.parametrize("kind", MASKED)
def test_a_masked_graph_and_its_model_agree_on_10_000_rows_and_never_take_what_is_forbidden(
    tmp_path, rows, kind
):
    small, masks = rows / SCALES, np.random.default_rng(6).random((10_000, ACTIONS)) < 0.5
    masks[np.arange(10_000), np.arange(10_000) % ACTIONS] = True
    model = MASKED[kind](Toy())
    expected = model.predict(small, action_masks=masks, deterministic=True)[0]
    assert len(np.unique(expected)) == ACTIONS
    report = _write(tmp_path / kind, sb3_graph(model, masked=True), small, expected, masks=masks)
    assert report.face.masked and report.parity.equal == 10_000
    policy = open_bundle(tmp_path / kind)
    answers = policy.act(small, masks)
    np.testing.assert_array_equal(answers, expected)
    assert masks[np.arange(10_000), answers].all()
    assert [policy.act(*pair) for pair in zip(small[:50], masks[:50], strict=True)] == expected[:50].tolist()
    assert policy.act(small[0]) == policy.act(small[0], np.ones(ACTIONS, np.bool_))
    assert measure_latency(policy, small[:400], masks=masks[:400]).p99_us < 1000


def test_a_mask_forbids_in_every_part_of_an_answer(tmp_path, rows):
    small = rows / SCALES
    model = MaskablePPO("MlpPolicy", Toy(spaces.MultiDiscrete([4, 3])), seed=1, device="cpu")
    masks = np.random.default_rng(7).random((10_000, 7)) < 0.5
    masks[:, [2, 5]] = True
    expected = model.predict(small, action_masks=masks, deterministic=True)[0]
    names = [f"codec {i}" for i in range(4)] + [f"level {i}" for i in range(3)]
    graph = sb3_graph(model, masked=True)
    report = _write(tmp_path / "parts", graph, small, expected, actions=names, masks=masks)
    assert (report.face.sizes, report.parity.equal) == ((4, 3), 10_000)
    np.testing.assert_array_equal(open_bundle(tmp_path / "parts").act(small[3], masks[3]), expected[3])


def test_masks_that_do_not_fit_the_graph_or_the_answers_are_refused(tmp_path, rows):
    small, masks = rows[:50] / SCALES, np.ones((50, ACTIONS), np.bool_)
    model = MASKED["masked_ppo"](Toy())
    expected = model.predict(small, action_masks=masks, deterministic=True)[0]
    plain, masked = sb3_graph(model), sb3_graph(model, masked=True)
    forbidden = masks.copy()
    forbidden[3, expected[3]] = False
    for graph, given, message in (
        (plain, masks, "for a graph that takes them, and for no other"),
        (masked, None, "for a graph that takes them, and for no other"),
        (masked, masks[:, :3], r"bool of shape \(50, 4\)"),
        (masked, masks.astype(float), "bool of shape"),
        (masked, forbidden, "must be allowed by their masks"),
    ):
        with pytest.raises(ValueError, match=message):
            _write(tmp_path / "wrong", graph, small, expected, masks=given)


def test_the_ensemble_is_one_graph_that_agrees_on_10_000_rows(tmp_path, ensemble, ensemble_graph, rows):
    expected = ensemble.act(rows)
    assert len(np.unique(expected)) == ACTIONS
    report = _write(tmp_path / "ensemble", ensemble_graph, rows, expected)
    assert report.parity.equal == 10_000
    _, scores = open_bundle(tmp_path / "ensemble").run(rows)
    np.testing.assert_allclose(scores, ensemble.probabilities(rows), atol=1e-7)


def test_the_two_class_network_agrees_on_10_000_rows(tmp_path, rows):
    labels = np.where(rows[:, 6] > 20, 3, 1)
    selector = TwoClassNetwork(ACTIONS, columns=[6, 0, 4], choices=(1, 3))
    held = rows[1000:1200], labels[1000:1200]
    selector.fit(rows[:1000], labels[:1000], None, validation=held, rng=np.random.default_rng(1))
    expected = selector.act(rows)
    assert set(expected) == {1, 3}
    assert _write(tmp_path / "nn19", selector_graph(selector), rows, expected).parity.equal == 10_000


def test_the_trees_alone_give_the_sums_of_xgboost_bit_for_bit(ensemble, ensemble_graph, rows):
    booster, _ = ensemble.parts()
    graph = onnx.ModelProto()
    graph.CopyFrom(ensemble_graph)
    graph.graph.output.append(helper.make_tensor_value_info("margin", TensorProto.FLOAT, ["batch", ACTIONS]))
    session = GraphPolicy(graph.SerializeToString(), "ensemble")._session
    (sums,) = session.run(["margin"], {"obs": rows})
    np.testing.assert_array_equal(sums, booster.inplace_predict(rows, predict_type="margin"))


def test_one_decision_stays_below_a_millisecond_in_99_of_100(ppo_graph, ensemble_graph, rows):
    for graph in (ppo_graph, ensemble_graph):
        assert measure_latency(GraphPolicy(graph.SerializeToString(), "policy"), rows[:400]).p99_us < 1000


def test_no_local_path_is_left_in_the_graph(ppo_graph, ensemble_graph):
    for graph in (ppo_graph, ensemble_graph):
        content = graph.SerializeToString()
        for trace in (
            b".py",
            b"site-packages",
            str(Path.cwd()).encode(),
            str(Path.home()).encode() + b"/",
        ):
            assert trace not in content
        assert not any(value.startswith("/") for entry in graph.metadata_props for value in [entry.value])
        assert graph.opset_import[0].version == 18


def test_an_export_changes_neither_the_model_nor_its_later_training(ppo, ppo_graph, ppo_expected, rows):
    model, env = ppo
    model.policy.set_training_mode(True)
    again = sb3_graph(model, env)
    assert model.policy.training
    assert again.SerializeToString() == ppo_graph.SerializeToString()
    np.testing.assert_array_equal(model.predict(env.normalize_obs(rows), deterministic=True)[0], ppo_expected)


def test_one_row_that_disagrees_stops_the_export_and_leaves_nothing(tmp_path, ppo_graph, ppo_expected, rows):
    wrong = ppo_expected.copy()
    wrong[4321] = (wrong[4321] + 1) % ACTIONS
    with pytest.raises(InputError, match=r"row 4321: the graph must answer as the policy.*1 of 10000 rows"):
        _write(tmp_path / "ppo", ppo_graph, rows, wrong)
    assert list(tmp_path.iterdir()) == []


def test_forgetting_the_normaliser_stops_the_export(tmp_path, ppo, ppo_expected, rows):
    with pytest.raises(InputError, match="with its normaliser"):
        _write(tmp_path / "ppo", sb3_graph(ppo[0]), rows, ppo_expected)


def _linear(weights):
    """``scores = obs @ weights`` by hand."""
    sizes = [weights.shape[1]]
    nodes = [
        helper.make_node("MatMul", ["obs", "weights"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["action"], axis=1, keepdims=0),
    ]
    outputs = [
        helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", *sizes]),
    ]
    inputs = [helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["batch", len(weights)])]
    graph = helper.make_graph(nodes, "linear", inputs, outputs, [numpy_helper.from_array(weights, "weights")])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(proto, {"action_sizes": json.dumps(sizes), "scores": "action_values"})
    return proto


def test_exact_ties_are_let_through_and_counted(tmp_path):
    graph = _linear(np.array([[1, 1, 0, 0], [0, 0, 1, 0]], np.float32))
    rows = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    report = _write(tmp_path / "tied", graph, rows, np.array([0, 1, 2]))
    assert (report.parity.equal, report.parity.ties, len(report.parity.wrong)) == (2, 1, 0)
    with pytest.raises(InputError, match="row 1"):
        _write(tmp_path / "wrong", graph, rows, np.array([0, 2, 2]))


def test_a_graph_of_more_than_five_megabytes_is_refused_with_the_way_out(tmp_path):
    graph = _linear(np.zeros((LARGEST["policy.onnx"] // 16 + 1, ACTIONS), np.float32))
    with pytest.raises(InputError, match=r"must be below 5 MB, got 5\.0 MB; train fewer or shallower trees"):
        _write(tmp_path / "large", graph, np.zeros((1, FEATURES), np.float32), np.array([0]))
    assert list(tmp_path.iterdir()) == []


def test_an_older_bundle_is_replaced_and_anything_else_is_left_alone(tmp_path, ppo_graph, ppo_expected, rows):
    bundle = tmp_path / "deep" / "ppo"
    for seed in (1, 2):
        _write(bundle, ppo_graph, rows[:50], ppo_expected[:50], training={"seeds": {"training": seed}})
    assert json.loads((bundle / "manifest.json").read_text())["training"]["seeds"] == {"training": 2}
    assert sorted(file.name for file in bundle.iterdir()) == [
        "manifest.json",
        "parity_actions.npy",
        "parity_features.npy",
        "parity_scores.npy",
        "policy.onnx",
    ]
    assert [file.name for file in bundle.parent.iterdir()] == ["ppo"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(InputError, match="expected a new name or an older bundle"):
        _write(tmp_path / "mine", ppo_graph, rows[:50], ppo_expected[:50])
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_the_same_export_gives_the_same_bytes(tmp_path, ppo_graph, ppo_expected, rows):
    for name in ("first", "second"):
        _write(tmp_path / name, ppo_graph, rows[:100], ppo_expected[:100])
    for file in ("policy.onnx", "parity_scores.npy", "manifest.json"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"features": _features(7)}, "must be the 8 inputs"),
        ({"features": [{"name": "rtt", "unit": "ms", "low": 0}] * 8}, "add high"),
        ({"features": [{"name": "rtt", "unit": "ms", "low": 0, "high": 1}] * 8}, "differ in name"),
        ({"actions": ["zstd"]}, "must name the 4"),
        ({"expected_actions": np.array([9] * 50)}, "must be in"),
    ],
)
def test_arguments_that_do_not_fit_the_graph_are_refused(
    tmp_path, ppo_graph, ppo_expected, rows, changed, message
):
    with pytest.raises(ValueError, match=message):
        _write(
            tmp_path / "ppo",
            ppo_graph,
            rows[:50],
            changed.pop("expected_actions", ppo_expected[:50]),
            **changed,
        )


def test_a_model_that_is_not_exported_is_refused_by_its_kind():
    with pytest.raises(ValueError, match="PPO or DQN model, got A2C"):
        sb3_graph(A2C("MlpPolicy", Toy(), device="cpu"))
    with pytest.raises(ValueError, match="expected Discrete, MultiDiscrete or, unmasked, Box actions"):
        sb3_graph(PPO("MlpPolicy", Toy(spaces.MultiBinary(2)), device="cpu"))


def test_a_tree_of_a_single_leaf_is_exported(tmp_path):
    rows = np.zeros((4, FEATURES), np.float32)
    labels = np.array([1, 1, 1, 0])
    selector = Ensemble(2, trees=TreesConfig(rounds=1), network=NetworkConfig(layers=(Layer(4),), epochs=1))
    selector.fit(rows, labels, None, validation=(rows, labels), rng=np.random.default_rng(1))
    policy = GraphPolicy(selector_graph(selector).SerializeToString(), "leaf")
    np.testing.assert_allclose(policy.run(rows)[1], selector.probabilities(rows), atol=1e-7)
