"""Logged decisions and what came of them, as arrays in the order of a bundle's features and actions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from experiments.shadow.loader import Bundle
from experiments.shadow.log_map import OURS, LogMap, Source
from sim.errors import InputError
from sim.refusals import suggestion

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Outcome = Literal["one_step", "continued"]

ELSE: Final = -1
"""In place of an action that the bundle does not know."""
_TIE: Final = 1e-9
"""Relative difference up to which two costs are one."""


@dataclass(frozen=True)
class DecisionLog:
    """Decisions, one a row.

    Attributes:
        features: In units, NaN where unknown, shape (n, F).
        masks: What was allowed, shape (n, A); None where all was.
        actions: What was done, or `ELSE`, shape (n,).
        propensity: Chance of it, shape (n,); None where the log does not tell.
        costs: What it cost, NaN where unknown, shape (n,); None where the log does not tell.
        every_cost: What each action would have cost, shape (n, A); None where no one knows.
        oracle: What would have been best, or `ELSE`, shape (n,); None where the log does not tell.
        groups: Rows of one number lean on each other, shape (n,).
        missing: Features that the log has no column for.
    """

    features: NDArray[np.float32]
    masks: NDArray[np.bool_] | None
    actions: Ints
    propensity: Floats | None
    costs: Floats | None
    every_cost: Floats | None
    oracle: Ints | None
    groups: Ints
    missing: tuple[str, ...]

    def __len__(self) -> int:
        """Number of decisions."""
        return len(self.actions)

    def right(self, actions: Ints) -> NDArray[np.bool_] | None:
        """Where actions, shape (n,), are as good as the best; None where the log cannot tell."""
        if self.every_cost is not None:
            best = self.every_cost.min(axis=1)
            taken = self.every_cost[np.arange(len(actions)), actions]
            return np.asarray(taken <= best + _TIE * np.abs(best)) & (actions != ELSE)
        return None if self.oracle is None else (actions == self.oracle) & (actions != ELSE)


def read_log(path: Path, bundle: Bundle, names: LogMap, outcome: Outcome = "one_step") -> DecisionLog:
    """Read a CSV or Parquet file of decisions: ours, labels, or one's own with a map.

    Args:
        path: Ends in ``.csv`` or ``.parquet``.
        bundle: Whose features and actions are meant.
        names: What the columns are called.
        outcome: Of labels, which of their two costs.

    Raises:
        InputError: If the file cannot be read, has no column of the features or actions, or a cell that
            cannot be used, with its row.
    """
    columns = _Columns(path, _table(path))
    found = {one: names.features.get(one) or columns.own(one) for one in bundle.features}
    for one in names.features:
        if one not in bundle.features:
            way_out = suggestion(one, bundle.features) or f"; known: {', '.join(bundle.features)}"
            raise InputError(path, f"features.{one}", f"unknown feature{way_out}")
    missing = tuple(one for one, source in found.items() if source is None)
    if len(missing) == len(found):
        few = ", ".join(bundle.features[:4])
        problem = f"expected columns of the bundle's features ({few}, …), got {columns.listed}; give a --map"
        raise InputError(path, "", problem)
    features = np.full((len(columns), len(found)), np.nan, np.float32)
    for place, source in enumerate(found.values()):
        if source is not None:
            features[:, place] = columns.numbers(source)
    action = names.action or columns.first(OURS["action"])
    if action is None:
        raise InputError(path, "", f"expected a column action or answer, got {columns.listed}; give a --map")
    actions = columns.actions(action, bundle.actions, names)
    every_cost = _every_cost(columns, bundle.actions, names, outcome)
    propensity, costs = _outcomes(columns, actions, every_cost, names)
    oracle = names.oracle or columns.first(OURS["oracle"])
    return DecisionLog(
        features,
        _masks(columns, bundle, names),
        actions,
        propensity,
        costs,
        every_cost,
        None if oracle is None else columns.actions(oracle, bundle.actions, names),
        columns.groups(names.groups or [one for one in OURS["groups"] if one in columns.names]),
        missing,
    )


class _Columns:
    """The columns of a file, as arrays."""

    def __init__(self, path: Path, table: pa.Table) -> None:
        self._path, self._table = path, table
        self.names = set(table.column_names)
        self.labels = b"dwcp-gym labels version" in (table.schema.metadata or {})

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @property
    def listed(self) -> str:
        """Some of the names, for messages."""
        return " ".join(", ".join(self._table.column_names[:8]).split())

    def first(self, names: Sequence[str]) -> str | None:
        """The first of the names that is a column."""
        return next((name for name in names if name in self.names), None)

    def own(self, name: str) -> Source | None:
        """The column of that name, if there is one."""
        return Source(column=name) if name in self.names else None

    def numbers(self, source: Source) -> Floats:
        """Numbers, NaN where there is none."""
        if source.column is None:
            return np.full(len(self), source.value, np.float64)
        column = self._column(source.column)
        try:
            cast = column.cast(pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            problem = f"expected numbers: {' '.join(str(error).split())[:120]}"
            raise InputError(self._path, source.column, problem) from error
        values = cast.to_numpy() * source.times
        if np.isinf(values).any():
            row = int(np.flatnonzero(np.isinf(values))[0])
            raise InputError(self._path, f"row {row}", f"{source.column}: expected a finite number or none")
        return np.asarray(values, np.float64)

    def actions(self, name: str, known: Sequence[str], names: LogMap) -> Ints:
        """Places of actions, by the bundle's names, the file's own words, or numbers; else `ELSE`."""
        column = self._column(name)
        if pa.types.is_floating(column.type):
            column = column.cast(pa.int64(), safe=False)
        encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
        words = encoded.dictionary.to_pylist()
        by_word = {one: place for place, one in enumerate(known)}
        by_number = {str(place): place for place in range(len(known))}
        ours = [names.actions.get(word, word) for word in words]
        places = np.array([by_word.get(word, by_number.get(word, ELSE)) for word in ours] + [ELSE])
        found: Ints = places[encoded.indices.fill_null(len(words)).to_numpy()].astype(np.int64)
        if len(found) and np.all(found == ELSE):
            problem = (
                f"expected actions {', '.join(known)}, got {' '.join(', '.join(map(str, words[:4])).split())}"
            )
            raise InputError(self._path, name, f"{problem}; name them under actions in a --map")
        return found

    def truths(self, name: str) -> NDArray[np.bool_]:
        """Truth values, also as 0 and 1."""
        try:
            return np.asarray(self._column(name).cast(pa.bool_()).fill_null(False).to_numpy(), np.bool_)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(self._path, name, "expected true and false, or 1 and 0") from error

    def groups(self, names: Sequence[str]) -> Ints:
        """Numbers of groups; every row is its own without names."""
        if not names:
            return np.arange(len(self))
        numbers = np.zeros(len(self), np.int64)
        for name in names:
            encoded = self._column(name).combine_chunks().dictionary_encode()
            places = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy()
            numbers = numbers * (len(encoded.dictionary) + 1) + places
        return np.asarray(np.unique(numbers, return_inverse=True)[1], np.int64)

    def refuse(self, bad: NDArray[np.bool_], name: str, expected: str) -> None:
        """Refuse the first bad row."""
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise InputError(self._path, f"row {row}", f"{name}: expected {expected}")

    def _column(self, name: str) -> Any:
        if name not in self.names:
            way_out = suggestion(name, sorted(self.names)) or f"; there are {self.listed}"
            raise InputError(self._path, name, f"no such column{way_out}")
        return self._table.column(name)


def _table(path: Path) -> pa.Table:
    try:
        if path.suffix == ".csv":
            table = pc.read_csv(path)
        elif path.suffix == ".parquet":
            table = pq.read_table(path)
        else:
            raise InputError(path, "", "expected a name that ends in .csv or .parquet")
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())[:200]
        raise InputError(path, "", f"cannot be read: {reason}; name an existing file") from error
    except pa.ArrowException as error:
        raise InputError(path, "", f"not a table: {' '.join(str(error).split())[:200]}") from error
    if not table.num_rows:
        raise InputError(path, "", "expected at least one row, got none")
    if len(set(table.column_names)) < table.num_columns:
        raise InputError(path, "", "two columns bear one name; rename one")
    return table


def _every_cost(columns: _Columns, actions: Sequence[str], names: LogMap, outcome: Outcome) -> Floats | None:
    sources = [names.every_cost.get(one) or columns.own(f"{outcome}_s_{one}") for one in actions]
    told = [source for source in sources if source is not None]
    return np.stack([columns.numbers(one) for one in told], axis=1) if len(told) == len(actions) else None


def _outcomes(
    columns: _Columns, actions: Ints, every_cost: Floats | None, names: LogMap
) -> tuple[Floats | None, Floats | None]:
    """Propensities and costs. Labels are played by a rule that does what it does with chance 1."""
    own = {one: columns.first(OURS[one]) for one in ("propensity", "cost")}
    chance = names.propensity or (own["propensity"] and columns.own(own["propensity"]))
    cost = names.cost or (own["cost"] and columns.own(own["cost"]))
    propensity = np.ones(len(columns)) if columns.labels and not chance else None
    if chance:
        propensity = columns.numbers(chance)
        columns.refuse(~((propensity > 0) & (propensity <= 1)), "propensity", "a chance above 0, at most 1")
    if cost:
        return propensity, columns.numbers(cost)
    if every_cost is None:
        return propensity, None
    taken = every_cost[np.arange(len(actions)), actions]
    return propensity, np.where(actions == ELSE, np.nan, taken)


def _masks(columns: _Columns, bundle: Bundle, names: LogMap) -> NDArray[np.bool_] | None:
    own = {one: f"allowed_{one}" for one in bundle.actions if f"allowed_{one}" in columns.names}
    allowed = own | names.allowed
    if not allowed:
        return None
    masks = [
        columns.truths(allowed[one]) if one in allowed else np.ones(len(columns), np.bool_)
        for one in bundle.actions
    ]
    found = np.stack(masks, axis=1)
    columns.refuse(np.asarray(~found.any(axis=1)), "allowed", "at least one action that is allowed")
    return found
