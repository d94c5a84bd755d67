"""A loopback held to a rate and a delay in user space: what stands in for a path where none can be made.

A process of its own relays connections. Bytes of all of them go through one token bucket in each direction
and then through a delay line; what is not yet through is bounded by a bandwidth-delay product and a queue, so
the sender feels the rate. There is neither loss nor slow start: small transfers are faster than on a path.
"""

import asyncio
import json
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from sim.errors import InputError
from sim.units import KIB

_PIECE: Final = 64 * KIB
_BURST_S: Final = 0.002
"""What the bucket holds, in seconds of the rate: shorter waits than this are not worth a timer."""
_PATIENCE_S: Final = 5.0


class ShapedLoopback:
    """A relaying process; it ends with this one.

    Args:
        rate_bytes_s: Bytes/s of payload in either direction, for all connections together.
        rtt_s: Seconds there and back.
        capacity: Steps of the rate: seconds since the start, bytes/s.

    Raises:
        InputError: If the process does not start.
    """

    def __init__(self, rate_bytes_s: float, rtt_s: float, capacity: Sequence[tuple[float, float]]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sim.testbed.loopback", json.dumps([rate_bytes_s, rtt_s, list(capacity)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._ports: dict[int, int] = {}

    def reach(self, port: int) -> int:
        """Port of the loopback that leads, shaped, to this one."""
        if port not in self._ports:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.write(f"{port}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline().strip()
            if not answer:
                raise InputError("shaped loopback", "", "has died; its last words are above")
            self._ports[port] = int(answer)
        return self._ports[port]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Bucket:
    """Tokens for bytes, filled at the rate of the moment; they are served in turn."""

    def __init__(self, rate_bytes_s: float, capacity: Sequence[tuple[float, float]], start_s: float) -> None:
        self._times = [start_s + time_s for time_s, _ in capacity]
        self._rates = [rate_bytes_s, *(rate for _, rate in capacity)]
        self._free_at_s = start_s

    def leave(self, length: int, now_s: float) -> float:
        """When the last of ``length`` bytes that come now has left.

        >>> bucket = Bucket(100.0, [(1.0, 50.0)], 0.0)
        >>> bucket.leave(50, 0.0), bucket.leave(100, 0.0)
        (0.5, 2.0)
        """
        time_s, left = max(now_s, self._free_at_s), float(length)
        place = bisect_right(self._times, time_s)
        for end_s, rate in zip([*self._times[place:], float("inf")], self._rates[place:], strict=True):
            if left <= rate * (end_s - time_s):
                time_s += left / rate
                break
            left -= rate * (end_s - time_s)
            time_s = end_s
        self._free_at_s = time_s
        return time_s


async def _shape(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bucket: Bucket, delay_s: float
) -> None:
    """Relay one direction of one connection."""
    clock = asyncio.get_running_loop()
    line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        while True:
            due_s, piece = await line.get()
            if (wait_s := due_s - clock.time()) > 0:
                await asyncio.sleep(wait_s)
            if not piece:
                break
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    delivering = asyncio.create_task(deliver())
    try:
        while piece := await reader.read(_PIECE):
            left_s = bucket.leave(len(piece), clock.time())
            line.put_nowait((left_s + delay_s, piece))
            if (wait_s := left_s - clock.time() - _BURST_S) > 0:
                await asyncio.sleep(wait_s)
        line.put_nowait((clock.time() + delay_s, b""))
        await delivering
    except ConnectionError:
        delivering.cancel()
        writer.close()


async def _relay(rate_bytes_s: float, rtt_s: float, capacity: Sequence[tuple[float, float]]) -> None:
    """Open a port for every port named at standard input, until it ends."""
    clock = asyncio.get_running_loop()
    there, back = (Bucket(rate_bytes_s, capacity, clock.time()) for _ in range(2))
    relays: list[asyncio.Server] = []

    async def open_port(port: int) -> asyncio.Server:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                writer.close()
                return
            await asyncio.gather(
                _shape(reader, far_writer, there, rtt_s / 2), _shape(far_reader, writer, back, rtt_s / 2)
            )
            far_writer.close()
            writer.close()

        return await asyncio.start_server(serve, "127.0.0.1", 0, limit=_PIECE)

    while line := await asyncio.to_thread(sys.stdin.readline):
        server = await open_port(int(line))
        relays.append(server)
        print(server.sockets[0].getsockname()[1], flush=True)


if __name__ == "__main__":
    rate, rtt, steps = json.loads(sys.argv[1])
    try:
        asyncio.run(_relay(rate, rtt, [(time_s, step) for time_s, step in steps]))
    except KeyboardInterrupt:
        sys.exit(130)
