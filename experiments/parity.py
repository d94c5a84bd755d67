"""Whether a graph answers as the policy it was made from: row by row, ties of rounding named and counted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sim.errors import InputError

TIE_STEPS: Final = 1
"""Float32 steps, at the larger of the scores and 1, by which two scores may differ and still be a tie.

PPO takes the best of softmax probabilities, which lose what is below a step at 1. Measured with torch 2.13
and onnxruntime 1.31: of 24 networks with values from 0.01 to 5000, on 100 000 rows each, one row flipped, by
0.12 steps."""

ACTION, SCORE = "action:", "score:"
"""What the names of the columns of expected actions and scores begin with; no feature's name may."""


class ParityRows(NamedTuple):
    """Observations (n, F) with the actions (n,) or (n, parts) and the scores (n, A) that the policy gave."""

    observations: npt.NDArray[np.float32]
    actions: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


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
    expected: npt.NDArray[np.int64],
    actions: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float32],
    sizes: Sequence[int],
) -> Parity:
    """Compare actions row by row.

    Args:
        expected: What the policy did, (n,) or (n, parts).
        actions: What the graph does, same shape.
        scores: What the graph chose by, (n, sum of sizes).
        sizes: Actions of each part.

    >>> scores = np.array([[1.0, 2.0], [2.0, 2.0], [1.0, 2.0]], dtype=np.float32)
    >>> compare(np.array([1, 0, 0]), np.array([1, 1, 1]), scores, [2])
    Parity(rows=3, equal=1, ties=1, wrong=array([2]))
    """
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
    """Write the rows as Parquet: a column for each feature, each part of the action and each score."""
    actions = rows.actions.reshape(len(rows.actions), -1)
    columns: dict[str, npt.NDArray[Any]] = {name: rows.observations[:, i] for i, name in enumerate(features)}
    columns |= {f"{ACTION}{i}": actions[:, i] for i in range(actions.shape[1])}
    columns |= {f"{SCORE}{i}": rows.scores[:, i] for i in range(rows.scores.shape[1])}
    pq.write_table(pa.table(columns), path, compression="zstd")


def read_parity(path: Path, features: Sequence[str], sizes: Sequence[int]) -> ParityRows:
    """Read what ``write_parity`` wrote.

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
        *(f"{ACTION}{i}" for i in range(len(sizes))),
        *(f"{SCORE}{i}" for i in range(sum(sizes))),
    ]
    for place, (want, got) in enumerate(zip(wanted, found, strict=False)):
        if want != got:
            raise InputError(path, f"column {place}", f"expected {want!r}, got {got!r}; export again")
    if len(wanted) != len(found) or not columns[0].size:
        raise InputError(path, "", f"expected rows of {len(wanted)} columns, got {len(found)}; export again")
    if not all(np.issubdtype(column.dtype, np.number) and np.isfinite(column).all() for column in columns):
        raise InputError(path, "", "expected finite numbers in every row; export again")
    first_score = len(features) + len(sizes)
    actions = np.stack(columns[len(features) : first_score], axis=1).astype(np.int64)
    if np.any(actions < 0) or np.any(actions >= np.array(sizes)):
        raise InputError(
            path, "", f"expected actions in [0, size) of {list(sizes)}, got others; export again"
        )
    return ParityRows(
        np.stack(columns[: len(features)], axis=1).astype(np.float32),
        actions[:, 0] if len(sizes) == 1 else actions,
        np.stack(columns[first_score:], axis=1).astype(np.float32),
    )
