"""Bundles as the project uses them: opened with its own errors, played in its environments, timed."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from experiments.shadow.bundle_format import BundleError
from experiments.shadow.loader import Bundle, Graph, load
from sim.errors import InputError

if TYPE_CHECKING:
    from envs.features import FeatureList

Rows = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]


class Latency(NamedTuple):
    """Microseconds of one decision: median and 99th percentile of the least disturbed round."""

    p50_us: float
    p99_us: float


def open_bundle(path: Path | str, features: Sequence[str] | None = None, threads: int = 1) -> Bundle:
    """The policy of a bundle, folder or ``.zip``, after all of it was verified.

    Args:
        path: Where it lies.
        features: Names that will be given, in order; None takes the bundle's word for it.
        threads: Of the runtime: 1 for single decisions.

    Raises:
        InputError: If anything of it is missing, altered, too large or elsewhere, or an answer is another.
    """
    try:
        return load(path, features=features, threads=threads)
    except BundleError as error:
        raise InputError(str(error), "", "") from error


class BundlePolicy:
    """A bundle that plays in an environment: it takes the observation back to the units that it was made of.

    Args:
        bundle: Opened for the features of the environment.
        features: Those of the environment.
    """

    needs_world: ClassVar[bool] = False

    def __init__(self, bundle: Bundle, features: "FeatureList") -> None:
        self.name = bundle.name
        self._bundle = bundle
        self._features = features

    def act(self, observation: Rows, mask: Masks | None = None) -> Any:
        """The action for one observation (F,), or one a row for (N, F)."""
        return self._bundle.act(self._features.unscaled(observation).astype(np.float32), mask)

    def reset(self) -> None:
        """Nothing is remembered between decisions."""
        return None

    def bind(self, world: Any) -> None:
        """The world is not needed."""
        return None


def measure_latency(policy: Graph, rows: Rows, rounds: int = 5, masks: Masks | None = None) -> Latency:
    """Time single decisions on rows (n, F) with their masks (n, A), one after the other, on this machine.

    Each round goes through all rows; that with the least 99th percentile counts: others' load only adds.
    """
    of_rows = [None] * len(rows) if masks is None else list(masks)
    for row, mask in zip(rows[:200], of_rows, strict=False):
        policy.act(row, mask)
    measured = []
    for _ in range(rounds):
        taken = np.empty(len(rows))
        for i, (row, mask) in enumerate(zip(rows, of_rows, strict=True)):
            start = time.perf_counter_ns()
            policy.act(row, mask)
            taken[i] = time.perf_counter_ns() - start
        measured.append(np.percentile(taken / 1e3, (50, 99)))
    p50, p99 = min(measured, key=lambda percentiles: float(percentiles[1]))
    return Latency(float(p50), float(p99))
