"""Units of the field, written as factors to the units inside: bytes, seconds, bytes per second.

>>> 100 * MBIT
12500000.0
>>> round(12.5e6 / MBIT)
100
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024**2
GIB: Final = 1024**3
MB: Final = 1e6
"""Bytes in a decimal megabyte."""

MBIT: Final = 1e6 / 8
"""Bytes per second in one Mbit/s."""
GBIT: Final = 1e9 / 8

MS: Final = 1e-3
MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86400.0
