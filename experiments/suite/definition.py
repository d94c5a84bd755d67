"""Which episodes the suite is made of: scenarios, families of held-out ones, seeds, and a hash of each."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from envs.base import WorldEnv
from experiments.splits import Place, Split, environment_class
from experiments.suite.fingerprint import DIGITS, episode_hash
from experiments.suite.unseen import MAKERS, TRACES
from sim.catalogue import find_scenario
from sim.episode import Episode, draw_episode
from sim.errors import InputError
from sim.files import write_json
from sim.randomness import stream
from sim.refusals import suggestion
from sim.scenario_file import load_scenario
from sim.scenarios import Scenario
from sim.settings import Settings, load
from sim.traces import Trace

NAME: Final = "dwcp-bench"
FOLDER: Final = Path(__file__).parent
HELD_OUT: Final = "held-out"
PLAYED: Final[tuple[Split, ...]] = ("validation", "test", "held-out")
"""Splits that a result tells of; those of the training episodes are for whoever trains."""
_HASHES: Final = "hashes.json"


class EpisodesConfig(Settings):
    """How many episodes each scenario has."""

    train: int = Field(ge=1)
    """To train on; more may be drawn, by the same rule."""
    validation: int = Field(ge=1)
    """To choose by: checkpoints, seeds, the best static policy."""
    test: int = Field(ge=2)
    """To compare on."""
    held_out: int = Field(ge=2)
    """The same of scenarios that nothing was trained or chosen on."""


class FamilyConfig(Settings):
    """Scenarios that no one trains on and that have something in common."""

    name: str
    """What that is."""
    scenarios: tuple[str, ...] = Field(min_length=1)
    """Names, of the catalogue or of files in ``scenarios/``."""


class TaskConfig(Settings):
    """One question, as it is asked."""

    name: Literal["compression", "scheduling", "allocation", "joint"]
    """What agents and environments call it."""
    environment: str
    """Gymnasium id."""
    options: dict[str, Any] = Field(default={})
    """Further arguments of the environment."""
    codecs: tuple[str, ...] = ("none", "zstd", "hde", "amst")
    """Answers of the codec question."""
    scenarios: tuple[str, ...] = Field(min_length=1)
    """Those to train, validate and test on."""
    families: tuple[FamilyConfig, ...] = ()
    """Those held out."""


class SuiteConfig(Settings):
    """All that fixes the episodes of the suite."""

    version: int = Field(ge=1)
    """Results of two versions are never set beside each other."""
    seed: int = Field(ge=0)
    """Root of all chance."""
    episodes: EpisodesConfig
    """How many."""
    tasks: tuple[TaskConfig, ...] = Field(min_length=1)
    """The questions."""
    traces: dict[str, str] = Field(default={})
    """Scenarios that run on made traces, and who makes them."""


class Suite:
    """The frozen episodes, drawn when they are asked for.

    Attributes:
        config: What they are.
        tasks: The questions by name.

    Args:
        folder: Holds ``suite.yaml``, ``scenarios/`` and ``hashes.json``.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self.config = load(folder / "suite.yaml", SuiteConfig)
        self.tasks = {task.name: task for task in self.config.tasks}
        self._scenarios: dict[str, Scenario] = {}

    @cached_property
    def hashes(self) -> dict[str, dict[str, list[str]]]:
        """Hash of every episode, by scenario and split.

        Raises:
            InputError: If there are none, or they are of another version.
        """
        path = self._folder / _HASHES
        try:
            stored = json.loads(path.read_text("utf-8"))
            if stored["version"] != self.config.version:
                raise ValueError
            return {
                scenario: {split: text.split() for split, text in splits.items()}
                for scenario, splits in stored["episodes"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"expected the hashes of version {self.config.version}; `dwcp-gym suite freeze`"
            raise InputError(path, "", f"{problem} writes them") from error

    @cached_property
    def digest(self) -> str:
        """Hash of the whole suite: what is asked, and every episode."""
        known = {"config": self.config.model_dump(mode="json"), "episodes": self.hashes}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:DIGITS]

    def task(self, name: str) -> TaskConfig:
        """The question of that name.

        Raises:
            InputError: If there is none.
        """
        if name not in self.tasks:
            way_out = suggestion(name, list(self.tasks)) or f"; there are {', '.join(self.tasks)}"
            raise InputError("task", "", f"unknown name '{name}'{way_out}")
        return self.tasks[name]

    def make_env(self, task: str) -> WorldEnv:
        """The environment of a question; what it shows and allows is of all its scenarios."""
        config = self.task(task)
        scenarios = [self.scenario(name) for name in self.scenarios(task)]
        env: WorldEnv = environment_class(config.environment)(scenarios, config.codecs, **config.options)
        return env

    def scenarios(self, task: str) -> dict[str, Split]:
        """Scenarios of a question, and the split by which they are compared."""
        config = self.task(task)
        found: dict[str, Split] = dict.fromkeys(config.scenarios, "test")
        return found | {name: "held-out" for family in config.families for name in family.scenarios}

    def family(self, task: str, scenario: str) -> str:
        """Family of a scenario; empty if it is one to train on."""
        families = self.task(task).families
        return next((family.name for family in families if scenario in family.scenarios), "")

    def scenario(self, name: str) -> Scenario:
        """The scenario of that name: of the suite's own files, else of the catalogue."""
        if name not in self._scenarios:
            path = self._folder / "scenarios" / f"{name}.yaml"
            self._scenarios[name] = load_scenario(path) if path.exists() else find_scenario(name)
        return self._scenarios[name]

    def count(self, split: Split) -> int:
        """Episodes a scenario."""
        return int(getattr(self.config.episodes, split.replace("-", "_")))

    def places(self, scenario: str, split: Split) -> list[Place]:
        """The episodes of a scenario in a split."""
        return [Place(scenario, split, number) for number in range(self.count(split))]

    def draw(self, place: Place) -> Episode:
        """The episode: its seed is that of the reference experiments, see `experiments.splits`."""
        name = f"{place.scenario} {place.split} {place.number}"
        seed = int(stream(self.config.seed, name).integers(2**31))
        return draw_episode(self.scenario(place.scenario), seed, self._traces(place.scenario))

    def episodes(self, scenario: str, split: Split) -> list[Episode]:
        """All episodes of a scenario in a split, each held against its hash.

        Raises:
            InputError: If one is not what it was when the suite was frozen.
        """
        places = self.places(scenario, split)
        found = [self.draw(place) for place in places]
        for place, episode, known in zip(places, found, self._known(scenario, split), strict=True):
            if episode_hash(episode) != known:
                raise _changed(place)
        return found

    def all_splits(self) -> Iterator[tuple[str, Split]]:
        """Each scenario with each split that it has episodes in, once."""
        pairs: dict[tuple[str, Split], None] = {}
        for task in self.tasks:
            for scenario, split in self.scenarios(task).items():
                splits: Iterable[Split] = (
                    ("train", "validation", "test") if split == "test" else ("held-out",)
                )
                pairs |= {(scenario, one): None for one in splits}
        yield from pairs

    def freeze(self, hashes: dict[tuple[str, Split], list[str]]) -> Path:
        """Write the hashes of all episodes."""
        scenarios = dict.fromkeys(scenario for scenario, _ in hashes)
        texts = {
            scenario: {split: " ".join(own) for (name, split), own in hashes.items() if name == scenario}
            for scenario in scenarios
        }
        path = self._folder / _HASHES
        write_json(path, {"suite": NAME, "version": self.config.version, "episodes": texts})
        return path

    def _known(self, scenario: str, split: Split) -> list[str]:
        known = self.hashes.get(scenario, {}).get(split, [])
        if len(known) != self.count(split):
            problem = f"expected {self.count(split)} hashes of {scenario} ({split}), got {len(known)}"
            raise InputError(self._folder / _HASHES, "", f"{problem}; `dwcp-gym suite freeze` writes them")
        return known

    def _traces(self, scenario: str) -> list[Trace]:
        maker = self.config.traces.get(scenario)
        if maker is None:
            return []
        model = self.scenario(scenario).paths[0].model
        dice = (stream(self.config.seed, f"{scenario} trace {number}") for number in range(TRACES))
        return [MAKERS[maker](model, rng) for rng in dice]


def _changed(place: Place) -> InputError:
    problem = "is another episode than when the suite was frozen: whatever draws episodes has changed"
    return InputError(
        f"{place.scenario} ({place.split})", str(place.number), f"{problem}; results cannot be compared"
    )


def hashes_of(suite: Suite, scenario: str, split: Split) -> list[str]:
    """Hashes of the episodes of a scenario, as they are drawn now."""
    return [episode_hash(suite.draw(place)) for place in suite.places(scenario, split)]


@lru_cache(maxsize=1)
def shipped() -> Suite:
    """The suite that comes with the package."""
    return Suite()
