"""The stages of an experiment, in order; one that is done is skipped, so that an interrupted run goes on."""

from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from agents.catalogue import POLICIES
from experiments.bundles import export_bundles
from experiments.config import ExperimentConfig, check_names
from experiments.evaluate import evaluation, join_episodes, search
from experiments.publish import TENSORBOARD, publish
from experiments.run_folder import RunFolder
from experiments.splits import episodes_of
from experiments.summary import Summary
from experiments.train import SELECTORS, reference_runs, training
from experiments.work import Crew
from sim.catalogue import SCENARIOS
from sim.codecs import CODECS, parse_codec
from sim.errors import InputError
from sim.scenario_file import SUFFIXES, load_scenario, save_scenario


class Finished(NamedTuple):
    """Where a finished run left its results."""

    folder: Path
    report: Path
    tensorboard: Path
    bundles: list[Path]
    summary: Summary


def check(config: ExperimentConfig, source: str) -> None:
    """Hold all names of a config against what there is, before anything is done.

    Raises:
        InputError: If a scenario, codec, policy or trace folder is unknown.
    """
    codecs = {name for name in config.environment.codecs if _is_codec(name)} | set(CODECS)
    files = {
        name
        for name in (*config.environment.scenarios, *config.environment.held_out)
        if name.endswith(SUFFIXES)
    }
    ready = {name for name, entry in POLICIES.items() if entry.kind not in ("learner", "search")}
    check_names(config, source, scenarios={*SCENARIOS, *files}, policies=ready | codecs, codecs=codecs)
    _check_selectors(config, source)
    episodes_of(config)


def train_stages(run: RunFolder, config: ExperimentConfig, crew: Crew) -> None:
    """Reference runs, selectors, learners."""
    _keep_scenarios(run, config)
    reference_runs(run, config, crew)
    training(run, config, crew)


def evaluate_stages(run: RunFolder, config: ExperimentConfig, crew: Crew) -> None:
    """Evaluation of every policy, and the search for the best answers."""
    evaluation(run, config, crew)
    search(run, config, crew)
    join_episodes(run)


def run_experiment(config: ExperimentConfig, root: Path, console: Console) -> Finished:
    """All stages of an experiment, in a run folder below ``root``."""
    with RunFolder.create(config, root) as run:
        with Crew(config.workers, console) as crew:
            train_stages(run, config, crew)
            evaluate_stages(run, config, crew)
        with console.status("export"):
            exported = export_bundles(run, config)
        with console.status("report"):
            summary = publish(run, config)
        run.finish()
    return Finished(
        folder=run.path,
        report=run.file("report.md"),
        tensorboard=run.file(TENSORBOARD),
        bundles=[one.folder for one in exported],
        summary=summary,
    )


def _check_selectors(config: ExperimentConfig, source: str) -> None:
    families = {parse_codec(name).family for name in config.environment.codecs}
    if "nn19" in config.policies and not {"hde", "amst"} <= families:
        problem = "nn19 chooses between hde and amst; add both to environment.codecs or leave it out"
        raise InputError(source, "policies", problem)
    if set(SELECTORS) & set(config.policies) and config.evaluation.train_episodes < 2:
        problem = "expected at least 2, some to train selectors, some to stop by, got 1; add episodes"
        raise InputError(source, "evaluation.train_episodes", problem)


def _keep_scenarios(run: RunFolder, config: ExperimentConfig) -> None:
    """Keep every scenario with the run, whole: what it was drawn from may change while it is interrupted."""
    for name, scenario in episodes_of(config).scenarios.items():
        kept = run.file("scenarios", f"{name}.yaml")
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            save_scenario(scenario, kept)
        elif load_scenario(kept) != scenario:
            problem = (
                "the run began with another scenario of this name; restore it, or remove the run's folder"
            )
            raise InputError(kept, "", problem)


def _is_codec(name: str) -> bool:
    try:
        parse_codec(name)
    except ValueError:
        return False
    return True
