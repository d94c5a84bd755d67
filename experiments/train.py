"""From a config to trained policies: reference runs, labels, selectors, learners."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from agents.catalogue import static_policies
from agents.learners.forward import network_policy
from agents.learners.legs import Plan, train
from agents.learners.models import load_model
from agents.learners.settings import WITH_MEMORY, Learner
from agents.learners.training_env import TrainingEpisode, training_episode
from agents.play import play, played_costs
from agents.policy import Policy
from agents.supervised.ensemble import Ensemble
from agents.supervised.labels import Labels, Realised, joined, label, nn19_columns
from agents.supervised.network import Layer, NetworkConfig
from agents.supervised.selector import Selector
from agents.supervised.trees import TreesConfig
from agents.supervised.two_class import TwoClassNetwork
from experiments.config import SELECTORS, ExperimentConfig
from experiments.graph_policy import GraphPolicy
from experiments.onnx_graphs import selector_graph
from experiments.run_folder import RunFolder
from experiments.splits import Place, episodes_of
from experiments.work import Crew, report
from sim.codecs import Codec
from sim.errors import InputError
from sim.files import write_text, write_whole
from sim.randomness import stream

_VALIDATION_SHARE = 4
"""Every fourth labelled episode tells the selectors when to stop."""


class References(NamedTuple):
    """How fixed rules fare: what learners are measured against while they train.

    Attributes:
        pool: Training episodes with their reference runs.
        best_static: Cost of the best fixed rule on the validation episodes, by scenario, in seconds an
            episode.
    """

    pool: list[TrainingEpisode]
    best_static: dict[str, float]


class _Job(NamedTuple):
    """One training, as it travels to a worker."""

    config: ExperimentConfig
    run: Path
    name: str
    seed: int


def reference_runs(run: RunFolder, config: ExperimentConfig, crew: Crew) -> None:
    """Stage ``references``: every fixed rule on validation episodes, the best on those to train on."""
    if run.stage_done("references"):
        return
    episodes = episodes_of(config)
    validation, train = episodes.places("validation"), episodes.places("train")
    costs = crew.map("references", _rule_costs, [(config, place) for place in validation])
    best = {}
    for scenario in dict.fromkeys(place.scenario for place in validation):
        own = [row for place, row in zip(validation, costs, strict=True) if place.scenario == scenario]
        best[scenario] = int(np.argmin(np.mean(own, axis=0)))
    tasks = [(config, place, best[place.scenario]) for place in train]
    runs = crew.map("reference runs", _reference, tasks)
    arrays = dict(zip(map(_key, [*validation, *train]), [*costs, *runs], strict=True))
    write_whole(run.file("references.npz"), lambda stream_: np.savez(stream_, **arrays))  # type: ignore[arg-type]
    run.mark("references")


def training(run: RunFolder, config: ExperimentConfig, crew: Crew) -> None:
    """Stage ``training``: selectors from labels, every seed of every learner; none is done twice."""
    if run.stage_done("training"):
        return
    jobs = [
        _Job(config, run.path, learner.name, seed) for learner in config.learners for seed in learner.seeds
    ]
    jobs = sorted(jobs, key=lambda job: job.seed)
    if set(SELECTORS) & set(config.policies):
        jobs.insert(0, _Job(config, run.path, "selectors", -1))
    steps = sum(learner.steps * len(learner.seeds) for learner in config.learners)
    crew.map("training", _do, jobs, units=steps or None)
    run.mark("training")


@lru_cache(maxsize=16)
def trained_policy(run: Path, config: ExperimentConfig, name: str, seed: int) -> Policy:
    """A policy of this run that had to be trained, ready to act; remembered, for many episodes ask for it."""
    if name in SELECTORS:
        return selector_policy(run, name)  # type: ignore[return-value]  # it has the face of a policy
    return network_policy(
        name, load_model(learner_of(config, name).kind, learner_folder(run, name, seed) / "best.zip")
    )


def selector_policy(run: Path, name: str) -> GraphPolicy:
    """A selector of this run, through the graph that is exported: ten times as fast as XGBoost's own call."""
    path = run / "selectors" / f"{name}.onnx"
    try:
        return GraphPolicy(path.read_bytes(), path, name)
    except OSError as error:
        raise InputError(path, "", "expected the graph of a trained selector; train it again") from error


def load_selector(run: Path, name: str) -> Ensemble | TwoClassNetwork:
    """A selector of this run."""
    path = run / "selectors" / f"{name}.npz"
    return Ensemble.load(path) if name == "ensemble" else TwoClassNetwork.load(path)


def learner_of(config: ExperimentConfig, name: str) -> Learner:
    """Settings of a learner."""
    return next(learner for learner in config.learners if learner.name == name)


def learner_folder(run: Path, name: str, seed: int) -> Path:
    """Where a training keeps its files."""
    return run / "learners" / f"{name}-{seed}"


def best_seed(run: Path, config: ExperimentConfig, name: str) -> int:
    """The training of a learner with the least validation cost."""
    return min(learner_of(config, name).seeds, key=lambda seed: _least_cost(run, name, seed))


def best_training(run: Path, config: ExperimentConfig) -> tuple[str, int]:
    """Learner and seed of the training with the least validation cost, of those without a memory."""
    trainings = [
        (learner.name, seed)
        for learner in config.learners
        if learner.kind not in WITH_MEMORY
        for seed in learner.seeds
    ]
    return min(trainings, key=lambda training: _least_cost(run, *training))


def _least_cost(run: Path, name: str, seed: int) -> float:
    path = learner_folder(run, name, seed) / "curves.csv"
    try:
        return float(pd.read_csv(path)["validation_cost"].min())
    except (OSError, ValueError, KeyError) as error:
        problem = (
            f"expected the curve of a training, got {type(error).__name__}; `dwcp-gym train` its config first"
        )
        raise InputError(path, "", problem) from error


def _rule_costs(task: tuple[ExperimentConfig, Place]) -> np.ndarray:
    """Cost of every fixed rule on an episode, in the order of `static_policies`."""
    config, place = task
    episodes = episodes_of(config)
    env, episode = episodes.make_env(), episodes.draw(place)
    return np.array([play(env, episode, policy).cost for policy in static_policies(env)])


def _reference(task: tuple[ExperimentConfig, Place, int]) -> np.ndarray:
    """The run of a fixed rule, by its place in `static_policies`, over an episode."""
    config, place, rule = task
    episodes = episodes_of(config)
    env = episodes.make_env()
    found = training_episode(env, episodes.draw(place), static_policies(env)[rule])
    return np.stack([found.times, found.accrued])


def _references(run: Path, config: ExperimentConfig) -> References:
    episodes = episodes_of(config)
    arrays = _arrays(run / "references.npz")
    try:
        pool = [
            TrainingEpisode(episodes.draw(place), *arrays[_key(place)]) for place in episodes.places("train")
        ]
        costs: dict[str, list[np.ndarray]] = {}
        for place in episodes.places("validation"):
            costs.setdefault(place.scenario, []).append(arrays[_key(place)])
    except (KeyError, TypeError) as error:
        raise _torn_references(run / "references.npz") from error
    return References(pool, {name: float(np.mean(rows, axis=0).min()) for name, rows in costs.items()})


def _key(place: Place) -> str:
    return f"{place.scenario}/{place.split}/{place.number}"


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # zipfile, zlib and numpy: their errors share no base class
        raise _torn_references(path) from error


def _torn_references(path: Path) -> InputError:
    marker = path.parent / "stages" / "references"
    return InputError(
        path, "", f"expected the reference runs of this experiment; remove {marker} to make them anew"
    )


def _do(job: _Job) -> None:
    if job.name == "selectors":
        _train_selectors(job)
    else:
        _train_learner(job)


def _train_learner(job: _Job) -> None:
    config, episodes = job.config, episodes_of(job.config)
    references = _references(job.run, config)
    settings = learner_of(config, job.name)
    env = episodes.make_env()
    validation = episodes.places("validation")
    drawn = [episodes.draw(place) for place in validation]

    def validate(policy: Policy) -> float:
        found: dict[str, list[float]] = {}
        for place, cost in zip(validation, played_costs(env, drawn, policy), strict=True):
            found.setdefault(place.scenario, []).append(float(cost))
        return float(np.mean([np.mean(own) / references.best_static[name] for name, own in found.items()]))

    told = 0

    def progress(steps: int) -> None:
        nonlocal told
        report(min(steps, settings.steps) - told)
        told = min(steps, settings.steps)

    folder = learner_folder(job.run, job.name, job.seed)
    seed = int(stream(config.seed, f"{job.name} training {job.seed}").integers(2**31))
    outcome = train(
        Plan(settings, seed, config.evaluate_every, episodes.make_env, _described(config)),
        references.pool,
        validate,
        folder,
        progress,
    )
    curve = pd.DataFrame(outcome.curve).astype({"step": int})
    curve.insert(0, "policy", job.name)
    curve.insert(1, "training_seed", job.seed)
    write_text(folder / "curves.csv", curve.to_csv(index=False))


def _described(config: ExperimentConfig) -> dict[str, Any]:
    """What a checkpoint must agree on with the environment that its training goes on in."""
    return config.environment.model_dump(mode="json", include={"id", "codecs", "options"})


def _train_selectors(job: _Job) -> None:
    config, episodes = job.config, episodes_of(job.config)
    folder = job.run / "selectors"
    wanted = [one for one in _selectors(config, episodes.codecs) if one[0].name in config.policies]
    if all((folder / f"{selector.name}.onnx").exists() for selector, _ in wanted):
        return
    places = [
        place for place in episodes.places("train") if place.number < config.supervised.episodes_per_scenario
    ]
    env = episodes.make_env()
    kind = config.supervised.labels
    if kind == "oracle":
        labelled = [label(env, episodes.draw(place)) for place in places]
    else:
        realised = Realised(env.codecs, kind)
        labelled = [realised.label(episodes.draw(place)) for place in places]
    held = [place.number % _VALIDATION_SHARE == 0 for place in places]
    train_part = joined([part for part, out in zip(labelled, held, strict=True) if not out])
    validation = joined([part for part, out in zip(labelled, held, strict=True) if out])
    for selector, choices in wanted:
        _fit(selector, train_part, validation, choices, config.seed)
        selector.save(folder / f"{selector.name}.npz")
        _write_bytes(folder / f"{selector.name}.onnx", selector_graph(selector).SerializeToString())


def _write_bytes(path: Path, content: bytes) -> None:
    write_whole(path, lambda stream_: stream_.write(content))


def _selectors(
    config: ExperimentConfig, codecs: Sequence[Codec]
) -> list[tuple[Ensemble | TwoClassNetwork, tuple[int, ...]]]:
    """The selectors, and the actions each may choose."""
    settings = config.supervised
    trees = TreesConfig(settings.xgb.trees, settings.xgb.depth, settings.xgb.rate, settings.xgb.subsample)
    network = NetworkConfig(
        layers=tuple(map(Layer, settings.network.layers, settings.network.dropout)),
        epochs=settings.network.epochs,
        batch=settings.network.batch,
        rate=settings.network.rate,
    )
    families = [codec.family for codec in codecs]
    selectors: list[tuple[Ensemble | TwoClassNetwork, tuple[int, ...]]] = [
        (Ensemble(len(codecs), trees, network), tuple(range(len(codecs))))
    ]
    if "hde" in families and "amst" in families:
        choices = families.index("hde"), families.index("amst")
        selectors.append((TwoClassNetwork(len(codecs), nn19_columns(), choices), choices))
    return selectors


def _fit(
    selector: Selector, train_part: Labels, validation: Labels, choices: tuple[int, ...], seed: int
) -> None:
    def among(labels: Labels) -> np.ndarray:
        return np.asarray(choices)[labels.costs[:, choices].argmin(axis=1)]

    selector.fit(
        train_part.rows,
        among(train_part),
        train_part.stakes,
        validation=(validation.rows, among(validation), validation.stakes),
        rng=stream(seed, f"{selector.name} training"),
    )
