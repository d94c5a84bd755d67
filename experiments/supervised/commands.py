"""``dwcp-gym supervised``: train models on telemetry, evaluate them beside baselines and ceilings, report."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.terminal import console, say
from sim.errors import InputError
from sim.files import write_text
from sim.settings import load

if TYPE_CHECKING:
    from experiments.run_folder import RunFolder
    from experiments.supervised.config import ModelsConfig

app = typer.Typer(
    name="supervised",
    help="Supervised models: forecasts, monitors and the selector, beside naive baselines and ceilings.",
    no_args_is_help=True,
)

Config = Annotated[Path, typer.Argument(help="YAML, e.g. experiments/configs/supervised/quick.yaml.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Other values for keys of the YAML, e.g. watch.nodes=20.")
]
Only = Annotated[list[str] | None, typer.Option("--only", help="Models, of those of the config.")]
Root = Annotated[Path, typer.Option("--results", help="Where run folders are made.")]


@app.command()
def train(
    config: Config, overrides: Overrides = None, only: Only = None, results: Root = Path("results/supervised")
) -> None:
    """Train the models; what an interrupted call has trained stays."""
    with _run(config, overrides, only, results) as (run, settings):
        from experiments.supervised.run import train as train_models

        train_models(run, settings, console)
        say("trained", run.path)


@app.command()
def evaluate(
    config: Config, overrides: Overrides = None, only: Only = None, results: Root = Path("results/supervised")
) -> None:
    """Measure trained models on test rows, export and time them, write cards, feedback and drift."""
    with _run(config, overrides, only, results) as (run, settings):
        from experiments.supervised.run import evaluate as evaluate_models

        evaluate_models(run, settings, console)
        say("evaluated", run.path)


@app.command()
def report(
    config: Config, overrides: Overrides = None, only: Only = None, results: Root = Path("results/supervised")
) -> None:
    """Write the page of all models; what is not trained or evaluated yet is done first."""
    with _run(config, overrides, only, results) as (run, settings):
        from experiments.supervised.page import write_page
        from experiments.supervised.run import evaluate as evaluate_models
        from experiments.supervised.run import train as train_models

        train_models(run, settings, console)
        evaluate_models(run, settings, console)
        with console.status("report"):
            page = write_page(run, settings)
        say("report", page)


@app.command()
def ablation(
    base: Annotated[Path, typer.Argument(help="Run folder of the policies without further inputs.")],
    others: Annotated[list[Path], typer.Argument(help="Run folders with such inputs, else of one config.")],
    page: Annotated[
        Path | None, typer.Option("--page", help="Markdown file to write it to, as well.")
    ] = None,
) -> None:
    """Say what each further input gains the learners: same seeds, same test episodes, with intervals."""
    from experiments.supervised.ablation import ablation as hold
    from experiments.supervised.ablation import ablation_page, ablation_table

    gains = hold([base, *others])
    console.print(ablation_table(gains))
    if page is not None:
        write_text(page, ablation_page(gains))
        say("page", page)


@contextmanager
def _run(
    path: Path, overrides: list[str] | None, only: list[str] | None, results: Path
) -> "Iterator[tuple[RunFolder, ModelsConfig]]":
    """The run folder of a config, locked, and the config with the models that were asked for."""
    from experiments.run_folder import RunFolder
    from experiments.supervised.config import ModelsConfig
    from sim.scenario_file import resolve

    settings = load(path, ModelsConfig, overrides or [])
    for name in only or ():
        if name not in settings.models:
            raise InputError("--only", "", f"expected one of {', '.join(settings.models)}, got {name!r}")
    for scenario in (settings.watch.scenario, *settings.selector.scenarios):
        resolve(scenario)
    with RunFolder.create(settings, results) as run:
        chosen = tuple(name for name in settings.models if name in (only or settings.models))
        yield run, settings.model_copy(update={"models": chosen})
