"""Concurrent episodes, simulated and for real side by side: a sample of paths, each a run of the testbed."""

import time
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from experiments.testbed_config import TestbedConfig, TestbedPath
from experiments.testbed_host import HostFit, told_cost
from experiments.testbed_journal import CALM
from experiments.testbed_paired import read_plays
from experiments.testbed_run import run_testbed
from experiments.testbed_simulated import Setup
from sim.randomness import stream

BAR: Final = 0.10
"""Of the mean cost, what the simulator may be off."""
RATES_MBIT: Final = (20, 50, 100)
RTTS_MS: Final = (5, 20, 50, 100)
LOSSES: Final = (0.0, 0.0, 1e-3)
_FEWEST_MINUTES: Final = 0.2


def episode_config(seed: int, number: int, minutes: float) -> TestbedConfig:
    """One episode of twelve transfers on a path of its own; the same numbers give the same.

    >>> episode_config(0, 3, 1.0) == episode_config(0, 3, 1.0), episode_config(0, 3, 1.0).name
    (True, 'episode-3')
    """
    rng = stream(seed, f"testbed episode {number}")
    rate, rtt, loss = (values[int(rng.integers(len(values)))] for values in (RATES_MBIT, RTTS_MS, LOSSES))
    return TestbedConfig(
        name=f"episode-{number}",
        scenario="internet",
        path=TestbedPath(rate_mbit=float(rate), rtt_ms=float(rtt), loss=float(loss)),
        transfers=12,
        seeds=(1000 * seed + number,),
        interval_s=40.0 / rate,
        max_mb=8.0,
        policies=("hde", "zstd"),
        minutes=minutes,
    )


def play_episodes(folder: Path, seed: int, count: int, minutes: float, console: Console) -> pd.DataFrame:
    """All plays of the first episodes of a sample: those in the folder, and new ones for some minutes."""
    over_s = time.monotonic() + 60 * minutes
    plays = []
    for number in range(count):
        kept = folder / f"episode-{number}" / "1"
        if not kept.exists():
            left = (over_s - time.monotonic()) / 60
            if left < _FEWEST_MINUTES:
                break
            run_testbed(episode_config(seed, number, left), folder, console)
        plays.append(read_plays(kept).assign(number=number))
    return pd.concat(plays, ignore_index=True) if plays else pd.DataFrame()


def episode_errors(plays: pd.DataFrame, host: HostFit | None, setup: Setup) -> pd.DataFrame:
    """Each play with the error of its simulated cost, and of that told what the host takes (`told_cost`).

    ``calm`` is whether threads of the testbed waited for a core for at most a tenth of the time that all
    transfers moved: others tell of the machine's other work.
    """
    told = told_cost(plays, host.stack, setup) if host else plays["simulated_cost_s"]
    return plays.assign(
        told_cost_s=told,
        told_error=told / plays["cost_s"] - 1,
        calm=plays["waited_s"] <= CALM * plays["simulated_moving_s"],
    )


def episodes_table(errors: pd.DataFrame) -> Table:
    """Errors by policy, of calm plays and of all."""
    table = Table(box=None, pad_edge=False)
    for name in ("policy", "plays", "mean cost", "median", "worst", "without host"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    for label, part in (("calm", errors[errors["calm"]]), ("all", errors)):
        for policy, rows in [*part.groupby("policy"), ("both", part)]:
            if len(rows):
                table.add_row(f"{policy}, {label}", str(len(rows)), *_cells(rows))
    return table


def _cells(rows: pd.DataFrame) -> tuple[str, ...]:
    off = np.abs(rows["told_error"])
    means = (rows[name].sum() / rows["cost_s"].sum() - 1 for name in ("told_cost_s", "simulated_cost_s"))
    mean, bare = means
    return f"{mean:+.1%}", f"{off.median():.1%}", f"{off.max():.1%}", f"{bare:+.1%}"


def episodes_report(errors: pd.DataFrame, host: HostFit | None) -> str:
    """A section of the report, as Markdown."""
    lines = ["", "## Concurrent episodes", ""]
    if host is not None:
        stack = host.stack
        each = f"{stack.transfer_s * 1e3:.2f} ms a transfer, {stack.stream_s * 1e3:.2f} ms a stream"
        rates = f"{stack.byte_s * 1e9:.1f} ns a byte, {stack.second_s * 1e3:.0f} ms a second that it moves"
        lines += [
            f"The mover's network stack on this host, of {host.transfers} transfers: {each}, {rates}; median "
            f"error {host.off:.0%}.",
            "",
        ]
    lines += [
        f"Bar: the mean cost within {BAR:.0%}. Calm are plays whose processes waited for a core for at most "
        f"{CALM:.0%} of the time that transfers moved.",
        "",
        "| plays | | mean cost | median | worst | without what the host takes |",
        "|---|---|---|---|---|---|",
    ]
    for label, part in (("calm", errors[errors["calm"]]), ("all", errors)):
        if len(part):
            lines.append(f"| {label} | {len(part)} | {' | '.join(_cells(part))} |")
    return "\n".join(lines) + "\n"
