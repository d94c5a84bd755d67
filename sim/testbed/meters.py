"""CPU time of a process's event loop, charged to the transfers that it works for."""

import os
import time
from pathlib import Path


class StackMeter:
    """What the calling thread has used since it was asked last; who asks when a piece has passed, pays."""

    def __init__(self) -> None:
        self._last_s = time.thread_time()

    def take(self) -> float:
        """CPU seconds of this thread since the last call."""
        now_s = time.thread_time()
        taken_s, self._last_s = now_s - self._last_s, now_s
        return taken_s


def starved_s(process: int | None = None) -> float:
    """Seconds for which threads of this process and those below it have waited for a core, all together.

    By the kernel's scheduler; 0 where it does not tell. Threads that have ended are no longer counted.
    """
    process = process or os.getpid()
    total = 0.0
    for task in Path(f"/proc/{process}/task").glob("*"):
        try:
            total += int((task / "schedstat").read_text("ascii").split()[1]) / 1e9
            children = (task / "children").read_text("ascii").split()
        except (OSError, IndexError):
            continue
        total += sum(starved_s(int(child)) for child in children)
    return total
