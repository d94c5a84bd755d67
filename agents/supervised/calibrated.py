"""A selector whose chances can be believed: one temperature, fitted on validation, sharpens or softens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from agents.supervised.ensemble import Ensemble
from agents.supervised.model import Model, Outputs, Part, Rows
from agents.supervised.model_file import Arrays
from agents.supervised.selector import Selector
from agents.supervised.two_class import TwoClassNetwork

LEAST: Final = 1e-7
"""Smallest chance that a logarithm is taken of."""
_BINS: Final = 15


class CalibratedSelector(Model):
    """Chances of each action to be the best, (n, A).

    Args:
        inputs: Names of the features.
        actions: Names of the actions.
        selector: Learns; an ensemble of all actions, or a network of two of them.
    """

    kind: ClassVar[str] = "selector"

    def __init__(self, inputs: Sequence[str], actions: Sequence[str], selector: Selector) -> None:
        super().__init__(inputs, actions)
        self.selector = selector
        self.temperature = 1.0

    def fit(self, train: Part, validation: Part, rng: np.random.Generator) -> None:
        """Train the selector, then fit the temperature to the validation rows; truth is an action, (n, 1)."""
        labels, held = (part.truth[:, 0].astype(np.int64) for part in (train, validation))
        self.selector.fit(train.rows, labels, None, validation=(validation.rows, held), rng=rng)
        self.temperature = fitted_temperature(self.selector.probabilities(validation.rows), held)

    def predict(self, rows: Rows) -> Outputs:
        """Calibrated chances."""
        return tempered(self.selector.probabilities(self.check(rows)), self.temperature)

    def arrays(self) -> Arrays:
        """Of the temperature alone: the selector has a file of its own."""
        return {"temperature": np.array(self.temperature), "selector": np.array(self.selector.name)}

    def save(self, path: Path) -> None:
        """Write the temperature, and the selector beside it."""
        super().save(path)
        self.selector.save(_beside(path))

    @classmethod
    def restored(cls, arrays: dict[str, npt.NDArray[Any]], inputs: list[str], outputs: list[str]) -> Self:
        """Without its selector yet."""
        made = cls(inputs, outputs, Ensemble(len(outputs)))
        made.temperature = float(arrays["temperature"])
        made._named = str(arrays["selector"])
        return made

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        made = super().load(path)
        kinds: dict[str, type[Ensemble] | type[TwoClassNetwork]] = {
            "ensemble": Ensemble,
            "nn19": TwoClassNetwork,
        }
        made.selector = kinds[made._named].load(_beside(path))
        return made

    _named: str = ""


def tempered(chances: Outputs, temperature: float) -> Outputs:
    """Chances to the power of one over the temperature, summing to 1 again.

    >>> tempered(np.array([[0.8, 0.2]]), 2.0).round(3)
    array([[0.667, 0.333]])
    """
    powers = np.maximum(chances, LEAST) ** (1.0 / temperature)
    result: Outputs = powers / powers.sum(axis=1, keepdims=True)
    return result


def fitted_temperature(chances: Outputs, labels: npt.NDArray[np.int64]) -> float:
    """The temperature under which the labels are likeliest.

    Source:
        Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks. ICML 2017.
    """
    rows = np.arange(len(labels))

    def missed(log_temperature: float) -> float:
        given = tempered(chances, float(np.exp(log_temperature)))[rows, labels]
        return -float(np.log(np.maximum(given, LEAST)).mean())

    return float(np.exp(minimize_scalar(missed, bounds=(-3.0, 3.0), method="bounded").x))


def calibration_error(chances: Outputs, labels: npt.NDArray[np.int64]) -> float:
    """Mean gap between confidence and accuracy over bins of confidence, weighted by their rows.

    >>> round(calibration_error(np.array([[0.8, 0.2]] * 10), np.array([0] * 8 + [1] * 2)), 6)
    0.0
    """
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == labels
    place = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    count = np.bincount(place, minlength=_BINS)
    gaps = np.abs(
        np.bincount(place, confidence, minlength=_BINS)
        - np.bincount(place, right.astype(float), minlength=_BINS)
    )
    return float(gaps.sum() / count.sum())


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}-selector.npz")
