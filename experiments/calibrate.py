"""``dwcp-gym calibrate``: the simulator's figures for the user's own machine, files and links."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from experiments.terminal import console, say
from sim.errors import InputError

if TYPE_CHECKING:
    from sim.testbed.link_fit import LinkFit

app = typer.Typer(
    help="Fit codecs to files of one's own, and links to a telemetry log.", no_args_is_help=True
)

FIGURES_FILE: Final = "fitted.json"
FIGURE_FILE: Final = "fit.png"
_SHOWN: Final = {
    "capacity": (1e6 / 8, ", Mbit/s"),
    "rtt_s": (1e-3, ", ms"),
    "loss": (0.01, ", %"),
}
"""Units in which parameters are shown: what one is in SI, and how it is written."""


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
    say("classes", f"{', '.join(found.classes) or 'none'}{kept}")
    for name in (FIGURES_FILE, FIGURE_FILE):
        say(name.partition(".")[0] if name == FIGURES_FILE else "figure", out / name)
    say("to use it", f"environment.calibration: {out / FIGURES_FILE} in an experiment's YAML, or")
    say("", f"dwcp-gym run CONFIG environment.calibration={out / FIGURES_FILE}")


@app.command()
def link(
    log: Annotated[Path, typer.Argument(help="Transfers as telemetry has them, .parquet or .csv.")],
    scenario: Annotated[
        str, typer.Option(help="Catalogue scenario or YAML that is like the site: its host, slots, prices.")
    ] = "wan",
    path: Annotated[int, typer.Option(min=0, help="Path of the scenario that is fitted, from 0.")] = 0,
    out: Annotated[Path, typer.Option(help="YAML to write; its stem names the scenario.")] = Path(
        "site.yaml"
    ),
    evaluations: Annotated[int, typer.Option(min=20, help="Simulations of the log to spend.")] = 800,
    draws: Annotated[int, typer.Option(min=1, help="Draws of the link in each.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the search.")] = 0,
) -> None:
    """Fit capacity, round trip, loss, cross traffic and coder speed of a link to a log of transfers."""
    from sim.calibration.choice import chosen_file
    from sim.calibration.laws import load_fitted
    from sim.files import write_text
    from sim.randomness import stream
    from sim.scenario_file import SUFFIXES, resolve, save_scenario
    from sim.testbed.link_fit import fit_link
    from sim.testbed.link_log import read_link_log
    from sim.testbed.link_site import site_calibration, site_scenario

    if out.suffix not in SUFFIXES:
        raise InputError(out, "", f"expected a name that ends in {' or '.join(SUFFIXES)}")
    base = resolve(scenario)
    if path >= len(base.paths):
        problem = f"expected a path of scenario '{base.name}', 0 to {len(base.paths) - 1}, got {path}"
        raise InputError("command line", "--path", problem)
    transfers = read_link_log(log, [one.name for one in base.paths], path)
    bar = Progress(TextColumn("{task.description:<12}"), BarColumn(), TimeElapsedColumn(), console=console)
    with bar:
        line = bar.add_task("fitting", total=evaluations)
        found = fit_link(
            transfers,
            base,
            path,
            evaluations=evaluations,
            draws=draws,
            rng=stream(seed, "calibrate link"),
            tick=lambda: bar.advance(line),
        )
    for renderable in link_tables(found):
        console.print(renderable)
    site = site_scenario(out.stem, base, path, transfers, found)
    save_scenario(site, out)
    say("scenario", out)
    use = f"environment.scenarios=[{out}]"
    figures = site_calibration(load_fitted(chosen_file()), found)
    if figures is not None:
        file = out.with_suffix(".json")
        write_text(file, figures.to_json())
        say("calibration", file)
        use += f" environment.calibration={file}"
    say("to use it", f"dwcp-gym run CONFIG '{use}'")


def link_tables(found: "LinkFit") -> Iterator[Table | str]:
    """What a fit of a link says: its parameters, its error, and what the log leaves open, in words."""
    table = Table(box=None, pad_edge=False)
    for title in ("parameter", "fitted", "the log allows", "told by the log"):
        table.add_column(title, justify="right" if title in ("fitted", "the log allows") else "left")
    for one in found.estimates:
        shown, unit = _SHOWN.get(one.name, (1.0, ""))
        interval = f"{one.low / shown:.3g} to {one.high / shown:.3g}"
        table.add_row(
            f"{one.name.removesuffix('_s')}{unit}",
            f"{one.value / shown:.3g}",
            interval,
            "yes" if one.identified else "no",
        )
    yield table
    for direction in found.flat:
        change = " and ".join(f"{name} times {factor:.2g}" for name, factor in direction.factors.items())
        yield f"not told: {change} moves the error from {found.score:.4f} to {direction.score:.4f}"
    for name, (median, worst) in (("fitted", found.held_out), ("as begun", found.held_out_before)):
        yield f"held-out error {name}: median {median:.1%}, p90 {worst:.1%} of the completion time"


def needs_testbed() -> None:
    """Refuse where the real codecs are not installed.

    Raises:
        InputError: With the command that installs them.
    """
    for module in ("backports.zstd", "lz4", "xxhash"):
        if importlib.util.find_spec(module) is None:
            problem = f"needs the package {module}; pip install 'dwcp-gym[testbed]'"
            raise InputError("dwcp-gym calibrate", "", problem)
