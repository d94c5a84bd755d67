"""Takes emulated paths down: what a process has made goes when it ends, however it ends.

Run by path, with the process id of a creator and names of namespaces, this file waits until the creator has
ended or has closed the pipe at standard input, and removes them. It imports nothing of ours, so that it
starts within milliseconds and stands on its own.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

NAMESPACES = Path("/run/netns")
"""Where iproute2 keeps the names of network namespaces."""
PREFIX = "dwcp"
_PATIENCE_S = 2.0


def start_of(process: int) -> int:
    """When a process began, in ticks since boot; 0 if there is none. With its id it names one for ever."""
    try:
        words = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if words[0] in "ZX" else int(words[19])


def orphans() -> list[str]:
    """Namespaces of ours whose creator has ended; their names are ``dwcp-<pid>-<start>-<number>-<end>``."""
    found = []
    for path in NAMESPACES.glob(f"{PREFIX}-*"):
        words = path.name.split("-")
        named = len(words) == 5 and words[1].isdigit() and words[2].isdigit()
        if named and start_of(int(words[1])) != int(words[2]):
            found.append(path.name)
    return found


def remove(names: list[str]) -> None:
    """Remove namespaces, after killing what still runs in them; those that are gone are skipped."""
    for name in names:
        if not (NAMESPACES / name).exists():
            continue
        for process in _inside(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        until = time.monotonic() + _PATIENCE_S
        while _inside(name) and time.monotonic() < until:
            time.sleep(0.01)
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _inside(name: str) -> list[int]:
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


def _wait_for_end(creator: int) -> None:
    watched = [sys.stdin.fileno()]
    with contextlib.suppress(OSError, AttributeError):  # a kernel before 5.3: the pipe alone tells
        watched.append(os.pidfd_open(creator))
    select.select(watched, [], [])


def main() -> None:
    """Wait, then remove: ``janitor.py CREATOR NAME...``."""
    creator, names = int(sys.argv[1]), sys.argv[2:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.getppid() == creator:
        _wait_for_end(creator)
    remove(names)


if __name__ == "__main__":
    main()
