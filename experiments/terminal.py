"""What verbs print on the terminal."""

from typing import Final

from rich.console import Console

console: Final = Console()


def say(what: str, where: object) -> None:
    """A result on a line of its own, whole however narrow the terminal."""
    console.print(f"{what:<12} {where}", markup=False, highlight=False, soft_wrap=True)
