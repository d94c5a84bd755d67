"""The config of an experiment: the question, the episodes, the policies that answer, and how they learn."""

from collections.abc import Collection
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from agents.learners.settings import WITH_MEMORY, Learner
from sim.errors import InputError
from sim.refusals import suggestion
from sim.settings import Settings

REFERENCES = ("best_static", "best_found", "bound")
"""Rows of the comparison that are no policies: the best fixed rule, chosen on validation, the best answers
found by search, and the bound that no policy falls below.
"""

SELECTORS = ("ensemble", "nn19")
"""Policies that are trained from labels."""


def ahead_of(learner: str) -> str:
    """The row of the comparison in which a learner looks ahead."""
    return f"{learner}_ahead"


def _repeated(names: Collection[str]) -> str:
    """The first name that stands twice, or nothing.

    >>> _repeated(["wan", "metro", "wan"])
    'wan'
    """
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), "")  # type: ignore[func-returns-value]


class EnvironmentConfig(Settings):
    """The episodes: which environment, scenarios, codecs and links."""

    id: Literal["dwcp/Compression-v0", "dwcp/Allocation-v0", "dwcp/Scheduling-v0", "dwcp/Joint-v0"] = (
        "dwcp/Compression-v0"
    )
    """Gymnasium id of the environment."""
    options: dict[str, Any] = Field(default={})
    """Further arguments of that environment by name, as its page in the documentation lists them."""
    scenarios: tuple[str, ...] = Field(min_length=1)
    """Scenarios to train, validate and test on; `dwcp-gym scenarios` lists them."""
    held_out: tuple[str, ...] = ()
    """Scenarios that only the test sees: how far policies carry to networks they never met."""
    codecs: tuple[str, ...] = Field(default=("none", "zstd", "hde", "amst"), min_length=2)
    """Codecs to choose from, in the order of the actions."""
    requests: int | None = Field(default=None, ge=1)
    """Decisions in an episode; null keeps each scenario's own number."""
    traces: str | None = None
    """Folder of link traces to use instead of generated links; null uses generated ones."""
    calibration: str | None = None
    """Fitted figures to compute with: a file that `dwcp-gym calibrate codecs` wrote; null takes the shipped
    ones.
    """
    vary: float = Field(default=0.0, ge=0, le=2)
    """Every second training episode is of a site drawn around its scenario: standard deviation of the
    logarithm of its capacity; round trip, loss, load and cores in proportion. 0 keeps to the scenarios.
    """
    cpu_price: float | None = Field(default=None, ge=0)
    """Seconds of cost for one CPU second; null keeps the environment's own price."""
    late_price: float | None = Field(default=None, ge=0)
    """Seconds of cost for one second past a deadline; null keeps the environment's own price."""

    def __hash__(self) -> int:
        """Of all fields; a map has no hash of its own."""
        return hash(self.model_dump_json())

    @model_validator(mode="after")
    def _names_stand_once(self) -> Self:
        if twice := _repeated([*self.scenarios, *self.held_out]):
            raise ValueError(f"scenario '{twice}' stands twice in scenarios and held_out; keep one")
        if twice := _repeated(self.codecs):
            raise ValueError(f"codec '{twice}' stands twice in codecs; keep one")
        return self


class EvaluationConfig(Settings):
    """How policies are compared: same episodes for all, test episodes for the report only."""

    train_episodes: int = Field(default=200, ge=1)
    """Episodes a scenario that learners and labels draw from."""
    validation_episodes: int = Field(default=20, ge=1)
    """Episodes a scenario on which checkpoints and the best static policy are selected."""
    test_episodes: int = Field(default=40, ge=2)
    """Episodes a scenario behind every figure of the report."""
    lookahead_episodes: int = Field(default=0, ge=0)
    """Test episodes a scenario on which the learner that is best on validation looks ahead, too, where the
    question is the codec; 0 leaves it out.
    """
    lookahead_futures: int = Field(default=8, ge=2)
    """Futures in which it tries every answer."""
    search_episodes: int = Field(default=8, ge=0)
    """Test episodes a scenario on which the best answers are searched for, where the question is the codec;
    0 leaves the search out.
    """
    search_passes: int = Field(default=2, ge=1)
    """How long the planner searches, in passes of `agents.planner.MOVES_A_PASS` tries."""
    bound_episodes: int = Field(default=0, ge=0)
    """Test episodes a scenario for which a bound is computed that no policy falls below; 0 leaves it out."""
    level: float = Field(default=0.95, gt=0.5, lt=1)
    """Share of the resamples that lie inside an interval."""
    resamples: int = Field(default=2000, ge=100, le=100_000)
    """Bootstrap resamples behind an interval."""
    baselines: tuple[str, ...] = ("best_static",)
    """Policies that every other one is set against, pair by pair; best_static, best_found and bound are
    possible, too.
    """


class TreesConfig(Settings):
    """The XGBoost part of the supervised ensemble; the defaults are DWCP's published ones."""

    trees: int = Field(default=200, ge=1)
    """Boosting rounds."""
    depth: int = Field(default=8, ge=1, le=20)
    """Greatest depth of a tree."""
    rate: float = Field(default=0.05, gt=0, le=1)
    """Learning rate of the boosting."""
    subsample: float = Field(default=0.8, gt=0, le=1)
    """Share of the rows that each tree sees."""


class NetworkConfig(Settings):
    """The network part of the supervised ensemble; the defaults are DWCP's published ones."""

    layers: tuple[int, ...] = Field(default=(128, 64, 32), min_length=1)
    """Widths of the hidden layers."""
    epochs: int = Field(default=100, ge=1)
    """Passes over the labels, at most: training stops when other episodes no longer gain."""
    batch: int = Field(default=64, ge=2)
    """Rows in one gradient step."""
    rate: float = Field(default=1e-3, gt=0, lt=1)
    """Learning rate of Adam."""
    dropout: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = (0.3, 0.3, 0.2)
    """Share of the units of each hidden layer left out in a training step."""

    @model_validator(mode="after")
    def _a_dropout_for_each_layer(self) -> Self:
        if len(self.dropout) != len(self.layers):
            raise ValueError(
                f"dropout needs one share for each of the {len(self.layers)} layers, got {len(self.dropout)}"
            )
        return self


class SupervisedConfig(Settings):
    """The supervised selectors, trained to choose what costs least by their labels."""

    episodes_per_scenario: int = Field(default=40, ge=2)
    """Training episodes a scenario from which labels are made."""
    labels: Literal["oracle", "one_step", "continued"] = "oracle"
    """What labels cost: oracle, by the one-step oracle; one_step, what the transfer itself then really costs;
    continued, what it and all that follow then really cost, with the shortest estimate answering those.
    """
    xgb: TreesConfig = TreesConfig()
    """The trees of the ensemble."""
    network: NetworkConfig = NetworkConfig()
    """The network of the ensemble."""


class CompositionConfig(Settings):
    """A policy for each question, as one for `dwcp/Joint-v0`: names, or folders of bundles (with a /)."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)
    """Its name in the comparison."""
    codec: str = Field(min_length=1)
    """Policy for `dwcp/Compression-v0`."""
    dispatch: str = Field(min_length=1)
    """Policy for `dwcp/Scheduling-v0`."""
    share: str = Field(min_length=1)
    """Policy for `dwcp/Allocation-v0`."""


class ExportConfig(Settings):
    """What becomes a bundle that a runtime can load."""

    policies: tuple[str, ...] | None = None
    """Learners to export, by name; null exports all but those with a memory, which no bundle keeps."""
    parity_rows: int = Field(default=10_000, ge=1)
    """Rows on which the exported graph must choose as the trained policy does."""


class RunSettings(Settings):
    """What every config has that a run folder is made for."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)
    """Name of the experiment and of its folder under results/."""

    @property
    def seeds(self) -> dict[str, object]:
        """What the run folder notes of its chance."""
        return {}


class ExperimentConfig(RunSettings):
    """All that `dwcp-gym run` needs to know; with code and versions it fixes every figure."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset({"workers", "quick"})

    title: str = Field(min_length=1, max_length=200)
    """The question that the experiment answers, in one line."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Root of all chance: episodes, splits and resampling hang on it."""
    environment: EnvironmentConfig
    """The episodes: environment, scenarios, codecs and links."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """How the policies are compared."""
    policies: tuple[str, ...] = Field(
        ("none", "zstd", "hde", "amst", "dwcp_rule", "estimate", "one_step_oracle"), min_length=1
    )
    """Policies to compare besides the learners; `dwcp-gym policies` lists them."""
    compositions: tuple[CompositionConfig, ...] = ()
    """Policies of one question each to compare, three together, besides; of `dwcp/Joint-v0` only."""
    supervised: SupervisedConfig = SupervisedConfig()
    """The supervised ensemble, for the policies that need it."""
    learners: tuple[Learner, ...] = ()
    """Reinforcement learners, each of a `kind` (such as ppo or masked_dqn) with its own settings."""
    evaluate_every: int = Field(default=50_000, ge=1)
    """Steps between two looks of a learner at the validation episodes; a checkpoint is written there, too."""
    workers: int | None = Field(default=None, ge=1)
    """Processes at work at once; null takes one a core. Results do not depend on it."""
    quick: tuple[str, ...] | None = None
    """What `dwcp-gym run --quick` sets, as on the command line: the same question in less time, less sure."""
    export: ExportConfig = ExportConfig()
    """What becomes a bundle."""
    tensorboard: bool = True
    """Whether to write TensorBoard events."""

    @property
    def seeds(self) -> dict[str, object]:
        """What the run folder notes of its chance."""
        learners = {learner.name: list(learner.seeds) for learner in self.learners}
        return {"seed": self.seed, "learners": learners}

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        learners = [learner.name for learner in self.learners]
        others = [*self.policies, *(one.name for one in self.compositions)]
        ahead = map(ahead_of, learners) if self.evaluation.lookahead_episodes else ()
        if twice := _repeated([*learners, *others, *REFERENCES, *ahead]):
            raise ValueError(
                f"'{twice}' names two rows of the comparison (learners, policies, references, look aheads); "
                "rename one"
            )
        for learner in self.learners:
            if learner.kind in WITH_MEMORY and learner.name in (self.export.policies or ()):
                raise ValueError(
                    f"export.policies names '{learner.name}', but no bundle keeps the memory of a "
                    f"{learner.kind}; leave it out there"
                )
        if self.compositions and self.environment.id != "dwcp/Joint-v0":
            raise ValueError("compositions answer all three questions; leave them out, or ask dwcp/Joint-v0")
        for place, names, known in (
            ("evaluation.baselines", self.evaluation.baselines, [*others, *learners, *REFERENCES]),
            ("export.policies", self.export.policies or (), learners),
        ):
            for name in names:
                if name not in known:
                    raise ValueError(
                        f"{place} names '{name}', which is not in the comparison{_choices(name, known)}"
                    )
        return self


def check_names(
    config: ExperimentConfig,
    source: str,
    *,
    scenarios: Collection[str],
    policies: Collection[str],
    codecs: Collection[str],
) -> None:
    """Hold the names of a config against the registries of the layers below.

    Args:
        config: A valid config.
        source: Where it came from, for the message.
        scenarios: Names of all scenarios.
        policies: Names of all policies that need no learner; a fixed codec bears the name of its codec.
        codecs: Names of all codecs.

    Raises:
        InputError: If a name is unknown, with the nearest known one; or if a fixed codec is compared that the
            environment does not offer.
    """
    environment = config.environment
    for place, names, known in (
        ("environment.scenarios", environment.scenarios, scenarios),
        ("environment.held_out", environment.held_out, scenarios),
        ("environment.codecs", environment.codecs, codecs),
        ("policies", config.policies, policies),
    ):
        for number, name in enumerate(names):
            if name not in known:
                raise InputError(source, f"{place}.{number}", f"unknown name '{name}'{_choices(name, known)}")
    for number, name in enumerate(config.policies):
        if name in codecs and name not in environment.codecs:
            problem = (
                f"the fixed codec '{name}' is not among environment.codecs; add it there or leave it out here"
            )
            raise InputError(source, f"policies.{number}", problem)


def _choices(name: str, known: Collection[str]) -> str:
    return suggestion(name, list(known)) or f"; known: {', '.join(known) or 'none'}"
