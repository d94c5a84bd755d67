"""Stand-in until the real codecs are there."""

from collections.abc import Iterator
from typing import Protocol

from sim.testbed.frames import Buffer

CHUNK = 1 << 20


class Decoder(Protocol):
    def feed(self, piece: Buffer) -> Buffer: ...

    def finish(self) -> None: ...


class RealCodec(Protocol):
    name: str

    def encode(self, payload: Buffer, baseline: Buffer | None) -> Iterator[Buffer]: ...

    def decoder(self, baseline: Buffer | None) -> Decoder: ...


class _Copy:
    def feed(self, piece: Buffer) -> Buffer:
        return piece

    def finish(self) -> None:
        return None


class Plain:
    def __init__(self, name: str) -> None:
        self.name = name

    def encode(self, payload: Buffer, baseline: Buffer | None) -> Iterator[Buffer]:
        view = memoryview(payload)
        for at in range(0, len(view), CHUNK):
            yield view[at : at + CHUNK]

    def decoder(self, baseline: Buffer | None) -> Decoder:
        return _Copy()


def real_codecs() -> dict[str, RealCodec]:
    return {name: Plain(name) for name in ("none", "zstd", "hde", "amst")}
