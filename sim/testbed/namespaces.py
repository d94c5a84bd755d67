"""Two network namespaces joined by an emulated path, and the janitor that removes them."""

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from sim.errors import InputError
from sim.testbed import janitor
from sim.testbed.janitor import NAMESPACES, PREFIX, orphans, remove, start_of

CLIENT_ADDRESS: Final = "10.77.0.1"
SERVER_ADDRESS: Final = "10.77.0.2"
"""Inside the namespaces only: nothing routes there from outside, and nothing out from there."""
_NUMBERS = itertools.count()


class Pair:
    """Namespaces for a client and a server, without a device yet but loopback.

    They go when it is closed or this process ends, killed or not; what a janitor that was killed as well has
    left is removed when the next pair is made.

    Raises:
        InputError: If the kernel refuses to make them, with what it says.
    """

    def __init__(self) -> None:
        remove(orphans())
        mark = f"{PREFIX}-{os.getpid()}-{start_of(os.getpid())}-{next(_NUMBERS)}"
        self.client, self.server = f"{mark}-client", f"{mark}-server"
        self._janitor = subprocess.Popen(
            [sys.executable, "-I", "-S", janitor.__file__, str(os.getpid()), self.client, self.server],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            for name in (self.client, self.server):
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise

    @property
    def files(self) -> tuple[Path, Path]:
        """The namespaces as files."""
        return NAMESPACES / self.client, NAMESPACES / self.server

    def connect(self, device: str, receive_buffer_bytes: int) -> None:
        """Give the devices of both ends their addresses, and TCP its buffers; no memory of earlier paths."""
        for name, address in ((self.client, CLIENT_ADDRESS), (self.server, SERVER_ADDRESS)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", device)
            ip("-n", name, "link", "set", device, "txqueuelen", "10000", "mtu", "1500", "up")
            for key, value in (
                ("tcp_no_metrics_save", "1"),
                ("tcp_rmem", f"4096 131072 {receive_buffer_bytes}"),
                ("tcp_wmem", f"4096 16384 {max(receive_buffer_bytes, 1 << 26)}"),
            ):
                ip("netns", "exec", name, "sh", "-c", f"echo {value} > /proc/sys/net/ipv4/{key}")

    def close(self) -> None:
        """Remove both namespaces and end what still runs in them."""
        if self._janitor.stdin is not None:
            self._janitor.stdin.close()
        self._janitor.wait()
        remove([self.client, self.server])  # if the janitor was killed


def ip(*words: str) -> None:
    """Run iproute2's ``ip``.

    Raises:
        InputError: If it fails, with its last line.
    """
    run = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if run.returncode:
        said = (run.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InputError(f"ip {' '.join(words)}", "", said)
