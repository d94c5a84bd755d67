"""Which episodes are for training, for choosing and for the report: by seed, scenario and link trace."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from gymnasium.envs.registration import load_env_creator

from envs.base import WorldEnv
from envs.registration import IDS
from experiments.config import ExperimentConfig
from experiments.forecasts import TASKS, foretelling, options_with_forecasts
from experiments.variation import varied
from sim.calibration.choice import choose
from sim.codecs import Codec, parse_codec
from sim.episode import Episode, draw_episode
from sim.errors import InputError
from sim.randomness import stream
from sim.scenario_file import resolve
from sim.scenarios import Scenario
from sim.traces import Trace, read_folder

Split = Literal["train", "validation", "test", "held-out"]

_TRACE_FOLDS: Final = {"train": (0, 1, 2), "validation": (3,), "test": (4,), "held-out": (4,)}
"""Every fifth trace of a folder is for the test, the one before for validation, the others for training."""


class Place(NamedTuple):
    """One episode of an experiment."""

    scenario: str
    split: Split
    number: int


class Episodes:
    """The episodes of an experiment, drawn when they are asked for; the same place gives the same episode.

    Attributes:
        codecs: What the actions stand for.
        scenarios: Scenarios by name as they run, those trained on first, then those held out.

    Args:
        config: The experiment.
    """

    def __init__(self, config: ExperimentConfig) -> None:
        self._environment = config.environment
        self._seed = config.seed
        choose(config.environment.calibration, "environment")
        self._traces = _traces(config.environment.traces)
        held_out = [with_overrides(resolve(name), config) for name in config.environment.held_out]
        trained = [with_overrides(resolve(name), config) for name in config.environment.scenarios]
        self.scenarios: dict[str, Scenario] = {scenario.name: scenario for scenario in (*trained, *held_out)}
        if len(self.scenarios) < len(trained) + len(held_out):
            names = sorted(scenario.name for scenario in (*trained, *held_out))
            twice = next(name for name, after in pairwise(names) if name == after)
            problem = (
                f"two of the scenarios bear the name '{twice}'; write another name into one of the files"
            )
            raise InputError("environment.scenarios", "", problem)
        self._held_out = frozenset(scenario.name for scenario in held_out)
        self._counts: dict[Split, int] = {
            "train": config.evaluation.train_episodes,
            "validation": config.evaluation.validation_episodes,
            "test": config.evaluation.test_episodes,
            "held-out": config.evaluation.test_episodes,
        }
        self.codecs: tuple[Codec, ...] = tuple(parse_codec(name) for name in config.environment.codecs)

    def make_env(self) -> WorldEnv:
        """The environment of the experiment, to play its episodes in.

        Raises:
            InputError: If the options name forecasts of which there is no model.
            ValueError: If it refuses the options of the config.
            TypeError: If it does not know one of them.
        """
        environment = self._environment
        options = options_with_forecasts(environment.options, environment.codecs)
        made: WorldEnv = environment_class(environment.id)(
            list(self.scenarios.values()), environment.codecs, **options
        )
        if made.task in TASKS and "models" in environment.options:
            made.foretelling = foretelling(environment.options, environment.codecs)
        return made

    def places(self, split: Split) -> list[Place]:
        """All episodes of a split; held-out scenarios are in the split of that name only."""
        return [
            Place(name, split, number)
            for name in self.scenarios
            if (name in self._held_out) == (split == "held-out")
            for number in range(self._counts[split])
        ]

    def seed(self, place: Place) -> int:
        """Seed of an episode; the splits draw from streams of their own."""
        return int(stream(self._seed, f"{place.scenario} {place.split} {place.number}").integers(2**31))

    def draw(self, place: Place) -> Episode:
        """The episode."""
        folds = _TRACE_FOLDS[place.split]
        traces = [trace for number, trace in enumerate(self._traces) if number % 5 in folds]
        scenario, spread = self.scenarios[place.scenario], self._environment.vary
        if spread > 0 and place.split == "train" and place.number % 2:
            chance = stream(self._seed, f"{place.scenario} {place.split} {place.number} site")
            scenario = varied(scenario, spread, chance)
        return draw_episode(scenario, self.seed(place), traces)


def environment_class(name: str) -> Any:
    """The class behind a Gymnasium id, a `WorldEnv` that takes scenarios, codecs and options of its own."""
    return load_env_creator(IDS[name])


@lru_cache(maxsize=1)
def episodes_of(config: ExperimentConfig) -> Episodes:
    """The episodes of a config, remembered: a worker process is asked for many of the same experiment."""
    return Episodes(config)


def with_overrides(scenario: Scenario, config: ExperimentConfig) -> Scenario:
    """A scenario with the requests and prices of an experiment, where that names any."""
    environment = config.environment
    changes = {
        "requests": environment.requests,
        "cpu_price": environment.cpu_price,
        "late_price": environment.late_price,
    }
    return replace(scenario, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]


def _traces(folder: str | None) -> Sequence[Trace]:
    if folder is None:
        return ()
    traces = read_folder(Path(folder))
    if len(traces) < 5:
        raise InputError(
            folder,
            "",
            f"expected at least 5 traces to split into training, validation and test, got {len(traces)}",
        )
    return traces
