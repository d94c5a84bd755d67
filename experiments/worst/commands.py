"""``dwcp-gym worst``: where a policy lies farthest behind what it is to replace."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table

from experiments.terminal import console, say

if TYPE_CHECKING:
    from experiments.worst.findings import Finding

FIGURE: Final = "gaps.png"


def worst(
    policy: Annotated[
        str, typer.Argument(help="Folder of a trained run, folder or .zip of a bundle, or a catalogue name.")
    ],
    scenario: Annotated[str, typer.Argument(help="Around which sites are tried: a name, or a YAML file.")],
    against: Annotated[
        str, typer.Option(help="The incumbent: best_static, a catalogue name, or a bundle's folder.")
    ] = "best_static",
    learner: Annotated[
        str | None, typer.Option(help="Of a run: its learner or selector; the first learner by default.")
    ] = None,
    spread: Annotated[
        float, typer.Option(min=0.01, max=2, help="How far sites lie apart, as `environment.vary`.")
    ] = 0.6,
    tries: Annotated[int, typer.Option(min=1, help="Sites to try, the scenario itself first.")] = 40,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes on which a site is tried.")] = 64,
    fresh: Annotated[
        int, typer.Option(min=2, help="Other episodes, on which the worst sites are judged.")
    ] = 100,
    keep: Annotated[int, typer.Option(min=1, help="Sites to keep, at most.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of the search and its episodes.")] = 0,
    out: Annotated[
        Path, typer.Option(help="Folder for scenarios, tables and figure; its name is in theirs.")
    ] = Path("worst"),
) -> None:
    """Search the sites around a scenario for those where a policy does worst against its incumbent.

    The worst sites become scenario files to train on. The same command goes on with an interrupted search.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from experiments.look import save
    from experiments.worst.contest import Contest, player
    from experiments.worst.figure import gap_against_knobs
    from experiments.worst.findings import FOUND, TRIES, judge, write_findings
    from experiments.worst.search import Plan, Search

    one = player(policy, scenario, learner)
    contest, plan = Contest(one, against), Plan(spread, episodes, seed)
    search = Search(contest, plan, out)
    base = one.scenario
    names = [f"{base.name}-{out.resolve().name}-{number}" for number in range(1, keep + 1)]
    bars = TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*bars, console=console) as bar:
        line = bar.add_task("search", total=tries, completed=len(search.tries))
        search.run(tries, lambda: bar.advance(line))
        tried = search.tries
        line = bar.add_task("fresh", total=None)
        found = judge(contest, plan, tried, names, fresh, lambda: bar.advance(line))
        bar.update(line, total=len(found))
    files = write_findings(out, base, spread, tried, found)
    who = (one.name, one.kind, against)
    figure = save(gap_against_knobs(base, spread, tried, found, who=who), out / FIGURE)
    console.print(_gaps(found, f"Cost of {one.name}, % of {against}'s; fresh: {fresh} other episodes"))
    console.print(_sites(found, spread))
    if not files:
        say("worst", f"nowhere worse than on {base.name} itself; try more sites or a wider --spread")
    for file in files:
        say("scenario", file)
    for path in (out / FOUND, out / TRIES, figure):
        say("written", path)


def _gaps(found: "list[Finding]", title: str) -> Table:
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for name in ("site", "in the search", "fresh", "times the scenario's"):
        table.add_column(name, justify="left" if name == "site" else "right", no_wrap=True)
    for one in found:
        low, value, high = (100 * (1 + end) for end in (one.gap.low, one.gap.value, one.gap.high))
        ratio = 1 + one.beyond.value, 1 + one.beyond.low, 1 + one.beyond.high
        table.add_row(
            one.scenario.name,
            f"{100 * (1 + one.searched):.1f}",
            f"{value:.1f} ({low:.1f} to {high:.1f})",
            "" if one is found[0] else "{:.3f} ({:.3f} to {:.3f})".format(*ratio),
        )
    return table


def _sites(found: "list[Finding]", spread: float) -> Table:
    from experiments.worst.knobs import figures

    base = found[0].scenario
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for one in found:
        table.add_column(one.scenario.name, justify="right")
    known = [figures(base, spread, one.found.shift) for one in found]
    for name in known[0]:
        table.add_row(name, *(_told(name.rpartition(".")[2], own[name]) for own in known))
    table.add_row("incumbent", *(one.incumbent for one in found))
    return table


def _told(knob: str, value: float) -> str:
    """A figure with its unit."""
    if knob == "capacity":
        return f"{value:.4g} Mbit/s"
    if knob == "rtt":
        return f"{value:.3g} ms"
    if knob == "load":
        return f"× {value:.2f}"
    return f"{100 * value:.2g} %"
