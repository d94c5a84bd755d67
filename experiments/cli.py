"""The command line: ``dwcp-gym VERB``, also as ``python -m experiments VERB``."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from experiments.config import ExperimentConfig
from sim.errors import InputError
from sim.settings import load

app = typer.Typer(
    name="dwcp-gym",
    help="Train policies for wide-area transfers in a simulator of measured codecs and links, and compare them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()

Config = Annotated[Path, typer.Argument(help="YAML of an experiment, e.g. experiments/configs/compression.yaml.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Other values for keys of the YAML, e.g. learners.ppo.steps=50000.")
]
Root = Annotated[Path, typer.Option("--results", help="Where run folders are made.")]
Folder = Annotated[Path, typer.Argument(help="Folder of a run, or an experiment's results/NAME/latest.")]


@app.command()
def run(config: Config, overrides: Overrides = None, results: Root = Path("results")) -> None:
    """Train, evaluate, compare, export and report: everything, in one go.

    An interrupted run goes on where it stopped when the same command is given again.
    """
    from experiments.headline import headline_renderables, headline_table
    from experiments.pipeline import check, run_experiment

    settings = load(config, ExperimentConfig, overrides or [])
    check(settings, str(config))
    finished = run_experiment(settings, results, console)
    console.print()
    for table in headline_renderables(headline_table(finished.summary)):
        console.print(table)
    console.print(f"report       {finished.report}")
    console.print(f"tensorboard  tensorboard --logdir {finished.tensorboard}")
    for bundle in finished.bundles:
        console.print(f"bundle       {bundle}")


@app.command()
def train(config: Config, overrides: Overrides = None, results: Root = Path("results")) -> None:
    """Train the selectors and learners of an experiment, and stop there; `run` goes on from it."""
    from experiments.pipeline import check, train_stages
    from experiments.run_folder import RunFolder
    from experiments.work import Crew

    settings = load(config, ExperimentConfig, overrides or [])
    check(settings, str(config))
    with RunFolder.create(settings, results) as folder, Crew(settings.workers, console) as crew:
        train_stages(folder, settings, crew)
    console.print(f"trained      {folder.path}")


@app.command()
def evaluate(folder: Folder) -> None:
    """Evaluate the policies of a trained run on all its episodes."""
    from experiments.pipeline import evaluate_stages
    from experiments.work import Crew

    with _opened(folder) as (run_folder, settings), Crew(settings.workers, console) as crew:
        if not run_folder.stage_done("training"):
            raise InputError(folder, "", "is not trained yet; `dwcp-gym train` or `run` its config first")
        evaluate_stages(run_folder, settings, crew)
    console.print(f"evaluated    {run_folder.file('episodes.parquet')}")


@app.command()
def compare(folders: Annotated[list[Path], typer.Argument(help="Folders of one or several runs.")]) -> None:
    """Print the comparison table of one or several runs."""
    from experiments.headline import headline_renderables, headline_table

    for folder in folders:
        with _opened(folder) as (run_folder, settings):
            path = run_folder.file("summary.json")
            try:
                summary = json.loads(path.read_text())
                tables = headline_renderables(headline_table(summary))
            except FileNotFoundError as error:
                raise InputError(path, "", "is missing; `dwcp-gym report` writes it") from error
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(path, "", "is torn or foreign; `dwcp-gym report` writes it anew") from error
            console.print(f"[bold]{settings.title}[/bold]  {run_folder.path}")
            for table in tables:
                console.print(table)


@app.command()
def report(folder: Folder) -> None:
    """Write summary, report, figures and TensorBoard events of an evaluated run anew from its tables."""
    from experiments.publish import TENSORBOARD, publish

    with _opened(folder) as (run_folder, settings):
        publish(run_folder, settings)
        console.print(f"report       {run_folder.file('report.md')}")
        if settings.tensorboard:
            console.print(f"tensorboard  tensorboard --logdir {run_folder.file(TENSORBOARD)}")


@app.command()
def export(folder: Folder) -> None:
    """Export the trained policies of a run as bundles: ONNX, manifest and parity rows."""
    from experiments.bundles import export_bundles

    with _opened(folder) as (run_folder, settings):
        for one in export_bundles(run_folder, settings):
            console.print(
                f"bundle       {one.folder}  {one.size_bytes / 1e3:.0f} kB, one decision "
                f"{one.p50_s * 1e6:.0f} us (p99 {one.p99_s * 1e6:.0f} us)"
            )


@app.command()
def scenarios(
    headroom: Annotated[bool, typer.Option("--headroom", help="Measure how much there is to win in each.")] = False,
    only: Annotated[list[str] | None, typer.Option("--only", help="Names, or YAML files of one's own.")] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes a scenario.")] = 8,
    searched: Annotated[int, typer.Option(min=1, help="Of these, episodes whose best answers are searched.")] = 2,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core by default.")] = None,
) -> None:
    """List the scenarios; with --headroom, what constants, oracle and the best answers found cost in each."""
    from experiments.headroom import headroom_table, measure_headroom, scenario_table
    from experiments.work import Crew
    from sim.catalogue import SCENARIOS
    from sim.scenario_file import resolve

    chosen = [resolve(name) for name in only or list(SCENARIOS)]
    if not headroom:
        console.print(scenario_table(chosen))
        return
    with Crew(workers, console) as crew:
        console.print(headroom_table(measure_headroom(chosen, episodes, searched, crew)))


@app.command()
def policies() -> None:
    """List the policies by the names that configs and tables use."""
    from agents.catalogue import POLICIES
    from sim.codecs import CODECS

    table = Table(box=None, pad_edge=False)
    for column in ("policy", "kind", "what it does"):
        table.add_column(column)
    for name in CODECS:
        table.add_row(name, "static", "always this codec")
    for name, entry in POLICIES.items():
        table.add_row(name, entry.kind, entry.about)
    console.print(table)


@app.command()
def bench(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, nothing else.")] = False,
    seconds: Annotated[float, typer.Option(min=0.1, help="CPU seconds for each figure.")] = 3.0,
) -> None:
    """Measure decisions and training steps a second, beside CartPole in the same run."""
    from experiments.bench import bench_table, measure

    found = measure(seconds)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        console.print(bench_table(found))


class _opened:
    """A run folder and its config, locked while it is worked on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run: Any = None

    def __enter__(self) -> tuple[Any, ExperimentConfig]:
        from experiments.run_folder import RunFolder

        self._run = RunFolder.existing(self._path)
        self._run.lock()
        return self._run, load(self._run.file("config.yaml"), ExperimentConfig)

    def __exit__(self, *error: object) -> None:
        self._run.release()


def main() -> None:
    """Run the command line: 0 when all went well, 2 for input that cannot be used, 130 after Ctrl-C."""
    try:
        app(standalone_mode=False)
    except InputError as error:
        _complain(str(error))
        sys.exit(2)
    except typer.Exit as leave:
        sys.exit(leave.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted; the same command goes on from here")
        sys.exit(130)
    except Exception as error:
        if type(error).__module__.startswith(("click", "typer")) and hasattr(error, "format_message"):
            _complain(error.format_message())
            sys.exit(2)
        raise


def _complain(text: str) -> None:
    Console(stderr=True).print(f"[bold red]dwcp-gym:[/bold red] {text}", markup=True, highlight=False, soft_wrap=True)
