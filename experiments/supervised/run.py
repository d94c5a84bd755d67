"""The stages of a supervised run: train, evaluate, and what is written down; done ones are skipped."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from rich.console import Console

from experiments.look import save
from experiments.run_folder import RunFolder
from experiments.shadow.writer import LARGEST_GRAPH
from experiments.supervised.bundle import forecaster_bundle
from experiments.supervised.card import write_card
from experiments.supervised.config import ModelsConfig
from experiments.supervised.feedback import Watch, watch
from experiments.supervised.graphs import graph, measure
from experiments.supervised.registry import REGISTRY_FILE, register, version_of
from experiments.supervised.task import NAN, Evaluation, Measure, Shipped, Task, Tell
from experiments.supervised.tasks import task
from sim.errors import InputError
from sim.files import write_json, write_parquet, write_whole

EVALUATION_FILE: Final = "evaluation.json"
FEEDBACK_FILE: Final = "feedback.parquet"
CARD_FILE: Final = "card.md"
_MOST_FEEDBACK: Final = 200_000
"""Feedback records that are kept of an evaluation; of more, the newest."""


def train(run: RunFolder, config: ModelsConfig, console: Console) -> None:
    """Train what is not trained yet."""
    for number, name in enumerate(config.models, 1):
        if not run.stage_done(f"train-{name}"):
            with console.status(f"train {name}  {number} of {len(config.models)}") as status:
                folder = run.file(name)
                folder.mkdir(parents=True, exist_ok=True)
                task(name).train(config, folder, _teller(status.update, f"train {name}"))
            run.mark(f"train-{name}")
            console.print(f"{'trained':<12} {name}", highlight=False)


def evaluate(run: RunFolder, config: ModelsConfig, console: Console) -> None:
    """Evaluate, export, time and register what is trained and not evaluated yet."""
    for number, name in enumerate(config.models, 1):
        if not run.stage_done(f"train-{name}"):
            raise InputError(
                run.path, name, "is not trained yet; `dwcp-gym supervised train` its config first"
            )
        if not run.stage_done(f"evaluate-{name}"):
            with console.status(f"evaluate {name}  {number} of {len(config.models)}") as status:
                tell = _teller(status.update, f"evaluate {name}")
                _evaluate(run, config, task(name), tell)
            run.mark(f"evaluate-{name}")
            console.print(f"{'evaluated':<12} {name}", highlight=False)


def read_evaluation(run: RunFolder, name: str) -> dict[str, Any]:
    """What ``evaluate`` wrote of a task.

    Raises:
        InputError: If it is missing, torn or foreign.
    """
    path = run.file(name, EVALUATION_FILE)
    try:
        told: dict[str, Any] = json.loads(path.read_text("utf-8"))
        told["measures"] = [measure_of(one) for one in told["measures"]]
        return told
    except FileNotFoundError as error:
        problem = "is missing; `dwcp-gym supervised evaluate` its config first"
        raise InputError(path, "", problem) from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        problem = "is torn or foreign; remove it and the folder's stage, and evaluate again"
        raise InputError(path, "", problem) from error


def measure_of(told: dict[str, Any]) -> Measure:
    """A measure as JSON told it, where NaN is null."""
    known: dict[str, Any] = {key: float("nan") if value is None else value for key, value in told.items()}
    return Measure(**known)


def _evaluate(run: RunFolder, config: ModelsConfig, one: Task, tell: Tell) -> None:
    folder = run.file(one.name)
    found = one.evaluate(config, folder, tell)
    tell("export")
    training = {"config": config.model_dump(mode="json"), "seeds": config.seeds}
    models = {name: _export(folder, one, name, it, training) for name, it in found.shipped.items()}
    slowest = max((told["p99_ms"] for told in models.values()), default=NAN)
    taken = Measure("p99 of one row", slowest, target=one.p99_ms, unit="ms", lower_is_better=True)
    found = found._replace(measures=[*found.measures, taken])
    version = version_of([folder / f"{name}.onnx" for name in models])
    tell("drift and feedback")
    watched = watch(one.name, version, found.watched) if found.watched is not None else None
    if watched is not None:
        kept: pa.Table = watched.feedback.slice(max(0, len(watched.feedback) - _MOST_FEEDBACK))
        write_parquet(folder / FEEDBACK_FILE, kept)
    figures = {}
    for name, (figure, caption) in found.figures.items():
        save(figure, folder / "figures" / f"{name}.png")
        figures[name] = caption
    told = _told(found, models, version, figures, watched)
    write_json(folder / EVALUATION_FILE, told)
    write_card(folder / CARD_FILE, one, version, told, found.measures)
    register(
        run.path.parent / REGISTRY_FILE,
        {
            "model": one.name,
            "version": version,
            "run": run.path.name,
            "measures": {measure.name: measure.value for measure in found.measures},
            "p99_ms": slowest,
            "retrain_on_day": watched.retrain_on if watched else None,
        },
    )


def _export(folder: Path, one: Task, name: str, shipped: Shipped, training: dict[str, Any]) -> dict[str, Any]:
    """Write a model as a graph, and in ``bundles/`` as a bundle if it may be one; gives how it does."""
    proto = graph(shipped.model)
    raw = proto.SerializeToString()
    write_whole(folder / f"{name}.onnx", lambda stream: stream.write(raw))
    parity = measure(proto, shipped.model, shipped.rows)
    model = shipped.model
    if parity.size_bytes < LARGEST_GRAPH:
        forecaster_bundle(folder / "bundles" / name, name, one.name, model, shipped.rows, training)
    return {"kind": model.kind, "inputs": model.inputs, "outputs": model.outputs, **parity._asdict()}


def _told(
    found: Evaluation,
    models: dict[str, Any],
    version: str,
    figures: dict[str, str],
    watched: Watch | None,
) -> dict[str, Any]:
    features: Sequence[Any] = () if watched is None else watched.features
    worst = sorted(features, key=lambda drift: -max(drift.psi, drift.ks))[:5]
    return {
        "version": version,
        "measures": [measure._asdict() for measure in found.measures],
        "models": models,
        "figures": figures,
        "notes": list(found.notes),
        "card": dict(found.card),
        "tables": {caption: [list(row) for row in rows] for caption, rows in found.tables.items()},
        "days": [] if watched is None else [day._asdict() for day in watched.days],
        "drift": [{"feature": one.feature, "psi": one.psi, "ks": one.ks} for one in worst],
        "retrain_on_day": None if watched is None else watched.retrain_on,
    }


def _teller(update: Any, stage: str) -> Tell:
    def tell(what: str) -> None:
        update(f"{stage}: {what}")

    return tell
