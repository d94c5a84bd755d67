"""The figures of the bench: decisions a second by lanes, and what an event costs in a crowd."""

from collections.abc import Mapping
from math import log2
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.bench import Bench
from experiments.look import PAR, page, save
from sim.files import write_json

_SHADES: Final = {"codec": "#0072B2", "share": "#D55E00", "dispatch": "#009E73", "joint": "#AA4499"}
_ENGINES: Final = {"batch": ("#0072B2", "compiled world"), "simpy": ("#D55E00", "SimPy's world")}
_DASHED: Final = (0, (5, 3))

Line = dict[int, float]
"""Figures by the number of lanes, or of running transfers."""


def write(found: Bench, folder: Path) -> list[Path]:
    """Write ``bench.json`` and both figures, and return the files.

    Raises:
        InputError: If the folder cannot be written.
    """
    path = folder / "bench.json"
    write_json(path, found)
    drawn = {"throughput": throughput(found), "event_cost": event_cost(found)}
    return [path, *(save(figure, folder / f"{name}.png") for name, figure in drawn.items())]


def throughput(found: Bench) -> Figure:
    """Decisions a CPU second by lanes, one line a question, and a level line for SimPy's world."""
    values = {row["name"]: row["value"] for row in found["rows"]}
    beside = {row["name"]: row["cartpole"] for row in found["rows"]}
    figure, axes = page(
        4.9,
        "How many decisions a second does one core take?",
        "By lanes side by side, observations and new episodes included, random answers, CPU time. "
        "Dashed: SimPy's world.",
    )
    ends: list[tuple[float, str, str]] = []
    cartpole: Line = {}
    for question, shade in _SHADES.items():
        line = _line(values, f"decisions, {question}, batch, ", " lane")
        cartpole |= {lanes: other for lanes in line if (other := beside[_on(question, lanes)]) is not None}
        if line:
            axes.plot(
                *zip(*sorted(line.items()), strict=True), "o-", color=shade, linewidth=2.2, markersize=5
            )
            ends.append((line[max(line)], question, shade))
        level = values.get(f"decisions, {question}, simpy")
        if level is not None:
            axes.axhline(level, color=shade, linewidth=1.3, linestyle=_DASHED, zorder=1)
            ends.append((level, f"{question}, SimPy", shade))
    if cartpole:
        axes.plot(*zip(*sorted(cartpole.items()), strict=True), ".:", color=PAR, linewidth=1.5)
        ends.append((cartpole[max(cartpole)], "CartPole-v1", PAR))
    _logarithmic(axes, sorted(cartpole) or [1])
    axes.set_xlabel("lanes, and copies of CartPole in its own vector environment")
    axes.set_ylabel("decisions a CPU second")
    _label(axes, ends)
    figure.subplots_adjust(left=0.125, right=0.78, top=0.84, bottom=0.12)
    return figure


def event_cost(found: Bench) -> Figure:
    """Microseconds an event by running transfers on both engines, with ``n log n`` beside them."""
    values = {row["name"]: row["value"] for row in found["rows"]}
    figure, axes = page(
        4.9,
        "Does a crowd cost more than n log n?",
        "CPU time of an event by transfers that run at once on one path, no question open. "
        "Grey: n log n, from the first point on.",
    )
    ends: list[tuple[float, str, str]] = []
    shown: list[int] = []
    for engine, (shade, name) in _ENGINES.items():
        line = _line(values, f"event, {engine}, ", " running")
        if not line:
            continue
        shown, first = sorted(line), min(line)
        law = [line[first] * n * log2(n) / (first * log2(first)) for n in shown]
        if engine == "batch":
            axes.plot(shown, law, ":", color=PAR, linewidth=1.6)
            ends.append((law[-1], "n log n", PAR))
        axes.plot(shown, [line[n] for n in shown], "o-", color=shade, linewidth=2.2, markersize=5)
        ends.append((line[shown[-1]], name, shade))
    _logarithmic(axes, shown or [1])
    axes.set_xlabel("running transfers")
    axes.set_ylabel("microseconds an event")
    _label(axes, ends)
    figure.subplots_adjust(left=0.085, right=0.78, top=0.84, bottom=0.12)
    return figure


def _line(values: Mapping[str, float], start: str, end: str) -> Line:
    """Figures by the number between the start and the end of their names."""
    found = {}
    for name, value in values.items():
        number, ours, rest = name.removeprefix(start).partition(end)
        if name.startswith(start) and ours and number.isdigit() and rest in ("", "s"):
            found[int(number)] = value
    return found


def _on(question: str, lanes: int) -> str:
    return f"decisions, {question}, batch, {lanes} lane{'s' * (lanes > 1)}"


def _logarithmic(axes: Axes, ticks: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _position: f"{value:,.10g}")
    axes.grid(axis="y")


def _label(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Write names (height, name, colour) beside the right ends of lines, apart from each other."""
    bottom, top = (log2(limit) for limit in axes.get_ylim())
    below = -float("inf")
    for value, name, shade in sorted(ends):
        below = max(log2(value), below + 0.055 * (top - bottom))
        axes.annotate(
            f"{name}  {value:,.{0 if value >= 100 else 1}f}",
            xy=(1.015, 2.0**below),
            xycoords=("axes fraction", "data"),
            color=shade,
            fontsize=9.5,
            va="center",
            annotation_clip=False,
        )
