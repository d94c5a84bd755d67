"""Who plays against whom, and where: a policy of a run, a bundle or the catalogue, and its incumbent."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.catalogue import POLICIES, kind_of, static_policies
from agents.policy import Policy
from envs.base import WorldEnv
from envs.compression import DEFAULT_CODECS
from envs.registration import IDS
from experiments.compositions import policy_of
from experiments.config import SELECTORS, ExperimentConfig
from experiments.evidence import KINDS
from experiments.run_folder import RunFolder
from experiments.shadow.bundle import open_bundle
from experiments.splits import Episodes, environment_class, with_overrides
from experiments.suite.playing import MakePolicy, Stage
from experiments.train import best_seed, trained_policy
from sim.episode import draw_episode
from sim.errors import InputError
from sim.refusals import suggestion
from sim.scenario_file import resolve
from sim.scenarios import Scenario
from sim.settings import digest, load

BEST_STATIC: Final = "best_static"


class Player(NamedTuple):
    """A policy that is tried, with the question it answers.

    Attributes:
        name: Of the policy.
        kind: One of `experiments.evidence.KINDS`.
        proof: Tells it from others of its name.
        make: Makes it as it is before its first episode.
        env: Asks the question.
        scenario: Around which it is tried, with the prices that it was trained for.
        recorded: Whether it was trained on recorded links.
    """

    name: str
    kind: str
    proof: str
    make: MakePolicy
    env: WorldEnv
    scenario: Scenario
    recorded: bool = False


class Costs(NamedTuple):
    """What policy and incumbent cost on the same episodes.

    Attributes:
        policy: Seconds, shape (episodes,).
        incumbent: Seconds, shape (episodes,).
        who: Name of the incumbent.
    """

    policy: NDArray[np.float64]
    incumbent: NDArray[np.float64]
    who: str

    @property
    def gap(self) -> float:
        """Logarithm of the policy's mean cost over the incumbent's: above 0 the policy costs more."""
        return float(np.log(self.policy.mean() / self.incumbent.mean()))


class Contest:
    """A policy against its incumbent, wherever they are sent.

    Args:
        player: The policy.
        against: A policy of the catalogue, the folder of a bundle (with a /), or ``best_static``: of the
            fixed rules the one that costs least on the very episodes that are played.

    Raises:
        InputError: If there is no such incumbent.
    """

    def __init__(self, player: Player, against: str) -> None:
        self.player, self.against = player, against
        env = player.env
        if against == BEST_STATIC:
            makes: list[MakePolicy] = [
                partial(_static, env, place) for place in range(len(static_policies(env)))
            ]
        else:
            makes = [partial(policy_of, "--against", against, env)]
        self._incumbents = {make().name: make for make in makes}

    def meet(self, scenario: Scenario, seeds: Sequence[int]) -> Costs:
        """Play episodes of a scenario.

        Args:
            scenario: Where.
            seeds: Of the episodes.

        Raises:
            InputError: If an episode asks no question.
        """
        try:
            stage = Stage(self.player.env, [draw_episode(scenario, seed) for seed in seeds])
            own = _costs(stage, self.player.make)
        except ValueError as error:
            raise InputError(scenario.name, "", f"{error}; or search in a smaller --spread") from error
        rivals = {name: _costs(stage, make) for name, make in self._incumbents.items()}
        cheapest = min(rivals, key=lambda name: float(rivals[name].mean()))
        return Costs(own, rivals[cheapest], cheapest)


def player(policy: str, scenario: str, learner: str | None = None) -> Player:
    """The policy of a run folder, of a bundle or of the catalogue, to be tried around a scenario.

    Args:
        policy: Folder of a trained run, folder or ``.zip`` of a bundle, or a name of the catalogue.
        scenario: Name, or YAML file.
        learner: Of a run, the learner or selector; its first learner when None.

    Raises:
        InputError: If there is no such policy, it is not trained yet, or it answers another question.
    """
    path, where = Path(policy), resolve(scenario)
    is_bundle = path.suffix == ".zip" or (path / "manifest.json").is_file()
    if not is_bundle and (path.is_dir() or "/" in policy):
        return _of_run(path, where, learner)
    if learner is not None:
        raise InputError("--learner", "", f"is for run folders, and {policy} is none; leave it out")
    return _of_bundle(path, where) if is_bundle else _of_catalogue(policy, where)


def _of_run(path: Path, scenario: Scenario, learner: str | None) -> Player:
    run = RunFolder.existing(path)
    config = load(run.file("config.yaml"), ExperimentConfig)
    if not run.stage_done("training"):
        raise InputError(path, "", "is not trained yet; `dwcp-gym train` or `run` its config first")
    known = [one.name for one in config.learners] + [name for name in SELECTORS if name in config.policies]
    if not known:
        raise InputError(path, "", "has trained nothing; name a run with learners or selectors")
    name = known[0] if learner is None else learner
    if name not in known:
        way_out = suggestion(name, known) or f"; there are {', '.join(known)}"
        raise InputError("--learner", "", f"{path} has trained no '{name}'{way_out}")
    seed = -1 if name in SELECTORS else best_seed(run.path, config, name)
    kind = "supervised" if name in SELECTORS else "learner"
    env = Episodes(config).make_env()
    make = partial(trained_policy, run.path, config, name, seed)
    proof, recorded = f"{digest(config)} {seed}", config.environment.traces is not None
    return Player(name, kind, proof, make, env, with_overrides(scenario, config), recorded)


def _of_bundle(path: Path, scenario: Scenario) -> Player:
    bundle = open_bundle(path)
    task = str(bundle.manifest["task"])
    codecs = bundle.actions if task == "compression" else DEFAULT_CODECS
    env = _env(task, scenario, codecs)
    kind = bundle.manifest["kind"] if bundle.manifest["kind"] in KINDS else "rule"
    make = partial(policy_of, "POLICY", f"{path.parent}/{path.name}", env)
    make()
    return Player(bundle.name, kind, str(bundle.manifest["seal"]), make, env, scenario)


def _of_catalogue(name: str, scenario: Scenario) -> Player:
    task = next((task for task, entries in POLICIES.items() if name in entries), "compression")
    env = _env(task, scenario, DEFAULT_CODECS)
    make = partial(policy_of, "POLICY", name, env)
    make()
    return Player(name, kind_of(name, env), name, make, env, scenario)


def _env(task: str, scenario: Scenario, codecs: Sequence[str]) -> WorldEnv:
    kinds = (environment_class(name) for name in IDS)
    env: WorldEnv = next(kind for kind in kinds if kind.task == task)([scenario], tuple(codecs))
    return env


def _static(env: WorldEnv, place: int) -> Policy:
    return static_policies(env)[place]


def _costs(stage: Stage, make: MakePolicy) -> NDArray[np.float64]:
    return np.array([one.cost_s for one in stage.play(make)])
