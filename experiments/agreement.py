"""How often two choosers choose alike: confusion, accuracy, the majority baseline, scores by class."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Confusion = NDArray[np.int64]
"""Counts of decisions, shape (classes, classes): the row is what the oracle chose, the column what the policy
chose.
"""


class ClassScores(NamedTuple):
    """Scores of each class, shape (classes,); 0 where a class was never chosen or never right."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]


def confusion(
    oracle: Sequence[int] | NDArray[np.integer], chosen: Sequence[int] | NDArray[np.integer], classes: int
) -> Confusion:
    """Count what was chosen where the oracle chose what.

    Args:
        oracle: The oracle's class of each decision, in 0 to ``classes`` - 1.
        chosen: The policy's class of the same decisions.
        classes: How many classes there are.

    Raises:
        ValueError: If the two differ in length or hold another class.

    >>> confusion([0, 0, 1, 2], [0, 1, 1, 0], classes=3).tolist()
    [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    """
    rows, columns = np.asarray(oracle, dtype=np.int64), np.asarray(chosen, dtype=np.int64)
    if rows.shape != columns.shape or rows.ndim != 1:
        raise ValueError(
            f"expected one class a decision from both, got shapes {rows.shape} and {columns.shape}"
        )
    both = np.concatenate([rows, columns])
    if both.size and (both.min() < 0 or both.max() >= classes):
        raise ValueError(
            f"expected classes 0 to {classes - 1}, got {both.min()} to {both.max()}; raise `classes`"
        )
    return np.bincount(rows * classes + columns, minlength=classes * classes).reshape(classes, classes)


def accuracy(counts: Confusion) -> float:
    """Share of decisions that agree; NaN without decisions."""
    return float(np.trace(counts) / counts.sum()) if counts.sum() else float("nan")


def majority_baseline(counts: Confusion) -> float:
    """Accuracy of always naming the oracle's most frequent class: what an accuracy must beat to count.

    >>> majority_baseline(np.array([[6, 2], [1, 1]]))
    0.8
    """
    return float(counts.sum(axis=1).max() / counts.sum()) if counts.sum() else float("nan")


def class_scores(counts: Confusion) -> ClassScores:
    """Precision, recall, F1 (their harmonic mean) and number of oracle decisions of each class."""
    right, chosen, wanted = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    return ClassScores(
        precision=_share(right, chosen),
        recall=_share(right, wanted),
        f1=_share(2 * right, chosen + wanted),
        support=wanted,
    )


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
