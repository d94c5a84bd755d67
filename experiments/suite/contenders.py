"""Who plays: policies of the catalogue, bundles, and all that a run has trained."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, NamedTuple

from agents.catalogue import POLICIES, Entry, make_policy
from agents.policy import Policy
from envs.base import WorldEnv
from experiments.actions import action_names
from experiments.compositions import policy_of
from experiments.config import ExperimentConfig
from experiments.evidence import KINDS
from experiments.run_folder import RunFolder
from experiments.shadow.bundle import open_bundle
from experiments.splits import episodes_of
from experiments.suite.definition import Suite
from experiments.suite.playing import MakePolicy
from sim.errors import InputError
from sim.refusals import suggestion
from sim.settings import digest, load

CATALOGUE, BUNDLE, RUN = "catalogue", "bundle", "run"


class Contender(NamedTuple):
    """One policy, or one training of it, as it travels to a worker.

    Attributes:
        task: The question that it answers.
        name: In the table.
        kind: One of `experiments.evidence.KINDS`.
        about: One line for people.
        seed: Of the training; -1 without one.
        origin: ``catalogue``, ``bundle`` or ``run``.
        where: The name there, or the folder.
        proof: What tells it from others of its name: the name, the seal of the bundle, the digest of the run.
    """

    task: str
    name: str
    kind: str
    about: str
    seed: int
    origin: str
    where: str
    proof: str


def catalogue(suite: Suite, task: str) -> list[Contender]:
    """Every policy of a question that comes ready made, in the order of tables."""
    env = suite.make_env(task)
    entries: dict[str, Entry] = {}
    if task == "compression":
        entries = {codec.name: Entry("static", f"always {codec.name}") for codec in env.codecs}
    entries |= {name: entry for name, entry in POLICIES[task].items() if entry.build is not None}
    found = [
        Contender(task, name, entry.kind, entry.about, -1, CATALOGUE, name, name)
        for name, entry in entries.items()
    ]
    return sorted(found, key=lambda one: KINDS.index(one.kind))


def named(suite: Suite, tasks: Sequence[str], names: Sequence[str]) -> list[Contender]:
    """Policies of the catalogue, all or those of some names.

    Raises:
        InputError: If none of the questions has a policy of a name.
    """
    every = [one for task in tasks for one in catalogue(suite, task)]
    known = list(dict.fromkeys(one.name for one in every))
    for name in names:
        if name not in known:
            way_out = suggestion(name, known) or f"; there are {', '.join(known)}"
            raise InputError("--policy", "", f"no policy '{name}' that comes ready made{way_out}")
    return [one for one in every if not names or one.name in names]


def bundled(suite: Suite, path: Path, name: str | None = None) -> Contender:
    """The policy of a bundle, folder or ``.zip``; it says itself which question it answers.

    Raises:
        InputError: If it is torn, or was made for other features, codecs or slots than the suite asks with.
    """
    manifest = open_bundle(path).manifest
    task = str(manifest["task"])
    policy_of("--bundle", _with_slash(path), suite.make_env(suite.task(task).name))
    kind = manifest["kind"] if manifest["kind"] in KINDS else "rule"
    trained = manifest["training"].get("seeds")
    about = f"bundle{f', trained with {trained}' if trained else ''}"
    seal = str(manifest["seal"])
    return Contender(task, name or manifest["name"], kind, about, -1, BUNDLE, _with_slash(path), seal)


def trained(suite: Suite, path: Path) -> list[Contender]:
    """Every training of every learner of a run, and its selectors.

    Raises:
        InputError: If it is no run, is not trained yet, or asks otherwise than the suite.
    """
    from experiments.train import SELECTORS

    run = RunFolder.existing(path)
    config = load(run.file("config.yaml"), ExperimentConfig)
    if not run.stage_done("training"):
        raise InputError(path, "", "is not trained yet; `dwcp-gym train` or `run` its config first")
    env = episodes_of(config).make_env()
    asked = suite.make_env(suite.task(env.task).name)
    same = env.features.names == asked.features.names and action_names(env) == action_names(asked)
    if not same:
        problem = f"shows or allows something else than the suite's {env.task} does"
        raise InputError(path, "environment", f"{problem}; train with its options and scenarios")
    told = (RUN, str(run.path), digest(config))
    found = [
        Contender(env.task, learner.name, "learner", f"{learner.kind}, {learner.steps} steps", seed, *told)
        for learner in config.learners
        for seed in learner.seeds
    ]
    selectors = [name for name in SELECTORS if name in config.policies]
    return found + [
        Contender(env.task, name, "supervised", POLICIES[env.task][name].about, -1, *told)
        for name in selectors
    ]


def maker(contender: Contender, env: WorldEnv) -> MakePolicy:
    """Makes the policy of a contender, as often as asked."""
    return partial(_BUILDERS[contender.origin], contender, env)


def _of_catalogue(contender: Contender, env: WorldEnv) -> Policy:
    return make_policy(contender.where, env)


def _of_bundle(contender: Contender, env: WorldEnv) -> Policy:
    return policy_of("--bundle", contender.where, env)


def _of_run(contender: Contender, env: WorldEnv) -> Policy:
    from experiments.train import trained_policy

    return trained_policy(Path(contender.where), _config(contender.where), contender.name, contender.seed)


_BUILDERS: Final[dict[str, Callable[[Contender, WorldEnv], Policy]]] = {
    CATALOGUE: _of_catalogue,
    BUNDLE: _of_bundle,
    RUN: _of_run,
}


@lru_cache(maxsize=4)
def _config(run: str) -> ExperimentConfig:
    return load(Path(run) / "config.yaml", ExperimentConfig)


def _with_slash(path: Path) -> str:
    """A path that `experiments.compositions.policy_of` does not take for a name."""
    return f"{path.parent}/{path.name}"
