"""Emulated paths on this machine: between network namespaces where permitted, else a shaped loopback."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from sim.errors import InputError
from sim.testbed.emulator import DEVICE, Carried, Emulator, compiler, emulator
from sim.testbed.loopback import ShapedLoopback
from sim.testbed.namespaces import SERVER_ADDRESS, Pair
from sim.units import KIB, MIB

PACKET_BYTES: Final = 1500
_FEWEST_PACKETS: Final = 64
_SHORTEST_FILLED_S: Final = 0.01
_GRAIN_SHARE: Final = 1 / 50
_GRAINS_S: Final = (100e-6, 250e-6)
"""Packets that arrive within a grain are handed on together, in the middle of it; it is a 50th of the round
trip within these bounds. At 500 Mbit/s and 1 ms the emulator took 0.85 cores with a grain of 20 us and 0.55
with 100, and transfers took as long (measured)."""


@dataclass(frozen=True)
class PathSettings:
    """What a path is to be.

    Attributes:
        rate_bytes_s: Bottleneck in either direction, IP headers included, above 0; the measure of `sim`'s
            capacity.
        rtt_s: Round trip without queueing, at least 0; half of it in each direction.
        loss: Share of the packets from client to server that are lost at random, in [0, 1).
        buffer_bytes: Drop-tail queue at the bottleneck; None is one bandwidth-delay product, but at least 64
            packets and what 10 ms hold.
        jitter_s: Width of the range in which each direction's delay varies, anew every 10 ms; no packet
            overtakes another.
        capacity: Steps (seconds since the path is there, bytes/s from then on), in order of time; before the
            first the rate is ``rate_bytes_s``.
        receive_buffer_bytes: Largest receive buffer of a stream; Linux uses 0.5 to 0.61 of it as window.
        seed: Of losses and jitter.
    """

    rate_bytes_s: float
    rtt_s: float
    loss: float = 0.0
    buffer_bytes: float | None = None
    jitter_s: float = 0.0
    capacity: tuple[tuple[float, float], ...] = ()
    receive_buffer_bytes: int = 64 * MIB
    seed: int = 1

    def __post_init__(self) -> None:
        if not self.rate_bytes_s > 0:
            raise ValueError(f"path rate_bytes_s must be above 0, got {self.rate_bytes_s}")
        if not 0 <= self.rtt_s <= 10:
            raise ValueError(f"path rtt_s must be in [0, 10] seconds, got {self.rtt_s}; write 50 ms as 0.05")
        if not 0 <= self.loss < 1:
            raise ValueError(f"path loss must be a share in [0, 1), got {self.loss}; write 1 % as 0.01")
        if self.buffer_bytes is not None and self.buffer_bytes < PACKET_BYTES:
            raise ValueError(f"path buffer_bytes must hold a packet of 1500, got {self.buffer_bytes}")
        if not 0 <= self.jitter_s <= self.rtt_s:
            raise ValueError(f"path jitter_s must be in [0, rtt_s], got {self.jitter_s}")
        if self.receive_buffer_bytes < 64 * KIB:
            raise ValueError(
                f"path receive_buffer_bytes must be at least 64 KiB, got {self.receive_buffer_bytes}"
            )
        times = [time_s for time_s, _ in self.capacity]
        if times != sorted(times) or any(rate < 0 for _, rate in self.capacity):
            raise ValueError("path capacity must be steps (seconds, bytes/s >= 0) in order of time")

    @property
    def queue_bytes(self) -> float:
        """Bytes that the queue holds.

        >>> PathSettings(12.5e6, 0.08).queue_bytes, PathSettings(2.5e6, 0.001).queue_bytes
        (1000000.0, 96000)
        """
        if self.buffer_bytes is not None:
            return self.buffer_bytes
        filled = self.rate_bytes_s * max(self.rtt_s, _SHORTEST_FILLED_S)
        return max(filled, _FEWEST_PACKETS * PACKET_BYTES)


class Reach(NamedTuple):
    """Where to connect."""

    address: str
    port: int


@dataclass
class Ends:
    """Both ends of a path that stands.

    Attributes:
        client: Namespace in which to start what sends; None is where this process is.
        server: Namespace in which to start what receives; None is where this process is.
        server_address: Where what receives has to bind, at any port.
        why_not: Why this is a shaped loopback, in one line; empty for a path between namespaces.
        carried: Once the path is gone: packets from client to server and back, where they were counted.
    """

    client: str | None
    server: str | None
    server_address: str
    why_not: str = ""
    carried: tuple[Carried, Carried] | None = None
    _reach: Callable[[int], int] = field(default=int, repr=False)

    def reach(self, port: int) -> Reach:
        """Where the client has to connect to come to what listens at ``port`` of the server."""
        return Reach(self.server_address, self._reach(port))

    def enter(self, namespace: str | None) -> list[str]:
        """Words to put before a command so that it runs at an end."""
        return [] if namespace is None else ["ip", "netns", "exec", namespace]


def missing() -> str:
    """What is missing for paths between namespaces, in one line; empty if they can be tried."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun: load the module tun, or give it to the container"
    if shutil.which("ip") is None:
        return "there is no `ip`: install iproute2"
    if compiler() is None:
        return "there is no C compiler for the path emulator: install gcc or clang, or set CC"
    return ""


@contextmanager
def emulated_path(settings: PathSettings) -> Iterator[Ends]:
    """A path on this machine, for as long as the context lasts.

    Where `missing` finds nothing, and the kernel permits it, both ends are network namespaces that only this
    path joins: rate, queue, delay, jitter and loss act on each packet. Else it is the loopback behind a proxy
    that holds bytes back to the rate and the delay: no loss, no slow start, and ``why_not`` says so.

    What was made goes when the context ends or this process does, whatever ended it; processes that still run
    in the namespaces are killed.
    """
    why_not = missing()
    pair = None
    if not why_not:
        try:
            emulator()
            pair = Pair()
            engine = _engine(pair, settings)
        except InputError as error:
            why_not = str(error)
            if pair is not None:
                pair.close()
    if why_not:
        loopback = ShapedLoopback(settings.rate_bytes_s, settings.rtt_s, settings.capacity)
        try:
            yield Ends(None, None, "127.0.0.1", why_not, _reach=loopback.reach)
        finally:
            loopback.close()
        return
    assert pair is not None
    ends = Ends(pair.client, pair.server, SERVER_ADDRESS)
    try:
        yield ends
    finally:
        ends.carried = engine.close()
        pair.close()


def _engine(pair: Pair, settings: PathSettings) -> Emulator:
    """The emulator of a pair of namespaces, and addresses at both ends of it."""
    shortest, longest = _GRAINS_S
    grain_s = min(max(settings.rtt_s * _GRAIN_SHARE, shortest), longest)
    numbers = (
        settings.rate_bytes_s,
        settings.rtt_s,
        settings.loss,
        settings.queue_bytes,
        settings.jitter_s,
        grain_s,
        settings.seed,
    )
    engine = Emulator(*pair.files, numbers, settings.capacity)
    try:
        pair.connect(DEVICE, settings.receive_buffer_bytes)
    except BaseException:
        engine.close()
        raise
    return engine
