"""The real codecs by name, and which of them a simulated codec stands for."""

from sim.codecs import Codec
from sim.testbed.coding import CopyCodec, Lz4Codec, RealCodec, ZstdCodec
from sim.testbed.delta_coding import HdeCodec, PrefixCodec, XorCodec


def real_codecs(level: int = 3, threads: int = 0, streams: int = 1) -> dict[str, RealCodec]:
    """Every real codec by name; ``level`` and ``threads`` are of plain zstd, ``streams`` of copies and LZ4.

    ``amst`` is a copy, cut so that all its streams have something to do, ``hde_prefix`` a variant that
    is measured beside ``hde``.

    >>> pieces = list(real_codecs()["hde"].encode(b"new" * 5000, b"old" * 5000))
    >>> decoder = real_codecs()["hde"].decoder(b"old" * 5000)
    >>> b"".join(decoder.feed(piece) for piece in pieces) == b"new" * 5000
    True
    """
    codecs: tuple[RealCodec, ...] = (
        CopyCodec("none"),
        ZstdCodec(level=level, threads=threads),
        HdeCodec(),
        PrefixCodec(),
        XorCodec(),
        Lz4Codec(streams=streams),
        CopyCodec("amst", streams),
    )
    return {codec.name: codec for codec in codecs}


def real_codec(codec: Codec) -> RealCodec:
    """What does for real what a codec of the simulator models, at its level.

    >>> from sim.codecs import parse_codec
    >>> real_codec(parse_codec("zstd-9")), real_codec(parse_codec("amst-16-lz4")).name
    (ZstdCodec(name='zstd', level=9, threads=0), 'lz4')
    """
    codecs = real_codecs(level=codec.level or 3, streams=codec.streams)
    return codecs["lz4" if codec.lz4 else codec.family]
