"""Detectors by their scores: a threshold from validation rows, and what it does on others."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]


class Detection(NamedTuple):
    """What a detector does at one threshold; shares, NaN where there is nothing to count."""

    recall: float
    false_positive_rate: float
    precision: float
    f1: float


def detection(scores: Scores, truth: Truth, threshold: float) -> Detection:
    """Count rows whose score is at least the threshold.

    >>> detection(np.array([0.1, 0.9, 0.8, 0.2]), np.array([False, True, False, True]), 0.5)
    Detection(recall=0.5, false_positive_rate=0.5, precision=0.5, f1=0.5)
    """
    flagged = scores >= threshold
    hits, false = float(np.sum(flagged & truth)), float(np.sum(flagged & ~truth))
    events = float(np.sum(truth))
    return Detection(
        recall=_share(hits, events),
        false_positive_rate=_share(false, len(truth) - events),
        precision=_share(hits, hits + false),
        f1=_share(2 * hits, events + hits + false),
    )


def for_recall(scores: Scores, truth: Truth, recall: float) -> float:
    """The highest threshold that finds at least this share of the events.

    >>> for_recall(np.array([0.1, 0.9, 0.8, 0.2]), np.array([False, True, False, True]), 1.0)
    0.2

    Raises:
        ValueError: If there is no event.
    """
    events = np.sort(scores[truth])[::-1]
    if not len(events):
        raise ValueError("a threshold for recall needs events; add days or nodes to the validation part")
    return float(events[min(len(events), int(np.ceil(recall * len(events) - 1e-9))) - 1])


def for_false_positives(scores: Scores, truth: Truth, rate: float) -> float:
    """The lowest threshold that flags at most this share of the rows without event.

    >>> for_false_positives(np.arange(100.0), np.zeros(100, np.bool_), 0.05)
    95.0

    Raises:
        ValueError: If all rows are events.
    """
    quiet = np.sort(scores[~truth])[::-1]
    if not len(quiet):
        raise ValueError("a threshold for false positives needs rows without event; add days or nodes")
    allowed = int(np.floor(rate * len(quiet) + 1e-9))
    if allowed >= len(quiet):
        return float(quiet[-1])
    above = quiet[:allowed]
    above = above[above > quiet[allowed]]  # rows of equal score are flagged together or not at all
    return float(above[-1]) if len(above) else float(np.nextafter(quiet[0], np.inf))


def for_f1(scores: Scores, truth: Truth) -> float:
    """The threshold of the greatest F1.

    >>> for_f1(np.array([0.1, 0.9, 0.8, 0.2]), np.array([False, True, True, False]))
    0.8

    Raises:
        ValueError: If there is no event.
    """
    if not truth.any():
        raise ValueError("a threshold for F1 needs events; add days or nodes to the validation part")
    return _best(scores, truth, lambda hits, flagged: 2 * hits / (flagged + truth.sum()))


def for_both(scores: Scores, truth: Truth) -> float:
    """The threshold at which the smaller one of recall and precision is greatest.

    >>> for_both(np.array([0.1, 0.9, 0.8, 0.7]), np.array([False, True, False, True]))
    0.7

    Raises:
        ValueError: If there is no event.
    """
    if not truth.any():
        raise ValueError("a threshold for both needs events; add days or nodes to the validation part")
    return _best(scores, truth, lambda hits, flagged: np.minimum(hits / flagged, hits / truth.sum()))


def _best(scores: Scores, truth: Truth, worth: Callable[[Counts, Counts], Scores]) -> float:
    """The threshold that is worth most by how many events it flags, and how many rows in all."""
    order = np.argsort(-scores, kind="stable")
    value = worth(np.cumsum(truth[order]), np.arange(1, len(order) + 1))
    last = np.append(np.diff(scores[order]) != 0, True)  # a threshold cannot part equal scores
    return float(scores[order][np.argmax(np.where(last, value, -1.0))])


def area(scores: Scores, truth: Truth) -> float:
    """Area under the ROC curve: the chance that an event scores above a row without one (ties count half).

    >>> area(np.array([0.1, 0.9, 0.8, 0.2]), np.array([False, True, False, True]))
    0.75
    """
    events = int(truth.sum())
    if not events or events == len(truth):
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[truth].sum() - events * (events + 1) / 2) / (events * (len(truth) - events)))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
