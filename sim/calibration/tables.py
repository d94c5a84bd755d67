"""The measured tables: where they lie, which columns they need, and what a row must hold."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sim.errors import InputError

FOLDER = Path(__file__).parent


class TableSchema(NamedTuple):
    """What a table must hold to be used.

    ``above_zero`` columns are figures greater than 0 and always given; ``shares`` lie in [0, 1] and may
    be empty (a payload without an older version has no changed blocks); ``bits`` are entropies in bits
    per byte, in [0, 8]; ``not_negative`` figures are 0 or more; ``labels`` are never empty.
    """

    labels: tuple[str, ...]
    above_zero: tuple[str, ...]
    shares: tuple[str, ...] = ()
    bits: tuple[str, ...] = ()
    not_negative: tuple[str, ...] = ()


MEASUREMENTS = TableSchema(
    labels=("payload", "cls", "method"),
    above_zero=("size", "ratio", "c_MBps", "d_MBps", "z1sc"),
    shares=("rep4k", "zero4k", "chg4k", "miss4k"),
    bits=("Hs",),
    not_negative=("offset",),
)
STALENESS = TableSchema(
    labels=("base", "mode", "method"),
    above_zero=("run", "ratio", "c_MBps", "d_MBps", "z3_lit"),
    shares=("dirty4",),
)
XOR = TableSchema(
    labels=("payload", "cls", "method"),
    above_zero=("size", "ratio", "c_MBps", "d_MBps", "ratio_zstd3"),
    not_negative=("offset",),
)
DICTIONARIES = TableSchema(("set",), ("mean_size", "dict_kb", "level", "ratio_nodict", "ratio_dict"))


def read_table(path: Path, schema: TableSchema) -> pd.DataFrame:
    """One measured table, with every figure checked.

    Raises:
        InputError: If a column is missing, or a row holds something else than the schema asks for. Rows are
            counted as an editor shows them: the header is row 1.
    """
    text = pd.read_csv(path, dtype=str, keep_default_na=False)
    figures = (*schema.above_zero, *schema.shares, *schema.bits, *schema.not_negative)
    wanted = (*schema.labels, *figures)
    missing = [column for column in wanted if column not in text.columns]
    if missing:
        raise InputError(
            path, "row 1", f"expected the columns {', '.join(wanted)}; missing: {', '.join(missing)}"
        )
    table = text.copy()
    for column in schema.labels:
        _refuse(path, text, column, text[column] == "", "a name")
    for column in figures:
        table[column] = pd.to_numeric(text[column], errors="coerce")
    for column in schema.above_zero:
        above_zero = (table[column] > 0) & (table[column] < float("inf"))
        _refuse(path, text, column, ~above_zero, "a finite number above 0")
    for column in schema.shares:
        _refuse(
            path,
            text,
            column,
            (text[column] != "") & ~table[column].between(0, 1),
            "a share in [0, 1] or nothing",
        )
    for column in schema.not_negative:
        _refuse(path, text, column, ~table[column].between(0, float("inf"), inclusive="left"), "0 or more")
    for column in schema.bits:
        _refuse(path, text, column, ~table[column].between(0, 8), "bits per byte in [0, 8]")
    return table[list(wanted)]


def _refuse(path: Path, text: pd.DataFrame, column: str, bad: "pd.Series[bool]", expected: str) -> None:
    """Raise for the first row that is marked as bad, if there is one."""
    if not bad.any():
        return
    position = int(bad.to_numpy().argmax())
    value = text[column].iloc[position]
    problem = f"{column} must be {expected}, got {value!r}; correct the row or take it out"
    raise InputError(path, f"row {position + 2}", problem)
