"""Whether a graph answers as the policy it was made from: row by row, ties of rounding named and counted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.graph_policy import Face
from sim.errors import InputError

TIE_STEPS: Final = 1
"""Float32 steps, at the larger of the scores and 1, by which two scores may differ and still be a tie.

PPO takes the best of softmax probabilities, which lose what is below a step at 1. Measured with torch 2.13
and onnxruntime 1.31: of 24 networks with values from 0.01 to 5000, on 100 000 rows each, one row flipped, by
0.12 steps."""

NUMBER_TOLERANCE: Final = 1e-5
"""By how much a number of an answer may differ and still be equal, relative and absolute; 1e-6 is common."""

ACTION, SCORE, MASK = "action:", "score:", "mask:"
"""What the names of the columns of expected actions, of scores and of masks begin with; no feature's may."""


class ParityRows(NamedTuple):
    """Observations (n, F), with their masks (n, A) if there are any, and what the policy gave.

    Attributes:
        observations: Shape (n, F).
        actions: Shape (n,) or (n, parts), int64; of answers of numbers (n, size), float32.
        scores: Shape (n, A).
        masks: Shape (n, A); None where all is allowed always.
    """

    observations: npt.NDArray[np.float32]
    actions: npt.NDArray[Any]
    scores: npt.NDArray[np.float32]
    masks: npt.NDArray[np.bool_] | None = None


class Parity(NamedTuple):
    """How a graph's actions compare with the expected ones.

    Attributes:
        rows: Rows compared.
        equal: Rows with the same action.
        ties: Rows with another action whose score is the same but for rounding.
        wrong: Indices of all others.
    """

    rows: int
    equal: int
    ties: int
    wrong: npt.NDArray[np.int64]


def compare(
    expected: npt.NDArray[Any],
    actions: npt.NDArray[Any],
    scores: npt.NDArray[np.float32],
    sizes: Sequence[int],
) -> Parity:
    """Compare actions row by row.

    Args:
        expected: What the policy did, (n,) or (n, parts); of answers of numbers (n, size).
        actions: What the graph does, same shape.
        scores: What the graph chose by, (n, sum of sizes).
        sizes: Actions of each part; empty for answers of numbers, which have no ties.

    >>> scores = np.array([[1.0, 2.0], [2.0, 2.0], [1.0, 2.0]], dtype=np.float32)
    >>> compare(np.array([1, 0, 0]), np.array([1, 1, 1]), scores, [2])
    Parity(rows=3, equal=1, ties=1, wrong=array([2]))
    """
    if not sizes:
        near = np.isclose(expected, actions, rtol=NUMBER_TOLERANCE, atol=NUMBER_TOLERANCE).all(axis=1)
        return Parity(len(expected), int(near.sum()), 0, np.flatnonzero(~near))
    wanted, given = expected.reshape(len(expected), -1), actions.reshape(len(actions), -1)
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    of_wanted = np.take_along_axis(scores, wanted + offsets, axis=1)
    of_given = np.take_along_axis(scores, given + offsets, axis=1)
    step = np.spacing(np.maximum(np.maximum(np.abs(of_wanted), np.abs(of_given)), np.float32(1)))
    same = wanted == given
    alike = same | (np.abs(of_wanted - of_given) <= TIE_STEPS * step)
    equal, tied = same.all(axis=1), alike.all(axis=1)
    return Parity(len(expected), int(equal.sum()), int((tied & ~equal).sum()), np.flatnonzero(~tied))


def write_parity(path: Path, rows: ParityRows, features: Sequence[str]) -> None:
    """Write the rows as Parquet: a column for each feature, mask, part of the action and score."""
    actions = rows.actions.reshape(len(rows.actions), -1)
    columns: dict[str, npt.NDArray[Any]] = {name: rows.observations[:, i] for i, name in enumerate(features)}
    if rows.masks is not None:
        columns |= {f"{MASK}{i}": rows.masks[:, i] for i in range(rows.masks.shape[1])}
    columns |= {f"{ACTION}{i}": actions[:, i] for i in range(actions.shape[1])}
    columns |= {f"{SCORE}{i}": rows.scores[:, i] for i in range(rows.scores.shape[1])}
    pq.write_table(pa.table(columns), path, compression="zstd")


def read_parity(path: Path, features: Sequence[str], face: Face) -> ParityRows:
    """Read what ``write_parity`` wrote of a policy with these features and this face.

    Raises:
        InputError: If the file is torn or its columns are not those of these features and actions.
    """
    try:
        table = pq.read_table(path)
        found = table.column_names
        columns = [table.column(i).to_numpy() for i in range(table.num_columns)]
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            path, "", "expected a Parquet file of parity rows, got a torn or foreign file; export again"
        ) from error
    wanted = [
        *features,
        *(f"{MASK}{i}" for i in range(face.outputs if face.masked else 0)),
        *(f"{ACTION}{i}" for i in range(len(face.sizes) or face.outputs)),
        *(f"{SCORE}{i}" for i in range(face.outputs)),
    ]
    for place, (want, got) in enumerate(zip(wanted, found, strict=False)):
        if want != got:
            raise InputError(path, f"column {place}", f"expected {want!r}, got {got!r}; export again")
    if len(wanted) != len(found) or not columns[0].size:
        raise InputError(path, "", f"expected rows of {len(wanted)} columns, got {len(found)}; export again")
    kinds = [np.bool_ if name.startswith(MASK) else np.number for name in wanted]
    for column, kind in zip(columns, kinds, strict=True):
        if not (np.issubdtype(column.dtype, kind) and np.isfinite(column).all()):
            raise InputError(path, "", "expected finite numbers in every row; export again")
    parts = {
        prefix: [column for name, column in zip(wanted, columns, strict=True) if name.startswith(prefix)]
        for prefix in (MASK, ACTION, SCORE)
    }
    return ParityRows(
        np.stack(columns[: len(features)], axis=1).astype(np.float32),
        _actions(path, np.stack(parts[ACTION], axis=1), face.sizes),
        np.stack(parts[SCORE], axis=1).astype(np.float32),
        np.stack(parts[MASK], axis=1) if face.masked else None,
    )


def _actions(path: Path, stored: npt.NDArray[Any], sizes: Sequence[int]) -> npt.NDArray[Any]:
    if not sizes:
        return stored.astype(np.float32)
    actions = stored.astype(np.int64)
    if np.any(actions < 0) or np.any(actions >= np.array(sizes)):
        problem = f"expected actions in [0, size) of {list(sizes)}, got others; export again"
        raise InputError(path, "", problem)
    return actions[:, 0] if len(sizes) == 1 else actions
