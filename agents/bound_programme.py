"""A sparse linear programme, solved with only those of its many columns that matter."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_array, csc_array

from agents.bound_transport import Floats

Rows = NDArray[np.int64]

_ROUNDS: Final = 8
"""Rounds of letting columns in; the value is safe after each, and best when none is left."""
_TOLERANCE: Final = 1e-9
"""What a column left out may be worth, in mean costs of a column."""


class Solution(NamedTuple):
    """What a programme came to.

    Attributes:
        value: No feasible point costs less, to rounding.
        point: A point that costs about that, shape (columns,).
    """

    value: float
    point: Floats


class Programme:
    """Minimise ``cost @ x`` where ``less @ x <= most``, ``equal @ x = 1`` and ``0 <= x <= upper``.

    It is put together from blocks of columns and rows, both numbered as they come.

    >>> programme = Programme()
    >>> cheap, dear = programme.columns(np.array([1.0, 3.0]), 1.0)[:, None]
    >>> programme.add_equal(np.zeros(2, np.int64), np.array([0, 1]))  # all of it,
    >>> programme.add(programme.rows(np.array([0.25])), cheap, 1.0)  # a quarter of it cheap at most
    >>> round(programme.solve().value, 9)
    2.5
    """

    def __init__(self) -> None:
        self._cost: list[Floats] = []
        self._upper: list[Floats] = []
        self._first: list[NDArray[np.bool_]] = []
        self._most: list[Floats] = []
        self._less: list[tuple[Rows, Rows, Floats]] = []
        self._equal: list[tuple[Rows, Rows]] = []

    def columns(self, cost: Floats, upper: Floats | float, first: NDArray[np.bool_] | bool = True) -> Rows:
        """New columns; ``first`` says which take part from the start. Returns their numbers."""
        before = sum(map(len, self._cost))
        self._cost.append(cost)
        self._upper.append(np.broadcast_to(upper, cost.shape))
        self._first.append(np.broadcast_to(first, cost.shape))
        return np.arange(before, before + len(cost))

    def rows(self, most: Floats) -> Rows:
        """New inequalities with these right-hand sides. Returns their numbers."""
        before = sum(map(len, self._most))
        self._most.append(most)
        return np.arange(before, before + len(most))

    def add(self, rows: Rows, columns: Rows, entries: Floats | float) -> None:
        """Entries of inequalities; those in the same place add up."""
        self._less.append((rows, columns, np.broadcast_to(entries, columns.shape)))

    def add_equal(self, rows: Rows, columns: Rows) -> None:
        """Ones in the equations, whose right-hand sides are 1."""
        self._equal.append((rows, columns))

    def solve(self) -> Solution:
        """Let in columns until none that is left out could lower the cost.

        The value is safe however good the solver's prices are (weak duality): for any ``p <= 0`` and any q,
        ``p @ most + sum of q`` and what each column with its reduced cost can take away come to no more than
        the cost of any feasible point.

        Raises:
            RuntimeError: If there is no solution, or the solver gives up.
        """
        cost, upper, inside = (
            np.concatenate(self._cost),
            np.concatenate(self._upper),
            np.concatenate(self._first),
        )
        less, most = self._inequalities(len(cost))
        row, column = (np.concatenate(part) for part in zip(*self._equal, strict=True))
        equal = csc_array(coo_array((np.ones(len(row)), (row, column)), (int(row.max()) + 1, len(cost))))
        bounded = np.isfinite(upper)
        value, point = -np.inf, np.zeros(len(cost))
        for _ in range(_ROUNDS):
            kept = np.flatnonzero(inside)
            found = linprog(
                cost[kept],
                less[:, kept],
                most,
                equal[:, kept],
                np.ones(equal.shape[0]),
                bounds=np.column_stack([np.zeros(len(kept)), upper[kept]]),
                method="highs-ds",
            )
            if found.status != 0:
                raise RuntimeError(f"the linear programme of the bound was not solved: {found.message}")
            p, q = np.minimum(found.ineqlin.marginals, 0.0), found.eqlin.marginals
            reduced = cost - less.T @ p - equal.T @ q
            takes = np.minimum(reduced[bounded], 0.0) @ upper[bounded]
            value = max(value, float(p @ most + q.sum() + takes))
            point[kept] = found.x
            missing = ~inside & (reduced < -_TOLERANCE * np.abs(cost).mean())
            if not missing.any():
                break
            inside |= missing
        return Solution(value, point)

    def _inequalities(self, columns: int) -> tuple[csc_array, Floats]:
        """Matrix and right-hand sides, each row divided by the mean size of its entries."""
        most = np.concatenate(self._most)
        row, column, entry = (np.concatenate(part) for part in zip(*self._less, strict=True))
        size = np.bincount(row, np.abs(entry), len(most)) / np.maximum(
            np.bincount(row, minlength=len(most)), 1
        )
        scale = np.divide(1.0, size, out=np.ones_like(size), where=size > 0.0)
        less = csc_array(coo_array((entry * scale[row], (row, column)), (len(most), columns)))
        return less, most * scale
