"""The leaderboard as people see it: a table a question, its figure, and its part of a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from envs.timeline import INK
from experiments.aggregates import profiles
from experiments.evidence import KINDS
from experiments.look import PAR, colour, panels, save
from experiments.profiles import draw_profiles
from experiments.resampling import Estimate
from experiments.suite.definition import NAME, Suite
from experiments.suite.standings import CHANCE, Board
from sim.errors import InputError
from sim.files import write_text

BEGIN: Final = "<!-- leaderboard: written by `dwcp-gym suite board`, not by hand -->"
END: Final = "<!-- end of leaderboard -->"
_IN_PROFILE: Final = 8
"""Policies whose profile is drawn: the best of them."""
_SHOWN: Final = 250.0
"""Percent of the best static policy that a chart shows at most."""


def write_board(boards: Sequence[Board], suite: Suite, page: Path, figures: Path) -> list[Path]:
    """Write the figures, and the tables into a page between its two marks; the rest of it stays.

    Raises:
        InputError: If the page has not both marks, or the file system refuses.
    """
    drawn = [save(board_figure(board), figures / f"{board.task}.png") for board in boards]
    try:
        text = page.read_text("utf-8")
    except OSError as error:
        raise InputError(page, "", f"cannot be read: {error.strerror}; name a page") from error
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise InputError(
            page, "", f"expected the lines {BEGIN} and {END}, once each; put them where to write"
        )
    before, rest = text.split(BEGIN)
    images = {board.task: _relative(path, page) for board, path in zip(boards, drawn, strict=True)}
    lines = board_lines(boards, suite, images)
    write_text(page, "\n".join([before + BEGIN, "", *lines, "", END]) + rest.split(END)[1])
    return [page, *drawn]


def board_lines(boards: Sequence[Board], suite: Suite, images: Mapping[str, str]) -> list[str]:
    """The tables in Markdown; the same results give the same lines."""
    counts = suite.config.episodes
    lines = [
        f"`{NAME}` {suite.config.version}, suite `{suite.digest}`: {counts.test} test and {counts.held_out} "
        "held-out episodes a scenario. Costs in % of the best static policy's, which is chosen on validation "
        "(held out: in hindsight), geometric mean over scenarios; in brackets the 95 % interval, **bold** "
        "where it lies below 100.",
    ]
    for board in boards:
        families = list(board.standings[0].families)
        lines += ["", f"### {board.task.capitalize()}", "", f"![{board.task}]({images[board.task]})", ""]
        titles = ["", "policy", "kind", "test", "middle half", "wins, %", *families]
        lines += [f"| {' | '.join(titles)} |", f"|---:|---|---|{'---:|' * (len(titles) - 3)}"]
        for rank, line in enumerate(board.standings, start=1):
            name = f"`{line.policy}`" + f" ({line.trainings} trainings)" * (line.trainings > 1)
            cells = [str(rank), name, line.kind, _percent(line.test), _percent(line.middle)]
            cells += [
                f"{100 * line.improvement.value:.0f}",
                *(_percent(one) for one in line.families.values()),
            ]
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["", f"Best static policy: {_chosen(board.statics)}."]
    return lines


def board_figure(board: Board) -> Figure:
    """Cost of every policy on test and held-out episodes, and the profiles of the best of them."""
    lines = board.standings
    height = 1.7 + max(0.25 * len(lines), 2.6)
    figure, (left, right) = panels(
        2,
        2,
        height,
        f"{board.task.capitalize()}: what does each policy cost beside the best static one?",
        "Dots: test episodes, with interval; rings: held-out families. Right: share of test episodes on "
        "which a policy costs at most so much.",
    )
    for place, line in enumerate(lines):
        shade = colour(line.policy, line.kind)
        low, high = (min(100 * end, _SHOWN) for end in line.test[1:])
        left.plot([low, high], [place, place], color=shade, linewidth=2.4, alpha=0.55)
        families = np.minimum([100 * one.value for one in line.families.values()], _SHOWN)
        rings = {"facecolors": "none", "edgecolors": shade, "linewidths": 1.0}
        left.scatter(families, [place] * len(families), s=26, **rings)  # type: ignore[arg-type]
        if 100 * line.test.value <= _SHOWN:
            left.plot(100 * line.test.value, place, "o", color=shade, markersize=6)
        else:
            text = f"{100 * line.test.value:.0f} % ▸"
            left.text(_SHOWN, place - 0.32, text, ha="right", va="center", fontsize=8, color=shade)
    left.axvline(100, color=PAR, linewidth=1.2, zorder=1)
    left.set_ylim(len(lines) - 0.4, -0.6)
    left.set_yticks(range(len(lines)), [line.policy for line in lines])
    for label, line in zip(left.get_yticklabels(), lines, strict=True):
        label.set_color(colour(line.policy, line.kind) if line.kind != "static" else INK)
    left.grid(axis="both")
    left.set_xlabel("cost, % of the best static policy's")
    best = sorted(lines[:_IN_PROFILE], key=lambda line: KINDS.index(line.kind))
    curves = profiles([line.scores for line in best], CHANCE.resampling, board.task)
    draw_profiles(right, curves)
    right.set_ylabel("")
    right.set_xlabel("the same, episode by episode")
    top, bottom = 1 - 0.75 / height, 0.5 / height
    longest = max(len(line.policy) for line in lines)  # names stand left of the one chart, right of the other
    sides = max(0.2, 0.01 + 0.0088 * longest), 1 - max(0.2, 0.06 + 0.0083 * longest)
    figure.subplots_adjust(left=sides[0], right=sides[1], top=top, bottom=bottom, wspace=0.13)
    return figure


def _percent(found: Estimate) -> str:
    """A share in percent.

    >>> _percent(Estimate(0.877, 0.853, 0.902)), _percent(Estimate(1.0, 1.0, 1.0))
    ('**88 (85–90)**', '100')
    """
    if 100 * (found.high - found.low) < 0.05:
        return f"{100 * found.value:.0f}"
    text = f"{100 * found.value:.0f} ({100 * found.low:.0f}–{100 * found.high:.0f})"
    return f"**{text}**" if found.high < 1 else text


def _chosen(statics: Mapping[str, str]) -> str:
    """Who is the best static policy where.

    >>> _chosen({"wan": "hde", "lossy": "amst", "metro": "hde"})
    '`hde` on wan, metro; `amst` on lossy'
    """
    where: dict[str, list[str]] = {}
    for scenario, policy in statics.items():
        where.setdefault(policy, []).append(scenario)
    return "; ".join(f"`{policy}` on {', '.join(scenarios)}" for policy, scenarios in where.items())


def _relative(path: Path, page: Path) -> str:
    """A path as a page names it."""
    path, folder = path.resolve(), page.resolve().parent
    shared = next(one for one in (folder, *folder.parents) if path.is_relative_to(one))
    return "../" * len(folder.relative_to(shared).parts) + path.relative_to(shared).as_posix()
