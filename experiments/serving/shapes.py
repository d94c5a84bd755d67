"""What goes over the wire: requests and responses, with the published names where there are any."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from experiments.serving.published import DataChars, Historical, NetworkState, SystemState

MOST: int = 1000
"""Decisions or outcomes in one request; `experiments.serving.limits` has the same figure."""
Region = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Key = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$", description="No spaces, ASCII.")]
Word = Annotated[str, Field(min_length=1, max_length=64)]
Value = Annotated[float, Field(ge=-1e30, le=1e30, allow_inf_nan=False)]
Cost = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Question(_Shape):
    """What is to be decided: features by name, or the published groups, or both."""

    features: dict[Word, Value | None] = Field(
        default_factory=dict,
        max_length=256,
        description="In the units of the bundle's manifest; what is missing or null takes its default.",
        examples=[{"rtt_ms": 80, "bandwidth_mbps": 200, "size_mb": 64}],
    )
    networkState: NetworkState | None = None  # noqa: N815 - as published
    dataChars: DataChars | None = None  # noqa: N815
    systemState: SystemState | None = None  # noqa: N815
    historical: Historical | None = None
    region: Region | None = Field(None, description="Whose rollout counts; `default` if nothing names one.")
    key: Key | None = Field(
        None, description="What must see one policy: a migration, a session. Without one each is by itself."
    )
    allowed: list[Word] | None = Field(
        None, min_length=1, max_length=64, description="Actions that may be answered; all without it."
    )


class Questions(_Shape):
    """Several questions, answered in their order."""

    decisions: list[Question] = Field(min_length=1, max_length=MOST)


class Answer(BaseModel):
    """A decision."""

    id: str = Field(description="For its outcome.")
    choice: str = Field(description="The action.")
    confidence: float | None = Field(description="The largest probability; null where the model has none.")
    probabilities: list[float] | None = Field(
        description="Of the model's actions in their order, see /v1/models."
    )
    latencyMs: float = Field(description="From question to answer, in the service.")  # noqa: N815
    model: str = Field(description="Version of the model that answered.")
    answeredBy: Literal["incumbent", "candidate", "fallback"]  # noqa: N815


class Answers(BaseModel):
    """The answers to several questions."""

    decisions: list[Answer]


class Feedback(_Shape):
    """What came of a decision; at least one of cost, best and costs."""

    id: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,64}$")] = Field(description="Of the decision.")
    costS: Cost | None = Field(None, description="What it cost, in seconds.")  # noqa: N815
    best: Word | None = Field(None, description="The action that would have been best, if anyone knows.")
    costs: dict[Word, Cost] | None = Field(
        None, min_length=1, max_length=64, description="What each action would have cost, if anyone knows."
    )

    @model_validator(mode="after")
    def _says_something(self) -> "Feedback":
        if self.costS is None and self.best is None and self.costs is None:
            raise ValueError("expected costS, best or costs")
        return self


class Feedbacks(_Shape):
    """What came of several."""

    outcomes: list[Feedback] = Field(min_length=1, max_length=MOST)


class Receipt(BaseModel):
    """What became of an outcome. `stored` and `repeated` are on the disk for good."""

    id: str
    status: Literal["stored", "repeated", "conflict", "unknown"]


class Receipts(BaseModel):
    """What became of several."""

    outcomes: list[Receipt]


class ModelShown(BaseModel):
    """A model of the store."""

    version: str
    name: str
    role: Literal["incumbent", "candidate"] | None
    state: str | None = Field(description="Of the candidate's process: ready, starting or circuit.")
    added: float = Field(description="Seconds since 1970.")
    features: list[str]
    actions: list[str]
    scores: str


class Models(BaseModel):
    """All models, and the stage of each region."""

    models: list[ModelShown]
    stages: dict[str, str] = Field(description="By region; * is every region without a stage of its own.")


class Health(BaseModel):
    """Whether it lives, or is ready."""

    status: str


class Refusal(BaseModel):
    """Why a request was refused, in one line."""

    detail: str


def problem(errors: Sequence[Any]) -> str:
    """The first of pydantic's errors, in one line.

    >>> problem([{"loc": ("body", "one", "allowed", 0), "msg": "Input should be a valid string"}])
    'allowed.0: Input should be a valid string'
    """
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "one", "several"))
    return f"{place[:200]}: {first['msg'][:300]}".removeprefix(": ")


def _several(key: str) -> Any:
    def tag(given: Any) -> str:
        return "several" if isinstance(given, dict) and key in given else "one"

    return Discriminator(tag)


OneOrMoreQuestions = Annotated[
    Annotated[Question, Tag("one")] | Annotated[Questions, Tag("several")], _several("decisions")
]
OneOrMoreFeedbacks = Annotated[
    Annotated[Feedback, Tag("one")] | Annotated[Feedbacks, Tag("several")], _several("outcomes")
]
