"""SimPy's clock, which can also be stopped for good."""

import simpy


class Clock(simpy.Environment):
    """Time in seconds from 0, and the events still to come."""

    def __init__(self) -> None:
        super().__init__(0.0)

    @property
    def moment_is_over(self) -> bool:
        """Whether nothing more happens at this moment."""
        return not self._queue or self._queue[0][0] > self._now

    def stop(self) -> None:
        """Forget what is still to come."""
        self._queue.clear()
