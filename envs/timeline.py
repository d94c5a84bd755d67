"""The timeline of an episode as a picture: who waited and moved when, with which codec, on which capacity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.codecs import Codec
from sim.units import GBIT, HOUR, MBIT, MINUTE
from sim.world import World

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAMILY_COLOURS: Final = {
    "none": "#6E6E6E",
    "zstd": "#0072B2",
    "hde": "#009E73",
    "hde_xor": "#CC79A7",
    "amst": "#E69F00",
}
"""One colour a family of codecs, everywhere; Okabe and Ito: Color Universal Design, 2008."""
WAITING: Final = "#E3E3E3"
LATE: Final = "#D55E00"
INK: Final = "#333333"
FAINT: Final = "#8C8C8C"
CAPACITY: Final = "#EEF1F4"

_SIZE_IN: Final = (12.0, 7.0)
_DOTS_AN_INCH: Final = 100
_MOST_PIECES: Final = 2000
"""Pieces of a capacity line: more than there are points across; of a longer one only some are drawn."""
LOOK: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#BBBBBB",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
}
"""What all our pictures share."""
_STYLE: Final[dict[Any, Any]] = {**LOOK, "hatch.color": "white", "hatch.linewidth": 1.0}


class Span(NamedTuple):
    """One transfer as drawn: it waits from ``arrival_s``, moves from ``start_s`` to ``end_s`` or until now.

    ``codec`` is empty before it is known; ``wire_bytes`` is 0 before the transfer has ended.
    """

    arrival_s: float
    start_s: float
    end_s: float
    deadline_s: float
    path: int
    codec: str
    is_baseline: bool
    wire_bytes: float


def codec_colour(codec: Codec) -> str:
    """Colour of a codec: its family's, lighter for less effort (level or streams) and darker for more.

    >>> from sim.codecs import CODECS
    >>> codec_colour(CODECS["zstd"]), codec_colour(CODECS["zstd-1"])
    ('#0072B2', '#69ACD2')
    """
    effort = 0
    if codec.family == "zstd":
        effort = (codec.level > 3) - (codec.level < 3) + (codec.level > 9)
    elif codec.family == "amst":
        effort = (codec.streams > 8) - (codec.streams < 8) + (codec.streams > 32) + codec.lz4
    channels = [int(FAMILY_COLOURS[codec.family][start : start + 2], 16) for start in (1, 3, 5)]
    if effort < 0:
        channels = [round(value + (255 - value) * 0.41) for value in channels]
    return "#" + "".join(f"{round(value * 0.68 ** max(effort, 0)):02X}" for value in channels)


def spans(world: World) -> list[Span]:
    """All transfers that have arrived, in order of arrival; what has not ended yet ends now."""
    now, episode = world.clock.now, world.episode
    arrival_s, deadline_s = episode.requests.arrival_s.tolist(), episode.deadline_s.tolist()
    path = episode.path.tolist()
    drawn = {
        one.request: Span(
            one.arrival_s,
            one.start_s,
            one.end_s,
            one.deadline_s,
            one.path,
            one.codec,
            one.is_baseline,
            one.wire_bytes,
        )
        for one in world.records
    }
    for request, at in enumerate(arrival_s):
        if at <= now and request not in drawn:
            start_s, codec = world.moving.get(request, (now, None))
            name = codec.name if codec is not None else ""
            drawn[request] = Span(at, start_s, now, deadline_s[request], path[request], name, False, 0.0)
    return [drawn[request] for request in sorted(drawn)]


def lanes(arrivals: Sequence[float], ends: Sequence[float]) -> list[int]:
    """Lowest free lane of each bar, bars in order of arrival; no two bars of a lane overlap.

    >>> lanes([0.0, 1.0, 2.0], [1.5, 9.0, 4.0])
    [0, 1, 0]
    """
    free_at: list[float] = []
    chosen = []
    for arrival, end in zip(arrivals, ends, strict=True):
        lane = next((number for number, free in enumerate(free_at) if free <= arrival), len(free_at))
        if lane == len(free_at):
            free_at.append(end)
        else:
            free_at[lane] = end
        chosen.append(lane)
    return chosen


def draw_timeline(world: World) -> NDArray[np.uint8]:
    """Picture of an episode so far, shape (700, 1200, 3), red, green and blue.

    Above, a bar a transfer: light while it waits, then in the colour of its codec; hatched when HDE sends a
    full baseline, underlined where it is late. Below, a strip a path: its capacity, and what ended transfers
    sent, each spread evenly over the time it moved, stacked in the colours of the codecs.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    paths = len(world.episode.scenario.paths)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE_IN, dpi=_DOTS_AN_INCH, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        strip = 1.15 if paths == 1 else 0.62
        charts = figure.subplots(
            1 + paths, 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [5.0, *[strip] * paths]}
        )[:, 0]
        bars = spans(world)
        end_s = max(world.clock.now, 1e-3)
        unit_s, unit = _time_unit(end_s)
        _draw_bars(charts[0], bars, world.codecs, unit_s)
        for path, axes in enumerate(charts[1:]):
            _draw_capacity(axes, world, bars, path, unit_s)
        charts[0].set_xlim(0.0, end_s / unit_s)
        charts[-1].set_xlabel(f"time, {unit}")
        figure.align_ylabels(charts)
        _write_heading(figure, world, bars)
        figure.subplots_adjust(left=0.075, right=0.985, top=0.865, bottom=0.075, hspace=0.12)
        canvas.draw()  # type: ignore[no-untyped-call]
        drawn = np.asarray(canvas.buffer_rgba(), np.uint8)  # type: ignore[no-untyped-call]
        return drawn[:, :, :3].copy()


def _time_unit(end_s: float) -> tuple[float, str]:
    if end_s < 10 * MINUTE:
        return 1.0, "s"
    return (MINUTE, "min") if end_s < 5 * HOUR else (HOUR, "h")


def _draw_bars(axes: Axes, bars: Sequence[Span], codecs: Sequence[Codec], unit_s: float) -> None:
    rows = lanes([bar.arrival_s for bar in bars], [bar.end_s for bar in bars])
    tallest = max(rows, default=0) + 1
    height = 0.82 if tallest < 40 else 0.94
    placed = list(zip(rows, bars, strict=True))
    for codec in codecs:
        for hatch in (None, "////"):
            places = [
                (row, bar.start_s, bar.end_s)
                for row, bar in placed
                if bar.codec == codec.name and bar.is_baseline == bool(hatch)
            ]
            _bars(axes, places, height, unit_s, color=codec_colour(codec), hatch=hatch, zorder=3)
    waits = [(row, bar.arrival_s, bar.start_s) for row, bar in placed]
    _bars(axes, waits, height, unit_s, color=WAITING, zorder=2)
    late = [
        (row, max(bar.deadline_s, bar.arrival_s), bar.end_s)
        for row, bar in placed
        if bar.deadline_s < bar.end_s
    ]
    if late:
        row, left, right = np.array(late).T
        axes.hlines(row + height / 2, left / unit_s, right / unit_s, color=LATE, linewidth=2.2, zorder=4)
    axes.set_ylim(tallest - 0.4, -0.6)
    axes.set_ylabel("transfers")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", color="#ECECEC", linewidth=0.8)


def _bars(
    axes: Axes, places: Sequence[tuple[int, float, float]], height: float, unit_s: float, **look: Any
) -> None:
    row, left, right = np.array(places, np.float64).reshape(-1, 3).T
    axes.barh(row, (right - left) / unit_s, left=left / unit_s, height=height, linewidth=0.0, **look)


def _draw_capacity(axes: Axes, world: World, bars: Sequence[Span], path: int, unit_s: float) -> None:
    conditions = world.episode.conditions
    end_s = max(world.clock.now, 1e-3)
    shown = max(1, int(np.searchsorted(conditions.times, end_s)))
    every = -(-shown // _MOST_PIECES)
    times = np.append(conditions.times[:shown:every], end_s)
    capacity = conditions.links[:shown:every, path, 0]
    unit, name = (GBIT, "Gbit/s") if capacity.max() >= GBIT else (MBIT, "Mbit/s")
    axes.stairs(capacity / unit, times / unit_s, fill=True, color=CAPACITY, zorder=1)
    axes.stairs(capacity / unit, times / unit_s, color="#9AA5B1", linewidth=1.0, zorder=4)
    sent = [bar for bar in bars if bar.path == path and bar.wire_bytes]
    edges = np.unique([0.0, end_s, *(bar.start_s for bar in sent), *(bar.end_s for bar in sent)])
    below = np.zeros(len(edges) - 1)
    for codec in world.codecs:
        rate = below + sent_rate([bar for bar in sent if bar.codec == codec.name], edges)
        shade = codec_colour(codec)
        axes.stairs(rate / unit, edges / unit_s, baseline=below / unit, fill=True, color=shade, zorder=3)
        below = rate
    axes.set_ylim(0.0, 1.12 * max(capacity.max(), below.max()) / unit)
    axes.set_ylabel(name)
    axes.yaxis.set_major_locator(_few_ticks())
    axes.tick_params(axis="y", labelsize=8.5)
    axes.grid(axis="x", color="#ECECEC", linewidth=0.8)
    spec = world.episode.scenario.paths[path]
    label = f"path {spec.name}" if len(world.episode.scenario.paths) > 1 else "path"
    axes.text(
        1.0,
        1.02,
        f"{label}: capacity, and what ended transfers sent",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        fontsize=8.5,
        color=FAINT,
    )


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=3, min_n_ticks=2)


def sent_rate(bars: Sequence[Span], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bytes/s on the wire between edges, every transfer spread evenly from its start to its end.

    Args:
        bars: What was sent; each starts and ends on an edge.
        edges: Moments in order, shape (n + 1,), in seconds.

    Returns:
        Rates, shape (n,).
    """
    starts = np.array([bar.start_s for bar in bars])
    ends = np.array([bar.end_s for bar in bars])
    rates = np.array([bar.wire_bytes for bar in bars]) / (ends - starts)
    change = np.zeros(len(edges))
    np.add.at(change, np.searchsorted(edges, starts), rates)
    np.add.at(change, np.searchsorted(edges, ends), -rates)
    return np.maximum(np.cumsum(change)[:-1], 0.0)


def _write_heading(figure: Figure, world: World, bars: Sequence[Span]) -> None:
    from matplotlib.patches import Patch

    scenario = world.episode.scenario
    now = world.clock.now
    figure.text(0.012, 0.985, scenario.name, fontsize=14, fontweight="bold", va="top")
    figure.text(0.012, 0.945, scenario.summary, fontsize=9.5, va="top", color=FAINT)
    done, total = len(world.records), len(world.episode)
    cost = f"cost {world.cost:,.1f} s" + ("" if world.finished else " so far")
    figure.text(0.985, 0.985, cost, fontsize=14, fontweight="bold", va="top", ha="right")
    unit_s, unit = _time_unit(now)
    moved = f"{done} of {total} transfers moved after {now / unit_s:,.1f} {unit}"
    figure.text(0.985, 0.945, moved, fontsize=9.5, va="top", ha="right", color=FAINT)
    handles = [Patch(color=WAITING, label="waits")]
    handles += [
        Patch(facecolor=codec_colour(codec), label=codec.name, linewidth=0.0) for codec in world.codecs
    ]
    if any(bar.is_baseline for bar in bars):
        shade = FAMILY_COLOURS["hde"]
        handles.append(Patch(facecolor=shade, hatch="////", label="full baseline", linewidth=0.0))
    handles.append(Patch(color=LATE, label="past its deadline"))
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.006, 0.925),
        ncols=len(handles),
        frameon=False,
        fontsize=9.5,
        handlelength=1.3,
        handleheight=0.9,
        columnspacing=1.4,
        handletextpad=0.5,
    )
