"""What the player tells the sending process, and what that tells back: plain rows, a line of JSON each."""

from typing import NamedTuple


class Order(NamedTuple):
    """One payload to move.

    Attributes:
        transfer: Number that no other transfer of these two processes has.
        dataset: Which dataset it is a version of.
        codec: Name of the codec, as `sim.codecs.parse_codec` takes it.
        streams: Connections, at least 1.
        payload: File that holds it.
        digest: XXH3-128 of the payload, in hexadecimal.
        baseline: File of the version that both ends hold, for a delta; empty without one.
        baseline_digest: Its XXH3-128; empty without one.
        keep: Whether the receiver keeps the payload as the dataset's baseline, unless it comes as a delta.
        break_share: Share of the payload after which, once it is acknowledged, or at the latest when all is
            sent, all its connections are broken once; 1 for never.
    """

    transfer: int
    dataset: int
    codec: str
    streams: int
    payload: str
    digest: str
    baseline: str = ""
    baseline_digest: str = ""
    keep: bool = False
    break_share: float = 1.0


class Moved(NamedTuple):
    """What a transfer has come to. Bytes, seconds.

    Attributes:
        transfer: Number of its order.
        seconds: From the order until the receiver's word came that all is decoded and the digest right.
        first_s: Until the first piece was handed to the kernel.
        size_bytes: Raw bytes.
        wire_bytes: Bytes handed to the kernel for it, frames and what was sent twice included.
        is_delta: Whether it was decoded against a baseline.
        encode_cpu_s: CPU time of encoding.
        decode_cpu_s: CPU time of decoding.
        stack_cpu_s: CPU time of sending and receiving, both ends, as far as the processes are charged for it.
        attempts: How often it was begun; above 1 when a baseline was missing or a receiver lost its memory.
        reconnects: Connections that were opened again.
    """

    transfer: int
    seconds: float
    first_s: float
    size_bytes: int
    wire_bytes: int
    is_delta: bool
    encode_cpu_s: float
    decode_cpu_s: float
    stack_cpu_s: float
    attempts: int
    reconnects: int

    @property
    def cpu_s(self) -> float:
        """CPU time of all of it, both ends."""
        return self.encode_cpu_s + self.decode_cpu_s + self.stack_cpu_s


class Progress(NamedTuple):
    """How far a transfer is. Bytes, CPU seconds.

    Attributes:
        decoded_bytes: Raw bytes that the receiver has decoded.
        wire_bytes: Bytes handed to the kernel.
        encoded_bytes: Bytes of the pieces that were encoded.
        encode_cpu_s: CPU time of encoding.
    """

    decoded_bytes: int
    wire_bytes: int
    encoded_bytes: int
    encode_cpu_s: float
