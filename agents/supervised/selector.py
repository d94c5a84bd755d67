"""What supervised selectors share: labels in, probabilities out, the likeliest allowed action, one file."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.policy import Actions, Learned, Mask, Observation, best_allowed
from agents.supervised import model_file
from agents.supervised.model_file import Arrays, read_arrays, write_arrays
from sim.errors import InputError

Held = tuple[npt.ArrayLike, npt.ArrayLike] | tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]
"""Rows and labels to stop by; weights come third where the training rows have them."""


class Selector(Learned):
    """Imitates labels of rows that a sender could have seen; split them by episode seed and scenario.

    Args:
        actions: Number of actions A of the environment, at least 2.
    """

    def __init__(self, actions: int) -> None:
        if actions < 2:
            raise ValueError(
                f"a selector needs at least 2 actions, got {actions}; with one there is nothing to select"
            )
        self.actions = actions

    @abstractmethod
    def fit(
        self,
        rows: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        weights: npt.NDArray[np.floating[Any]] | None,
        *,
        validation: Held,
        rng: np.random.Generator,
    ) -> None:
        """Learn the label of each row; standardisation is fitted on ``rows`` alone.

        Args:
            rows: Observations (n, F), float32, finite.
            labels: Best actions (n,), each in [0, A); actions may be missing from them.
            weights: What each row counts (n,), at least 0, as the cost of a wrong answer; None: all alike.
            validation: Rows and labels (and weights, where the training rows have them) of *other* episodes;
                training stops when these no longer get better.
            rng: The only source of chance: the same state gives the same parameters, bit for bit.

        Raises:
            ValueError: If shapes disagree, a value is not finite or a label is no action.
        """

    @abstractmethod
    def probabilities(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probability that each action is the best, (n, A), of observations (n, F).

        Raises:
            ValueError: Before ``fit`` or ``load``.
        """

    def act(self, observation: Observation, mask: Mask | None = None) -> int | Actions:
        """The likeliest allowed action."""
        if observation.ndim == 1:
            return best_allowed(self.probabilities(observation[None])[0], mask)
        return best_allowed(self.probabilities(observation), mask)

    def _check_labels(self, labels: npt.NDArray[np.int64]) -> None:
        if labels.max() >= self.actions:
            raise ValueError(
                f"labels must be below {self.actions}, got {labels.max()}; give the selector more actions"
            )


def missing_fit(name: str) -> ValueError:
    """The error of a selector that is asked before it has learned."""
    return ValueError(f"{name} has no parameters yet; call fit or load first")


def write_selector(path: Path, kind: str, arrays: Arrays) -> None:
    """Write named arrays as one file, as `agents.supervised.model_file.write_arrays`."""
    write_arrays(path, kind, arrays)


def read_selector(path: Path, kind: str) -> dict[str, npt.NDArray[Any]]:
    """Read what ``write_selector`` wrote, as `agents.supervised.model_file.read_arrays`."""
    return read_arrays(path, kind, "selector")


def torn(path: Path, kind: str) -> InputError:
    """The error for a file whose arrays do not make a selector of this kind."""
    return model_file.torn(path, kind, "selector")
