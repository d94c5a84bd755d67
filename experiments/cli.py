"""The command line: ``dwcp-gym VERB``, also as ``python -m experiments VERB``."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from experiments.calibrate import app as calibrate
from experiments.config import ExperimentConfig
from experiments.rollout.commands import shadow_app
from experiments.serving.commands import serve
from experiments.shadow.commands import bundle_app
from experiments.store.commands import app as telemetry
from experiments.suite.commands import app as suite
from experiments.supervised.commands import app as supervised
from experiments.sweep.commands import sweep, tune
from experiments.terminal import console, say
from experiments.testbed import app as testbed
from experiments.world_commands import features, label, lookahead, policies, scenarios, slack
from experiments.worst.commands import worst
from sim.calibration.choice import choose
from sim.errors import InputError
from sim.settings import load

if TYPE_CHECKING:
    from experiments.run_folder import RunFolder

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C: 128 and the number of the signal, as shells have it."""

app = typer.Typer(
    name="dwcp-gym",
    help="Train policies for wide-area transfers in a simulator of measured codecs and links; compare them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(calibrate, name="calibrate")
app.add_typer(testbed, name="testbed")
app.add_typer(telemetry, name="telemetry")
app.add_typer(suite, name="suite")
app.add_typer(bundle_app)
app.add_typer(shadow_app)
app.add_typer(supervised, name="supervised")

Config = Annotated[
    Path, typer.Argument(help="YAML of an experiment, e.g. experiments/configs/compression.yaml.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Other values for keys of the YAML, e.g. learners.ppo.steps=50000.")
]
Root = Annotated[Path, typer.Option("--results", help="Where run folders are made.")]
Folder = Annotated[Path, typer.Argument(help="Folder of a run, or an experiment's results/NAME/latest.")]


@app.command()
def run(
    config: Config,
    overrides: Overrides = None,
    results: Root = Path("results"),
    quick: Annotated[
        bool,
        typer.Option("--quick", help="With what the YAML has under `quick`: for less time, and less sure."),
    ] = False,
) -> None:
    """Train, evaluate, compare, export and report: everything, in one go.

    An interrupted run goes on where it stopped when the same command is given again.
    """
    settings = _settings(config, [*(_quick(config) if quick else ()), *(overrides or [])])

    from experiments.headline import headline_renderables, headline_table
    from experiments.pipeline import check, run_experiment

    check(settings, str(config))
    finished = run_experiment(settings, results, console)
    console.print()
    for table in headline_renderables(headline_table(finished.summary)):
        console.print(table)
    say("report", finished.report)
    if settings.tensorboard:
        say("tensorboard", f"tensorboard --logdir {finished.tensorboard}")
    for bundle in finished.bundles:
        say("bundle", bundle)


@app.command()
def train(config: Config, overrides: Overrides = None, results: Root = Path("results")) -> None:
    """Train the selectors and learners of an experiment, and stop there; `run` goes on from it."""
    settings = _settings(config, overrides or [])

    from experiments.pipeline import check, train_stages
    from experiments.run_folder import RunFolder
    from experiments.work import Crew

    check(settings, str(config))
    with RunFolder.create(settings, results) as folder, Crew(settings.workers, console) as crew:
        train_stages(folder, settings, crew)
    say("trained", folder.path)


@app.command()
def evaluate(folder: Folder) -> None:
    """Evaluate the policies of a trained run on all its episodes."""
    from experiments.work import Crew

    with _opened(folder) as (run_folder, settings), Crew(settings.workers, console) as crew:
        from experiments.pipeline import evaluate_stages

        if not run_folder.stage_done("training"):
            raise InputError(folder, "", "is not trained yet; `dwcp-gym train` or `run` its config first")
        evaluate_stages(run_folder, settings, crew)
    say("evaluated", run_folder.file("episodes.parquet"))


@app.command()
def compare(folders: Annotated[list[Path], typer.Argument(help="Folders of one or several runs.")]) -> None:
    """Print the comparison table of one or several runs, those of the testbed among them."""
    from experiments.headline import headline_renderables, headline_table
    from experiments.run_folder import RunFolder

    for folder in folders:
        if (folder / "plays.parquet").exists():
            _compare_real(folder)
            continue
        if (runs := folder / "sweep" / "runs.csv").exists():
            _compare_sweep(runs)
            continue
        run_folder = RunFolder.existing(folder)
        settings = load(run_folder.file("config.yaml"), ExperimentConfig)
        path = run_folder.file("summary.json")
        try:
            tables = headline_renderables(headline_table(json.loads(path.read_text("utf-8"))))
        except FileNotFoundError as error:
            raise InputError(path, "", "is missing; `dwcp-gym report` writes it") from error
        except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
            raise InputError(path, "", "is torn or foreign; `dwcp-gym report` writes it anew") from error
        console.print(Text(settings.title, style="bold"), soft_wrap=True)
        say("run", run_folder.path)
        for table in tables:
            console.print(table)


@app.command()
def report(folder: Folder) -> None:
    """Write summary, report, figures and TensorBoard events of an evaluated run anew from its tables."""
    with _opened(folder) as (run_folder, settings):
        from experiments.publish import TENSORBOARD, publish

        publish(run_folder, settings)
        say("report", run_folder.file("report.md"))
        if settings.tensorboard:
            say("tensorboard", f"tensorboard --logdir {run_folder.file(TENSORBOARD)}")


def _compare_sweep(path: Path) -> None:
    from experiments.sweep.results import read_frame, result_table

    say("sweep", path.parent)
    console.print(result_table(read_frame(path), "Cost, % of the best static policy's (lowest–highest run)"))


def _compare_real(folder: Path) -> None:
    from experiments.testbed_paired import paired, paired_table, plays_table, read_plays

    plays = read_plays(folder)
    say("testbed", folder)
    console.print(plays_table(plays))
    if differences := paired(plays):
        console.print(paired_table(differences))


@app.command()
def export(folder: Folder) -> None:
    """Export the trained policies of a run as bundles: ONNX, manifest and parity rows."""
    with _opened(folder) as (run_folder, settings):
        from experiments.bundles import export_bundles

        for one in export_bundles(run_folder, settings):
            speed = f"{one.p50_s * 1e6:.0f} us (p99 {one.p99_s * 1e6:.0f} us)"
            say("bundle", f"{one.folder}  {one.size_bytes / 1e3:.0f} kB, one decision {speed}")


@app.command()
def bench(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, nothing else.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer and shorter figures: within a minute.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="CPU seconds for each figure; 2, or 0.2 when quick.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for bench.json and two figures.")] = None,
) -> None:
    """Measure decisions and training steps a second, by question and engine, beside CartPole."""
    from experiments.bench import FULL, QUICK, bench_table, measure
    from experiments.bench_figures import write

    extent = QUICK if quick else FULL
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    found = measure(extent if seconds is None else extent._replace(seconds=seconds), Console(stderr=True))
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        console.print(bench_table(found))
    if out is not None:
        for path in write(found, out):
            Console(stderr=True).print(str(path), highlight=False, soft_wrap=True)


for verb in (sweep, tune, worst, scenarios, policies, slack, lookahead, label, features, serve):
    app.command()(verb)


def _settings(config: Path, overrides: list[str]) -> ExperimentConfig:
    """An experiment, its calibration chosen before anything computes with one."""
    settings = load(config, ExperimentConfig, overrides)
    choose(settings.environment.calibration, config)
    return settings


def _quick(config: Path) -> tuple[str, ...]:
    """What a quick run sets, by the config itself."""
    given = load(config, ExperimentConfig).quick
    if given is None:
        problem = "expected a list of what a quick run sets, such as [learners.ppo.steps=50000]"
        raise InputError(config, "quick", f"{problem}; add one, or leave --quick out")
    try:
        load(config, ExperimentConfig, given)
    except InputError as error:
        raise InputError(config, "quick", str(error)) from error
    return given


def main() -> None:
    """Run the command line: 0 when all went well, 2 for input that cannot be used, 130 after Ctrl-C."""
    try:
        code = app(prog_name="dwcp-gym", standalone_mode=False)  # where Ctrl-C comes back as a value
    except InputError as error:
        _refuse(str(error))
    except OSError as error:
        where = error.filename or "the file system"
        _refuse(f"{where}: {error.strerror or error}; free room or name another folder")
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        if not hasattr(error, "format_message"):  # of click, which typer carries under names of its own
            raise
        _refuse(_usage(error))
    if code == INTERRUPTED:
        _complain("interrupted; the same command goes on from here")
    sys.exit(code)


def _usage(error: Exception) -> str:
    """What was wrong with the words of the command, and where to read on; empty after a page of help."""
    message = str(error.format_message())  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    verb = context.command_path if context else "dwcp-gym"
    return f"{message.rstrip('.')}; see {verb} --help" if message else ""


def _refuse(text: str) -> NoReturn:
    for line in text.splitlines():
        _complain(line)
    sys.exit(2)


def _complain(text: str) -> None:
    line = Text.assemble(("dwcp-gym:", "bold red"), f" {text}")
    Console(stderr=True).print(line, highlight=False, soft_wrap=True)


@contextmanager
def _opened(path: Path) -> "Iterator[tuple[RunFolder, ExperimentConfig]]":
    """A run folder and its config, locked while it is worked on; import what computes behind it."""
    from experiments.run_folder import RunFolder

    with RunFolder.existing(path) as run_folder:
        yield run_folder, _settings(run_folder.file("config.yaml"), [])
