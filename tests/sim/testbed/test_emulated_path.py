"""Emulated paths are what was asked for, measured with plain sockets, and nothing of them stays."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from math import inf
from pathlib import Path

import pytest

from sim.testbed import janitor
from sim.testbed.emulator import emulator
from sim.testbed.namespaces import Pair
from sim.testbed.paths import Ends, PathSettings, emulated_path, missing
from sim.units import MBIT, MS

PAYLOAD_SHARE = 1448 / 1500

SERVER = """
import json, socket, sys, time
listening = socket.create_server((sys.argv[1], 0))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if sys.argv[1] != "127.0.0.1":
    udp.setsockopt(socket.SOL_SOCKET, 33, 1 << 25)  # SO_RCVBUFFORCE: none is to be lost in a slow receiver
udp.bind((sys.argv[1], 0))
print(json.dumps([listening.getsockname()[1], udp.getsockname()[1]]), flush=True)
kind = sys.stdin.readline().strip()
if kind == "tcp":
    connection, _ = listening.accept()
    seen = []
    count = 0
    while piece := connection.recv(1 << 18):
        count += len(piece)
        seen.append((time.perf_counter(), count))
    begin = next(row for row in seen if row[1] >= count // 3)
    print((count - begin[1]) / (seen[-1][0] - begin[0]))
elif kind == "udp":
    udp.settimeout(1.0)
    count = 0
    try:
        while udp.recv(2048):
            count += 1
    except TimeoutError:
        print(count)
sys.stdin.read()
"""
FLOOD = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
piece = bytes(1 << 18)
for _ in range(int(sys.argv[3]) // len(piece)):
    connection.sendall(piece)
"""
KNOCK = """
import socket, sys, time
spent = []
for _ in range(15):
    start = time.perf_counter()
    socket.create_connection((sys.argv[1], int(sys.argv[2]))).close()
    spent.append(time.perf_counter() - start)
print(min(spent))
"""
SPRAY = """
import socket, sys, time
sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(int(sys.argv[3])):
    sending.sendto(bytes(200), (sys.argv[1], int(sys.argv[2])))
    if number % 20 == 19:
        time.sleep(0.002)
"""
HOLD = """
import sys, time
from sim.testbed.paths import PathSettings, emulated_path
with emulated_path(PathSettings(12.5e6, 0.02)) as ends:
    print(ends.client, ends.server, flush=True)
    if sys.argv[1] == "raise":
        raise RuntimeError
    time.sleep(60)
"""


@contextmanager
def path(**settings: float) -> Iterator[Ends]:
    """A path between namespaces; where there can be none, the test is skipped, and says why."""
    if missing():
        pytest.skip(missing())
    with emulated_path(PathSettings(**settings)) as ends:  # type: ignore[arg-type]
        if ends.why_not:
            pytest.skip(ends.why_not)
        yield ends


def measured(ends: Ends, kind: str, client: str, *words: str) -> str:
    """What a server at one end saw of a client at the other, or the client measured itself. Both end."""
    with ExitStack() as processes:

        def start(side: str | None, *command: str) -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                [*ends.enter(side), sys.executable, "-ISc", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            processes.enter_context(process)
            processes.callback(process.kill)
            return process

        server = start(ends.server, SERVER, ends.server_address)
        assert server.stdout is not None and server.stdin is not None
        tcp, udp = json.loads(server.stdout.readline())
        server.stdin.write(kind + "\n")
        server.stdin.flush()
        port = udp if kind == "udp" else ends.reach(tcp).port
        sending = start(ends.client, client, ends.server_address, str(port), *words)
        said = sending.communicate(timeout=60)[0]
        seen = server.communicate(timeout=60)[0]
    assert sending.returncode == 0
    return seen if seen.strip() else said


def best_goodput(ends: Ends, wanted: float, sent_bytes: float, rel: float) -> float:
    """Of a few streams, bytes/s: other work only takes away, so one gets what is wanted, none more."""
    best = 0.0
    for _ in range(6):
        best = max(best, float(measured(ends, "tcp", FLOOD, str(int(sent_bytes)))))
        if best >= wanted * (1 - rel):
            break
    return best


@pytest.mark.parametrize(("rate", "rtt"), [(20, 1), (100, 50), (500, 20)])
def test_one_stream_gets_the_payload_of_the_rate_that_was_set(rate, rtt):
    wanted, seconds = rate * MBIT * PAYLOAD_SHARE, max(1.5, 40 * rtt * MS)
    with path(rate_bytes_s=rate * MBIT, rtt_s=rtt * MS) as ends:
        goodput = best_goodput(ends, wanted, rate * MBIT * seconds, 0.05)
    assert goodput == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("rtt", [1, 20, 150])
def test_a_handshake_takes_the_round_trip_that_was_set(rtt):
    """Other work only adds: the quickest of a few tries; up to 0.3 ms for the hosts, or against it."""
    tolerance = 0.05 * rtt * MS + 0.3 * MS
    with path(rate_bytes_s=500 * MBIT, rtt_s=rtt * MS) as ends:
        handshake_s = inf
        for _ in range(5):
            handshake_s = min(handshake_s, float(measured(ends, "none", KNOCK)))
            if handshake_s <= rtt * MS + tolerance:
                break
    assert abs(handshake_s - rtt * MS) <= tolerance


def test_the_share_of_packets_that_are_lost_is_the_one_that_was_set():
    sent, loss = 20_000, 0.01
    with path(rate_bytes_s=500 * MBIT, rtt_s=1 * MS, loss=loss) as ends:
        arrived = int(measured(ends, "udp", SPRAY, str(sent)))
    assert ends.carried is not None
    assert ends.carried[0].lost == sent - arrived  # all that was lost was lost on purpose
    assert abs(sent - arrived - loss * sent) <= 4 * (sent * loss * (1 - loss)) ** 0.5


def test_a_queue_holds_what_was_set_and_drops_the_rest():
    """80 packets of 228 bytes at once: one leaves, 1500 * 8 bytes wait, the rest find no room."""
    burst = SPRAY.replace("if number % 20 == 19", "if False")
    with path(rate_bytes_s=0.01 * MBIT, rtt_s=1 * MS, buffer_bytes=1500 * 8) as ends:
        measured(ends, "none", burst, "80")
    assert ends.carried is not None
    assert ends.carried[0].dropped == 80 - 1500 * 8 // 228


def test_the_rate_follows_the_steps_of_a_trace():
    steps = ((0.5, 10 * MBIT), (60.0, 20 * MBIT))
    wanted = 10 * MBIT * PAYLOAD_SHARE
    with path(rate_bytes_s=100 * MBIT, rtt_s=5 * MS, capacity=steps) as ends:
        time.sleep(0.5)
        goodput = best_goodput(ends, wanted, 2.5e6, 0.06)
    assert goodput == pytest.approx(wanted, rel=0.06)


def left_of(names: list[str]) -> list[str]:
    """Namespaces of these names, and processes that have one of them in their command line."""
    left = [name for name in names if (janitor.NAMESPACES / name).exists()]
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes()
        except OSError:
            continue
        left += [str(file) for name in names if name.encode() in words]
    return left


def held(how: str) -> tuple["subprocess.Popen[str]", list[str]]:
    """A process that holds a path, and the namespaces of that."""
    if missing():
        pytest.skip(missing())
    emulator()
    root = Path(__file__).parents[3]
    words = [sys.executable, "-c", HOLD, how]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    holder = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    assert holder.stdout is not None
    names = holder.stdout.readline().split()
    if names[0] == "None":
        holder.kill()
        pytest.skip("namespaces are not permitted")
    return holder, names


@pytest.mark.parametrize("end", ["raise", "SIGINT", "SIGTERM", "SIGKILL"])
def test_nothing_of_a_path_stays_however_its_maker_ends(end):
    holder, names = held(end)
    inside = subprocess.Popen(["ip", "netns", "exec", names[0], "sleep", "60"])
    if end != "raise":
        holder.send_signal(signal.Signals[end])
    holder.wait(timeout=60)
    until = time.monotonic() + 60
    while left_of(names) and time.monotonic() < until:
        inside.poll()
        time.sleep(0.02)
    assert left_of(names) == []
    assert inside.wait(timeout=60) != 0


def test_what_a_killed_janitor_left_goes_when_the_next_path_is_made():
    holder, names = held("wait")
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
    keeper = next(pid for pid in children if b"janitor" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(int(keeper), signal.SIGKILL)
    holder.kill()
    holder.wait(timeout=60)
    assert [name for name in names if (janitor.NAMESPACES / name).exists()] == names
    Pair().close()
    assert [name for name in names if (janitor.NAMESPACES / name).exists()] == []


def test_a_namespace_of_a_living_maker_is_no_orphan():
    with path(rate_bytes_s=1 * MBIT, rtt_s=1 * MS) as ends:
        assert {ends.client, ends.server}.isdisjoint(janitor.orphans())


def test_without_namespaces_the_loopback_is_held_to_the_rate_and_says_why(monkeypatch):
    monkeypatch.setattr("sim.testbed.paths.missing", lambda: "network namespaces need root")
    with emulated_path(PathSettings(40 * MBIT, 40 * MS)) as ends:
        assert (ends.client, ends.why_not) == (None, "network namespaces need root")
        goodput = best_goodput(ends, 40 * MBIT, 40 * MBIT * 1.5, 0.4)
    assert 0.6 * 40 * MBIT <= goodput <= 1.1 * 40 * MBIT  # less where other work keeps the proxy waiting


@pytest.mark.parametrize(
    ("wrong", "way_out"),
    [
        ({"loss": 1.0}, "write 1 % as 0.01"),
        ({"rtt_s": 50.0}, "write 50 ms as 0.05"),
        ({"jitter_s": 1.0}, "rtt_s"),
    ],
)
def test_settings_that_no_path_can_have_are_refused_with_the_way_out(wrong, way_out):
    with pytest.raises(ValueError, match=way_out):
        PathSettings(**{"rate_bytes_s": 1e6, "rtt_s": 0.01, **wrong})
