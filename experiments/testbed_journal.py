"""Raw rows of transfers that were simulated and made for real, kept on disk as they come."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd

from experiments.testbed_grid import sample
from sim.errors import InputError
from sim.files import write_text, writing

CALM: Final = 0.1
"""Share of a transfer's simulated time for which threads of the testbed may have waited for a core, all
together: more, and it tells of the machine's other work. Not of its real time: one that lost a packet and
stood still for a second would pass where its quicker twin does not, and chance would be overrated."""


class Row(NamedTuple):
    """One transfer for real, and what the simulator says of it.

    Attributes:
        seed: Of the sample.
        number: Setting.
        codec: Codec.
        repeat: Which of its transfers, from 0.
        rate_mbit: Of the setting, like the next seven.
        rtt_ms: Round trip.
        loss: Share of packets.
        size_bytes: Raw bytes.
        streams: Connections of this codec.
        ratio: For which the content was made.
        changed: Share of blocks.
        novelty: Part of a changed block.
        real_s: Seconds it took.
        told_s: By the simulator, told ratio and rates of the codec alone on this machine.
        pipeline_s: Of `told_s`, what is added for set-up and the ends of the pipeline.
        laws_s: By the simulator, by its fitted laws.
        wire_bytes: Handed to the kernel.
        encode_cpu_s: CPU time.
        decode_cpu_s: CPU time.
        stack_cpu_s: CPU time.
        reconnects: Connections opened again.
        waited_s: Seconds for which threads of the testbed could run and had no core, all together.
        solo_ratio: Raw over encoded bytes.
        solo_encode: Raw bytes a core-second, alone.
        solo_decode: The same.
    """

    seed: int
    number: int
    codec: str
    repeat: int
    rate_mbit: int
    rtt_ms: int
    loss: float
    size_bytes: int
    streams: int
    ratio: float
    changed: float
    novelty: float
    real_s: float
    told_s: float
    pipeline_s: float
    laws_s: float
    wire_bytes: int
    encode_cpu_s: float
    decode_cpu_s: float
    stack_cpu_s: float
    reconnects: int
    waited_s: float
    solo_ratio: float
    solo_encode: float
    solo_decode: float


class Journal:
    """The raw rows on disk, as they come; settings that were cut short are forgotten.

    Args:
        path: CSV file.
        seed: Of the sample; a file of another is refused.

    Raises:
        InputError: If the file is of another seed, or none of ours.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.done: set[int] = set()
        kept = [",".join(Row._fields)]
        if path.exists():
            try:
                rows = pd.read_csv(path, on_bad_lines="skip")
                complete = rows.groupby("number").filter(lambda of_one: _whole(of_one))
                if set(rows["seed"]) - {seed}:
                    raise InputError(
                        path, "", f"was sampled with another seed than {seed}; name another folder"
                    )
            except (KeyError, ValueError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(path, "", "is not of this command; name another folder") from error
            self.done = set(complete["number"].astype(int))
            kept = [complete.to_csv(index=False).rstrip("\n")] if self.done else kept
        write_text(path, "\n".join(kept) + "\n")

    def add(self, rows: Sequence[Row]) -> None:
        """Append the rows of a setting."""
        with writing(self.path), self.path.open("a", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(rows)


def _whole(rows: pd.DataFrame) -> bool:
    """Whether all codecs of a setting are there."""
    return rows["codec"].nunique() == len(next(iter(sample(0))).codecs) and not rows.isna().any(axis=None)
