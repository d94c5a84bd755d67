"""What a run on the testbed leaves: telemetry of every play, real beside simulated, and tables of both."""

import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from experiments.run_folder import versions
from experiments.testbed_config import TestbedConfig
from sim.files import TEMPORARY, write_json, write_parquet, writing
from sim.settings import dump
from sim.telemetry import TransferRecord
from sim.telemetry_file import (
    Decisions,
    write_decisions,
    write_measurements,
    write_records,
    write_transfers,
)
from sim.testbed.play import Played
from sim.world import World

_MOST_FOLDERS: Final = 10_000


class Take(NamedTuple):
    """One episode under one policy, for real and simulated.

    Attributes:
        policy: Whose answers.
        seed: Of the episode.
        repeat: Which time, from 0.
        real: What was played.
        simulated: The finished world of the same episode and policy.
        simulated_cost_s: Its cost, or where the path loses packets the mean over what it may lose.
        noted: The questions and answers of that world.
        waited_s: Seconds for which threads of the testbed could run and had no core, all together.
    """

    policy: str
    seed: int
    repeat: int
    real: Played
    simulated: World
    simulated_cost_s: float
    noted: Decisions
    waited_s: float


class RealRun(NamedTuple):
    """What a run on the testbed has left.

    Attributes:
        folder: Where its files lie.
        plays: One row a play, as ``plays.parquet`` has them.
        why_not: Why the path was a shaped loopback, in one line; empty for a path between namespaces.
        left_out: Plays that the time budget left out.
    """

    folder: Path
    plays: pd.DataFrame
    why_not: str
    left_out: int


def label(policy: str) -> str:
    """What a policy is called in tables and files: a bundle by its folder's last two names.

    >>> label("results/compression/latest/bundles/ppo/"), label("zstd")
    ('bundles-ppo', 'zstd')
    """
    return "-".join(Path(policy).parts[-2:])


def write_run(
    config: TestbedConfig, results: Path, takes: list[Take], *, why_not: str, left_out: int
) -> RealRun:
    """Write all of a run into a new folder ``results/NAME/1`` and so on, which appears whole or not at all.

    Raises:
        InputError: If the file system refuses.
    """
    plays = pd.DataFrame([_row(take) for take in takes])
    parent = results / config.name
    with writing(parent):
        parent.mkdir(parents=True, exist_ok=True)
        number = next(n for n in range(1, _MOST_FOLDERS) if not (parent / str(n)).exists())
        folder = parent / str(number)
        temporary = parent / f"{TEMPORARY}{number}"
        temporary.mkdir()
    dump(config, temporary / "config.yaml")
    write_json(temporary / "versions.json", versions())
    write_parquet(temporary / "plays.parquet", pa.Table.from_pandas(plays, preserve_index=False))
    rows = _summary(config, plays)
    write_json(
        temporary / "summary.json", {"path": why_not or "namespaces", "left_out": left_out, "rows": rows}
    )
    for take in takes:
        _write_take(take, temporary / f"{_word(take.policy)}-seed{take.seed}-{take.repeat}")
    with writing(folder):
        temporary.rename(folder)
    return RealRun(folder, plays, why_not, left_out)


def _row(take: Take) -> dict[str, Any]:
    """Figures of one play."""
    real, world = take.real, take.simulated
    answers = {question.request: codec for question, codec in take.noted.rows}
    agreed = [answers[question.request] == codec for question, codec in real.decisions]
    return {
        "policy": take.policy,
        "scenario": real.episode.scenario.name,
        "seed": take.seed,
        "repeat": take.repeat,
        "transfers": len(real.records),
        "cost_s": real.cost_s,
        "simulated_cost_s": take.simulated_cost_s,
        "error": take.simulated_cost_s / real.cost_s - 1,
        "agreed_share": float(np.mean(agreed)),
        "cpu_price": real.episode.scenario.cpu_price,
        "priorities": sum(record.priority for record in real.records),
        "waited_s": take.waited_s,
        **_figures(real.records, ""),
        **_figures(world.records, "simulated_"),
        "encode_cpu_s": sum(moved.encode_cpu_s for moved in real.moved),
        "decode_cpu_s": sum(moved.decode_cpu_s for moved in real.moved),
        "stack_cpu_s": sum(moved.stack_cpu_s for moved in real.moved),
        "sent_again": sum(moved.attempts > 1 for moved in real.moved),
        "reconnects": sum(moved.reconnects for moved in real.moved),
    }


def _figures(records: list[TransferRecord], prefix: str) -> dict[str, float]:
    figures = {
        "completion_s": float(np.mean([record.end_s - record.arrival_s for record in records])),
        "end_s": max(record.end_s for record in records),
        "late_s": sum(max(0.0, record.end_s - record.deadline_s) for record in records),
        "wire_bytes": sum(record.wire_bytes for record in records),
        "cpu_s": sum(record.cpu_s for record in records),
        "deltas": float(sum(record.is_delta for record in records)),
        "streams": float(sum(record.streams for record in records)),
        "moving_s": sum(record.end_s - record.start_s for record in records),
    }
    return {prefix + name: value for name, value in figures.items()}


def _summary(config: TestbedConfig, plays: pd.DataFrame) -> list[dict[str, Any]]:
    """Tidy rows: the mean over plays of each policy, where ``split`` says real or simulated."""
    rows = []
    for policy, of_policy in plays.groupby("policy"):
        for metric in ("cost_s", "completion_s", "wire_bytes", "cpu_s"):
            for split, column in (("testbed", metric), ("simulated", f"simulated_{metric}")):
                values = of_policy[column]
                rows.append(
                    {
                        "policy": policy,
                        "scenario": config.scenario,
                        "split": split,
                        "metric": metric,
                        "value": values.mean(),
                        "low": values.min(),
                        "high": values.max(),
                        "unit": "bytes" if metric == "wire_bytes" else "s",
                    }
                )
    return rows


def _write_take(take: Take, folder: Path) -> None:
    real = take.real
    write_records(real.records, folder / "transfers.parquet")
    write_measurements(real.episode.probes, real.end_s, folder / "probes.parquet")
    write_decisions(_noted(real), folder / "decisions.parquet")
    moved = pd.DataFrame(real.moved).sort_values("transfer")
    write_parquet(folder / "moved.parquet", pa.Table.from_pandas(moved, preserve_index=False))
    write_transfers(take.simulated, folder / "simulated-transfers.parquet")
    write_decisions(take.noted, folder / "simulated-decisions.parquet")


def _noted(played: Played) -> Decisions:
    noted = Decisions()
    noted.rows = list(played.decisions)
    return noted


def _word(policy: str) -> str:
    """A policy's label as part of a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", policy)
