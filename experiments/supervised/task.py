"""What a supervised model is held to: figures beside naive baseline, ceiling and target; and its stages."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from agents.supervised.model import Model
from experiments.supervised.config import ModelsConfig

Tell = Callable[[str], None]
"""Says in a few words what is being done now."""

NAN = float("nan")


class Measure(NamedTuple):
    """One figure of a model on test rows, that it was neither fitted nor tuned on.

    Attributes:
        name: What is measured.
        value: What the model gets.
        naive: What the baseline gets on the same rows; NaN without one.
        ceiling: What no model can pass with the same inputs; NaN where it is not known.
        target: What it should get; NaN without a target.
        unit: Empty for shares and plain numbers.
        lower_is_better: Of an error, a rate of false alarms or a regret.
        baseline: What the naive baseline does.
        bound: How the ceiling was computed.
        low: Lower end of a 95 % interval of the value; NaN without one.
        high: Its upper end.
    """

    name: str
    value: float
    naive: float = NAN
    ceiling: float = NAN
    target: float = NAN
    unit: str = ""
    lower_is_better: bool = False
    baseline: str = ""
    bound: str = ""
    low: float = NAN
    high: float = NAN

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, ``beyond the ceiling`` (of the target), or nothing without a target.

        >>> Measure("recall", 0.97, target=0.98, ceiling=0.975).verdict
        'beyond the ceiling'
        """
        if math.isnan(self.target):
            return ""
        sign = -1.0 if self.lower_is_better else 1.0
        if sign * (self.value - self.target) >= 0:
            return "met"
        if sign * (self.ceiling - self.target) < 0:
            return "beyond the ceiling"
        return "missed"


class Shipped(NamedTuple):
    """A trained model that becomes an ONNX graph, and rows (or windows) to check and time it on."""

    model: Model
    rows: NDArray[np.float32]


class Watched(NamedTuple):
    """What a model saw and said after training, in order of time, for drift and feedback.

    Attributes:
        features: Name of each feature, (F,).
        before: Rows that it was trained on, or a sample of them, (m, F).
        now: Rows it was asked about, (n, F).
        day: Day of each of these, (n,), rising.
        predicted: What it said, (n,).
        actual: What came, (n,).
        truth: Whether ``predicted`` and ``actual`` are 0 or 1, or amounts.
    """

    features: Sequence[str]
    before: NDArray[np.float32]
    now: NDArray[np.float32]
    day: NDArray[np.int64]
    predicted: NDArray[np.float64]
    actual: NDArray[np.float64]


class Evaluation(NamedTuple):
    """What the evaluation of a task found.

    Attributes:
        measures: Figures on test rows, the most important first.
        figures: Each a figure and its caption, by the name of its file.
        shipped: Models to export, by name; latency and parity are measured for all.
        notes: Sentences for the page: what was trained on what, how ceilings came about.
        card: Further lines of the model card by heading: data, split, intended use, limits.
        watched: For drift and feedback; None where there is no time in the rows.
        tables: Further tables (header first) by caption.
    """

    measures: Sequence[Measure]
    figures: Mapping[str, tuple[Figure, str]]
    shipped: Mapping[str, Shipped]
    notes: Sequence[str] = ()
    card: Mapping[str, str] = {}
    watched: Watched | None = None
    tables: Mapping[str, Sequence[Sequence[Any]]] = {}


class Task(NamedTuple):
    """A model of the page, or several that answer one question.

    Attributes:
        name: As in configs, folders and tables.
        title: Heading.
        question: What it answers, one sentence.
        train: Draws the data, fits, and saves models into a folder of its own.
        evaluate: Loads them and measures on test rows; the same folder and config give the same figures.
        p99_ms: Time within which a single row must be answered, at the 99th percentile.
    """

    name: str
    title: str
    question: str
    train: Callable[[ModelsConfig, Path, Tell], None]
    evaluate: Callable[[ModelsConfig, Path, Tell], Evaluation]
    p99_ms: float = 10.0
