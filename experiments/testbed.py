"""``dwcp-gym testbed``: real codecs over real TCP on an emulated path, and what the simulator says of it."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from experiments.calibrate import needs_testbed
from sim.calibration.choice import choose
from sim.errors import InputError
from sim.settings import load

if TYPE_CHECKING:
    from experiments.testbed_validate import Validation

app = typer.Typer(help="Real codecs over real TCP on an emulated path.", no_args_is_help=True)
console = Console()

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C: 128 and the number of the signal, as shells have it."""


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="YAML, e.g. experiments/configs/testbed/quick.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Other values for keys of the YAML, e.g. path.rtt_ms=80.")
    ] = None,
    results: Annotated[Path, typer.Option("--results", help="Where its folder is made.")] = Path(
        "results/testbed"
    ),
) -> None:
    """Play episodes for real under several policies, and simulate the same."""
    needs_testbed()
    from experiments.testbed_config import TestbedConfig

    settings = load(config, TestbedConfig, overrides or [])
    choose(settings.calibration, config)  # before anything computes with another

    from experiments.testbed_paired import paired, paired_table, plays_table
    from experiments.testbed_run import run_testbed

    try:
        found = run_testbed(settings, results, console)
    except KeyboardInterrupt:
        Console(stderr=True).print("dwcp-gym: interrupted; nothing was written", highlight=False)
        sys.exit(INTERRUPTED)
    console.print(plays_table(found.plays))
    if differences := paired(found.plays):
        console.print(paired_table(differences))
    if found.why_not:
        say("path", f"shaped loopback: {found.why_not}")
    if found.left_out:
        say("left out", f"{found.left_out} plays, by the time budget of {settings.minutes:g} minutes")
    say("testbed", found.folder)


@app.command()
def validate(
    folder: Annotated[
        Path, typer.Argument(help="Where raw rows and report are kept; goes on from what is there.")
    ] = Path("results/testbed/validate"),
    quick: Annotated[bool, typer.Option("--quick", help="Two minutes, short transfers.")] = False,
    minutes: Annotated[float, typer.Option(min=0.2, help="Time budget of this call.")] = 15.0,
    longest: Annotated[
        float, typer.Option(min=1.0, help="Seconds that the transfers of one setting may take in all.")
    ] = 20.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample of the grid.")] = 0,
    fastest: Annotated[
        float,
        typer.Option(min=20.0, help="Mbit/s; settings of faster paths, which need cores, are left out."),
    ] = math.inf,
    episodes: Annotated[int, typer.Option(min=0, help="Concurrent episodes, after single transfers.")] = 0,
    calibration: Annotated[
        Path | None, typer.Option(help="Figures of codecs here, as `calibrate codecs` writes them.")
    ] = None,
    or_skip: Annotated[
        bool,
        typer.Option("--or-skip", help="End well, and say why, where no path or no idle core can be had."),
    ] = False,
) -> None:
    """Hold the simulator against single transfers and concurrent episodes for real; print how far off it is.

    Half of the time is for episodes where they are asked for.
    """
    needs_testbed()
    choose(
        str(calibration) if calibration else None, "--calibration"
    )  # before anything computes with another

    from experiments.testbed_accuracy import accuracy, accuracy_table, write_accuracy
    from experiments.testbed_validate import no_path
    from experiments.testbed_validate import validate as hold_against

    if or_skip and (why := no_path()):
        say("skipped", why)
        return
    minutes = 2.0 if quick else minutes
    single = minutes / 2 if episodes else minutes
    found = hold_against(folder, single, 6.0 if quick else longest, seed, console, fastest)
    if not len(found.rows):
        raise InputError(folder, "", "holds no setting yet, and none would end in time; give more --minutes")
    try:
        said = accuracy(found.rows)
    except InputError as error:
        if not or_skip:
            raise
        say("skipped", error)
        return
    write_accuracy(folder, said, found.notes)
    console.print(accuracy_table(said))
    if episodes:
        _episodes(folder, seed, episodes, minutes - single, found)
    if found.why_not:
        say("path", f"shaped loopback: {found.why_not}")
    say("report", folder / "report.md")


def _episodes(folder: Path, seed: int, count: int, minutes: float, found: "Validation") -> None:
    from experiments.testbed_episodes import episode_errors, episodes_report, episodes_table, play_episodes
    from experiments.testbed_host import fit_stack
    from sim.files import write_text

    plays = play_episodes(folder / "episodes", seed, count, minutes, console)
    if plays.empty:
        say("episodes", "none would end in time; give more --minutes")
        return
    host = fit_stack(found.rows)
    errors = episode_errors(plays, host, found.setup)
    report = folder / "report.md"
    write_text(report, report.read_text("utf-8") + episodes_report(errors, host))
    console.print(episodes_table(errors))


def say(what: str, where: object) -> None:
    """A result on a line of its own, whole however narrow the terminal."""
    console.print(f"{what:<12} {where}", markup=False, highlight=False, soft_wrap=True)
