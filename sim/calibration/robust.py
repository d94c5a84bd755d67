"""Least absolute deviations and robust spreads: fits that a few odd payloads cannot pull."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def least_absolute(design: Floats, target: Floats, weights: Floats) -> Floats:
    """Coefficients that minimise the weighted sum of absolute residuals.

    Iteratively reweighted least squares. ``design`` has shape (rows, coefficients).

    >>> x = np.arange(5.0)
    >>> y = 2 + 3 * x
    >>> y[4] = 1000.0
    >>> least_absolute(np.column_stack([np.ones(5), x]), y, np.ones(5)).round(3).tolist()
    [2.0, 3.0]
    """
    scaling = weights
    coefficients: Floats = np.zeros(design.shape[1])
    for _ in range(60):
        root = np.sqrt(scaling)
        solution = np.linalg.lstsq(design * root[:, None], target * root, rcond=None)
        coefficients = np.asarray(solution[0], dtype=np.float64)
        scaling = weights / np.maximum(np.abs(target - design @ coefficients), 1e-4)
    return coefficients


def equal_weights(groups: "pd.Series[Any]") -> Floats:
    """Weights that let every group count the same, however many rows it has; they sum to 1."""
    counts = groups.map(groups.value_counts()).to_numpy(dtype=np.float64)
    return np.asarray(1 / counts / groups.nunique(), dtype=np.float64)


def spread(values: Floats) -> float:
    """Standard deviation by the median absolute deviation, 1.4826 * MAD.

    >>> round(spread(np.array([1.0, 2.0, 3.0, 4.0, 1e9])), 4)
    1.4826
    """
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
