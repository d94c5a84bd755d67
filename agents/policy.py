"""What answers a question: one method from what a sender has measured to an action."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

Observation = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Actions = npt.NDArray[np.int64]
Action = int | npt.NDArray[Any]
"""What an environment's ``step`` takes: an int, int64 (parts,) of several choices, or float32 (size,)."""


class Policy(ABC):
    """Anything that answers; ``act`` is all it must have.

    Attributes:
        name: The name in YAML, tables and TensorBoard.
        needs_world: Whether it looks into the running world, as an oracle may, or at the whole question, as a
            rule may that plans; ``bind`` hands it over.
        remembers: Whether an answer hangs on the observations before, since ``reset``.
    """

    name: str
    needs_world: ClassVar[bool] = False
    remembers: ClassVar[bool] = False

    @abstractmethod
    def act(self, observation: Observation, mask: Mask | None = None) -> Action:
        """The action for one observation, or one action for each row of a batch.

        Args:
            observation: Shape (F,) or (N, F), float32; the features are always the last axis.
            mask: True where an action is allowed, shape (A,) or (N, A), the parts of an action of several
                side by side; None allows all.

        Returns:
            For shape (F,) an `Action`; for (N, F) one a row: int64 (N,) or (N, parts), float32 (N, size).
        """

    def reset(self) -> None:
        """Forget what belongs to one episode; called before its first observation."""
        return None

    def bind(self, world: Any) -> None:
        """Hand over the running world, once an episode, to a policy that ``needs_world``."""
        return None


class Learned(Policy):
    """A policy whose parameters come from experience and outlive the process."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the parameters; the file appears whole or not at all."""

    @classmethod
    @abstractmethod
    def load(cls, path: Path) -> "Learned":
        """Read what ``save`` wrote.

        Raises:
            InputError: If the file is missing, torn or not of this policy.
        """


def best_allowed(scores: npt.NDArray[np.floating[Any]], mask: Mask | None = None) -> int | Actions:
    """The allowed action with the highest score; the first of equals.

    Args:
        scores: Shape (A,) or (N, A).
        mask: True where allowed, of the same shape or (A,); None allows all.

    Raises:
        ValueError: If a row allows no action.

    >>> best_allowed(np.array([0.2, 0.5, 0.3]))
    1
    >>> best_allowed(np.array([0.2, 0.5, 0.3]), np.array([True, False, True]))
    2
    """
    if mask is not None:
        if not np.all(np.any(mask, axis=-1)):
            raise ValueError(
                "a mask must allow an action in every row, got a row without; ask only what has an answer"
            )
        scores = np.where(mask, scores, -np.inf)
    best = np.argmax(scores, axis=-1)
    return int(best) if best.ndim == 0 else best.astype(np.int64)
