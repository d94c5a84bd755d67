"""What a run leaves for people: summary, report with figures, TensorBoard events."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.image

from agents.catalogue import make_policy
from agents.play import play
from agents.policy import Policy
from envs.timeline import draw_timeline
from experiments.config import ExperimentConfig
from experiments.evidence import read_evidence
from experiments.report import Extras, write_report
from experiments.run_folder import RunFolder
from experiments.sections import Model
from experiments.splits import episodes_of
from experiments.summary import Chance, Summary, build_summary
from experiments.tensorboard import Setting, write_tensorboard
from experiments.train import SELECTORS, best_seed, trained_policy
from sim.errors import InputError
from sim.files import write_json, write_whole
from sim.randomness import stream
from sim.settings import as_yaml
from sim.world import World
from sim.yaml_file import read_yaml

MODELS_FILE = "models.json"
"""Size and speed of the exported policies."""
TENSORBOARD = "tensorboard"
TIMELINES = 2
"""Scenarios of which TensorBoard shows an episode under every policy."""


def publish(run: RunFolder, config: ExperimentConfig) -> Summary:
    """Write ``summary.json``, ``report.md`` and TensorBoard's events from a run's tables, however often."""
    evidence = read_evidence(run.path)
    evaluation = config.evaluation
    summary = build_summary(
        evidence.episodes,
        evidence.decisions,
        rng=stream(config.seed, "summary"),
        against=evaluation.baselines,
        level=evaluation.level,
        resamples=evaluation.resamples,
    )
    write_json(run.file("summary.json"), summary)
    extras = Extras(
        question=config.title,
        config=_as_text(config),
        versions=_versions(run.file("versions.json")),
        timeline=_timeline(run, config),
        models=_models(run.file(MODELS_FILE)),
        chance=Chance(config.seed, evaluation.level, evaluation.resamples),
    )
    write_report(run.path, evidence, summary, extras)
    if config.tensorboard:
        write_tensorboard(
            run.file(TENSORBOARD),
            evidence,
            settings=_hyper_parameters(config),
            config=_as_text(config),
            figures=sorted(run.file("figures").glob("*.png")),
            timelines=_timelines(run, config),
        )
    return summary


def _as_text(config: ExperimentConfig) -> str:
    """The config without what has no effect on results: two runs that differ in it leave the same files."""
    return as_yaml(config.model_copy(update=dict.fromkeys(sorted(config.WITHOUT_EFFECT))))


def _versions(path: Path) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in read_yaml(path).items():
        inner: dict[str, Any] = value if isinstance(value, dict) else {name: value}
        flat |= {str(key): str(one) for key, one in inner.items()}
    return flat


def _timeline(run: RunFolder, config: ExperimentConfig) -> Path | None:
    """Picture of one test episode under the first learner."""
    if not config.learners:
        return None
    name = config.learners[0].name
    episodes = episodes_of(config)
    place = next(place for place in episodes.places("test"))
    policy = trained_policy(run.path, config, name, best_seed(run.path, config, name))
    picture = _picture(play(episodes.make_env(), episodes.draw(place), policy))
    path = run.file("figures", "timeline.png")
    write_whole(path, lambda stream_: stream_.write(picture))
    return path


def _timelines(run: RunFolder, config: ExperimentConfig) -> dict[tuple[str, int], dict[str, bytes]]:
    """The first test episode of the first scenarios under every policy; of a learner, its best training."""
    episodes = episodes_of(config)
    places = [place for place in episodes.places("test") if place.number == 0][:TIMELINES]
    policies: dict[tuple[str, int], Policy] = {}
    for name in config.policies:
        trained = name in SELECTORS
        policies[name, -1] = (
            trained_policy(run.path, config, name, -1) if trained else make_policy(name, episodes.make_env())
        )
    for learner in config.learners:
        seed = best_seed(run.path, config, learner.name)
        policies[learner.name, seed] = trained_policy(run.path, config, learner.name, seed)
    env = episodes.make_env()
    drawn = {place.scenario: episodes.draw(place) for place in places}
    return {
        key: {name: _picture(play(env, episode, policy)) for name, episode in drawn.items()}
        for key, policy in policies.items()
    }


def _picture(world: World) -> bytes:
    """The timeline of an episode, as PNG."""
    encoded = BytesIO()
    matplotlib.image.imsave(encoded, draw_timeline(world), format="png", metadata={"Software": ""})
    return encoded.getvalue()


def _models(path: Path) -> list[Model]:
    if not path.exists():
        return []
    try:
        return [Model(**row) for row in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(path, "", "is torn or foreign; `dwcp-gym export` writes it anew") from error


def _hyper_parameters(config: ExperimentConfig) -> dict[str, dict[str, Setting]]:
    plain = (str, int, float, bool)
    return {
        learner.name: {
            key: value if isinstance(value, plain) else str(value)
            for key, value in learner.model_dump().items()
            if key not in ("kind", "name", "seeds")
        }
        for learner in config.learners
    }
