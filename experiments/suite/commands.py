"""``dwcp-gym suite``: dwcp-bench, the frozen episodes, and the leaderboard on them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table

from experiments.terminal import console, say
from sim.errors import InputError

if TYPE_CHECKING:
    from experiments.suite.performance import Cell
    from experiments.suite.result import Result

app = typer.Typer(
    help="How good policies are: dwcp-bench, a frozen set of episodes, and its leaderboard. (`bench` is "
    "about how fast the simulator is.)",
    no_args_is_help=True,
)

RESULTS: Final = Path("results/leaderboard")
_ABREAST: Final = 6
"""Policies in a table on the terminal."""
_OTHER: Final = "≠"

Tasks = Annotated[
    list[str] | None, typer.Argument(help="compression, scheduling, allocation, joint; all by default.")
]
Scenarios = Annotated[list[str] | None, typer.Option("--scenario", help="Only these: a column of the table.")]
Splits = Annotated[list[str] | None, typer.Option("--split", help="Only these: validation, test, held-out.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; one a core by default.")]
Results = Annotated[Path, typer.Option("--results", help="Folder of the leaderboard's result files.")]


@app.command()
def show(tasks: Tasks = None) -> None:
    """List questions, scenarios and families, and how many episodes of each there are."""
    from experiments.suite.definition import shipped

    suite = shipped()
    table = Table(box=None, pad_edge=False)
    for title in ("scenario", "family", "episodes", "what it is"):
        table.add_column(title, no_wrap=title != "what it is")
    counts = suite.config.episodes
    for task in _tasks(tasks):
        table.add_section()
        table.add_row(task, style="bold")
        for name, split in suite.scenarios(task).items():
            told = f"{counts.train} + {counts.validation} + {counts.test}" if split == "test" else ""
            family = suite.family(task, name)
            table.add_row(name, family, told or str(counts.held_out), suite.scenario(name).summary)
    console.print(table)
    say("suite", f"version {suite.config.version}, {suite.digest}; episodes: train + validation + test")


@app.command()
def play(
    tasks: Tasks = None,
    policy: Annotated[list[str] | None, typer.Option("--policy", help="Of the catalogue: a row.")] = None,
    bundle: Annotated[list[Path] | None, typer.Option("--bundle", help="Folder or .zip to enter.")] = None,
    run: Annotated[list[Path] | None, typer.Option("--run", help="Run whose trainings to enter.")] = None,
    name: Annotated[str | None, typer.Option("--as", help="Name for the one bundle in the table.")] = None,
    scenario: Scenarios = None,
    split: Splits = None,
    results: Results = RESULTS,
    answers: Annotated[
        bool | None,
        typer.Option(help="Keep every answer in the file; by default where that is small."),
    ] = None,
    workers: Workers = None,
) -> None:
    """Play policies on the frozen episodes: all of the catalogue, or those named. Writes a result file each.

    With --scenario or --split nothing is written: the costs are printed, and set beside the file's.
    """
    from experiments.suite.contenders import bundled, named, trained
    from experiments.suite.definition import shipped
    from experiments.suite.performance import cells, perform
    from experiments.suite.result import write_result
    from experiments.work import Crew

    suite, chosen = shipped(), _tasks(tasks)
    if name is not None and len(bundle or []) != 1:
        raise InputError("--as", "", "names one bundle; give one --bundle with it")
    contenders = [bundled(suite, path, name) for path in bundle or []]
    contenders += [one for path in run or [] for one in trained(suite, path)]
    if policy or not contenders:
        contenders += named(suite, chosen, policy or [])
    asked = [task for task in chosen if any(one.task == task for one in contenders)]
    if not asked:
        raise InputError(
            "command line", "TASK", f"nobody who plays answers {', '.join(chosen)}; leave it out"
        )
    wanted = [cell for task in asked for cell in cells(suite, task, scenario or [], split or [])]
    with Crew(workers, console) as crew:
        found = perform(crew, contenders, wanted, keep=True)
    whole = not scenario and not split
    for result in found:
        path = _path(results, result)
        if whole:
            kept = _small(result) if answers is None else answers
            write_result(result if kept else _without_answers(result), path)
    for task in asked:
        own = [result for result in found if result.told.task == task]
        for table in _cost_tables(own, [cell for cell in wanted if cell.task == task], results):
            console.print(table)
    if whole:
        say("results", f"{len(found)} files in {results}; `dwcp-gym suite verify` replays them")


@app.command()
def verify(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Result files, or folders of them; the leaderboard by default."),
    ] = None,
    simpy: Annotated[bool, typer.Option("--simpy", help="Replay in SimPy's world, the reference.")] = False,
    bundle: Annotated[
        list[Path] | None, typer.Option("--bundle", help="Of a result of one: is played again, too.")
    ] = None,
    workers: Workers = None,
) -> None:
    """Replay the answers of result files, and play those of the catalogue again: do the costs hold?"""
    from experiments.suite.contenders import bundled
    from experiments.suite.definition import shipped
    from experiments.suite.performance import missing
    from experiments.suite.performance import verify as replay
    from experiments.suite.result import read_result
    from experiments.work import Crew

    paths = [
        path
        for given in files or [RESULTS]
        for path in (sorted(given.rglob("*.json")) if given.is_dir() else [given])
    ]
    if not paths:
        raise InputError(RESULTS, "", "expected result files; name some, or play first")
    results = [read_result(path) for path in paths]
    for path, result in zip(paths, results, strict=True):
        if problems := missing(shipped(), result):
            raise InputError(path, "", problems[0])
    with Crew(workers, console) as crew:
        bundles = [bundled(shipped(), path) for path in bundle or []]
        verdicts = replay(crew, results, simpy=simpy, bundles=bundles)
    refused = []
    for path, own in zip(paths, verdicts, strict=True):
        wrong = next((verdict for verdict in own if verdict.problem), None)
        if wrong is None:
            replayed, played = sum(one.replayed for one in own), sum(one.played for one in own)
            worst = max(one.difference for one in own)
            told = f"{replayed} episodes replayed, {played} played again, costs within {worst:.0e}"
            say("verified", f"{path}  {told}")
        else:
            refused.append(f"{path}: {wrong.cell.scenario} ({wrong.cell.split}): {wrong.problem}")
    if refused:
        raise InputError("\n".join(refused), "", "")


@app.command()
def board(
    results: Results = RESULTS,
    page: Annotated[Path, typer.Option(help="Page to write the tables into.")] = Path("docs/leaderboard.md"),
    figures: Annotated[
        Path | None, typer.Option(help="Folder for the figures; without it that of the page.")
    ] = None,
) -> None:
    """Write the leaderboard from result files: tables into a page, a figure a question beside it."""
    from experiments.suite.board_page import write_board
    from experiments.suite.definition import shipped
    from experiments.suite.standings import board as stand
    from experiments.suite.standings import read_results

    suite = shipped()
    found = read_results(results, suite)
    tasks = [task for task in suite.tasks if any(result.told.task == task for result in found)]
    boards = [stand(suite, task, found) for task in tasks]
    for path in write_board(boards, suite, page, figures or page.parent / "leaderboard"):
        say("leaderboard", path)


@app.command()
def check(workers: Workers = None) -> None:
    """Draw every episode of the suite and compare its hash."""
    from experiments.suite.definition import shipped
    from experiments.suite.performance import frozen
    from experiments.work import Crew

    suite = shipped()
    with Crew(workers, console) as crew:
        found = frozen(crew, suite)
    changed = [
        f"{scenario} ({split}): episode {number}: is another than when the suite was frozen"
        for (scenario, split), hashes in found.items()
        for number, (now, known) in enumerate(
            zip(hashes, suite.hashes.get(scenario, {}).get(split, [""] * len(hashes)), strict=True)
        )
        if now != known
    ]
    if changed:
        more = f"\n... and {len(changed) - 10} more" * (len(changed) > 10)
        raise InputError("\n".join(changed[:10]) + more, "", "")
    say("checked", f"{sum(map(len, found.values()))} episodes are what they were, suite {suite.digest}")


@app.command()
def freeze(workers: Workers = None) -> None:
    """Write the hash of every episode anew: for those who change the suite, and give it another version."""
    from experiments.suite.definition import Suite, shipped
    from experiments.suite.performance import frozen
    from experiments.work import Crew

    with Crew(workers, console) as crew:
        path = shipped().freeze(frozen(crew, shipped()))
    say("frozen", f"{path}  suite {Suite().digest}")


def _tasks(given: list[str] | None) -> list[str]:
    from experiments.suite.definition import shipped

    return [shipped().task(name).name for name in given or shipped().tasks]


def _small(result: "Result") -> bool:
    """Whether answers fit into a file that is kept: rules of the catalogue can be played again anyway."""
    tasks = ("compression", "scheduling", "joint")
    return result.told.task in (tasks[:2] if "catalogue" in result.told.source else tasks)


def _path(folder: Path, result: "Result") -> Path:
    return folder / result.told.task / f"{result.told.policy}.json"


def _without_answers(result: "Result") -> "Result":
    return result._replace(parts=tuple(part._replace(packed="") for part in result.parts))


def _cost_tables(results: "Sequence[Result]", wanted: "Sequence[Cell]", folder: Path) -> Iterator[Table]:
    """Mean costs, as many policies abreast as fit; a cell that is not what the file says is marked."""
    shown = [cell for cell in wanted if cell.split != "validation"] or list(wanted)
    title = f"{wanted[0].task}: mean cost of an episode, s"
    for start in range(0, len(results), _ABREAST):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for name in ("scenario", "split"):
            table.add_column(name, no_wrap=True)
        columns = []
        for result in results[start : start + _ABREAST]:
            table.add_column(result.told.policy, justify="right")
            columns.append([_cell(result, _stored(result, folder), cell) for cell in shown])
        for cell, texts in zip(shown, zip(*columns, strict=True), strict=True):
            table.add_row(cell.scenario, cell.split, *texts)
        if any(_OTHER in text for texts in columns for text in texts):
            table.caption = f"{_OTHER} is not what the file in {folder} says"
        yield table


def _stored(result: "Result", folder: Path) -> "Result | None":
    """What the leaderboard has of a policy, from this suite."""
    from experiments.suite.result import read_result

    path = _path(folder, result)
    stored = read_result(path) if path.exists() else None
    return stored if stored is not None and stored.told.suite == result.told.suite else None


def _cell(result: "Result", stored: "Result | None", cell: "Cell") -> str:
    from experiments.suite.playing import TOLERANCE

    own = _costs(result, cell)
    text = f"{sum(own) / len(own):.4g}"
    if stored is None:
        return text
    known = _costs(stored, cell)
    near = [abs(a / b - 1) <= TOLERANCE for a, b in zip(own, known, strict=False)]
    return text if len(known) == len(own) and all(near) else f"{text} {_OTHER}"


def _costs(result: "Result", cell: "Cell") -> list[float]:
    return [
        cost
        for part in result.parts
        if (part.scenario, part.split) == (cell.scenario, cell.split)
        for cost in part.costs
    ]
