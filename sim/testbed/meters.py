"""CPU time of a process's event loop, charged to the transfers that it works for."""

import time


class StackMeter:
    """What the calling thread has used since it was asked last; who asks when a piece has passed, pays."""

    def __init__(self) -> None:
        self._last_s = time.thread_time()

    def take(self) -> float:
        """CPU seconds of this thread since the last call."""
        now_s = time.thread_time()
        taken_s, self._last_s = now_s - self._last_s, now_s
        return taken_s
