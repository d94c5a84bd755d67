"""Pieces on their way: what is sent first and again, in which order it is decoded, and how much may wait."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
import xxhash

from sim.testbed.coding import CopyDecoder, ZstdCodec
from sim.testbed.inbox import EARLY, Inbox, SpoiledError
from sim.testbed.outbox import Outbox


async def waits(doing):
    """Whether something does not come to an end by itself."""
    task = asyncio.ensure_future(doing)
    await asyncio.sleep(0.02)
    if task.done():
        return False
    task.cancel()
    return True


def test_pieces_leave_in_order_and_come_back_when_their_connection_broke():
    async def run():
        box = Outbox(connections=2)
        for piece in (b"a", b"bb", b"ccc", None):
            await box.put(piece)
        assert await box.take(-1) == (0, b"a")
        assert await box.take(-1) == (1, b"bb")
        assert await box.take(0) == (2, b"ccc")
        await box.acknowledge(1)
        assert box.held_bytes == 5
        await box.take_back({0, 1})  # of these 0 is acknowledged
        assert await box.take(2) == (3, None)  # who has taken 2 takes none before it
        assert await box.take(-1) == (1, b"bb")
        assert await waits(box.take(-1))

    asyncio.run(asyncio.wait_for(run(), 120))


def test_the_encoder_waits_while_too_much_is_ready_or_not_acknowledged():
    async def run():
        box = Outbox(connections=1, most_bytes=10)
        await box.put(b"12345")
        await box.put(b"12345")
        assert await waits(box.put(b"more"))
        for place in range(2):
            await box.take(place - 1)
        assert await waits(box.put(b"more"))  # sent, but not acknowledged
        await box.acknowledge(1)
        await box.put(b"more")
        assert box.held_bytes == 9

    asyncio.run(asyncio.wait_for(run(), 120))


def test_the_encoder_goes_on_when_what_came_back_turns_out_to_have_arrived():
    async def run():
        box = Outbox(connections=1)
        await box.put(b"first")
        await box.put(b"second")
        await box.take_back({place for place, _ in (await box.take(-1), await box.take(0))})
        putting = asyncio.ensure_future(box.put(b"third"))
        await asyncio.sleep(0)
        await box.acknowledge(2)  # heard on the new connection, before it has taken any
        await asyncio.sleep(0)
        assert await box.take(-1) == (2, b"third")
        await putting

    asyncio.run(asyncio.wait_for(run(), 10))


def test_a_piece_is_kept_for_each_connection_until_they_are_shared_out():
    async def run():
        box = Outbox(connections=3)
        for piece in (b"a", b"b", b"c"):
            await box.put(piece)
        assert await box.take(-1) == (0, b"a")
        assert await waits(box.take(0))  # two pieces for the two that have had none
        assert await box.take(-1) == (1, b"b")
        assert await waits(box.take(1))
        await box.share_out()  # the third is late
        assert await box.take(0) == (2, b"c")

    asyncio.run(asyncio.wait_for(run(), 120))


def received(pieces, raw, *, keep=False, codec=None, digest=None):
    async def run():
        with ThreadPoolExecutor(1) as pool:
            decoder = codec.decoder() if codec else CopyDecoder()
            digested = digest or xxhash.xxh3_128_hexdigest(raw)
            box = Inbox(decoder, len(raw), digested, keep=keep, pool=pool)
            seen = []
            decoding = asyncio.create_task(box.decode(lambda *done: seen.append(done)))
            for place, piece in pieces:
                await box.put(place, bytearray(piece))
            await box.end(len({place for place, _ in pieces}))
            await decoding
            return seen, box.kept

    return asyncio.run(asyncio.wait_for(run(), 120))


def test_pieces_are_decoded_in_order_however_they_come_and_doubles_are_dropped():
    seen, kept = received([(2, b"c"), (0, b"aa"), (2, b"x"), (1, b"b"), (0, b"y")], b"aabc", keep=True)
    assert (seen, kept) == ([(1, 2), (2, 3), (3, 4)], b"aabc")


def test_another_digest_another_size_or_a_torn_stream_is_found():
    raw = bytes(range(200)) * 1000
    pieces = list(enumerate(ZstdCodec().encode(raw)))
    assert received(pieces, raw, codec=ZstdCodec())[0][-1][1] == len(raw)
    for spoiled, told, reason in (
        ([(0, b"ab")], b"abc", "expected 3 bytes, got 2"),
        ([(0, b"abcd")], b"abc", "got more"),
        ([(0, b"abd")], b"abc", "digest"),
    ):
        with pytest.raises(SpoiledError, match=reason):
            received(spoiled, told)
    with pytest.raises(SpoiledError, match="cannot be decoded"):
        received(pieces[:-1], raw, codec=ZstdCodec())
    with pytest.raises(SpoiledError, match="cannot be decoded"):
        received([(0, b"no zstd frame")], raw, codec=ZstdCodec())


def test_a_connection_far_ahead_waits_and_the_one_whose_turn_it_is_does_not():
    async def run():
        with ThreadPoolExecutor(1) as pool:
            box = Inbox(CopyDecoder(), 2 * EARLY, "", keep=False, pool=pool)
            await box.put(1, bytearray(EARLY))
            assert await waits(box.put(2, bytearray(1)))
            assert not await waits(box.put(0, bytearray(1)))

    asyncio.run(asyncio.wait_for(run(), 120))
