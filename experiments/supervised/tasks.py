"""The supervised tasks by name; each file is loaded when its task is asked for."""

from importlib import import_module
from typing import Final

from experiments.supervised.task import Task

FILES: Final = ("performance", "bandwidth", "reliability", "consensus", "anomaly", "selector")
"""Files of this folder that define ``TASK``, in the order of the page."""


def task(name: str) -> Task:
    """The task of a name of ``FILES``."""
    found: Task = import_module(f"experiments.supervised.{name}").TASK
    return found
