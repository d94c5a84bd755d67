"""Two processes move payloads for real: broken streams, wrong baselines, killed receivers, all end right."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xxhash

from sim.testbed.frames import Kind, Wire
from sim.testbed.mover import MoveError, mover
from sim.testbed.orders import Order
from sim.testbed.payload_making import Made
from sim.testbed.receiver import check_address, listen
from sim.testbed.sending import connected

pytestmark = pytest.mark.usefixtures("sockets")
ROOT = Path(__file__).parents[3]


class Payload:
    """A file that zstd-3 makes a fourth of, and its digest."""

    def __init__(self, path, size=6_000_000, seed=0, like=None, flips=50):
        rng = np.random.default_rng(seed)
        if like is None:
            content = Made(4.0, rng).fresh(size)
        else:
            content = np.fromfile(like.path, np.uint8)
            content[:: len(content) // flips] ^= 1
        content.tofile(path)
        self.path, self.size = path, len(content)
        self.digest = xxhash.xxh3_128_hexdigest(content.data)

    def order(self, transfer, codec="none", streams=1, **more):
        return Order(transfer, 7, codec, streams, str(self.path), self.digest, **more)


@pytest.fixture
def payload(tmp_path):
    return Payload(tmp_path / "old")


def moved(*orders, **settings):
    async def run():
        async with mover(**settings) as both:
            return [await both.move(order) for order in orders]

    return asyncio.run(asyncio.wait_for(run(), 120))


def test_every_codec_brings_all_bytes_over_and_says_what_it_cost(payload):
    names = (("none", 1), ("zstd", 1), ("zstd-9", 1), ("hde", 1), ("amst", 8), ("amst-32", 32))
    ended = moved(*(payload.order(n, codec, streams) for n, (codec, streams) in enumerate(names)))
    for one in ended:
        assert (one.size_bytes, one.attempts, one.is_delta) == (payload.size, 1, False)
        assert 0 < one.first_s < one.seconds
    none, zstd, best, hde, amst, _ = ended
    assert none.wire_bytes > payload.size and amst.wire_bytes > payload.size
    assert best.wire_bytes < zstd.wire_bytes < 0.3 * payload.size
    assert zstd.encode_cpu_s > none.encode_cpu_s
    assert hde.wire_bytes == pytest.approx(zstd.wire_bytes, rel=0.05)


def test_an_empty_payload_arrives(tmp_path):
    empty = Payload(tmp_path / "empty", size=0)
    for one in moved(empty.order(0), empty.order(1, "zstd"), empty.order(2, "amst", 4)):
        assert one.size_bytes == 0 and one.attempts == 1


def test_a_delta_is_sent_against_the_kept_baseline(payload, tmp_path):
    new = Payload(tmp_path / "new", like=payload)
    whole, delta = moved(
        payload.order(0, "hde", keep=True),
        new.order(1, "hde", baseline=str(payload.path), baseline_digest=payload.digest),
    )
    assert delta.is_delta and not whole.is_delta
    assert delta.wire_bytes < whole.wire_bytes / 20


def test_a_missing_baseline_is_answered_by_a_full_resend(payload, tmp_path):
    new = Payload(tmp_path / "new", like=payload)
    again = Payload(tmp_path / "again", like=new)
    first, second = moved(
        new.order(0, "hde", keep=True, baseline=str(payload.path), baseline_digest=payload.digest),
        again.order(1, "hde", keep=True, baseline=str(new.path), baseline_digest=new.digest),
    )
    assert first.attempts == 2 and not first.is_delta
    assert second.is_delta  # what was sent whole has become the baseline


def test_a_baseline_that_is_another_than_it_says_never_gives_wrong_bytes(payload, tmp_path):
    other = Payload(tmp_path / "other", like=payload, flips=99)
    new = Payload(tmp_path / "new", like=other)
    _, ended = moved(
        payload.order(0, "hde", keep=True),
        new.order(1, "hde", keep=True, baseline=str(other.path), baseline_digest=payload.digest),
    )
    assert ended.attempts == 2 and not ended.is_delta  # the digest at the end was not the announced one


def test_a_forgotten_baseline_is_resent(payload, tmp_path):
    new = Payload(tmp_path / "new", like=payload)

    async def run():
        async with mover() as both:
            await both.move(payload.order(0, "hde", keep=True))
            await both.forget(7)
            await asyncio.sleep(0.3)
            return await both.move(
                new.order(1, "hde", keep=True, baseline=str(payload.path), baseline_digest=payload.digest)
            )

    assert asyncio.run(asyncio.wait_for(run(), 120)).attempts == 2


@pytest.mark.parametrize(("codec", "streams"), [("none", 1), ("zstd", 1), ("amst", 8)])
def test_broken_connections_resume_from_what_was_acknowledged(payload, codec, streams):
    (ended,) = moved(payload.order(0, codec, streams, break_share=0.3))
    assert ended.reconnects >= streams and ended.attempts == 1
    assert ended.wire_bytes < 1.9 * (payload.size if codec != "zstd" else payload.size / 4)


def test_a_payload_that_is_not_as_announced_is_given_up(payload):
    with pytest.raises(MoveError, match="digest"):
        moved(payload.order(0)._replace(digest="0" * 32))


def test_a_receiver_killed_amid_a_transfer_and_started_again_gets_it_whole(tmp_path):
    payload = Payload(tmp_path / "large", size=80_000_000)
    port = listen("127.0.0.1").getsockname()[1]

    def start():
        command = [sys.executable, "-m", "sim.testbed.receiver", "--port", str(port)]
        running = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert json.loads(running.stdout.readline())["listening"] == ["127.0.0.1", port]
        return running

    async def run():
        receivers = [start()]
        try:
            async with mover(reach=lambda _: ("127.0.0.1", port)) as both:
                moving = asyncio.create_task(both.move(payload.order(0, "zstd")))
                while not (moving.done() or (0 in both.progress and both.progress[0].decoded_bytes)):
                    await asyncio.sleep(0.005)
                receivers[0].kill()
                receivers[0].wait()
                receivers.append(start())
                return await moving
        finally:
            for receiver in receivers:
                receiver.kill()
                receiver.wait()

    ended = asyncio.run(asyncio.wait_for(run(), 120))
    assert ended.attempts == 2 and ended.size_bytes == payload.size


def test_a_sender_killed_amid_a_transfer_is_an_error_not_a_wait(tmp_path):
    payload = Payload(tmp_path / "large", size=80_000_000)

    async def run():
        async with mover() as both:
            moving = asyncio.create_task(both.move(payload.order(0, "zstd-9")))
            await asyncio.sleep(0.2)
            os.kill(both.pids[0], signal.SIGKILL)
            await moving

    with pytest.raises(MoveError, match="has ended"):
        asyncio.run(asyncio.wait_for(run(), 120))


def test_memory_stays_bounded_while_more_is_moved(tmp_path):
    payload = Payload(tmp_path / "large", size=150_000_000)

    async def run():
        async with mover() as both:
            both_moved = [both.move(payload.order(n, codec, 4)) for n, codec in enumerate(("none", "amst-4"))]
            await asyncio.gather(*both_moved)
            statuses = [Path(f"/proc/{pid}/status").read_text() for pid in both.pids]
        return max(int(status.split("RssAnon:")[1].split()[0]) * 1024 for status in statuses)

    if not Path("/proc/self/status").exists():
        pytest.skip("memory of a process is read from /proc, which is not here")
    assert asyncio.run(asyncio.wait_for(run(), 120)) < 150e6  # of two payloads of 150 MB


def test_a_frame_that_is_too_long_or_no_frame_is_refused_with_a_reason():
    async def run(words):
        async with mover() as both:
            assert both
            wire = Wire(await connected(both.address, "cubic"))
            await asyncio.get_running_loop().sock_sendall(wire._socket, words)
            answer = await wire.receive()
            wire.close()
            return answer

    too_long = bytes([Kind.OPEN]) + bytes(3) + (1 << 30).to_bytes(4, "big") + bytes(24)
    for words, reason in (
        (too_long, "at most 65536 bytes"),
        (b"GET / HTTP/1.1\r\n" + bytes(64), "kind of frame"),
    ):
        answer = asyncio.run(asyncio.wait_for(run(words), 120))
        assert answer.kind is Kind.REFUSE and reason in answer.words["problem"]


def test_it_listens_on_the_loopback_and_elsewhere_only_when_told():
    check_address("127.0.0.1", anywhere=False)
    check_address("192.0.2.5", anywhere=True)
    with pytest.raises(ValueError, match=r"neither loopback nor .*--listen 192\.0\.2\.5"):
        check_address("192.0.2.5", anywhere=False, machine="")
    command = [sys.executable, "-m", "sim.testbed.receiver", "--bind", "192.0.2.5"]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 1
