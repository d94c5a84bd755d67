"""Trained policies of a run become bundles that any runtime can load."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.learners.models import KINDS, load_model
from agents.play import play
from agents.policy import Action, Mask, Observation
from envs.base import WorldEnv
from experiments.actions import action_names, described
from experiments.bundle import load_bundle, measure_latency
from experiments.config import ExperimentConfig
from experiments.evidence import read_evidence
from experiments.export import write_bundle
from experiments.onnx_graphs import sb3_graph, selector_graph
from experiments.publish import MODELS_FILE
from experiments.run_folder import RunFolder
from experiments.splits import episodes_of
from experiments.train import SELECTORS, best_seed, learner_folder, learner_of, load_selector, trained_policy
from sim.files import write_json, writing
from sim.world import World

_TIMED_ROWS = 4000


class Exported(NamedTuple):
    """A bundle, and how it does on this machine."""

    policy: str
    folder: Path
    size_bytes: int
    p50_s: float
    p99_s: float


def export_bundles(run: RunFolder, config: ExperimentConfig) -> list[Exported]:
    """Export the policies that the config names to ``bundles/``; of a learner its best training."""
    names = config.export.policies
    if names is None:
        names = tuple(learner.name for learner in config.learners)
    exported = [_export(run, config, name) for name in names]
    rows = [
        {"policy": one.policy, "size_bytes": one.size_bytes, "p50_s": one.p50_s, "p99_s": one.p99_s}
        for one in exported
    ]
    write_json(run.file(MODELS_FILE), rows)
    return exported


def _export(run: RunFolder, config: ExperimentConfig, name: str) -> Exported:
    seed = -1 if name in SELECTORS else best_seed(run.path, config, name)
    policy = trained_policy(run.path, config, name, seed)
    env = episodes_of(config).make_env()
    rows, allowed = _observations(config, env, policy, config.export.parity_rows)
    masks = allowed if env.masked else None
    provenance: dict[str, Any] = {
        "policy": name,
        "experiment": config.name,
        "seed": config.seed,
        "training_seed": seed,
    }
    if seed < 0:
        graph, expected = (
            selector_graph(load_selector(run.path, name)),
            load_selector(run.path, name).act(rows),
        )
    else:
        learner = learner_of(config, name)
        model = load_model(learner.kind, learner_folder(run.path, name, seed) / "best.zip")
        graph, expected = sb3_graph(model, masked=env.masked), _predicted(model, learner.kind, rows, allowed)
        provenance |= {
            "settings": learner.model_dump(mode="json"),
            "scenarios": list(config.environment.scenarios),
        }
    folder = run.file("bundles", name)
    with writing(folder):
        folder.parent.mkdir(exist_ok=True)
    write_bundle(
        folder,
        graph,
        task=env.task,
        action_space=described(env),
        features=[
            {"name": one.name, "unit": one.unit, "low": one.low, "high": one.high, "scale": one.scale}
            for one in env.features.features
        ],
        actions=action_names(env),
        provenance=provenance,
        evaluation=_evaluation(run, name),
        rows=rows,
        expected_actions=np.asarray(expected),
        masks=masks,
    )
    latency = measure_latency(
        load_bundle(folder, env.features.names),
        rows[:_TIMED_ROWS],
        masks=None if masks is None else masks[:_TIMED_ROWS],
    )
    size = (folder / "policy.onnx").stat().st_size
    return Exported(name, folder, size, latency.p50_us * 1e-6, latency.p99_us * 1e-6)


def _predicted(model: Any, kind: str, rows: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[Any]:
    """What the library itself answers."""
    given = {"action_masks": masks} if KINDS[kind].masks else {}
    actions: NDArray[Any] = model.predict(rows, deterministic=True, **given)[0]
    return actions


def _observations(
    config: ExperimentConfig, env: WorldEnv, policy: Any, count: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What the policy itself sees on test episodes, and what it may do, as many rows as asked for.

    They are repeated if need be. Where nothing is forbidden, all is allowed.
    """
    episodes = episodes_of(config)
    rows: list[Observation] = []
    masks: list[Mask] = []
    all_allowed = np.ones(len(action_names(env)), np.bool_)

    def keep(world: World, observation: Observation, action: Action) -> None:
        rows.append(observation)
        masks.append(env.action_masks() if env.masked else all_allowed)

    for place in episodes.places("test"):
        if len(rows) >= count:
            break
        play(env, episodes.draw(place), policy, watch=keep)
    seen = np.array(rows, np.float32), np.array(masks)
    return np.resize(seen[0], (count, len(rows[0]))), np.resize(seen[1], (count, len(all_allowed)))


def _evaluation(run: RunFolder, name: str) -> dict[str, Any]:
    """Mean test cost by scenario, in seconds an episode."""
    frame = read_evidence(run.path).episodes
    own = frame[(frame["policy"] == name) & (frame["split"] == "test")]
    return {
        "cost_s": {
            str(scenario): float(cost) for scenario, cost in own.groupby("scenario")["cost_s"].mean().items()
        }
    }
