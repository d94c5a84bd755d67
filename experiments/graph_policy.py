"""A policy that answers from an ONNX graph and has the face of a ``Policy``; needs no learning library."""

from pathlib import Path
from typing import Any, ClassVar

from experiments.shadow.bundle_format import BundleError
from experiments.shadow.loader import Graph
from sim.errors import InputError


class GraphPolicy(Graph):
    """Answers from a graph whose input is what its environment shows.

    Args:
        graph: The graph, serialised.
        source: The file it came from, for messages.
        name: What the policy is called.

    Raises:
        InputError: If the bytes are not a graph with ``obs`` (and ``action_mask``) in and ``action`` and
            ``scores`` out.
    """

    needs_world: ClassVar[bool] = False

    def __init__(self, graph: bytes, source: Path | str, name: str = "graph") -> None:
        self.name = name
        try:
            super().__init__(graph, source)
        except BundleError as error:
            raise InputError(str(error), "", "") from error

    def reset(self) -> None:
        """Nothing is remembered between decisions."""
        return None

    def bind(self, world: Any) -> None:
        """The world is not needed."""
        return None
