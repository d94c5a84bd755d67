"""Those that wait for a slot, and which slots are free: on the host, and on each path."""

from math import inf

from sim.decisions import Go
from sim.rows import Rows
from sim.scenarios import Scenario


class Backlog:
    """Transfers that wait, oldest first, and the slots that let them go.

    Args:
        scenario: How many slots the host and its paths have, and whether a transfer may take any path.
        rows: Path of each transfer; written when it goes by another.
    """

    def __init__(self, scenario: Scenario, rows: Rows) -> None:
        self.waiting: list[int] = []
        self.free_slots = scenario.slots
        self._rows = rows
        self._free_on = [inf if path.slots is None else path.slots for path in scenario.paths]
        self._limited = scenario.any_path or any(path.slots is not None for path in scenario.paths)
        self._everywhere = tuple(range(len(scenario.paths))) if scenario.any_path else None

    def paths(self, request: int) -> tuple[int, ...]:
        """Paths that a transfer may take now; none when those it may ever take are full."""
        own = self._rows.path[request]
        if self._everywhere is None:
            return (own,) if self._free_on[own] > 0 else ()
        return tuple(path for path in self._everywhere if self._free_on[path] > 0)

    def first(self) -> Go | None:
        """The oldest that may go, on the first path that it may take."""
        if self.free_slots and self.waiting:
            for position, request in enumerate(self.waiting):
                if paths := self.paths(request):
                    return Go(position, paths[0])
        return None

    def take_first(self) -> int | None:
        """Let the oldest that may go, go, on the first path that it may take."""
        if self._limited:
            return self.take(go) if (go := self.first()) is not None else None
        if not (self.free_slots and self.waiting):
            return None
        self.free_slots -= 1
        return self.waiting.pop(0)

    def take(self, go: Go) -> int:
        """Let one go.

        Raises:
            ValueError: If it does not wait, or may not take that path now.
        """
        if not 0 <= go.position < len(self.waiting):
            raise ValueError(f"position must be one of the {len(self.waiting)} waiting, got {go.position}")
        paths = self.paths(self.waiting[go.position])
        if not self.free_slots or go.path not in paths:
            raise ValueError(f"path must be one that is free for it, of {paths}, got {go.path}")
        request = self.waiting.pop(go.position)
        self.free_slots -= 1
        self._free_on[go.path] -= 1
        self._rows.path[request] = go.path
        return request

    def release(self, path: int) -> None:
        """A transfer on a path has ended."""
        self.free_slots += 1
        self._free_on[path] += 1
