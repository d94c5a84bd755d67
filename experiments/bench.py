"""How fast the environments are, beside CartPole: by question, engine, lanes and crowd, under a learner."""

import os
import platform
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple, TypedDict

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from experiments import bench_crowd as crowded
from experiments import bench_lanes as on
from experiments.bench_clock import WALL, Row, at_once, in_turn, row, rows_of

USUAL: Final = 256
"""Lanes where the number of lanes is not what is asked."""
_ALWAYS: Final = 1
"""The action of the row with a sensible policy: always zstd; random answers crowd the path."""
_CROWD_STEPS: Final = (64, 20_000)
"""Ours, up to the end of an episode, and CartPole's, in a turn."""
_LIBRARIES: Final = ("gymnasium", "numpy", "numba", "simpy", "stable-baselines3", "torch")

Figure = tuple[str, Callable[[], list[Row]]]
"""What is measured next, and how."""


class Extent(NamedTuple):
    """How much is measured.

    Attributes:
        seconds: CPU seconds for each figure, ours and CartPole's together.
        questions: What environments ask.
        scenarios: In which codec decisions are counted, besides the environment's own.
        lanes: How many, side by side.
        running: Transfers at once for the cost of an event.
        crowds: Transfers at once for decisions.
        simpy_crowds: The same in SimPy's world.
        trained: Questions that PPO is trained on.
        processes: Side by side; none are started for less than 2.
        compiles: Whether compilation is timed.
    """

    seconds: float = 2.0
    questions: tuple[str, ...] = tuple(on.QUESTIONS)
    scenarios: tuple[str, ...] = ("hybrid", "flash-crowd", "lossy")
    lanes: tuple[int, ...] = (1, 16, 64, 256, 1024)
    running: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
    crowds: tuple[int, ...] = (8, 64, 512, 4096)
    simpy_crowds: tuple[int, ...] = (8, 64, 512)
    trained: tuple[str, ...] = tuple(on.QUESTIONS)
    processes: int = os.cpu_count() or 1
    compiles: bool = True


FULL: Final = Extent()
QUICK: Final = Extent(
    seconds=0.2,
    scenarios=(),
    lanes=(1, 16, 256),
    running=(8, 64, 512),
    crowds=(8, 64),
    simpy_crowds=(8, 64),
    trained=("codec",),
    processes=1,
    compiles=False,
)
"""Within a minute once the world is compiled, and less exact."""


class Bench(TypedDict):
    """The machine and its figures."""

    machine: dict[str, Any]
    rows: list[Row]


def measure(extent: Extent = FULL, console: Console | None = None) -> Bench:
    """Measure everything, resets included; a bar on the console, if there is one, says what is at work."""
    figures = list(_figures(extent))
    rows: list[Row] = []
    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=console is None) as bar:
        line = bar.add_task("", total=len(figures))
        for what, take in figures:
            bar.update(line, description=what)
            rows += take()
            bar.advance(line)
        bar.update(line, description="")
    return {"machine": _machine(), "rows": rows}


def bench_table(found: Bench) -> Table:
    """The figures for people, those of the wall clock beside those on CPU time."""
    machine = found["machine"]
    table = Table(title=f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}")
    table.add_column("figure")
    for column in ("CPU time", "CartPole", "ratio", "wall", "CartPole", "ratio"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, rows in _by_name(found["rows"]).items():
        cells = [_cells(rows[clock]) if clock in rows else ["", "", ""] for clock in ("", WALL)]
        table.add_row(name, *cells[0], *cells[1])
    return table


def _figures(extent: Extent) -> Iterator[Figure]:
    """The world by question, then by crowd, then under a learner, then what it takes to have it."""
    lanes = [question for question in on.questions_on_lanes() if question in extent.questions]
    for question in extent.questions:
        yield f"decisions, {question}, simpy", partial(_single_rows, question, extent)
    for question in lanes:
        for count in extent.lanes:
            name = f"decisions, {question}, batch, {_lanes(count)}"
            yield name, partial(_lane_rows, name, question, count, extent.seconds)
        yield f"decisions, {question}, batch", partial(_other_lane_rows, question, extent)
    for running in extent.running:
        yield f"event, {running} running", partial(_event_rows, running)
    for engine, crowds in (("simpy", extent.simpy_crowds), ("batch", extent.crowds)):
        for question in extent.questions if engine == "simpy" else lanes:
            for running in crowds:
                name = f"decisions, {question}, {engine}, {running} running"
                yield name, partial(_crowd_rows, name, question, running, engine, extent.seconds)
    if extent.trained:
        yield "PPO training", partial(_training_rows, extent, lanes)
    for question in lanes:
        yield f"memory, {question}", partial(_memory_rows, question)
    if extent.compiles:
        yield "compilation", partial(_compile_rows, lanes)


def _single_rows(question: str, extent: Extent) -> list[Row]:
    name = f"decisions, {question}, simpy"
    rows = rows_of(name, on.simpy_block(question), on.cartpole_block(), extent.seconds)
    if question != "codec":
        return rows
    for scenario in extent.scenarios:
        block = on.simpy_block(question, scenario)
        rows += rows_of(f"{name}, {scenario}", block, on.cartpole_block(), extent.seconds)
    block = on.simpy_block(question, always=_ALWAYS)
    return rows + rows_of(f"{name}, always zstd", block, on.cartpole_block(), extent.seconds)


def _lane_rows(name: str, question: str, count: int, seconds: float) -> list[Row]:
    return rows_of(name, on.lanes_block(question, count), on.cartpole_block(count), seconds)


def _other_lane_rows(question: str, extent: Extent) -> list[Row]:
    """Other scenarios, episodes drawn anew, several processes, at the usual number of lanes."""
    name = f"decisions, {question}, batch, {_lanes(USUAL)}"
    cartpole, rows = on.cartpole_block(USUAL), []
    if question == "codec":
        for scenario in extent.scenarios:
            block = on.lanes_block(question, USUAL, scenario)
            rows += rows_of(f"{name}, {scenario}", block, cartpole, extent.seconds)
    fresh = on.lanes_block(question, USUAL, fresh=True)
    rows += rows_of(f"{name}, episodes drawn anew", fresh, cartpole, extent.seconds)
    several = extent.processes
    if several > 1:
        share = USUAL // several
        ours = at_once(on.lanes_block, (question, share), several, extent.seconds)
        theirs = at_once(on.cartpole_block, (share,), several, extent.seconds)
        rows.append(row(f"{name}, {several} processes, {WALL}", "1/s", ours, theirs))
    events = crowded.events_a_decision(question)
    return [*rows, row(f"events a decision, {question}", "", events)]


def _event_rows(running: int) -> list[Row]:
    batch_us, simpy_us, _ = crowded.event_us(running)
    return [
        row(f"event, {engine}, {running} running", "CPU us", us)
        for engine, us in (("batch", batch_us), ("simpy", simpy_us))
    ]


def _crowd_rows(name: str, question: str, running: int, engine: str, seconds: float) -> list[Row]:
    block = crowded.crowd_block(question, running, engine=engine)
    return rows_of(name, block, on.cartpole_block(), seconds, _CROWD_STEPS)


def _training_rows(extent: Extent, lanes: list[str]) -> list[Row]:
    """Steps of a training, and the share of its time that does not go to the learner."""
    from experiments import bench_training as train

    def figures(pair: train.Pair) -> tuple[float, float, float]:
        lengths = [train.ENVS * train.ROLLOUT] * 2
        for block, length in zip(pair, lengths, strict=True):
            block(length)
        turns = in_turn(pair, 2 * extent.seconds, lengths)
        cpu, wall = (median(getattr(real, clock) for real, _ in turns) for clock in ("cpu", "wall"))
        return cpu, wall, 1.0 - median(real.cpu / still.cpu for real, still in turns)

    theirs, rows = figures(train.on_cartpole()), []
    for question in extent.trained:
        for engine in ("simpy", "batch") if question in lanes else ("simpy",):
            name = f"PPO training, {question}, {engine}"
            ours = figures(train.on_question(question, engine=engine))
            named = (name, "1/CPU s"), (f"{name}, {WALL}", "1/s"), (f"{name}, outside the learner", "share")
            rows += [
                row(*words, *both) for words, both in zip(named, zip(ours, theirs, strict=True), strict=True)
            ]
    return rows


def _memory_rows(question: str) -> list[Row]:
    lane, episode = on.bytes_a_lane(question)
    return [
        row(f"memory of a lane, {question}", "B", lane),
        row(f"memory of an episode, {question}", "B", episode),
    ]


def _compile_rows(lanes: list[str]) -> list[Row]:
    taken = on.compile_s(lanes)
    return [
        row(f"compilation, {'and then ' * (number > 0)}{question}", "CPU s", seconds)
        for number, (question, seconds) in enumerate(zip(lanes, taken, strict=True))
    ]


def _by_name(rows: list[Row]) -> dict[str, dict[str, Row]]:
    """The rows of one figure together, by their clock: `WALL`, or nothing for all others."""
    found: dict[str, dict[str, Row]] = {}
    for one in rows:
        name = one["name"].removesuffix(f", {WALL}")
        found.setdefault(name, {})[WALL if name != one["name"] else ""] = one
    return found


def _cells(found: Row) -> list[str]:
    def shown(value: float | None, unit: str) -> str:
        return "" if value is None else f"{value:,.{0 if value >= 100 else 3}f} {unit}".rstrip()

    ratio = "" if found["ratio"] is None else f"{found['ratio']:.3f}"
    return [shown(found["value"], found["unit"]), shown(found["cartpole"], ""), ratio]


def _lanes(count: int) -> str:
    return f"{count} lane{'s' * (count > 1)}"


def _machine() -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _LIBRARIES},
    }


def _cpu() -> str:
    """Model name as Linux tells it, else what Python knows."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text("utf-8").splitlines() if told.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
