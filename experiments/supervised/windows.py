"""Metrics of entities as windows of steps: robust scores against their own habit, labels, samples."""

from typing import Final, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from agents.supervised.model import Part
from agents.supervised.trailing import usual

HABIT: Final = (24 * 60, 60)
"""Rows of a habit, and after how many it is looked at anew."""
_TO_DEVIATION: Final = 1.4826
"""From the median of absolute differences to the standard deviation of a Gaussian."""


def against_habit(values: NDArray[np.float64], least: NDArray[np.float64]) -> NDArray[np.float64]:
    """Robust scores of each row against the day before, of one entity, (times, F); none looks ahead.

    Args:
        values: Metrics.
        least: Smallest deviation that counts as one, (F,).
    """
    middle = usual(values, *HABIT)
    spread = _TO_DEVIATION * usual(np.abs(values - middle), *HABIT)
    return np.asarray((values - middle) / np.maximum(spread, least))


class Windows(NamedTuple):
    """Steps of several entities, and the windows that end at them.

    Attributes:
        steps: Float32, (entities, times, F).
        event: Whether a step is of an event, (entities, times).
        open_: Whether it counts neither as such nor as quiet.
        length: Of a window.
        before: So many steps before a window are shown with it; a window without them does not count.
    """

    steps: NDArray[np.float32]
    event: NDArray[np.bool_]
    open_: NDArray[np.bool_]
    length: int
    before: int = 0

    @property
    def any_event(self) -> NDArray[np.bool_]:
        """Whether a window holds an event, (entities, ends); the first window ends at step ``length`` - 1."""
        return np.asarray(self._within(self.event).any(axis=2))

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Whether a window has its steps before, and holds an event or is quiet all through."""
        counted = np.asarray(self.any_event | ~self._within(self.open_).any(axis=2))
        counted[:, : self.before] = False
        return counted

    def _within(self, steps: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return sliding_window_view(steps, self.length, axis=1)

    def at(self, entity: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.float32]:
        """Windows by entity and end with the steps before them, (n, before + length, F)."""
        places = end[:, None] + np.arange(-self.before, self.length)
        return self.steps[entity[:, None], places]

    def sums(self, squares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums of a figure of each step over windows, (entities, ends)."""
        total = np.cumsum(np.pad(squares, ((0, 0), (1, 0))), axis=1)
        return np.asarray(total[:, self.length :] - total[:, : -self.length])

    def sample(self, count: int, rng: np.random.Generator, every: int = 1) -> Part:
        """At most so many counted windows by chance; of ends, every so many-th."""
        entity, end = np.nonzero(self.counted[:, ::every])
        if len(end) > count:
            kept = np.sort(rng.choice(len(end), count, replace=False))
            entity, end = entity[kept], end[kept]
        end = end * every
        truth = self.any_event[entity, end].astype(np.float64)
        return Part(self.at(entity, end), truth[:, None])

    def stretches(self, count: int, rng: np.random.Generator) -> Part:
        """So many windows with the steps before them, by chance; truth, (n, steps), is of each step."""
        entities, ends = self.any_event.shape
        entity, end = rng.integers(entities, size=count), rng.integers(self.before, ends, size=count)
        truth = self.event[entity[:, None], end[:, None] + np.arange(-self.before, self.length)]
        return Part(self.at(entity, end), truth.astype(np.float64))
