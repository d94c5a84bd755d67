"""A circuit breaker: after failures in a row no more questions for a while, then one to try."""

from typing import Final

_LONGEST_S: Final = 60.0
"""A candidate that has mended is asked again after a minute at most."""


class Breaker:
    """Closed, open, or trying. Time is handed in, in seconds from any start.

    Args:
        failures: In a row, that open it.
        cooldown_s: How long it stays open the first time.

    >>> breaker = Breaker(failures=2, cooldown_s=1.0)
    >>> breaker.failure(0.0); breaker.failure(0.0)
    >>> [breaker.allows(0.5), breaker.allows(1.0), breaker.allows(1.0)]
    [False, True, False]
    >>> breaker.success(); breaker.allows(1.1)
    True
    """

    def __init__(self, failures: int, cooldown_s: float) -> None:
        self._limit, self._first_s = failures, cooldown_s
        self._failures = 0
        self._cooldown_s = cooldown_s
        self._until: float | None = None
        self._trying = False

    @property
    def closed(self) -> bool:
        """Whether everything may be asked."""
        return self._until is None

    def allows(self, now: float) -> bool:
        """Whether to ask now; of an open one, True is the one question that decides how it goes on."""
        if self._until is None:
            return True
        if self._trying or now < self._until:
            return False
        self._trying = True
        return True

    def success(self) -> None:
        """An answer came in time."""
        self._failures, self._until, self._trying, self._cooldown_s = 0, None, False, self._first_s

    def failure(self, now: float) -> None:
        """None came, or a wrong one."""
        self._failures += 1
        if self._trying or (self._until is None and self._failures >= self._limit):
            self._until, self._trying = now + self._cooldown_s, False
            self._cooldown_s = min(2 * self._cooldown_s, _LONGEST_S)
