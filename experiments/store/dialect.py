"""SQL that both databases understand: one function is spelt differently, and a query only reads."""

import re
from typing import Final

_QUANTILE: Final = re.compile(r"\bquantile\(\s*((?:[^(),]|\([^()]*\))+?)\s*,\s*([0-9.]+)\s*\)", re.I)
_READS: Final = re.compile(r"\s*(select|with|explain|describe|show)\b", re.I)


def for_clickhouse(sql: str) -> str:
    """The same query as ClickHouse spells it: ``quantile(x, p)`` becomes ``quantileExact(p)(x)``.

    Both give a value that is there, near rank ``p`` times the rows; they may differ by one rank.

    >>> for_clickhouse("SELECT quantile(end_s - arrival_s, 0.99) FROM transfers")
    'SELECT quantileExact(0.99)(end_s - arrival_s) FROM transfers'
    """
    return _QUANTILE.sub(r"quantileExact(\2)(\1)", sql)


def reads_only(sql: str) -> bool:
    """Whether this is one statement that reads.

    >>> reads_only("SELECT 1"), reads_only("DROP TABLE transfers"), reads_only("SELECT 1; DROP TABLE t")
    (True, False, False)
    """
    return bool(_READS.match(sql)) and ";" not in sql.strip().rstrip(";")
