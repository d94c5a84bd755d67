"""How well events could be told at all: a matched filter that knows what each of them adds, in mean.

Of the same dice the simulator draws a world with and a world without the events. Their difference tells what
an event of a kind adds to the metrics, the quiet world how much these vary by themselves. A detector that
knew kind, strength and time of an event, and the habit of what it befalls, would weigh the metrics by the
one and the other (Neyman and Pearson 1933); real detectors know none of it. Noise counts as Gaussian and as
independent from row to row: it is neither, and both make the filter look better than it could be.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def strengths(added: Floats, intensity: Floats, kind: Ints, noise: Floats) -> Floats:
    """Squared distance of each row of an event from quiet ones, over the noise, (n,).

    Args:
        added: Metrics of rows of events less those of the same rows without, (n, F), of one entity.
        intensity: Strength of the event in each row, (n,).
        kind: Its kind, (n,); of a kind, what it adds is a straight line of its intensity.
        noise: Metrics of quiet rows less their habit, (m, F).
    """
    spread = np.cov(noise, rowvar=False) + 1e-9 * np.eye(noise.shape[1])
    precision = np.linalg.pinv(spread, hermitian=True)
    found = np.zeros(len(added))
    for one in np.unique(kind):
        own = kind == one
        basis = np.stack([np.ones(int(own.sum())), intensity[own]], axis=1)
        mean = basis @ np.linalg.lstsq(basis, added[own], rcond=None)[0]
        found[own] = np.einsum("nf,fg,ng->n", mean, precision, mean)
    return np.maximum(found, 0.0)


class Bound(NamedTuple):
    """Recall, false alarms and precision of the filter where the smaller of recall and precision peaks."""

    recall: float
    false_positive_rate: float
    precision: float


def recall_at(squares: Floats, rate: float) -> float:
    """Mean recall of the filter over events of such squared distances at a rate of false alarms; NaN of none.

    >>> recall_at(np.array([0.0]), 0.05), round(recall_at(np.array([(1.645 * 2) ** 2]), 0.05), 3)
    (0.05, 0.95)
    """
    if not len(squares):
        return float("nan")
    chances = norm.cdf(np.sqrt(squares) - norm.isf(np.clip(rate, 1e-12, 1 - 1e-12)))
    return round(float(np.mean(chances)), 12)


def best_of_both(squares: Floats, quiet: int) -> Bound:
    """Where the smaller one of recall and precision is greatest, beside so many quiet windows."""
    best = Bound(0.0, 0.0, 0.0)
    for rate in np.geomspace(1e-6, 0.5, 200):
        recall = recall_at(squares, rate)
        precision = recall * len(squares) / (recall * len(squares) + rate * quiet)
        if min(recall, precision) > min(best.recall, best.precision):
            best = Bound(recall, float(rate), float(precision))
    return best
