"""The one error that a user's input can cause, in one line: which file, where, what was expected."""

from pathlib import Path


class InputError(ValueError):
    """Input from outside that cannot be used; the command line prints it, no traceback, and exits with 2.

    Args:
        source: The file (or "command line") that holds the fault.
        place: Line, column, key or row inside it; empty when the whole of it is meant.
        problem: What was expected, what came, and the way out.

    >>> str(InputError("links.csv", "line 7", "loss must be in [0, 1), got 3; write 1 % as 0.01"))
    'links.csv: line 7: loss must be in [0, 1), got 3; write 1 % as 0.01'
    """

    def __init__(self, source: Path | str, place: str, problem: str) -> None:
        super().__init__(": ".join(part for part in (str(source), place, problem) if part))

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str, str]]:
        """Comes whole out of a worker process: it takes three arguments, but keeps one line."""
        return type(self), (str(self), "", "")
