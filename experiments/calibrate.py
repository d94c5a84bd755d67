"""``dwcp-gym calibrate``: the simulator's figures for the user's own machine, files and links."""

import importlib.util
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sim.errors import InputError

app = typer.Typer(
    help="Fit codecs to files of one's own, and links to a telemetry log.", no_args_is_help=True
)
console = Console()

FIGURES_FILE: Final = "fitted.json"
FIGURE_FILE: Final = "fit.png"


@app.command()
def codecs(
    paths: Annotated[list[str], typer.Argument(help="Files and folders, as PATH or CLASS=PATH.")],
    old: Annotated[
        Path | None, typer.Option(help="Older versions of them, under the same relative paths.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("calibration"),
    seconds: Annotated[float, typer.Option(min=1, help="Begin no slice after so many seconds.")] = 120.0,
    most_mb: Annotated[float, typer.Option(min=1, help="Megabytes to sample in all.")] = 256.0,
    repeats: Annotated[int, typer.Option(min=1, help="Runs behind a median.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample.")] = 0,
) -> None:
    """Measure the real codecs on files, and fit ratios, rates and payload classes to them."""
    needs_testbed()
    from experiments.calibration_figure import write_calibration_figure
    from sim.calibration.laws import load_fitted
    from sim.files import write_text
    from sim.randomness import stream
    from sim.testbed.codec_fit import calibrate
    from sim.testbed.codec_tables import Budget, measure, read_tables, write_tables
    from sim.testbed.file_samples import find_sources, sample

    shipped, rng = load_fitted(), stream(seed, "calibrate codecs")
    slices = sample(find_sources(paths, old), int(most_mb * 1e6), rng)
    bar = Progress(TextColumn("{task.description:<12}"), BarColumn(), TimeElapsedColumn(), console=console)
    with bar:
        line = bar.add_task("measuring", total=1.0)
        tables = measure(
            slices, shipped, Budget(seconds, repeats), rng, lambda done: bar.update(line, completed=done)
        )
    write_tables(tables, out)
    found = calibrate(read_tables(out), shipped)
    write_text(out / FIGURES_FILE, found.fitted.to_json())
    write_calibration_figure(found.laws, out / FIGURE_FILE)
    table = Table(box=None, pad_edge=False)
    for title in ("law", "taken", "files", "slices", "shipped error", "held-out error"):
        table.add_column(title, justify="left" if title in ("law", "taken") else "right")
    for law in found.laws:
        errors = (f"{law.shipped_error:.1%}", f"{law.held_out_error:.1%}")
        table.add_row(law.name, law.candidate, str(law.files), str(law.rows), *errors)
    console.print(table)
    kept = "" if found.classes else "; no slice of 1 MiB or more: all classes stay as shipped"
    _say("classes", f"{', '.join(found.classes) or 'none'}{kept}")
    for name in (FIGURES_FILE, FIGURE_FILE):
        _say(name.partition(".")[0] if name == FIGURES_FILE else "figure", out / name)
    _say("to use it", f"environment.calibration: {out / FIGURES_FILE} in an experiment's YAML, or")
    _say("", f"dwcp-gym run CONFIG environment.calibration={out / FIGURES_FILE}")


def needs_testbed() -> None:
    """Refuse where the real codecs are not installed.

    Raises:
        InputError: With the command that installs them.
    """
    for module in ("backports.zstd", "lz4", "xxhash"):
        if importlib.util.find_spec(module) is None:
            problem = f"needs the package {module}; pip install 'dwcp-gym[testbed]'"
            raise InputError("dwcp-gym calibrate", "", problem)


def _say(what: str, where: object) -> None:
    console.print(f"{what:<12} {where}", markup=False, highlight=False, soft_wrap=True)
