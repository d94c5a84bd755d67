"""The search for good hyper-parameters: Optuna proposes, ordinary runs train, poor trials are cut short."""

import copy
import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from experiments.config import SELECTORS, ExperimentConfig
from experiments.sweep.config import SweepFile, TuneConfig
from experiments.sweep.expansion import changed, checked
from experiments.sweep.progress import curve
from experiments.sweep.scheduler import ATTEMPTS, POLL_S, Ended, Scheduler, Standing, Watch
from experiments.sweep.space import Span
from experiments.sweep.worker import SWEEP, Job, job_of, runs_of
from sim.errors import InputError
from sim.files import writing
from sim.randomness import stream
from sim.refusals import suggestion
from sim.yaml_file import Tree

STUDY: Final = "study.db"
"""SQLite file of the studies of a config, one for each learner."""
DIGEST: Final = "run"
"""Attribute of a trial: which run it is."""
PROBLEM: Final = "problem"
"""Attribute of a trial that could not be run: why."""


@dataclass
class _Running:
    trial: Any
    job: Job
    attempts: int = 1
    reported: int = 0


class Tuning:
    """The search over one learner's space, going on where the study in ``results/<name>/sweep`` stands.

    Only this process writes the study: workers train ordinary runs, whose folders say how far they are, and
    a trial is pruned by ending its process. A trial that an earlier call left unfinished is begun again, and
    its run goes on from its checkpoint. With one worker the same study comes out every time.

    Args:
        file: The sweep's file.
        learner: Name of a learner, one of ``file.tune``.
        root: Where run folders are made.

    Attributes:
        settings: Of the search.
        folder: Where the study lies.
        study: Optuna's.
        jobs: Jobs of this call by digest.
        values: Hyper-parameters of these.

    Raises:
        InputError: If Optuna is not installed, or the learner or a key of its space is unknown.
    """

    def __init__(self, file: SweepFile, learner: str, root: Path) -> None:
        self._optuna = load_optuna("tune")
        self.settings: TuneConfig = file.tune[learner]
        self._file = SweepFile(file.source, _alone(file, learner, self.settings), None, {})
        self._learner, self._root = learner, root
        base = self._config({})
        _check_keys(file, learner, base, self.settings)
        self.folder = root.absolute() / base.name / SWEEP
        self.jobs: dict[str, Job] = {}
        self.values: dict[str, dict[str, object]] = {}
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self.study = self._open(base)

    def run(self, scheduler: Scheduler, watch: Watch) -> None:
        """Try settings until the study has as many trials as the config asks for."""
        running: dict[str, _Running] = {}
        done, failed = list[str](), dict[str, str]()
        tried = self.tried
        while tried < self.settings.trials or running:
            while tried + len(running) < self.settings.trials and scheduler.room() > 0:
                if (begun := self._begin(set(running))) is None:
                    tried += 1
                    continue
                running[begun.job.digest] = begun
                scheduler.begin(begun.job)
            left = range(tried + len(running), self.settings.trials)
            watch(Standing([f"trial {number}" for number in left], list(running), done, failed))
            ended = {one.job.digest: one for one in scheduler.ended(POLL_S)}
            for digest, one in list(running.items()):
                end = ended.get(digest)
                if end is not None and end.lost and one.attempts < ATTEMPTS:
                    one.attempts += 1
                    scheduler.begin(one.job)
                    continue
                if not self._told(one, end):
                    continue
                if end is None:
                    scheduler.stop(one.job)
                if end is not None and end.problem:
                    failed[digest] = end.problem
                else:
                    done.append(digest)
                tried += 1
                del running[digest]
        watch(Standing((), (), done, failed))

    @property
    def tried(self) -> int:
        """Trials of the study that came to an end."""
        state = self._optuna.trial.TrialState
        return len(self.study.get_trials(deepcopy=False, states=[state.COMPLETE, state.PRUNED]))

    def config_of(self, params: dict[str, Any]) -> dict[str, Any]:
        """What a trial's parameters mean to the learner."""
        return {key: _value(self.settings.space[key], value) for key, value in params.items()}

    def _open(self, base: ExperimentConfig) -> Any:
        optuna, settings = self._optuna, self.settings
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(
            storage=f"sqlite:///{self.folder / STUDY}", study_name=self._learner, load_if_exists=True
        )
        dice = int(stream(settings.seed, f"{self._learner} {len(study.trials)}").integers(2**31))
        study.sampler = optuna.samplers.TPESampler(
            seed=dice, n_startup_trials=settings.startup, multivariate=True, constant_liar=True
        )
        study.pruner = optuna.pruners.MedianPruner(settings.startup, settings.warmup)
        for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params)
        if not study.trials:  # what the config says is the first to beat
            study.enqueue_trial(_inside(settings.space, base.learners[0].model_dump(mode="json")))
        return study

    def _begin(self, running: set[str]) -> _Running | None:
        """The next trial; None where there is nothing to run for it."""
        trial = self.study.ask()
        params = {key: _suggest(trial, key, span) for key, span in self.settings.space.items()}
        values = self.config_of(params)
        try:
            job = job_of(self._config(values), self._root, "training")
        except InputError as error:
            self._leave(trial, str(error).splitlines()[0])
            return None
        if job.digest in running:
            self._leave(trial, "the same settings run at this moment")
            return None
        trial.set_user_attr(DIGEST, job.digest)
        self.jobs[job.digest], self.values[job.digest] = job, values
        return _Running(trial, job)

    def _leave(self, trial: Any, problem: str) -> None:
        trial.set_user_attr(PROBLEM, problem)
        self.study.tell(trial, state=self._optuna.trial.TrialState.PRUNED)

    def _told(self, one: _Running, end: Ended | None) -> bool:
        """Tell the study what there is of a trial; whether it is over."""
        state = self._optuna.trial.TrialState
        if end is not None and end.problem:
            one.trial.set_user_attr(PROBLEM, end.problem)
            self.study.tell(one.trial, state=state.FAIL)
            return True
        learner = one.job.config.learners[0]
        curves = [_curve(one.job, learner.name, seed, running=end is None) for seed in learner.seeds]
        for number, row in list(enumerate(curves[0]))[one.reported :]:
            one.trial.report(row["validation_cost"], number)
            one.reported += 1
            if row["step"] < learner.steps and one.trial.should_prune():
                self.study.tell(one.trial, state=state.PRUNED)
                return True
        if end is None:
            return False
        least = [min(row["validation_cost"] for row in rows) for rows in curves]
        self.study.tell(one.trial, float(np.mean(least)))
        return True

    def _config(self, values: dict[str, Any]) -> ExperimentConfig:
        dotted = {f"learners.{self._learner}.{key}": value for key, value in values.items()}
        return checked(self._file, changed(self._file, dotted), dotted)


def _alone(file: SweepFile, learner: str, settings: TuneConfig) -> Tree:
    """The experiment with this learner alone, and nothing besides that would be trained."""
    tree = copy.deepcopy(file.experiment)
    own = [
        one
        for one in tree.get("learners", [])
        if isinstance(one, dict) and one.get("name", one.get("kind")) == learner
    ]
    if not own:
        raise InputError(
            file.source, f"tune.{learner}", "names no learner of the experiment; add it to learners"
        )
    tree["learners"] = [own[0] | {"seeds": list(settings.seeds)}]
    if "policies" in tree:
        others = [name for name in tree["policies"] if name not in SELECTORS]
        tree["policies"] = others or [tree.get("environment", {}).get("codecs", ["none"])[0]]
    tree.get("evaluation", {}).pop("baselines", None)
    tree.pop("export", None)
    return tree


def _check_keys(file: SweepFile, learner: str, base: ExperimentConfig, settings: TuneConfig) -> None:
    known = [name for name in type(base.learners[0]).model_fields if name not in ("kind", "name", "seeds")]
    for key in settings.space:
        if key not in known:
            guess = suggestion(key, known) or f"; known: {', '.join(known)}"
            problem = f"expected a key of {base.learners[0].kind} that may differ, got {key!r}{guess}"
            raise InputError(file.source, f"tune.{learner}.space", problem)


def _curve(job: Job, name: str, seed: int, *, running: bool) -> list[dict[str, Any]]:
    runs = runs_of(job)
    return curve(runs[0], name, seed, legs=running) if runs else []


def _suggest(trial: Any, key: str, span: Span) -> Any:
    """A value as the study has it: choices as text, for lists it does not know."""
    if span.choices:
        return trial.suggest_categorical(key, [json.dumps(choice) for choice in span.choices])
    low, high = span.ends
    if span.whole:
        return trial.suggest_int(key, int(low), int(high), log=span.log)
    return trial.suggest_float(key, low, high, log=span.log)


def _value(span: Span, told: Any) -> Any:
    """A value of the study as a config has it: four digits are enough to tell settings apart."""
    if span.choices:
        return json.loads(told)
    return int(told) if span.whole else float(f"{told:.4g}")


def _inside(space: dict[str, Span], learner: dict[str, Any]) -> dict[str, Any]:
    """What a learner's settings are in the words of the study, as far as they lie in the space."""
    found: dict[str, Any] = {}
    for key, span in space.items():
        value = learner[key]
        if span.choices:
            written = json.dumps(value)
            found |= {key: written} if written in [json.dumps(choice) for choice in span.choices] else {}
        elif isinstance(value, int | float) and span.ends[0] <= value <= span.ends[1]:
            found[key] = value
    return found


def load_optuna(verb: str) -> Any:
    """Optuna, for a verb that searches with it.

    Raises:
        InputError: If it is not installed.
    """
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        problem = "needs the package optuna, which is not installed; pip install 'dwcp-gym[tune]'"
        raise InputError(f"dwcp-gym {verb}", "", problem) from error
