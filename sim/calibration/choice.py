"""Which calibration this process computes with: the shipped one, or the user's own, chosen before all else.

The figures are frozen into compiled kernels and into the classes of payloads, so that a process has one
calibration for all its life. It travels to child processes in the environment.
"""

import os
import sys
from pathlib import Path
from typing import Final

from sim.calibration.laws import FITTED_FILE, load_fitted
from sim.errors import InputError

VARIABLE: Final = "DWCP_GYM_CALIBRATION"
"""Environment variable that names the file; unset or empty, the shipped calibration holds."""
_FROZEN_IN: Final = "sim.codecs"


def chosen_file() -> Path:
    """The calibration of this process."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else FITTED_FILE


def choose(path: str | None, source: Path | str) -> None:
    """Compute with a calibration from here on, in this process and its children; None leaves what holds.

    Args:
        path: A file as `dwcp-gym calibrate codecs` writes it.
        source: Who asks for it, for the message.

    Raises:
        InputError: If the file is no calibration, or if this process computes with another one already.
    """
    if path is None:
        return
    file = Path(path).resolve()
    if file == chosen_file().resolve():
        return
    load_fitted(file)
    if _FROZEN_IN in sys.modules:
        problem = f"expected {chosen_file()}, which this process computes with, got {path}"
        raise InputError(source, "calibration", f"{problem}; set {VARIABLE}={path} before Python starts")
    os.environ[VARIABLE] = str(file)
