"""Trains a successor from what the store has seen, and lets it be a candidate only if it costs less."""

from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.supervised.cost_model import CostModel
from agents.supervised.ensemble import NETWORK, Ensemble
from agents.supervised.trees import TreesConfig
from experiments.onnx_graphs import selector_graph
from experiments.rollout.book import DAY_S
from experiments.rollout.due import RETRAINED, current
from experiments.rollout.gates import Retraining
from experiments.rollout.lessons import Lessons, lessons, observations
from experiments.rollout.rollout import keep_validation, name_candidate, refuse_under_way
from experiments.rollout.validation import Validation, validate
from experiments.run_folder import versions
from experiments.shadow.loader import Bundle
from experiments.shadow.store import Store
from experiments.shadow.writer import ParityRows, Told, write_bundle
from sim.errors import InputError
from sim.randomness import stream
from sim.scenarios import Scenario

_PARITY_ROWS: Final = 5000
"""Decisions on which the graph must answer as the model does."""
_LEAST_STAKE: Final = 1e-3
"""What a decision counts in which all actions cost the same."""
_KEPT: Final = ("name", "unit", "about", "low", "high", "scale", "default")


class Retrained(NamedTuple):
    """A successor.

    Attributes:
        version: Of its bundle, in the store.
        name: What it is called.
        decisions: It has learned from.
        validation: How it fares against the current model.
    """

    version: str
    name: str
    decisions: int
    validation: Validation


def retrain(
    store: Store, settings: Retraining, folder: Path, seed: int, scenarios: tuple[Scenario, ...] = ()
) -> Retrained:
    """Train a successor of the current model on the store's decisions and outcomes, and validate it.

    Of a decision the cost of what was done is known, sometimes of all that could have been done. A model of
    the costs, fitted with the chances with which things were done, fills in the rest; the published ensemble
    learns what is cheapest. If it costs less than the current model in sessions that it has not learned from
    (and, if there are any, in simulated scenarios), it becomes the candidate, offline in every region; and
    a candidate that answers all of the traffic becomes the incumbent.

    Args:
        store: Where decisions come from and the bundle goes to.
        settings: How far back, and how much it takes.
        folder: Where the bundle is made.
        seed: Of the training.
        scenarios: To play both in, as the bundle's environment would.

    Raises:
        InputError: If a rollout is under way, or there is too little to learn from.
    """
    now, before = store.clock(), current(store)
    refuse_under_way(store)
    read = store.decisions(since=now - settings.history_days * DAY_S)
    own = lessons(read, before.bundle)
    if len(own.actions) < settings.decisions:
        problem = f"expected at least {settings.decisions} decisions with outcomes, got {len(own.actions)}"
        raise InputError(store.folder, "", f"{problem}; wait, or lower retraining.decisions")
    name = f"retrained-{store.count('retrainings')}"
    path = folder / f"{name}.zip"
    bundle = taught(path, own, cheapest(own, before.bundle, seed), before.bundle, settings, seed)
    model = store.add_model(path, bundle.manifest)
    found = validate(own.rows(own.to_validate), bundle, before.bundle, scenarios)
    store.set_setting(RETRAINED, now)
    if found.passed:
        keep_validation(store, model.version, before.version, found.as_json())
        name_candidate(store, model.version)
    return Retrained(model.version, name, int(own.to_learn.sum()), found)


def cheapest(own: Lessons, before: Bundle, seed: int) -> NDArray[np.float64]:
    """What each action costs: as known, else as learned from those that know it, shape (n, A)."""
    rows, count = observations(own.features, before.manifest["features"]), len(before.actions)
    learn, told = own.to_learn, own.to_learn & own.told
    taken = learn & ~told
    asked = np.tile(np.arange(count), int(told.sum()))
    model = CostModel(
        np.concatenate([rows[taken], np.repeat(rows[told], count, axis=0)]),
        np.concatenate([own.actions[taken], asked]),
        np.concatenate([own.costs[taken], own.every_cost[told].ravel()]),
        np.concatenate([own.propensity[taken], np.ones(len(asked))]),
        count=count,
        seed=seed,
    )
    return np.where(np.isnan(own.every_cost), model.costs(rows), own.every_cost)


def taught(
    path: Path, own: Lessons, costs: NDArray[np.float64], before: Bundle, settings: Retraining, seed: int
) -> Bundle:
    """Write the published ensemble, taught what is cheapest, as a bundle.

    Args:
        path: Of the bundle, whose name it bears.
        own: What it learns from.
        costs: Of each action in these, shape (n, A).
        before: Has the same features and actions.
        settings: Of the training.
        seed: Of the training.
    """
    manifest = before.manifest["features"]
    rows, labels = observations(own.features, manifest), costs.argmin(axis=1).astype(np.int64)
    most = np.where(np.isfinite(costs), costs, 0.0).max(axis=1)
    stakes = np.log(most / costs.min(axis=1)) + _LEAST_STAKE
    trees = TreesConfig(rounds=settings.trees, depth=settings.depth)
    ensemble = Ensemble(len(before.actions), trees, replace(NETWORK, epochs=settings.passes))
    learn, stop = own.to_learn, own.to_stop
    ensemble.fit(
        rows[learn],
        labels[learn],
        stakes[learn] / stakes[learn].mean(),
        validation=(rows[stop], labels[stop], stakes[stop] / stakes[stop].mean()),
        rng=stream(seed, "retraining"),
    )
    known = own.features[~np.isnan(own.features).any(axis=1)][:_PARITY_ROWS]
    told = Told(
        path.stem,
        "supervised",
        before.manifest["task"],
        [{key: one[key] for key in _KEPT if key in one} for one in manifest],
        before.actions,
        before.manifest["action_space"],
        {
            "config": settings.model_dump(mode="json"),
            "data": {"decisions": int(learn.sum()), "every cost known": int((learn & own.told).sum())},
            "seeds": {"training": seed},
            "versions": {key: str(value) for key, value in versions().items()},
        },
        licence=before.manifest["licence"],
    )
    checked = ParityRows(known, np.asarray(ensemble.act(observations(known, manifest))))
    return write_bundle(path, selector_graph(ensemble), told, checked, own.features)
