"""Rows of the store as columns of arrays."""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np

from experiments.shadow.store_rows import Decision, Decisions

_NUMBERS: Final = ("time", "propensity", "confidence", "incumbent_ms", "candidate_ms")
_FIELDS: Final = tuple(one for one in Decision._fields if one not in ("features", "names"))
SELECT: Final = (
    f"SELECT d.seq, o.seq, d.feature_list, d.features, o.time, o.cost_s, o.best, o.costs, "
    f"{', '.join(f'd.{one}' for one in _FIELDS)} "
    "FROM decisions AS d LEFT JOIN outcomes AS o ON o.decision = d.id"
)
"""Query whose rows `as_columns` takes; conditions and order follow."""


def as_columns(rows: Sequence[tuple[Any, ...]], lists: Mapping[int, tuple[str, ...]]) -> Decisions:
    """Columns of rows of `SELECT`; names of features by the number of their list."""
    used = list(dict.fromkeys(row[2] for row in rows))
    names = tuple(dict.fromkeys(name for number in used for name in lists[number]))
    places = {name: place for place, name in enumerate(names)}
    features = np.full((len(rows), len(names)), np.nan, np.float32)
    for number, group in groupby(range(len(rows)), key=lambda place: rows[place][2]):
        span = list(group)
        block = np.frombuffer(b"".join(rows[place][3] for place in span), "<f4").reshape(len(span), -1)
        features[span[0] : span[-1] + 1, [places[name] for name in lists[number]]] = block
    columns: dict[str, Any] = {}
    for place, name in enumerate(_FIELDS, start=8):
        values = [row[place] for row in rows]
        if name == "allowed":
            values = [None if one is None else tuple(json.loads(one)) for one in values]
        columns[name] = np.array(values, np.float64) if name in _NUMBERS else _objects(values)
    return Decisions(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] or 0 for row in rows], np.int64),
        columns,
        names,
        features,
        np.array([row[4] for row in rows], np.float64),
        np.array([row[5] for row in rows], np.float64),
        _objects([row[6] for row in rows]),
        _objects([None if row[7] is None else json.loads(row[7]) for row in rows]),
    )


def _objects(values: Sequence[Any]) -> Any:
    return np.fromiter(values, object, len(values))
