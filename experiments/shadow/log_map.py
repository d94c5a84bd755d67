"""How the columns of a decision log are called: in a file of one's own, as YAML says, or as ours are."""

from pathlib import Path
from typing import Any, Final

from pydantic import Field, model_validator

from sim.settings import Settings, load

OURS: Final = {
    "action": ("action", "answer"),
    "oracle": ("oracle", "oracle_action"),
    "propensity": ("propensity",),
    "cost": ("cost_s",),
    "groups": ("scenario", "seed", "episode"),
}
"""Names that are understood without a map."""


class Source(Settings):
    """Where a number comes from."""

    column: str | None = None
    """Column of the file."""
    times: float = 1.0
    """What its values are multiplied by to come to our unit."""
    value: float | None = None
    """One value for all rows, in place of a column."""

    @model_validator(mode="before")
    @classmethod
    def _a_word_is_a_column(cls, given: Any) -> Any:
        return {"column": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one_of_both(self) -> "Source":
        if (self.column is None) == (self.value is None):
            raise ValueError("expected either a column or a value")
        return self


class LogMap(Settings):
    """A file's own names for what a decision log says."""

    action: str | None = None
    """Column of what was done, by name or number."""
    actions: dict[str, str] = Field(default_factory=dict)
    """The file's words for actions, and ours."""
    propensity: Source | None = None
    """Chance with which it was done, above 0 and at most 1."""
    cost: Source | None = None
    """What it cost; a reward `times: -1`."""
    oracle: str | None = None
    """Column of what would have been best."""
    every_cost: dict[str, Source] = Field(default_factory=dict)
    """What each action would have cost, by our name of the action, where that is known."""
    allowed: dict[str, str] = Field(default_factory=dict)
    """Columns that say whether an action was allowed, by our name of the action."""
    groups: list[str] = Field(default_factory=list)
    """Columns that together name what rows lean on each other: an episode, a session, a day."""
    features: dict[str, Source] = Field(default_factory=dict)
    """Features by our names; those left out are looked for under our names."""


def read_map(path: Path | None) -> LogMap:
    """The map of a YAML file, or ours.

    Raises:
        InputError: If the file cannot be used.
    """
    return LogMap() if path is None else load(path, LogMap)
