"""What a setting may be: one of some values, or a number between two."""

import math
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ValidationError, model_validator

from sim.refusals import fault
from sim.settings import Settings


class Span(Settings):
    """Values to draw from, each as likely as the other: ``choices``, or all from ``low`` to ``high``.

    >>> Span(low=2, high=4, whole=True).draw(np.random.default_rng(0))
    3
    >>> Span(choices=["tanh", "relu"]).draw(np.random.default_rng(0))
    'relu'
    """

    choices: tuple[Any, ...] = ()
    """Values of any kind, lists among them."""
    low: float | None = None
    """The least number."""
    high: float | None = None
    """The greatest number."""
    log: bool = False
    """Whether it is the logarithm that is drawn evenly: for what spans powers of ten."""
    whole: bool = False
    """Whether only whole numbers are meant."""

    @model_validator(mode="after")
    def _choices_or_numbers(self) -> Self:
        if self.choices:
            if (self.low, self.high, self.log, self.whole) != (None, None, False, False):
                raise ValueError("expected choices alone, or low and high; leave one of the two out")
            return self
        if self.low is None or self.high is None:
            raise ValueError("expected low and high, or choices; name them")
        if not self.low < self.high:
            raise ValueError(f"expected low below high, got {self.low:g} and {self.high:g}; exchange them")
        if self.log and self.low <= 0:
            raise ValueError(f"expected low above 0 where log is true, got {self.low:g}; raise it")
        if self.whole and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"expected whole numbers, got {self.low:g} and {self.high:g}; round them")
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest number, where it is numbers."""
        if self.low is None or self.high is None:
            raise ValueError("expected a span of numbers, got choices; ask for `choices`")
        return self.low, self.high

    def draw(self, rng: np.random.Generator) -> Any:
        """A value, as YAML would write it."""
        if self.choices:
            return self.choices[int(rng.integers(len(self.choices)))]
        low, high = self.ends
        if self.whole:  # each number has the room of one around it
            low, high = low - 0.5, high + 0.5
        drawn = math.exp(rng.uniform(math.log(low), math.log(high))) if self.log else rng.uniform(low, high)
        if self.whole:
            return min(max(round(drawn), round(low + 0.5)), round(high - 0.5))
        return float(f"{drawn:.4g}")


def mapped(model: type[BaseModel], tree: Any) -> dict[str, Any]:
    """A map from names to settings, each checked by itself.

    Pydantic could do it, but a fault inside would then be reported without the keys that are known there.

    Raises:
        ValueError: If it is no map, is empty, or a setting in it is wrong; names the first one.
    """
    if not isinstance(tree, dict) or not tree:
        raise ValueError(
            f"expected at least one 'name: settings', got {tree!r}; add one or leave the key out"
        )
    found = {}
    for name, settings in tree.items():
        try:
            found[str(name)] = settings if isinstance(settings, model) else model.model_validate(settings)
        except ValidationError as error:
            key, problem = fault(error.errors()[0], model)
            raise ValueError(f"{name}: {key}: {problem}" if key else f"{name}: {problem}") from error
    return found


def space(tree: Any) -> dict[str, Span]:
    """Spans by the dotted keys of the settings that they are for."""
    return mapped(Span, tree)
