"""Labelled rows, checked where they enter: what a selector learns from and what tells it to stop."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Examples:
    """Observations and the action that was best in each.

    Attributes:
        rows: Observations, float32 (n, F), finite.
        labels: The best action of each row, int64 (n,), at least 0.
        weights: How much each row counts, float32 (n,), at least 0; for example the cost of getting it wrong.

    Raises:
        ValueError: If shapes disagree or a value is out of range.
    """

    rows: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or len(self.rows) < 2:
            raise ValueError(
                f"examples need rows of shape (n, F) with n at least 2, got {self.rows.shape}; add episodes"
            )
        for name, column in (("labels", self.labels), ("weights", self.weights)):
            if column.shape != (len(self.rows),):
                raise ValueError(
                    f"{name} must be one for each of the {len(self.rows)} rows, got shape {column.shape}"
                )
        if not np.isfinite(self.rows).all():
            raise ValueError("examples must be finite, got NaN or infinity; fill in what was never measured")
        if self.labels.min() < 0:
            raise ValueError(
                f"labels must be at least 0, got {self.labels.min()}; leave out rows that have no best action"
            )
        if not (np.isfinite(self.weights).all() and self.weights.min() >= 0 and self.weights.max() > 0):
            raise ValueError(
                "weights must be finite, at least 0 and not all 0; use 1 for rows that count alike"
            )

    def chosen(self, keep: npt.NDArray[np.bool_]) -> "Examples":
        """The rows where ``keep`` is True."""
        return Examples(self.rows[keep], self.labels[keep], self.weights[keep])


def examples(rows: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Examples:
    """Examples of any array-like; without ``weights`` every row counts alike.

    >>> examples([[0.0, 1.0], [2.0, 3.0]], [1, 0]).weights
    array([1., 1.], dtype=float32)
    """
    observed = np.ascontiguousarray(rows, dtype=np.float32)
    counted = np.ones(len(observed)) if weights is None else weights
    return Examples(observed, np.asarray(labels, dtype=np.int64), np.asarray(counted, dtype=np.float32))
