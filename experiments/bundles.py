"""Policies become bundles that any runtime can load: those that a run has trained, and rules."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.catalogue import kind_of, make_policy
from agents.learners.models import KINDS, load_model
from agents.learners.settings import WITH_MEMORY
from envs.base import WorldEnv
from experiments.actions import action_names, described
from experiments.config import SELECTORS, ExperimentConfig
from experiments.evidence import read_evidence
from experiments.onnx_graphs import sb3_graph, selector_graph
from experiments.publish import MODELS_FILE
from experiments.run_folder import RunFolder, versions
from experiments.shadow.bundle import measure_latency
from experiments.shadow.loader import Bundle
from experiments.shadow.played import Played, questions
from experiments.shadow.rule_graphs import rule_graph, rule_names
from experiments.shadow.writer import ParityRows, Told, write_bundle
from experiments.splits import Episodes, Split, episodes_of
from experiments.train import best_seed, learner_folder, learner_of, load_selector, trained_policy
from sim.episode import Episode, draw_episode
from sim.errors import InputError
from sim.files import write_json, writing
from sim.refusals import suggestion

_TIMED_ROWS: Final = 4000


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
        names = tuple(learner.name for learner in config.learners if learner.kind not in WITH_MEMORY)
    exported = [_export(run, config, name) for name in names]
    rows = [
        {"policy": one.policy, "size_bytes": one.size_bytes, "p50_s": one.p50_s, "p99_s": one.p99_s}
        for one in exported
    ]
    write_json(run.file(MODELS_FILE), rows)
    return exported


def rule_bundle(path: Path, name: str, env: WorldEnv, seeds: range, rows: int) -> Bundle:
    """Write a rule of the catalogue as a bundle, checked on episodes that it plays itself.

    Args:
        path: Folder, or file that ends in ``.zip``.
        name: As the catalogue names it.
        env: Whose question it answers.
        seeds: Of the episodes of each of its scenarios.
        rows: How many decisions are checked; as many tell what is usual.

    Raises:
        InputError: If it is no rule that a graph can say, or the file system refuses.
    """
    known = rule_names(env)
    if name not in known:
        way_out = suggestion(name, known) or f"; known: {', '.join(known) or 'none of this task'}"
        raise InputError(name, "", f"is no rule that can be a bundle{way_out}")
    policy = make_policy(name, env)
    episodes = (draw_episode(scenario, seed) for seed in seeds for scenario in env.scenarios)
    played = questions(env, episodes, policy, rows)
    data = {"scenarios": [one.name for one in env.scenarios], "seeds": [seeds.start, seeds.stop]}
    told = _told(env, name, kind_of(name, env), {"data": data})
    checked = ParityRows(
        played.features, np.asarray(policy.act(played.observations(env), played.masks)), played.masks
    )
    return write_bundle(path, rule_graph(policy, env), told, checked, played.features)


def _export(run: RunFolder, config: ExperimentConfig, name: str) -> Exported:
    seed = -1 if name in SELECTORS else best_seed(run.path, config, name)
    policy = trained_policy(run.path, config, name, seed)
    episodes = episodes_of(config)
    env = episodes.make_env()
    played, seen = (
        questions(env, _drawn(episodes, split), policy, config.export.parity_rows)
        for split in ("test", "train")
    )
    data = {
        "scenarios": list(config.environment.scenarios),
        "split": "train",
        "decisions": len(seen.features),
    }
    training: dict[str, Any] = {"data": data | {"experiment": config.name}}
    training["seeds"] = {"experiment": config.seed, "training": seed}
    if seed < 0:
        selector = load_selector(run.path, name)
        graph, expected = selector_graph(selector), selector.act(played.observations(env))
        training["config"] = config.supervised.model_dump(mode="json")
    else:
        learner = learner_of(config, name)
        model = load_model(learner.kind, learner_folder(run.path, name, seed) / "best.zip")
        graph, expected = sb3_graph(model, masked=env.masked), _predicted(model, learner.kind, env, played)
        training["config"] = learner.model_dump(mode="json")
    told = _told(env, name, "supervised" if seed < 0 else "learner", training, _metrics(run, name))
    folder = run.file("bundles", name)
    with writing(folder):
        folder.parent.mkdir(exist_ok=True)
    rows = ParityRows(played.features, np.asarray(expected), played.masks)
    bundle = write_bundle(folder, graph, told, rows, seen.features)
    masks = None if bundle.masks is None else bundle.masks[:_TIMED_ROWS]
    latency = measure_latency(bundle, bundle.rows[:_TIMED_ROWS], masks=masks)
    size = int(bundle.manifest["files"]["policy.onnx"]["bytes"])
    return Exported(name, folder, size, latency.p50_us * 1e-6, latency.p99_us * 1e-6)


def _told(
    env: WorldEnv, name: str, kind: str, training: dict[str, Any], metrics: dict[str, Any] | None = None
) -> Told:
    return Told(
        name,
        kind,
        env.task,
        [vars(one) for one in env.features.features],
        action_names(env),
        described(env),
        training | {"versions": {key: str(value) for key, value in versions().items()}},
        metrics or {},
    )


def _predicted(model: Any, kind: str, env: WorldEnv, played: Played) -> NDArray[Any]:
    """What the library itself answers."""
    rows = played.observations(env)
    everything = np.ones((len(rows), len(action_names(env))), np.bool_)
    masks = everything if played.masks is None else played.masks
    given = {"action_masks": masks} if KINDS[kind].masks else {}
    actions: NDArray[Any] = model.predict(rows, deterministic=True, **given)[0]
    return actions


def _drawn(episodes: Episodes, split: Split) -> Iterator[Episode]:
    """Episodes of a split, one of each scenario in turn."""
    places = episodes.places(split)
    by_scenario: list[Sequence[Any]] = [
        [place for place in places if place.scenario == name]
        for name in dict.fromkeys(place.scenario for place in places)
    ]
    for turn in zip_longest(*by_scenario):
        yield from (episodes.draw(place) for place in turn if place is not None)


def _metrics(run: RunFolder, name: str) -> dict[str, Any]:
    """Mean test cost by scenario, in seconds an episode."""
    frame = read_evidence(run.path).episodes
    own = frame[(frame["policy"] == name) & (frame["split"] == "test")]
    costs = own.groupby("scenario")["cost_s"].mean()
    return {"cost_s": {str(scenario): float(cost) for scenario, cost in costs.items()}}
