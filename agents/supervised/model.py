"""What every supervised model is: it fits, predicts, and answers the same when saved and read back."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from agents.supervised.model_file import Arrays, read_arrays, torn, write_arrays

Rows = npt.NDArray[np.float32]
Outputs = npt.NDArray[np.float64]


class Part(NamedTuple):
    """Rows of one part of a split, and the truth about them.

    Attributes:
        rows: What is seen, float32: (n, F), or windows (n, T, F) with the newest step last. NaN is a value
            that was not measured, for models that take it.
        truth: What is to be said, float64 (n, outputs); for detectors 0 or 1, which they may only choose a
            threshold by.
    """

    rows: Rows
    truth: Outputs


class Model(ABC):
    """A model of named inputs and outputs.

    Args:
        inputs: Name of each of the F features.
        outputs: Name of each number that it says.
    """

    kind: ClassVar[str]
    """Word for it in files, tables and the registry."""

    def __init__(self, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        if not inputs or not outputs:
            raise ValueError(f"a model needs inputs and outputs, got {list(inputs)} and {list(outputs)}")
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)

    @abstractmethod
    def fit(self, train: Part, validation: Part, rng: np.random.Generator) -> None:
        """Learn from ``train``; stop, or choose, by ``validation``; never see a third part.

        Args:
            train: What parameters, scales and medians are fitted to.
            validation: Of other nodes, links or days.
            rng: The only source of chance: the same state gives the same parameters.

        Raises:
            ValueError: If shapes disagree, or a value cannot be used.
        """

    @abstractmethod
    def predict(self, rows: Rows) -> Outputs:
        """What it says of each row, float64 (n, outputs).

        Raises:
            ValueError: Before ``fit`` or ``load``, or of rows of another shape.
        """

    @abstractmethod
    def arrays(self) -> Arrays:
        """All parameters by name.

        Raises:
            ValueError: Before ``fit`` or ``load``.
        """

    @classmethod
    @abstractmethod
    def restored(cls, arrays: dict[str, npt.NDArray[Any]], inputs: list[str], outputs: list[str]) -> Self:
        """The model that ``arrays`` took apart; any error of them may come out."""

    def save(self, path: Path) -> None:
        """Write the model as one file.

        Raises:
            InputError: If the file system refuses.
            ValueError: Before ``fit`` or ``load``.
        """
        names = {"inputs": np.array(self.inputs), "outputs": np.array(self.outputs)}
        write_arrays(path, self.kind, {**self.arrays(), **names})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            InputError: If the file is missing, torn, or of another kind or version.
        """
        arrays = read_arrays(path, cls.kind)
        try:
            inputs, outputs = (arrays.pop(name).tolist() for name in ("inputs", "outputs"))
            return cls.restored(arrays, inputs, outputs)
        except Exception as error:  # of NumPy, torch and XGBoost, which share no base class
            raise torn(path, cls.kind) from error

    def check(self, rows: Rows, steps: int | None = None) -> Rows:
        """The rows as contiguous float32.

        Args:
            rows: Shape (n, F), or (n, ``steps``, F).
            steps: Length of a window; None for single rows.

        Raises:
            ValueError: If they are not of the model's features.
        """
        width = len(self.inputs)
        wanted = (width,) if steps is None else (steps, width)
        if rows.shape[1:] != wanted:
            raise ValueError(
                f"{self.kind} expects rows of shape (n, {', '.join(map(str, wanted))}), got {rows.shape}"
            )
        return np.ascontiguousarray(rows, dtype=np.float32)

    def unfitted(self) -> ValueError:
        """The error of a model that is asked before it has learned."""
        return ValueError(f"{self.kind} has no parameters yet; call fit or load first")
