"""Real codecs: what comes out is what went in, piece by piece, and a wrong stream is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.codecs import CODECS

pytest.importorskip("backports.zstd", reason="real codecs need the extra: pip install 'dwcp-gym[testbed]'")
pytest.importorskip("lz4.frame", reason="real codecs need the extra: pip install 'dwcp-gym[testbed]'")

import lz4.frame
from backports import zstd

from sim.testbed.codecs import real_codec, real_codecs
from sim.testbed.coding import CHUNK_BYTES, MOST_RAW, Buffer, RealCodec
from sim.testbed.delta_coding import BLOCK_BYTES, HdeCodec, changed_blocks

NAMES = tuple(real_codecs())
WITH_BASELINE = ("hde", "hde_prefix", "hde_xor")


def round_trip(codec: RealCodec, payload: Buffer, baseline: Buffer | None) -> tuple[bytes, int]:
    """What comes out at the other end, and the bytes that went over."""
    decoder, raw, sent = codec.decoder(baseline), b"", 0
    for piece in codec.encode(payload, baseline):
        sent += len(piece)
        raw += bytes(decoder.feed(piece))
    decoder.finish()
    return raw, sent


def text(size: int, seed: int) -> bytes:
    """Compressible content: words of a small vocabulary."""
    rng = np.random.default_rng(seed)
    words = rng.integers(97, 123, size=(200, 8), dtype=np.uint8)
    return words[rng.integers(200, size=size // 8 + 1)].tobytes()[:size]


contents = st.one_of(
    st.binary(max_size=200),
    st.builds(text, st.integers(0, 5 * BLOCK_BYTES), st.integers(0, 3)),
    st.builds(
        lambda count, tail: bytes(count * BLOCK_BYTES) + tail, st.integers(0, 4), st.binary(max_size=9)
    ),
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(payload=contents, baseline=st.none() | contents)
def test_decoding_gives_back_what_was_encoded(name, payload, baseline):
    assert round_trip(real_codecs()[name], payload, baseline)[0] == payload


@pytest.mark.parametrize("name", NAMES)
def test_payloads_of_several_pieces_come_back_from_views_of_memory(name):
    old = bytearray(text(5 * CHUNK_BYTES + 1234, 1))
    new = bytearray(old)
    new[3 * CHUNK_BYTES + 17 : 3 * CHUNK_BYTES + 90_000] = text(90_000 - 17, 2)
    raw, _ = round_trip(real_codecs()[name], memoryview(new), memoryview(old))
    assert raw == new


@pytest.mark.parametrize("name", NAMES)
def test_each_piece_is_decodable_when_it_arrives(name):
    payload = text(4 * CHUNK_BYTES, 1)
    codec = real_codecs()[name]
    decoder, known = codec.decoder(bytes(len(payload))), 0
    for made, piece in enumerate(codec.encode(payload, bytes(len(payload)))):
        known += len(decoder.feed(piece))
        assert known >= min(made, 4) * CHUNK_BYTES
    assert known == len(payload)


def test_pages_changed_in_place_cost_their_own_size():
    rng = np.random.default_rng(5)
    old = rng.bytes(512 * BLOCK_BYTES)
    new = bytearray(old)
    for block in rng.choice(512, 16, replace=False):
        new[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES] = rng.bytes(BLOCK_BYTES)
    sent = {name: round_trip(real_codecs()[name], bytes(new), old)[1] for name in ("zstd", *WITH_BASELINE)}
    assert sent["zstd"] >= len(new)  # random bytes do not compress
    for name in WITH_BASELINE:
        assert 16 * BLOCK_BYTES < sent[name] < 16.5 * BLOCK_BYTES, name


def test_an_unchanged_payload_costs_next_to_nothing():
    content = np.random.default_rng(5).bytes(16 * CHUNK_BYTES)
    assert round_trip(real_codecs()["hde"], content, content)[1] < 100


def test_a_shift_by_a_few_bytes_defeats_xor_but_not_hde():
    content = np.random.default_rng(5).bytes(8 * CHUNK_BYTES)
    shifted = b"seven!!" + content[: 3 * CHUNK_BYTES] + b"more" + content[3 * CHUNK_BYTES :]
    sent = {name: round_trip(real_codecs()[name], shifted, content)[1] for name in WITH_BASELINE}
    assert sent["hde"] < 0.01 * len(shifted) and sent["hde_prefix"] < 0.01 * len(shifted)
    assert sent["hde_xor"] > 0.99 * len(shifted)


def test_a_trained_dictionary_helps_small_records():
    records = [f'{{"host": "node-{n % 7}", "status": "ok", "bytes": {n * 37}}}'.encode() for n in range(4000)]
    trained = HdeCodec(dictionary=zstd.train_dict(records[:3000], 8192))
    plain = sum(round_trip(HdeCodec(), record, None)[1] for record in records[3000:])
    raw = [round_trip(trained, record, None) for record in records[3000:]]
    assert [back for back, _ in raw] == records[3000:]
    assert sum(sent for _, sent in raw) < 0.5 * plain


def test_the_map_of_changed_blocks_marks_what_differs():
    old = bytes(4 * BLOCK_BYTES + 10)
    new = bytearray(old + bytes(BLOCK_BYTES))
    new[BLOCK_BYTES + 3] = 1
    assert changed_blocks(new, old).tolist() == [False, True, False, False, True, True]
    assert changed_blocks(old, old).tolist() == [False] * 5
    assert changed_blocks(old[:-1], old).tolist() == [False] * 4 + [True]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("none", "amst")])
@pytest.mark.parametrize("baseline", [None, bytes(300_000)])
def test_a_stream_that_is_cut_or_garbled_is_refused(name, baseline):
    codec = real_codecs()[name]
    pieces = [bytes(piece) for piece in codec.encode(text(2 * CHUNK_BYTES, 1), baseline)]
    decoder = codec.decoder(baseline)
    for piece in pieces[:-1]:
        decoder.feed(piece)
    with pytest.raises(ValueError, match="expected"):
        decoder.finish()
    with pytest.raises(ValueError, match="expected"):
        codec.decoder(baseline).feed(b"\x02" + b"garbled" * 20)
    with pytest.raises(ValueError, match="expected"):
        codec.decoder(baseline).finish()


def test_a_delta_against_a_baseline_of_another_size_is_refused():
    codec, new = real_codecs()["hde"], text(300_000, 1)
    (head, *_) = codec.encode(new, new)
    with pytest.raises(ValueError, match="against 299999 bytes, got one against 300000"):
        codec.decoder(new[:-1]).feed(head)


def test_every_simulated_codec_has_a_real_one():
    payload = text(100_000, 1)
    for codec in CODECS.values():
        assert round_trip(real_codec(codec), payload, None)[0] == payload


@pytest.mark.parametrize("name", ["zstd", "lz4", "hde", "hde_xor", "hde_prefix"])
def test_a_piece_of_few_bytes_cannot_fill_the_memory(name: str) -> None:
    """4 times what is allowed, as 3 to 300 KiB: it is refused before it is decoded whole."""
    size = 4 * MOST_RAW
    bomb = lz4.frame.compress(bytes(size)) if name == "lz4" else zstd.compress(bytes(size))
    assert len(bomb) < size / 200
    decoder = real_codecs()[name].decoder()
    head = b"\0" if name == "hde" else b""  # says: no dictionary, no delta
    with pytest.raises(ValueError, match=f"at most {MOST_RAW} raw bytes in a piece"):
        decoder.feed(head + bomb)


def test_a_map_of_changed_blocks_cannot_fill_the_memory() -> None:
    old = bytes(5 * BLOCK_BYTES)
    bomb = (2**60).to_bytes(8, "little") + len(old).to_bytes(8, "little") + zstd.compress(bytes(4 * MOST_RAW))
    with pytest.raises(ValueError, match=f"at most {MOST_RAW} raw bytes in a piece"):
        real_codecs()["hde"].decoder(old).feed(bomb)


def test_what_fills_the_allowance_exactly_is_decoded() -> None:
    decoder = real_codecs()["zstd"].decoder()
    assert decoder.feed(zstd.compress(bytes(MOST_RAW))) == bytes(MOST_RAW)
    decoder.finish()
