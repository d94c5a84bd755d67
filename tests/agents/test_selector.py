"""The supervised selectors: optima known by construction, published sizes, same bits for a seed, files."""

import numpy as np
import pytest
import torch

from agents.supervised.ensemble import Ensemble
from agents.supervised.network import Layer, NetworkConfig
from agents.supervised.trees import TreesConfig
from agents.supervised.two_class import NETWORK, TwoClassNetwork
from sim.errors import InputError

ACTIONS = 4
ABSENT = 3
SMALL = NetworkConfig(layers=(Layer(32, 0.1), Layer(16)), epochs=12)
FEW = TreesConfig(rounds=40, depth=3)


def _rows(count, seed):
    """Rows whose best action follows from two features of very different units; action 3 is never best."""
    rng = np.random.default_rng(seed)
    rows = (rng.random((count, 6)) * [100, 1e6, 1, 1, 1e-3, 1] + [0, 0, 0, 5, 0, 0]).astype(np.float32)
    labels = (rows[:, 0] > 50).astype(np.int64) + (rows[:, 1] > 7e5)
    return rows, labels


def _ensemble(seed=1, **changed):
    selector = Ensemble(ACTIONS, trees=FEW, network=SMALL)
    arguments = {"validation": _rows(300, 8), "rng": np.random.default_rng(seed)} | changed
    selector.fit(*_rows(1200, 7), None, **arguments)
    return selector


@pytest.fixture(scope="module")
def ensemble():
    return _ensemble()


@pytest.fixture(scope="module")
def two_class():
    (rows, _), (held, _) = _rows(1200, 7), _rows(300, 8)
    selector = TwoClassNetwork(ACTIONS, columns=[1, 0], choices=(2, 1))
    selector.fit(
        rows,
        np.where(rows[:, 0] > 50, 2, 1),
        None,
        validation=(held, np.where(held[:, 0] > 50, 2, 1)),
        rng=np.random.default_rng(1),
    )
    return selector


def test_the_ensemble_finds_the_optimum_it_was_shown_on_rows_it_was_not(ensemble):
    rows, labels = _rows(2000, 9)
    assert np.mean(ensemble.act(rows) == labels) > 0.97


def test_an_action_that_was_never_best_keeps_its_column_and_is_never_chosen(ensemble):
    rows, _ = _rows(2000, 9)
    probabilities = ensemble.probabilities(rows)
    assert probabilities.shape == (2000, ACTIONS)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    assert not np.any(ensemble.act(rows) == ABSENT)


def test_the_vote_is_seven_tenths_of_the_trees_and_three_of_the_network(ensemble):
    rows, _ = _rows(50, 9)
    booster, network = ensemble.parts()
    trees = booster.inplace_predict(rows)
    np.testing.assert_allclose(
        ensemble.probabilities(rows), 0.7 * trees + 0.3 * network.probabilities(rows), atol=1e-6
    )


def test_a_mask_moves_the_choice_to_the_likeliest_allowed_action(ensemble):
    rows, labels = _rows(200, 9)
    only = np.array([False, False, False, True])
    assert np.all(ensemble.act(rows, only) == ABSENT)
    assert ensemble.act(rows[0], only) == ABSENT
    second = np.array([label != best for label in range(ACTIONS) for best in labels]).reshape(ACTIONS, -1).T
    expected = np.where(second, ensemble.probabilities(rows), -1).argmax(axis=1)
    np.testing.assert_array_equal(ensemble.act(rows, second), expected)


def test_one_row_and_a_batch_get_the_same_answers(ensemble):
    rows, _ = _rows(20, 9)
    single = [ensemble.act(row) for row in rows]
    assert all(type(action) is int for action in single)
    assert single == ensemble.act(rows).tolist()


def test_the_same_seed_gives_the_same_bytes_whatever_torch_did_before(tmp_path, ensemble):
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    again = _ensemble()
    assert torch.equal(state, torch.random.get_rng_state())
    ensemble.save(tmp_path / "first.npz")
    again.save(tmp_path / "second.npz")
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    _ensemble(seed=2).save(tmp_path / "third.npz")
    assert (tmp_path / "first.npz").read_bytes() != (tmp_path / "third.npz").read_bytes()


def test_standardisation_knows_nothing_of_the_validation_rows(ensemble):
    rows, _ = _rows(1200, 7)
    _, network = ensemble.parts()
    np.testing.assert_allclose(network.mean.numpy(), rows.astype(np.float64).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(network.scale.numpy(), rows.astype(np.float64).std(axis=0), rtol=1e-12)


def test_a_feature_that_never_varied_does_no_harm():
    rows, labels = _rows(300, 7)
    rows[:, 4] = 3.0
    selector = Ensemble(ACTIONS, trees=FEW, network=SMALL)
    selector.fit(rows, labels, None, validation=(rows, labels), rng=np.random.default_rng(1))
    assert np.isfinite(selector.probabilities(rows)).all()


def test_rows_that_count_decide_where_labels_contradict_each_other():
    rows = np.repeat(np.array([[0.0], [1.0]], np.float32), 200, axis=0)
    labels = np.tile([0, 0, 1], 134)[:400]
    weights = np.where(labels == 1, 10.0, 1.0)
    plain, costly = (Ensemble(2, trees=FEW, network=SMALL) for _ in range(2))
    plain.fit(rows, labels, None, validation=(rows, labels), rng=np.random.default_rng(1))
    costly.fit(rows, labels, weights, validation=(rows, labels, weights), rng=np.random.default_rng(1))
    assert plain.act(rows[0]) == 0
    assert costly.act(rows[0]) == 1


def test_a_saved_ensemble_answers_with_the_same_bits(tmp_path, ensemble):
    rows, _ = _rows(500, 9)
    ensemble.save(tmp_path / "ensemble.npz")
    loaded = Ensemble.load(tmp_path / "ensemble.npz")
    np.testing.assert_array_equal(loaded.probabilities(rows), ensemble.probabilities(rows))
    loaded.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "ensemble.npz").read_bytes()


def test_the_two_class_network_has_the_4114_parameters_of_the_published_shape():
    selector = TwoClassNetwork(2, columns=range(19), choices=(0, 1))
    rng = np.random.default_rng(3)
    rows, labels = rng.random((130, 19), dtype=np.float32), rng.integers(2, size=130)
    selector.fit(rows, labels, None, validation=(rows, labels), rng=rng)
    assert sum(parameter.numel() for parameter in selector.network().layers.parameters()) == 4114
    assert NETWORK.l2 == 1e-3


def test_the_two_class_network_chooses_between_its_two_actions_only(two_class):
    rows, _ = _rows(1000, 9)
    best = np.where(rows[:, 0] > 50, 2, 1)
    assert np.mean(two_class.act(rows) == best) > 0.95
    assert np.all(two_class.probabilities(rows)[:, [0, 3]] == 0)


def test_the_two_class_network_takes_the_first_allowed_action_where_it_may_use_neither_of_its_own(two_class):
    assert two_class.act(_rows(1, 9)[0][0], np.array([False, False, False, True])) == 3


def test_the_two_class_network_reads_its_columns_alone(two_class):
    rows, _ = _rows(100, 9)
    others = rows.copy()
    others[:, 2:] = 1e9
    np.testing.assert_array_equal(two_class.probabilities(others), two_class.probabilities(rows))


def test_a_saved_two_class_network_answers_with_the_same_bits(tmp_path, two_class):
    rows, _ = _rows(200, 9)
    two_class.save(tmp_path / "nn19.npz")
    loaded = TwoClassNetwork.load(tmp_path / "nn19.npz")
    assert (loaded.columns, loaded.choices) == ((1, 0), (2, 1))
    np.testing.assert_array_equal(loaded.probabilities(rows), two_class.probabilities(rows))


@pytest.mark.parametrize("kept", [0, 3, 40, 0.5, 0.99])
def test_a_torn_file_is_refused_in_one_line(tmp_path, two_class, kept):
    path = tmp_path / "nn19.npz"
    two_class.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(InputError, match=r"nn19\.npz: expected a saved nn19 selector, got a torn") as error:
        TwoClassNetwork.load(path)
    assert "\n" not in str(error.value)


def test_a_flipped_byte_anywhere_is_refused_or_changes_no_answer(tmp_path, two_class):
    rows, _ = _rows(5, 9)
    path = tmp_path / "nn19.npz"
    two_class.save(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 29):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            loaded = TwoClassNetwork.load(path)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            np.testing.assert_array_equal(loaded.probabilities(rows), two_class.probabilities(rows))


def test_the_file_of_another_selector_is_refused_by_name(tmp_path, two_class):
    two_class.save(tmp_path / "nn19.npz")
    with pytest.raises(InputError, match="expected 'ensemble', got 'nn19'"):
        Ensemble.load(tmp_path / "nn19.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(InputError, match="torn or foreign"):
        Ensemble.load(tmp_path / "array.npy")
    with pytest.raises(InputError, match="found no file"):
        Ensemble.load(tmp_path / "absent.npz")


def test_what_does_not_fit_together_is_refused_with_the_way_out(ensemble):
    rows, labels = _rows(50, 1)
    fit = {"validation": (rows, labels), "rng": np.random.default_rng(1)}
    selector = Ensemble(2, trees=FEW, network=SMALL)
    with pytest.raises(ValueError, match="labels must be below 2, got 2"):
        selector.fit(rows, labels, None, **fit)
    with pytest.raises(ValueError, match="labels must be one for each of the 50 rows"):
        selector.fit(rows, labels[:-1], None, **fit)
    with pytest.raises(ValueError, match="must be finite"):
        selector.fit(np.full_like(rows, np.nan), labels, None, **fit)
    with pytest.raises(ValueError, match="not all 0"):
        selector.fit(rows, labels, np.zeros(50), **fit)
    with pytest.raises(ValueError, match="call fit or load first"):
        selector.act(rows[0])
    with pytest.raises(ValueError, match=r"expected observations \(n, 6\)"):
        ensemble.act(rows[:, :5])
    with pytest.raises(ValueError, match="two different actions"):
        TwoClassNetwork(4, columns=[0], choices=(1, 1))
