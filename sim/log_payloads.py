"""Payloads as a log knows them: logged ratios, samples and changes laid over what was drawn."""

import numpy as np
from numpy.typing import NDArray

from sim.log_columns import Logged
from sim.payloads import Content, Payloads

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ALMOST_ONE = 1.0 - 1e-9


def with_samples(payloads: Payloads, logged: Logged, dataset: Ints) -> Payloads:
    """Payloads with the ratios and samples of a log.

    A transfer without a ratio has the geometric mean of its dataset's, if there is one. Entropy and sample
    ratio that are not logged follow the ratio as they were drawn, with the drawn error of the sample.

    Args:
        payloads: As drawn.
        logged: What the log says.
        dataset: Dataset of each transfer, shape (transfers,).
    """
    ratio3 = _known_or(_by_dataset(logged.ratio, dataset), payloads.ratio3)
    entropy = 1 - (1 - payloads.entropy) * _over(1 - 1 / ratio3, 1 - 1 / payloads.ratio3)
    sample_ratio = payloads.sample_ratio ** _over(np.log(ratio3), np.log(payloads.ratio3))
    # A drawn ratio of 1 has no error to take over: there the sample is taken to be right.
    flat = payloads.ratio3 == 1
    entropy = np.where(flat, 1 / ratio3, np.clip(entropy, 0.0, 1.0))
    sample_ratio = np.where(flat, ratio3, np.maximum(sample_ratio, 1.0))
    repetition = _known_or(logged.repetition, payloads.repetition)
    return payloads._replace(
        ratio3=ratio3,
        entropy=_known_or(logged.entropy, np.where(ratio3 == payloads.ratio3, payloads.entropy, entropy)),
        sample_ratio=_known_or(
            logged.sample_ratio, np.where(ratio3 == payloads.ratio3, payloads.sample_ratio, sample_ratio)
        ),
        repetition=repetition,
        zero_share=np.minimum(payloads.zero_share, repetition),
    )


def fit_changes(content: Content, logged: Logged, dataset: Ints) -> Content:
    """Content whose datasets change as fast as a log has seen them change.

    The share changed after a gap is ``W * (1 - exp(-gap / tau))``. With tau as drawn, W is the least-squares
    fit over the transfers of the dataset; if that takes more than all blocks, W is 1 and tau the fit.
    """
    working_set, tau_s = content.working_set.copy(), content.tau_s.copy()
    for number in np.unique(dataset[~np.isnan(logged.changed)]).tolist():
        rows = np.flatnonzero(dataset == number)
        gap_s, changed = np.diff(logged.arrival_s[rows]), logged.changed[rows][1:]
        seen = (gap_s > 0) & ~np.isnan(changed)
        if not seen.any():
            continue
        gap_s, changed = gap_s[seen], changed[seen]
        dirtied = 1 - np.exp(-gap_s / tau_s[number])
        working_set[number] = dirtied @ changed / (dirtied @ dirtied)
        if working_set[number] > 1:
            working_set[number] = 1.0
            tau_s[number] = gap_s.sum() / -np.log1p(-np.minimum(changed, _ALMOST_ONE)).sum()
    return content._replace(working_set=working_set, tau_s=tau_s)


def _by_dataset(ratio: Floats, dataset: Ints) -> Floats:
    """Ratios with the geometric mean of its dataset where one is not known, NaN where none is."""
    known = ~np.isnan(ratio)
    count: Floats = np.bincount(dataset, weights=known).astype(np.float64)
    total: Floats = np.bincount(dataset, weights=np.log(np.where(known, ratio, 1.0))).astype(np.float64)
    mean = np.where(count > 0, np.exp(_over(total, count)), np.nan)
    return np.where(known, ratio, mean[dataset])


def _known_or(known: Floats, drawn: Floats) -> Floats:
    return np.where(np.isnan(known), drawn, known)


def _over(part: Floats, whole: Floats) -> Floats:
    """Quotients, 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)
