"""Single transfers, simulated and for real side by side: runs a sample of the grid, keeps every raw row."""

import asyncio
import csv
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.testbed_grid import Setting, sample
from experiments.testbed_simulated import Payload, Setup, Solo, pair_episode, pipeline_s, simulated_s, told
from experiments.testbed_solo import setup, solo
from sim.codecs import parse_codec
from sim.episode import Episode
from sim.errors import InputError
from sim.files import write_text, writing
from sim.testbed.meters import starved_s
from sim.testbed.mover import Mover, mover
from sim.testbed.orders import Moved, Order
from sim.testbed.paths import Ends, PathSettings, emulated_path
from sim.testbed.payload_making import PayloadFile, make_payloads
from sim.units import GIB, MBIT, MS

TRANSFERS: Final = "transfers.csv"
REPEATS: Final = 3
"""Transfers of each codec: chance decides where packets are lost, and the machine has other things to do. One
where three would take too long."""
CALM: Final = 0.1
"""Share of a transfer's simulated time for which threads of the testbed may have waited for a core, all
together: more, and it tells of the machine's other work. Not of its real time: one that lost a packet and
stood still for a second would pass where its quicker twin does not, and chance would be overrated."""
_TRIES: Final = 2
"""Times as many transfers as wanted that are made, at most, until enough were calm."""
_OVERHEAD_S: Final = 4.0
"""Of a setting, for payloads, processes and what codecs do alone; measured, and enough to plan with."""


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


class Simulated(NamedTuple):
    """The three fields of that name of a `Row`."""

    told_s: float
    pipeline_s: float
    laws_s: float


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


class Validation(NamedTuple):
    """What is there after a run.

    Attributes:
        rows: All rows of the folder.
        why_not: Why paths were shaped loopbacks, in one line; empty for paths between namespaces.
        notes: Machine and versions, in a sentence.
    """

    rows: pd.DataFrame
    why_not: str
    notes: str


def validate(folder: Path, minutes: float, longest_s: float, seed: int, console: Console) -> Validation:
    """Run settings of the sample until the time is over, after those that the folder holds already.

    Args:
        folder: Where rows are kept.
        minutes: Budget; a setting that would not end in it is not begun.
        longest_s: Settings whose transfers take longer in all are left out, by the simulator's word.
        seed: Of the sample.
        console: For the bar.

    Raises:
        InputError: If the folder holds rows of another sample.
    """
    journal = Journal(folder / TRANSFERS, seed)
    end_s, why_not = time.monotonic() + 60 * minutes, ""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    with tempfile.TemporaryDirectory(prefix="dwcp-testbed-") as scratch:
        found = setup(Path(scratch))
    with bar:
        task = bar.add_task("testbed", total=60 * minutes, note="")
        for setting, episode, repeats, planned_s in _planned(seed, longest_s):
            left_s = end_s - time.monotonic()
            bar.update(task, completed=60 * minutes - left_s)
            if setting.number in journal.done:
                continue
            if planned_s > left_s:
                break
            note = f"{setting.rate_mbit} Mbit/s {setting.rtt_ms} ms {setting.size_bytes >> 10} KiB"
            bar.update(task, note=f"setting {setting.number}: {note}")
            with (
                tempfile.TemporaryDirectory(prefix="dwcp-testbed-") as scratch,
                emulated_path(setting.path) as ends,
            ):
                why_not = ends.why_not
                asyncio.run(
                    _run(
                        setting,
                        episode,
                        repeats,
                        Path(scratch),
                        ends,
                        journal=journal,
                        seed=seed,
                        found=found,
                    )
                )
    return Validation(simulated_anew(pd.read_csv(journal.path)), why_not, _notes())


def simulated_anew(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with `told_s` and `laws_s` by the simulator as it is now, told what was measured then."""
    rows = rows.copy()
    for (number, codec), same in rows.groupby(["number", "codec"]):
        row = same.iloc[0]
        path = PathSettings(row["rate_mbit"] * MBIT, row["rtt_ms"] * MS, row["loss"])
        payload = Payload(int(row["size_bytes"]), row["ratio"], row["changed"], row["novelty"])
        episode = pair_episode(path, payload, int(str(number)), os.cpu_count() or 1)
        alone = Solo(row["solo_ratio"], row["solo_encode"], row["solo_decode"])
        told_s = simulated_s(told(episode, str(codec), alone), str(codec)) + row["pipeline_s"]
        rows.loc[same.index, "told_s"] = told_s
        rows.loc[same.index, "laws_s"] = simulated_s(episode, str(codec))
    return rows


def _notes() -> str:
    python = f"Python {platform.python_version()}"
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()} {platform.release()}, {python}."
    )


def _planned(seed: int, longest_s: float) -> Iterator[tuple[Setting, Episode, int, float]]:
    """Settings that are short enough, with how often each codec moves, and the seconds that all will take."""
    for setting in sample(seed):
        payload = Payload(setting.size_bytes, setting.ratio, setting.changed, setting.novelty)
        episode = pair_episode(setting.path, payload, setting.number, os.cpu_count() or 1)
        once_s = sum(simulated_s(episode, codec) for codec in setting.codecs)
        before_s = simulated_s(episode, "zstd")  # of the version before, once for each delta
        repeats = REPEATS if REPEATS * once_s <= longest_s else 1
        spent_s = repeats * (once_s + 2 * before_s)
        if spent_s <= longest_s:
            yield setting, episode, repeats, spent_s + _OVERHEAD_S


async def _run(
    setting: Setting,
    episode: Episode,
    repeats: int,
    scratch: Path,
    ends: Ends,
    *,
    journal: Journal,
    seed: int,
    found: Setup,
) -> None:
    """All transfers of one setting, one after another through the same two processes."""
    before, now = make_payloads(episode, scratch, most_bytes=2 * GIB)
    told_of = {codec: solo(codec, now.path, before.path) for codec in setting.codecs}
    async with mover(
        ends.server_address, sender_in=ends.client, receiver_in=ends.server, reach=ends.reach
    ) as moving:
        rows: list[Row] = []
        numbers = count()
        for codec in setting.codecs:
            alone = told_of[codec]
            ends_s = pipeline_s(codec, setting.size_bytes, alone, found)
            told_s = simulated_s(told(episode, codec, alone), codec) + ends_s
            simulated = Simulated(told_s, ends_s, simulated_s(episode, codec))
            calm = 0
            for repeat in range(_TRIES * repeats):
                order = await _prepared(moving, codec, before, now, numbers)
                waited_s = starved_s()
                moved = await moving.move(order)
                waited_s = starved_s() - waited_s
                rows.append(_row(seed, setting, codec, repeat, moved, waited_s, simulated, alone))
                calm += waited_s <= CALM * told_s
                if calm == repeats:
                    break
        journal.add(rows)


async def _prepared(
    moving: Mover, codec: str, before: PayloadFile, now: PayloadFile, numbers: Iterator[int]
) -> Order:
    """The order to move the payload; a codec that keeps baselines moves the version before it first."""
    parsed = parse_codec(codec)
    order = Order(next(numbers), 0, codec, parsed.streams, str(now.path), now.digest)
    if not parsed.keeps_baseline:
        return order
    await moving.move(order._replace(payload=str(before.path), digest=before.digest, keep=True))
    return order._replace(transfer=next(numbers), baseline=str(before.path), baseline_digest=before.digest)


def _row(
    seed: int,
    setting: Setting,
    codec: str,
    repeat: int,
    moved: Moved,
    waited_s: float,
    simulated: Simulated,
    alone: Solo,
) -> Row:
    return Row(
        seed=seed,
        number=setting.number,
        codec=codec,
        repeat=repeat,
        rate_mbit=setting.rate_mbit,
        rtt_ms=setting.rtt_ms,
        loss=setting.loss,
        size_bytes=setting.size_bytes,
        streams=parse_codec(codec).streams,
        ratio=setting.ratio,
        changed=setting.changed,
        novelty=setting.novelty,
        real_s=round(moved.seconds, 6),
        **{name: round(seconds, 6) for name, seconds in simulated._asdict().items()},
        wire_bytes=moved.wire_bytes,
        encode_cpu_s=round(moved.encode_cpu_s, 6),
        decode_cpu_s=round(moved.decode_cpu_s, 6),
        stack_cpu_s=round(moved.stack_cpu_s, 6),
        reconnects=moved.reconnects,
        waited_s=round(waited_s, 6),
        solo_ratio=round(alone.ratio, 5),
        solo_encode=round(alone.encode),
        solo_decode=round(alone.decode),
    )


def _whole(rows: pd.DataFrame) -> bool:
    """Whether all codecs of a setting are there."""
    return rows["codec"].nunique() == len(next(iter(sample(0))).codecs) and not rows.isna().any(axis=None)
