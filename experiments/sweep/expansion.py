"""From a sweep to its runs: every point and seed an ordinary config, known by its digest."""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from pydantic import ValidationError

from experiments.config import ExperimentConfig
from experiments.sweep.config import MOST_RUNS, SweepConfig, SweepFile
from sim.errors import InputError
from sim.randomness import stream
from sim.refusals import fault
from sim.settings import digest
from sim.yaml_file import COMMAND_LINE, Tree, apply_override

SEED = "training_seed"
"""Name of the column that tells runs of one point apart."""


class Point(NamedTuple):
    """One run of a sweep.

    Attributes:
        digest: What its folder begins with; equal for runs whose results are equal.
        values: Its values of all keys that are swept; with ``SEED`` where a run has one seed.
        config: All of its settings.
    """

    digest: str
    values: dict[str, Any]
    config: ExperimentConfig


def expand(file: SweepFile) -> list[Point]:
    """All runs of a sweep in their order, each once: seeds fastest, then the last key of the grid.

    Raises:
        InputError: If a key or a value does not fit the experiment, or there are too many runs.
    """
    if file.sweep is None:
        problem = "is missing; expected grid, list, draw or seeds, as docs/sweeps.md has them"
        raise InputError(file.source, "sweep", problem)
    sweep = file.sweep
    if sweep.seeds is not None and not file.experiment.get("learners"):
        problem = "there is no learner to train with them; sweep the root `seed` in the grid instead"
        raise InputError(file.source, "sweep.seeds", problem)
    found: dict[str, Point] = {}
    for number, values in enumerate(settings_of(sweep)):
        if number >= MOST_RUNS:
            raise InputError(file.source, "sweep", f"expected at most {MOST_RUNS} points; sweep fewer values")
        tree = changed(file, values)
        for seed in sweep.seeds or (None,):
            own = dict(values)
            if seed is not None:
                own[SEED] = seed
                for learner in tree["learners"]:
                    learner["seeds"] = [seed]
            config = checked(file, tree, own)
            found.setdefault(digest(config), Point(digest(config), own, config))
    keys = sorted(dict.fromkeys(key for point in found.values() for key in point.values), key=SEED.__eq__)
    return [
        point._replace(values={key: point.values.get(key, value_at(point.config, key)) for key in keys})
        for point in found.values()
    ]


def value_at(config: ExperimentConfig, key: str) -> Any:
    """The value of a dotted key in a config, None where there is none: for points that leave it as it is."""
    here: Any = config.model_dump(mode="json")
    for step in key.split("."):
        if isinstance(here, list):
            here = {name: one for n, one in enumerate(here) for name in (str(n), _name(one))}
        here = here.get(step) if isinstance(here, dict) else None
    return here


def _name(item: Any) -> str:
    return str(item.get("name", item.get("kind"))) if isinstance(item, dict) else ""


def settings_of(sweep: SweepConfig) -> Iterator[dict[str, Any]]:
    """The swept keys of every point, without seeds.

    >>> sweep = SweepConfig(grid={"a": [1, 2]}, list=[{"b": 3}, {"b": 4, "c": 5}])
    >>> list(settings_of(sweep))
    [{'b': 3, 'a': 1}, {'b': 3, 'a': 2}, {'b': 4, 'c': 5, 'a': 1}, {'b': 4, 'c': 5, 'a': 2}]
    """
    grid = [dict(zip(sweep.grid, values, strict=True)) for values in product(*sweep.grid.values())]
    drawn: list[dict[str, Any]] = [{}]
    if sweep.draw is not None:
        dice = {key: stream(sweep.draw.seed, key) for key in sweep.draw.space}
        drawn = [
            {key: span.draw(dice[key]) for key, span in sweep.draw.space.items()}
            for _ in range(sweep.draw.points)
        ]
    for listed, at_random, regular in product(sweep.list or ({},), drawn, grid):
        yield {**listed, **at_random, **regular}


def changed(file: SweepFile, values: Mapping[str, Any]) -> Tree:
    """A tree of its own of the experiment, with these dotted keys set.

    Raises:
        InputError: If a key leads nowhere.
    """
    tree = copy.deepcopy(file.experiment)
    for key, value in values.items():
        try:
            apply_override(tree, f"{key}={json.dumps(value)}")
        except InputError as error:
            raise InputError(file.source, str(error).removeprefix(f"{COMMAND_LINE}: "), "") from error
    return tree


def checked(file: SweepFile, tree: Tree, values: Mapping[str, Any]) -> ExperimentConfig:
    """The config in a tree.

    Raises:
        InputError: If it is wrong, one line a fault, with the values that made it so.
    """
    try:
        return ExperimentConfig.model_validate(tree)
    except ValidationError as error:
        faults = [fault(one, ExperimentConfig) for one in error.errors()]
        where = f" (at {told(values)})" if values else ""
        lines = [str(InputError(file.source, one.key, one.problem + where)) for one in faults]
        raise InputError("\n".join(lines), "", "") from error


def told(values: Mapping[str, Any]) -> str:
    """Values in one line, each key by its last part, by more where that is not enough.

    >>> told({"learners.ppo.rate": 0.001, "learners.ppo.layers": [64, 64], "training_seed": 2})
    'rate=0.001 layers=[64, 64] training_seed=2'
    >>> told({"learners.ppo.rate": 0.001, "learners.dqn.rate": 0.002})
    'ppo.rate=0.001 dqn.rate=0.002'
    """
    names = endings(list(values))
    return " ".join(f"{names[key]}={written(value)}" for key, value in values.items())


def endings(keys: Sequence[str]) -> dict[str, str]:
    """For each dotted key its shortest ending that no other has."""
    found = {}
    for key in keys:
        parts = key.split(".")
        tails = [".".join(parts[-length:]) for length in range(1, len(parts) + 1)]
        alone = (t for t in tails if sum(f".{other}".endswith(f".{t}") for other in keys) == 1)
        found[key] = next(alone, key)
    return found


def written(value: Any) -> str:
    """A value as YAML has it on one line."""
    return value if isinstance(value, str) else json.dumps(value)
