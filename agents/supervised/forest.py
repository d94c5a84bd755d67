"""An isolation forest: rows that random cuts part from the others after few cuts are unusual."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from agents.supervised.model import Model, Outputs, Part, Rows
from agents.supervised.model_file import Arrays

_BLOCK: Final = 4096
"""Rows that are scored at once; more would not fit the caches."""


class ForestTable(NamedTuple):
    """Trees as heaps: the children of node i are 2 i + 1 (below the cut) and 2 i + 2, each (trees, nodes).

    Attributes:
        feature: Feature that a node cuts, int64; -1 where the node is a leaf.
        cut: Rows with less go to the first child, float32.
        depth: Of a leaf: cuts on the way to it, and those that its training rows would still need on average.
    """

    feature: npt.NDArray[np.int64]
    cut: npt.NDArray[np.float32]
    depth: npt.NDArray[np.float32]


def mean_cuts(rows: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Cuts that part one of n rows from the rest on average: an unsuccessful search in a binary search tree.

    Source:
        Liu, Ting, Zhou: Isolation Forest. ICDM 2008, equation 1.

    >>> mean_cuts([1, 2, 256]).round(3)
    array([ 0.   ,  1.   , 10.245])
    """
    count = np.asarray(rows, np.float64)
    harmonic = np.log(np.maximum(count - 1, 1)) + np.euler_gamma
    exact = np.where(count > 2, 2 * harmonic - 2 * (count - 1) / np.maximum(count, 1), 1.0)
    return np.where(count > 1, exact, 0.0)


class IsolationForest(Model):
    """Scores rows of F features in (0, 1): 0.5 for the usual ones, nearer to 1 the fewer cuts they take.

    It never sees labels. No share of "contamination" is assumed: that would fix the rate of false alarms by
    decree. A threshold is chosen on validation rows instead.

    Args:
        inputs: Names of the features.
        trees: How many.
        sample: Rows that each tree parts, at least 2.

    Source:
        Liu, Ting, Zhou: Isolation Forest. ICDM 2008.
    """

    kind: ClassVar[str] = "isolation_forest"

    def __init__(self, inputs: Sequence[str], trees: int = 200, sample: int = 256) -> None:
        super().__init__(inputs, ["score"])
        if trees < 1 or sample < 2:
            raise ValueError(f"expected at least 1 tree of at least 2 rows, got {trees} of {sample}")
        self.trees, self.sample = trees, sample
        self._table: ForestTable | None = None

    def fit(self, train: Part, validation: Part, rng: np.random.Generator) -> None:
        """Grow each tree on a sample of the rows; truth and validation are not looked at."""
        rows = self.check(train.rows)
        if len(rows) < 2:
            raise ValueError(f"expected at least 2 rows to part, got {len(rows)}; add days")
        levels = int(np.ceil(np.log2(self.sample)))
        nodes = 2 ** (levels + 1) - 1
        shape = (self.trees, nodes)
        table = ForestTable(
            np.full(shape, -1, np.int64), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        )
        count = min(self.sample, len(rows))
        for tree in range(self.trees):
            chosen = rows[rng.choice(len(rows), count, replace=False)]
            _grow(ForestTable(*(column[tree] for column in table)), chosen, levels, rng)
        self._table, self.sample = table, count

    def predict(self, rows: Rows) -> Outputs:
        """Scores (n, 1)."""
        given, table = self.check(rows), self.table()
        depth = np.concatenate([_depth(table, given[i : i + _BLOCK]) for i in range(0, len(given), _BLOCK)])
        scores: Outputs = np.exp2(-depth / mean_cuts(self.sample))[:, None]
        return scores

    def table(self) -> ForestTable:
        """The trees.

        Raises:
            ValueError: Before ``fit`` or ``load``.
        """
        if self._table is None:
            raise self.unfitted()
        return self._table

    def score_constants(self) -> Mapping[str, float]:
        """A score is ``two ** (minus_share * depth)``."""
        return {"two": 2.0, "minus_share": -1.0 / float(mean_cuts(self.sample))}

    def arrays(self) -> Arrays:
        """The trees."""
        return {"sample": np.array(self.sample), **self.table()._asdict()}

    @classmethod
    def restored(cls, arrays: dict[str, npt.NDArray[Any]], inputs: list[str], outputs: list[str]) -> Self:
        """The forest that ``arrays`` took apart."""
        table = ForestTable(*(arrays[name] for name in ForestTable._fields))
        forest = cls(inputs, len(table.feature), int(arrays["sample"]))
        forest._table = table
        return forest


def _grow(tree: ForestTable, rows: Rows, levels: int, rng: np.random.Generator) -> None:
    """Cut a random feature between its ends, again and again, down to single rows or the last level."""
    waiting = [(0, 0, rows)]
    while waiting:
        node, level, inside = waiting.pop()
        low, high = inside.min(axis=0), inside.max(axis=0)
        open_ = np.flatnonzero(high > low)
        if level == levels or len(inside) < 2 or not len(open_):
            tree.depth[node] = level + float(mean_cuts(len(inside)))
            continue
        feature = int(rng.choice(open_))
        cut = np.float32(rng.uniform(low[feature], high[feature]))
        below = inside[:, feature] < cut
        if not below.any():  # the draw fell on the low end: part that row from the rest all the same
            cut = np.nextafter(low[feature], np.float32(np.inf))
            below = inside[:, feature] < cut
        tree.feature[node], tree.cut[node] = feature, cut
        waiting += [(2 * node + 2, level + 1, inside[~below]), (2 * node + 1, level + 1, inside[below])]


def _depth(table: ForestTable, rows: Rows) -> Outputs:
    """Mean over the trees of the depth at which each row ends, (n,)."""
    total = np.zeros(len(rows))
    every = np.arange(len(rows))
    for feature, cut, depth in zip(*table, strict=True):
        node = np.zeros(len(rows), np.int64)
        while True:
            asked = feature[node]
            inner = asked >= 0
            if not inner.any():
                break
            further = 2 * node + 2 - (rows[every, asked] < cut[node])
            node = np.where(inner, further, node)
        total += depth[node]
    return total / len(table.feature)
