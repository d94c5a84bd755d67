"""What a run leaves for people: summary, report with figures, TensorBoard events."""

import json
from io import BytesIO
from pathlib import Path

import matplotlib.image

from agents.play import play
from envs.timeline import draw_timeline
from experiments.config import ExperimentConfig
from experiments.evidence import read_evidence
from experiments.report import Extras, write_report
from experiments.run_folder import RunFolder
from experiments.sections import Model
from experiments.splits import Place, episodes_of
from experiments.summary import Summary, build_summary
from experiments.tensorboard import Setting, write_tensorboard
from experiments.train import best_seed, trained_policy
from sim.files import write_json, write_whole
from sim.randomness import stream
from sim.settings import as_yaml

MODELS_FILE = "models.json"
"""Size and speed of the exported policies."""
TENSORBOARD = "tensorboard"


def publish(run: RunFolder, config: ExperimentConfig) -> Summary:
    """Write ``summary.json``, ``report.md`` and TensorBoard's events from the tables of a run, however often."""
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
        config=as_yaml(config),
        versions=_versions(run.file("versions.json")),
        timeline=_timeline(run, config),
        models=_models(run.file(MODELS_FILE)),
    )
    write_report(run.path, evidence, summary, extras)
    if config.tensorboard:
        write_tensorboard(
            run.file(TENSORBOARD),
            evidence,
            settings=_hyper_parameters(config),
            config=as_yaml(config),
            figures=sorted(run.file("figures").glob("*.png")),
        )
    return summary


def _versions(path: Path) -> dict[str, str]:
    recorded = json.loads(path.read_text())
    flat: dict[str, str] = {}
    for name, value in recorded.items():
        flat |= {str(key): str(one) for key, one in value.items()} if isinstance(value, dict) else {name: str(value)}
    return flat


def _timeline(run: RunFolder, config: ExperimentConfig) -> Path | None:
    """Picture of one test episode under the first learner."""
    if not config.learners:
        return None
    name = config.learners[0].name
    episodes = episodes_of(config)
    place = Place(config.environment.scenarios[0], "test", 0)
    policy = trained_policy(run.path, config, name, best_seed(run.path, config, name))
    picture = draw_timeline(play(episodes.draw(place), policy, episodes.codecs))
    encoded = BytesIO()
    matplotlib.image.imsave(encoded, picture, format="png", metadata={"Software": None})
    path = run.file("figures", "timeline.png")
    path.parent.mkdir(exist_ok=True)
    write_whole(path, lambda stream_: stream_.write(encoded.getvalue()))
    return path


def _models(path: Path) -> list[Model]:
    if not path.exists():
        return []
    return [Model(**row) for row in json.loads(path.read_text())]


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
