"""A successor learned from a store: found where there is something to find, refused where there is not."""

import numpy as np
import pytest

from agents.supervised.cost_model import FEWEST, CostModel
from envs.features import CODEC_FEATURES
from experiments.rollout.due import current, reasons
from experiments.rollout.gates import read_gates
from experiments.rollout.lessons import lessons, observations
from experiments.rollout.retrain import retrain
from experiments.rollout.rollout import Rollout, validation_of
from experiments.rollout.validation import validate
from experiments.shadow.bundle import open_bundle
from experiments.shadow.store import Store
from experiments.shadow.store_rows import Decision, Outcome, Transition
from experiments.shadow.writer import ParityRows, Told, write_bundle
from sim.errors import InputError
from sim.randomness import stream

NAMES, ACTIONS, DAY_S = ("rtt_ms", "size_mb"), ("zstd", "hde"), 86_400.0
SETTINGS = read_gates(
    None, [f"retraining.{one}" for one in ("decisions=400", "recent=400", "trees=25", "depth=3", "passes=6")]
).retraining


def by_size(path, linear, name="by_size"):
    """A bundle that takes hde where the payload is above 0, however far the path."""
    graph = linear.graph(np.array([[0, 0], [0, 1]], np.float32))
    features = [
        {"name": one, "unit": "", "low": -4, "high": 4, "scale": "linear", "about": ""} for one in NAMES
    ]
    told = Told(name, "learner", "compression", features, ACTIONS, {"kind": "Discrete", "sizes": [2]})
    rows = stream(0, "parity").normal(size=(500, 2)).astype(np.float32)
    return write_bundle(path, graph, told, ParityRows(rows, (rows[:, 1] > 0).astype(int)), rows)


def true_costs(rows):
    """Seconds of zstd and hde: hde takes a third where the path is far, three times as long elsewhere."""
    far = rows[:, 0] > 0
    base = np.exp(0.3 * rows[:, 1])
    return np.column_stack([base, base * np.where(far, 1 / 3, 3.0)])


class Clock:
    now = 1.75e9

    def __call__(self):
        return self.now


@pytest.fixture
def site(tmp_path, linear):
    clock = Clock()
    store = Store(tmp_path / "store", clock, create=True)
    model = store.add_model(tmp_path / "by_size.zip", by_size(tmp_path / "by_size.zip", linear).manifest)
    store.set_role("incumbent", model.version)
    yield store, clock, tmp_path
    store.close()


def serve(store, clock, sessions, *, told=0.0, shift=0.0, explore=0.4):
    """Sessions of 4 decisions, answered by the incumbent, now and then at random."""
    rng = stream(int(clock.now), "service")
    bundle = open_bundle(store.bundle(store.role("incumbent")))
    rows = rng.normal([shift, 0.0], 1.0, (4 * sessions, 2)).astype(np.float32)
    usual, costs = bundle.act(rows), true_costs(rows)
    costs *= np.exp(0.1 * rng.normal(size=(len(rows), 1)))
    taken = np.where(rng.random(len(rows)) < explore, rng.integers(2, size=len(rows)), usual)
    chance = explore / 2 + (1 - explore) * (taken == usual)
    decisions, outcomes = [], []
    for place, action in enumerate(taken):
        decisions.append(
            Decision(
                *(f"{clock.now}-{place}", clock.now + place, "eu", f"{clock.now}-s{place // 4}", "offline"),
                *("incumbent", ACTIONS[action], float(chance[place]), None, rows[place], NAMES, None),
                *(store.role("incumbent"), ACTIONS[usual[place]], 0.1),
            )
        )
        every = dict(zip(ACTIONS, costs[place].tolist(), strict=True)) if rng.random() < told else None
        outcomes.append(
            Outcome(decisions[-1].id, clock.now + place, float(costs[place, action]), costs=every)
        )
    store.write(decisions, outcomes)
    clock.now += DAY_S


def test_a_successor_finds_what_the_current_model_overlooks_and_becomes_the_candidate(site):
    store, clock, folder = site
    serve(store, clock, 800)
    before = open_bundle(store.bundle(store.role("incumbent")), NAMES)
    made = retrain(store, SETTINGS, folder, seed=1)
    assert made.validation.by == "dr"
    assert made.validation.passed
    assert store.role("candidate") == made.version
    assert validation_of(store, made.version)["against"] == store.role("incumbent")
    rows = stream(9, "fresh").normal(size=(2000, 2)).astype(np.float32)
    costs, after = true_costs(rows), open_bundle(store.bundle(made.version), NAMES)
    assert np.mean(after.act(rows) == costs.argmin(axis=1)) > 0.95
    ours, theirs = (np.log(costs[np.arange(2000), one.act(rows)]).mean() for one in (after, before))
    saved = 1 - np.exp(ours - theirs)
    assert made.validation.saved.value == pytest.approx(saved, abs=0.1)
    assert Rollout(store).advance("eu").target == "shadow"  # no reason needed: it is validated
    store.set_role("incumbent", made.version)
    assert validation_of(store, made.version) is None  # another incumbent was not beaten
    store.set_role("incumbent", store.decisions(limit=1)["incumbent"][0])
    serve(store, clock, 600, told=0.7)
    own = lessons(store.decisions(since=clock.now - DAY_S), after)
    true = validate(own, after, before)
    assert true.by == "actual"
    assert true.saved.value == pytest.approx(saved, abs=0.03)
    assert true.passed
    assert not validate(own, before, after).passed


def test_a_successor_that_is_no_better_is_no_candidate(site, linear, monkeypatch):
    store, clock, folder = site
    serve(store, clock, 300)
    monkeypatch.setattr(
        "experiments.rollout.retrain.taught", lambda path, *_: by_size(path, linear, path.stem)
    )
    made = retrain(store, SETTINGS, folder, seed=1)
    assert made.validation.saved.value == 0.0
    assert not made.validation.passed
    assert made.version in store.models()
    assert store.role("candidate") is None
    assert validation_of(store, made.version) is None


def test_nothing_is_learned_from_a_handful_or_while_a_candidate_is_on_its_way(site):
    store, clock, folder = site
    serve(store, clock, 50)
    with pytest.raises(InputError, match="expected at least 400 decisions with outcomes, got 200"):
        retrain(store, SETTINGS, folder, seed=1)
    store.set_role("candidate", store.role("incumbent"))
    store.record(
        Transition(0, clock.now, "eu", store.role("candidate"), "offline", "shadow", "", "operator", {})
    )
    with pytest.raises(InputError, match="is on its way in eu"):
        retrain(store, SETTINGS, folder, seed=1)


def test_a_model_is_due_when_it_is_old_when_its_world_moves_and_when_a_gate_took_one_back(site):
    store, clock, _ = site
    serve(store, clock, 200)
    assert reasons(store, SETTINGS) == []
    serve(store, clock, 200, shift=1.0)
    (drifted,) = reasons(store, SETTINGS)
    assert drifted.startswith("1 features have drifted: rtt_ms")
    clock.now += 5 * DAY_S
    serve(store, clock, 200)
    (old,) = reasons(store, SETTINGS)
    assert old == "by_size is 8.0 days old (from 7)"
    candidate = store.role("incumbent")
    store.set_role("candidate", candidate)
    for source, target in (("offline", "shadow"), ("shadow", "offline")):
        store.record(Transition(0, clock.now, "eu", candidate, source, target, "slow", "gate", {}))
    assert reasons(store, SETTINGS)[-1] == f"{candidate} was taken back in eu: slow"


def test_the_current_model_is_the_candidate_once_it_answers_everything(site):
    store, clock, _ = site
    candidate = store.role("incumbent")
    store.set_role("candidate", candidate)
    assert not current(store).promoted
    store.record(Transition(0, clock.now, "eu", candidate, "canary_75", "full", "", "gate", {}))
    assert current(store).promoted


def test_an_action_that_was_hardly_ever_taken_is_never_called_cheap():
    rng = stream(3, "rows")
    rows = rng.normal(size=(1000, 2)).astype(np.float32)
    actions = np.where(np.arange(1000) < FEWEST - 1, 2, np.arange(1000) % 2)
    model = CostModel(rows, actions, np.exp(rows[:, 0].astype(float)), np.ones(1000), count=3, seed=0)
    found = model.costs(rows)
    assert np.isinf(found[:, 2]).all()
    assert np.abs(np.log(found[:, :2]) - rows[:, :1]).mean() < 0.02
    assert model.known.tolist() == [True, True, False]


def test_observations_are_those_of_the_environment():
    raw = stream(4, "raw").lognormal(0, 3, size=(50, len(CODEC_FEATURES))).astype(np.float32)
    manifest = [vars(one) | {"default": 1.0} for one in CODEC_FEATURES.features]
    assert np.array_equal(observations(raw, manifest), CODEC_FEATURES.scaled(raw.astype(np.float64)))
    raw[0] = np.nan
    assert np.array_equal(observations(raw, manifest)[0], CODEC_FEATURES.scaled(np.ones(raw.shape[1])))


def test_a_session_is_learned_from_or_validated_on_never_both(site):
    store, clock, _ = site
    serve(store, clock, 300, told=0.5)
    own = lessons(store.decisions(), current(store).bundle)
    parts = np.stack([own.to_learn, own.to_stop, own.to_validate])
    assert (parts.sum(axis=0) == 1).all()
    by_session = {group: set(own.part[own.groups == group].tolist()) for group in set(own.groups.tolist())}
    assert all(len(one) == 1 for one in by_session.values())
    assert 0.5 < own.to_learn.mean() < 0.7
    assert 0.3 < own.told.mean() < 0.7
