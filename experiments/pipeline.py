"""The stages of an experiment, in order; one that is done is skipped, so that an interrupted run goes on."""

import inspect
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gymnasium import spaces
from rich.console import Console

from agents.catalogue import policies_of, static_policies
from agents.learners.hiding import hidden_places
from agents.learners.models import fitting_kinds
from agents.learners.settings import WITH_MEMORY
from agents.lookahead import Lookahead
from envs.base import WorldEnv
from experiments.bundles import export_bundles
from experiments.compositions import composed
from experiments.config import SELECTORS, ExperimentConfig, check_names
from experiments.evaluate import evaluation, join_episodes
from experiments.forecasts import TASKS
from experiments.optimum import bounds, lookahead, search
from experiments.publish import TENSORBOARD, publish
from experiments.run_folder import RunFolder
from experiments.splits import environment_class, episodes_of
from experiments.summary import Summary
from experiments.train import reference_runs, training
from experiments.work import Crew
from sim.catalogue import SCENARIOS
from sim.codecs import CODECS, parse_codec
from sim.errors import InputError
from sim.files import write_text
from sim.refusals import suggestion
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
        InputError: If a scenario, codec, policy, option or trace folder is unknown, or a learner does not fit
            the environment.
    """
    task = environment_class(config.environment.id).task
    codecs = {name for name in config.environment.codecs if _is_codec(name)} | set(CODECS)
    files = {
        name
        for name in (*config.environment.scenarios, *config.environment.held_out)
        if name.endswith(SUFFIXES)
    }
    unready = ("learner", "search", "bound")
    ready = {name for name, entry in policies_of(task).items() if entry.kind not in unready}
    if task == "compression":
        ready |= codecs
    check_names(config, source, scenarios={*SCENARIOS, *files}, policies=ready, codecs=codecs)
    _check_selectors(config, source)
    env = _checked_env(config, source)
    _check_learners(config, source, env)
    if config.evaluation.lookahead_episodes:
        _check_lookahead(config, source, env)
    for composition in config.compositions:
        composed(composition, env)


def train_stages(run: RunFolder, config: ExperimentConfig, crew: Crew) -> None:
    """Reference runs, selectors, learners."""
    _keep_scenarios(run, config)
    _keep_calibration(run, config)
    reference_runs(run, config, crew)
    training(run, config, crew)


def evaluate_stages(run: RunFolder, config: ExperimentConfig, crew: Crew) -> None:
    """Evaluation of every policy, the look ahead, the search for the best answers, and the bound."""
    evaluation(run, config, crew)
    lookahead(run, config, crew)
    search(run, config, crew)
    bounds(run, config, crew)
    join_episodes(run)


def run_experiment(config: ExperimentConfig, root: Path, console: Console) -> Finished:
    """All stages of an experiment, in a run folder below ``root``."""
    with RunFolder.create(config, root) as run:
        with Crew(config.workers, console) as crew:
            train_stages(run, config, crew)
            evaluate_stages(run, config, crew)
        return closing_stages(run, config, console)


def closing_stages(run: RunFolder, config: ExperimentConfig, console: Console) -> Finished:
    """Bundles and report; the run is finished then."""
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


def _checked_env(config: ExperimentConfig, source: str) -> WorldEnv:
    """The environment of a config, made once to see that it takes its options."""
    environment, place = config.environment, "environment.options"
    own = {"scenario", "codecs", "traces", "render_mode"}
    known = [
        name for name in inspect.signature(environment_class(environment.id)).parameters if name not in own
    ]
    if "forecasts" in known:  # a config names them
        known = [name for name in known if name != "forecasts"] + ["features", "models"]
    if environment_class(environment.id).task in TASKS:
        known = [*known, "models"]
    for name in environment.options:
        if name not in known:
            guess = suggestion(name, known) or f"; known: {', '.join(known) or 'none'}"
            raise InputError(source, f"{place}.{name}", f"unknown option of {environment.id}{guess}")
    episodes = episodes_of(config)
    try:
        env = episodes.make_env()
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        problem = f"{environment.id} refuses them: {error}; known: {', '.join(known) or 'none'}"
        raise InputError(source, place, problem) from error
    if env.task == "compression" and not isinstance(env.action_space, spaces.Discrete):
        problem = "the policies answer with one codec; leave action: discrete and name codecs such as zstd-9"
        raise InputError(source, f"{place}.action", problem)
    return env


def _check_learners(config: ExperimentConfig, source: str, env: WorldEnv) -> None:
    fitting = fitting_kinds(env)
    for number, learner in enumerate(config.learners):
        if learner.kind not in fitting:
            masked = "masked " if env.masked else ""
            problem = f"{learner.kind} cannot learn the {masked}{type(env.action_space).__name__} actions of"
            way_out = f"take one of {', '.join(fitting)}"
            raise InputError(
                source, f"learners.{number}.kind", f"{problem} {config.environment.id}; {way_out}"
            )
        if learner.shared and env.shown is None:
            problem = f"{config.environment.id} shows no transfers side by side; leave it out"
            raise InputError(source, f"learners.{number}.shared", problem)
        try:
            hidden_places(learner, env)
        except ValueError as error:
            raise InputError(source, f"learners.{number}.hidden", str(error)) from error
        rule = getattr(learner, "imitate", None)
        ready = [name for name, entry in policies_of(env.task).items() if entry.build is not None]
        if rule is not None and rule not in ready:
            problem = f"expected a rule to imitate, one of {', '.join(ready)}, got '{rule}'"
            raise InputError(source, f"learners.{number}.imitate", problem)


def _check_lookahead(config: ExperimentConfig, source: str, env: WorldEnv) -> None:
    episodes, problem = episodes_of(config), ""
    tested = dict.fromkeys(place.scenario for place in episodes.places("test"))
    chained = [name for name in tested if episodes.scenarios[name].has_chains]
    if all(learner.kind in WITH_MEMORY for learner in config.learners):
        problem = "expected a learner without a memory, whose answers it begins from; add one"
    elif chained:
        problem = f"no future can go on from the links of {chained[0]}, which go by chain; leave that out"
    elif config.environment.traces is not None:
        problem = "no future is known of recorded links; leave environment.traces out"
    else:
        try:
            Lookahead(env, static_policies(env)[0], 1, np.random.default_rng(0))
        except ValueError as error:
            problem = str(error)
    if problem:
        raise InputError(source, "evaluation.lookahead_episodes", f"{problem}, or set it to 0")


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


def _keep_calibration(run: RunFolder, config: ExperimentConfig) -> None:
    """Keep a calibration of one's own with the run; it may not change while the run is interrupted."""
    if config.environment.calibration is None:
        return
    figures, kept = Path(config.environment.calibration).read_text("utf-8"), run.file("calibration.json")
    if not kept.exists():
        write_text(kept, figures)
    elif kept.read_text("utf-8") != figures:
        problem = "the run began with other figures; restore them, or remove the run's folder"
        raise InputError(config.environment.calibration, "", problem)


def _is_codec(name: str) -> bool:
    try:
        parse_codec(name)
    except ValueError:
        return False
    return True
