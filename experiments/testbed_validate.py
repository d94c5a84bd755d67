"""Single transfers, simulated and for real side by side: runs a sample of the grid, keeps every raw row."""

import asyncio
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from math import inf
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.testbed_grid import Setting, sample
from experiments.testbed_journal import CALM, Journal, Row
from experiments.testbed_simulated import Payload, Setup, Solo, pair_episode, pipeline_s, simulated_s, told
from experiments.testbed_solo import setup, solo
from sim.codecs import parse_codec
from sim.episode import Episode
from sim.errors import InputError
from sim.files import write_json
from sim.testbed.meters import starved_s
from sim.testbed.mover import Mover, mover
from sim.testbed.orders import Moved, Order
from sim.testbed.paths import Ends, PathSettings, emulated_path
from sim.testbed.payload_making import PayloadFile, make_payloads
from sim.units import GIB, MBIT, MS

TRANSFERS: Final = "transfers.csv"
SETUP: Final = "setup.json"
REPEATS: Final = 3
"""Transfers of each codec: chance decides where packets are lost, and the machine has other things to do. One
where three would take too long."""
_TRIES: Final = 2
"""Times as many transfers as wanted that are made, at most, until enough were calm."""
_OVERHEAD_S: Final = 4.0
"""Of a setting, for payloads, processes and what codecs do alone; measured, and enough to plan with."""


class Simulated(NamedTuple):
    """The three fields of that name of a `Row`."""

    told_s: float
    pipeline_s: float
    laws_s: float


class Validation(NamedTuple):
    """What is there after a run.

    Attributes:
        rows: All rows of the folder.
        why_not: Why paths were shaped loopbacks, in one line; empty for paths between namespaces.
        notes: Machine and versions, in a sentence.
        setup: The shortest set-up that this machine has shown.
    """

    rows: pd.DataFrame
    why_not: str
    notes: str
    setup: Setup


def validate(
    folder: Path,
    minutes: float,
    longest_s: float,
    seed: int,
    console: Console,
    fastest_mbit: float = inf,
) -> Validation:
    """Run settings of the sample until the time is over, after those that the folder holds already.

    Args:
        folder: Where rows are kept.
        minutes: Budget; a setting that would not end in it is not begun.
        longest_s: Settings whose transfers take longer in all are left out, by the simulator's word.
        seed: Of the sample.
        console: For the bar.
        fastest_mbit: Settings of faster paths are left out: they take the more cores, the faster.

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
        found = _least_setup(folder / SETUP, setup(Path(scratch)))
    with bar:
        task = bar.add_task("testbed", total=60 * minutes, note="")
        for setting, episode, repeats, planned_s in _planned(seed, longest_s, fastest_mbit):
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
    return Validation(simulated_anew(pd.read_csv(journal.path), found), why_not, _notes(), found)


def no_path() -> str:
    """Why there are no paths between namespaces here, in one line; empty where there are."""
    with emulated_path(PathSettings(10 * MBIT, 10 * MS)) as ends:
        return ends.why_not


def _least_setup(path: Path, now: Setup) -> Setup:
    """The shortest set-up that this machine has shown in any call for a folder; kept there."""
    try:
        before = Setup(**json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        before = now
    except (ValueError, TypeError) as error:
        raise InputError(path, "", "is torn or foreign; delete it, and it is measured anew") from error
    least = min(before, now, key=lambda one: one.transfer_s + one.stream_s)
    write_json(path, least._asdict())
    return least


def simulated_anew(rows: pd.DataFrame, found: Setup) -> pd.DataFrame:
    """The rows with what the simulator says now, told of each codec what was measured then."""
    rows = rows.copy()
    for (number, codec), same in rows.groupby(["number", "codec"]):
        row = same.iloc[0]
        path = PathSettings(row["rate_mbit"] * MBIT, row["rtt_ms"] * MS, row["loss"])
        payload = Payload(int(row["size_bytes"]), row["ratio"], row["changed"], row["novelty"])
        episode = pair_episode(path, payload, int(str(number)), os.cpu_count() or 1)
        alone = Solo(row["solo_ratio"], row["solo_encode"], row["solo_decode"])
        ends_s = pipeline_s(str(codec), payload.size_bytes, alone, found)
        rows.loc[same.index, "pipeline_s"] = ends_s
        rows.loc[same.index, "told_s"] = simulated_s(told(episode, str(codec), alone), str(codec)) + ends_s
        rows.loc[same.index, "laws_s"] = simulated_s(episode, str(codec))
    return rows


def _notes() -> str:
    python = f"Python {platform.python_version()}"
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()} {platform.release()}, {python}."
    )


def _planned(
    seed: int, longest_s: float, fastest_mbit: float
) -> Iterator[tuple[Setting, Episode, int, float]]:
    """Settings that are short enough, with how often each codec moves, and the seconds that all will take."""
    for setting in sample(seed):
        if setting.rate_mbit > fastest_mbit:
            continue
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
