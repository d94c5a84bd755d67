"""The conditions of a rollout as data: what a stage asks for, what takes a candidate back, when it is due."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from experiments.rollout.assignment import STAGES
from sim.settings import Settings, load

PUBLISHED: Final = Path(__file__).with_name("gates.yaml")
"""The gates that hold where no others are named."""

Share = Annotated[float, Field(ge=0, le=1)]
Chance = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Stage = Literal["offline", "shadow", "canary_5", "canary_25", "canary_50", "canary_75"]


class Gain(Settings):
    """What must be proven of the costs."""

    above: Annotated[float, Field(ge=0, lt=1)]
    """Share of the incumbent's typical cost of a session that the candidate must save, and more."""
    p: Chance
    """Chance at most of a proof where it is not so, however often one looks."""


class Step(Settings):
    """What a candidate must show in a stage to go on to the next; what is left out is not asked."""

    name: Stage
    """The stage."""
    validated: bool = False
    """Whether it must have cost less than the incumbent on logged decisions, by `dwcp-gym shadow retrain`."""
    days: Annotated[float, Field(ge=0)] = 0.0
    """Days in the stage, at least."""
    decisions: Annotated[int, Field(ge=1)] = 1
    """Decisions on each side, at least: the candidate's, and under way to `full` the incumbent's as well."""
    accuracy: Share | None = None
    """Share of the candidate's answers that are right, at least, of those that can be judged."""
    p99_ms: Positive | None = None
    """99th percentile of the time that the candidate takes, below this."""
    errors: Share | None = None
    """Share of decisions to which the candidate had no answer, at most."""
    gain: Gain | None = None
    """What it must save."""


class Guard(Settings):
    """What takes a candidate back at once, in every stage: each limit is tested at every look."""

    accuracy: Share | None = None
    """Back if right answers are fewer."""
    drop: Chance | None = None
    """Back if right answers are fewer by more than this share than in shadow."""
    p99_ms: Positive | None = None
    """Back if more than 1 in 100 answers take longer."""
    errors: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Back if a larger share of decisions has no answer."""
    regression: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Back if the typical cost of a session is higher by more than this share of the incumbent's."""
    p: Chance
    """Chance at most, over the whole rollout, that a candidate within all limits is taken back."""


class Sessions(Settings):
    """What is counted: sessions, each once in a stage."""

    length_s: Positive
    """Decisions of a key count from its first one in the stage for so long."""
    wait_s: Annotated[float, Field(ge=0)]
    """How long outcomes are waited for after that."""
    largest_ratio: Annotated[float, Field(gt=1)]
    """A session that costs more times what is expected, or less, counts as this many: tails are heavy."""
    tie: Share
    """An answer is right if it costs at most this share more than the best."""


class Retraining(Settings):
    """When a model is due, and what it learns from."""

    age_days: Positive
    """Age of the current model."""
    history_days: Positive
    """Of decisions, back from now."""
    decisions: Annotated[int, Field(ge=100)]
    """With outcomes, at least: fewer teach nothing."""
    recent: Annotated[int, Field(ge=100)]
    """Last decisions that are compared with what the model was trained on."""
    trees: Annotated[int, Field(ge=1)]
    """Rounds of boosting, at most."""
    depth: Annotated[int, Field(ge=1, le=16)]
    """Levels of a tree."""
    passes: Annotated[int, Field(ge=1)]
    """Of the network over the decisions, at most."""


class Gates(Settings):
    """All conditions of a rollout."""

    steps: tuple[Step, ...]
    """Of each stage but `full`, in order."""
    guard: Guard
    sessions: Sessions
    retraining: Retraining

    @model_validator(mode="after")
    def _every_stage_once(self) -> "Gates":
        names = tuple(step.name for step in self.steps)
        if names != STAGES[:-1]:
            raise ValueError(f"expected the steps {', '.join(STAGES[:-1])} in this order")
        return self

    def step(self, stage: str) -> Step | None:
        """What a stage asks for; None of `full`, which has no next one."""
        return next((step for step in self.steps if step.name == stage), None)


def read_gates(path: Path | None = None, overrides: list[str] | None = None) -> Gates:
    """The gates of a file, or the published ones, with other values as ``steps.shadow.days=1``.

    Raises:
        InputError: If the file or an override cannot be used.
    """
    return load(path or PUBLISHED, Gates, overrides or [])
