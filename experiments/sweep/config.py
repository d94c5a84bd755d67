"""The file of a sweep: an experiment, or what differs from another one, with ``sweep:`` or ``tune:``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from agents.learners.settings import Seeds
from experiments.sweep.space import Span, mapped, space
from sim.errors import InputError
from sim.refusals import fault
from sim.settings import Settings
from sim.yaml_file import Tree, apply_override, read_yaml

MOST_RUNS = 100_000
"""A sweep of more runs than this is a slip of the pen."""

Space = Annotated[dict[str, Span], BeforeValidator(space)]
Values = Annotated[tuple[Any, ...], Field(min_length=1)]


class DrawConfig(Settings):
    """Points drawn from distributions."""

    points: int = Field(ge=1, le=MOST_RUNS)
    """How many to draw."""
    seed: int = Field(default=0, ge=0)
    """Of the dice: the same seed draws the same points."""
    space: Space
    """For each dotted key of the experiment what its value is drawn from."""


class SweepConfig(Settings):
    """Which runs: every combination of what stands under `grid`, `list`, `draw` and `seeds`."""

    grid: dict[str, Values] = Field(default={})
    """For each dotted key of the experiment the values it takes: every combination."""
    list: tuple[dict[str, Any], ...] = ()
    """Points written out: for each a map from dotted keys to values; `{}` is the experiment as it is."""
    draw: DrawConfig | None = None
    """Points drawn from distributions."""
    seeds: Seeds | None = None
    """A run for each of these training seeds, the same for every learner; null keeps the learners' own seeds,
    all in one run.
    """

    @model_validator(mode="after")
    def _each_key_stands_once(self) -> Self:
        listed = {key for point in self.list for key in point}
        drawn = set(self.draw.space) if self.draw else set()
        for key in sorted(set(self.grid) & (listed | drawn) | listed & drawn):
            raise ValueError(f"'{key}' stands in two of grid, list and draw; keep one")
        if not (self.grid or self.list or self.draw or self.seeds):
            raise ValueError("expected at least one of grid, list, draw and seeds; name what differs")
        return self


class TuneConfig(Settings):
    """The search for good hyper-parameters of one learner."""

    trials: int = Field(default=30, ge=1, le=MOST_RUNS)
    """Settings to try in all, those of earlier calls and pruned ones among them."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the sampler."""
    seeds: Seeds = (0,)
    """Training seeds of a trial, one after the other; its figure is their mean, the first alone is pruned."""
    startup: int = Field(default=8, ge=1)
    """Trials that run to their end before one is pruned, and that are drawn at random."""
    warmup: int = Field(default=1, ge=0)
    """Validations that a trial has before it may be pruned."""
    space: Space
    """For each key of the learner what its value is searched in."""


class _Keys(Settings):
    """The keys that a sweep's file has besides an experiment's."""

    sweep: SweepConfig | None = None
    tune: Annotated[dict[str, TuneConfig], BeforeValidator(lambda tree: mapped(TuneConfig, tree))] = Field(
        default={}
    )


class SweepFile(NamedTuple):
    """What a sweep's file says.

    Attributes:
        source: Where it was read.
        experiment: The experiment that runs differ from, as YAML has it, not checked yet.
        sweep: Which runs.
        tune: Searches by name of the learner.
    """

    source: Path
    experiment: Tree
    sweep: SweepConfig | None
    tune: dict[str, TuneConfig]


def read_sweep(path: Path, overrides: Sequence[str] = ()) -> SweepFile:
    """Read the file of a sweep; with ``base:``, on top of the experiment that it names.

    Maps are merged key by key, everything else takes the place of what stood there. A base is looked for
    beside the file that names it, and its own ``sweep`` and ``tune`` are left out.

    Raises:
        InputError: If a file cannot be read, or ``sweep`` or ``tune`` are wrong, one line a fault.
    """
    tree = _on_its_base(path, ())
    for override in overrides:
        apply_override(tree, override)
    own = {key: tree.pop(key) for key in _Keys.model_fields if key in tree}
    try:
        keys = _Keys.model_validate(own)
    except ValidationError as error:
        faults = [fault(one, _Keys) for one in error.errors()]
        raise InputError("\n".join(str(InputError(path, *one)) for one in faults), "", "") from error
    return SweepFile(path, tree, keys.sweep, keys.tune)


def _on_its_base(path: Path, above: tuple[Path, ...]) -> Tree:
    """A file on top of the experiment that it names, which may stand on another."""
    tree = read_yaml(path)
    if (base := tree.pop("base", None)) is None:
        return tree
    if not isinstance(base, str):
        raise InputError(path, "base", f"expected the path of an experiment's YAML, got {base!r}")
    if path.resolve() in above:
        raise InputError(path, "base", "stands on itself; name another experiment")
    below = _on_its_base(path.parent / base, (*above, path.resolve()))
    return _merged({key: value for key, value in below.items() if key not in _Keys.model_fields}, tree)


def _merged(below: Any, above: Any) -> Any:
    """The tree above on top of the one below.

    >>> _merged({"seed": 1, "wan": {"requests": 48, "codecs": [1, 2]}}, {"wan": {"codecs": [3]}})
    {'seed': 1, 'wan': {'requests': 48, 'codecs': [3]}}
    """
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: _merged(below.get(key), value) for key, value in above.items()}
