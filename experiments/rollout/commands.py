"""The verbs of ``dwcp-gym shadow`` that move a candidate: status, advance, rollback, retrain, rehearse."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.shadow.commands import shadow_app
from experiments.terminal import console, say
from sim.errors import InputError

if TYPE_CHECKING:
    from experiments.rollout.rollout import Standing
    from experiments.shadow.store import Store
    from experiments.shadow.store_rows import Transition


Where = Annotated[Path, typer.Argument(help="Folder of the store, as `dwcp-gym serve --store` has it.")]
Region = Annotated[str, typer.Option(help="Which; * for all regions without a stage of their own.")]
Seed = Annotated[int, typer.Option(min=0, help="Of all chance.")]
Changes = Annotated[
    list[str] | None, typer.Argument(help="Other values for keys of the gates, e.g. steps.shadow.days=3.")
]
GatesFile = Annotated[Path | None, typer.Option("--gates", help="YAML of gates; else the published ones.")]


@shadow_app.command()
def candidate(
    store: Where,
    bundle: Annotated[Path | None, typer.Option(help="Folder or .zip: becomes the candidate.")] = None,
    incumbent: Annotated[Path | None, typer.Option(help="Folder or .zip: becomes the incumbent.")] = None,
) -> None:
    """Put bundles into a store, which is made if there is none: who answers, and who would like to."""
    from experiments.rollout.rollout import name_candidate
    from experiments.shadow.bundle import open_bundle
    from experiments.shadow.store import Store

    if bundle is None and incumbent is None:
        raise InputError("command line", "", "expected --bundle, --incumbent or both")
    held = Store(store, time.time, create=True)
    if incumbent is not None:
        model = held.add_model(incumbent, open_bundle(incumbent).manifest)
        held.set_role("incumbent", model.version)
        say("incumbent", f"{model.version}  {model.name}")
    if bundle is not None:
        model = held.add_model(bundle, open_bundle(bundle).manifest)
        name_candidate(held, model.version)
        say("candidate", f"{model.version}  {model.name}; `dwcp-gym shadow advance` begins its rollout")


@shadow_app.command()
def gates(store: Where, changes: Changes = None, file: GatesFile = None) -> None:
    """Print the conditions of a store's rollouts; with a file or other values, keep these from now on."""
    from experiments.rollout.gates import read_gates
    from experiments.rollout.rollout import gates_of, keep_gates
    from sim.settings import as_yaml

    held = _store(store)
    if changes or file:
        keep_gates(held, read_gates(file, changes))
    console.print(as_yaml(gates_of(held)), end="", markup=False, highlight=False, soft_wrap=True)


@shadow_app.command()
def status(
    store: Where,
    history: Annotated[bool, typer.Option("--history", help="Also every step so far.")] = False,
    as_json: Annotated[Path | None, typer.Option("--json", help="Also write all of it here.")] = None,
) -> None:
    """Say where the candidate is in each region, what it has shown, what is missing, and what is due."""
    from experiments.rollout.due import reasons
    from experiments.rollout.rollout import Rollout
    from sim.files import write_json

    held = _store(store)
    rollout = Rollout(held)
    models, standings = held.models(), rollout.standings()
    for role in ("incumbent", "candidate"):
        version = held.role(role)  # type: ignore[arg-type]  # one of both
        say(role, f"{version}  {models[version].name}" if version in models else "none")
    for one in standings:
        console.print()
        console.print(_standing_table(one))
    if history:
        console.print()
        for step in held.transitions():
            _tell(step)
    due = reasons(held, rollout.gates.retraining) if held.role("incumbent") else []
    for line in due:
        say("due", f"{line}; `dwcp-gym shadow retrain {store}`")
    if as_json is not None:
        steps = [step._asdict() for step in held.transitions()]
        write_json(as_json, {"regions": [one.as_json() for one in standings], "steps": steps, "due": due})
        say("report", as_json)


@shadow_app.command()
def advance(
    store: Where,
    region: Region = "*",
    force: Annotated[bool, typer.Option("--force", help="Even though a condition is not met.")] = False,
    because: Annotated[str | None, typer.Option(help="Why, for those who read it later.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Only what evidence asks for, everywhere.")] = False,
) -> None:
    """Take the candidate one stage further in a region; with --all, do what the gates would by themselves."""
    from experiments.rollout.rollout import Rollout

    rollout = Rollout(_store(store))
    if every:
        steps = rollout.tick()
        for step in steps:
            _tell(step)
        if not steps:
            for one in rollout.standings():
                say("stays", f"{one.region}  {one.stage}: {one.verdict.why}")
        return
    if force and not because:
        raise InputError("command line", "--force", "expected --because as well: the store keeps the reason")
    _tell(rollout.advance(region, because if force else None))


@shadow_app.command()
def rollback(
    store: Where,
    because: Annotated[str, typer.Option(help="Why, for those who read it later.")],
    region: Region = "*",
) -> None:
    """Take the candidate off the traffic of a region, at once: a running service follows within a second."""
    from experiments.rollout.rollout import Rollout

    _tell(Rollout(_store(store)).roll_back(region, because))


@shadow_app.command("retrain")
def retrain_command(
    store: Where,
    force: Annotated[bool, typer.Option("--force", help="Even though nothing is due.")] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Scenarios to validate it in as well.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Train a successor from the store's decisions; it becomes the candidate if it beats what is current."""
    from tempfile import TemporaryDirectory

    from experiments.rollout.due import reasons
    from experiments.rollout.retrain import retrain
    from experiments.rollout.rollout import gates_of
    from sim.scenario_file import resolve

    held = _store(store)
    settings = gates_of(held).retraining
    due = reasons(held, settings)
    for line in due:
        say("due", line)
    if not due and not force:
        say("not due", "the current model is young, and sees what it was trained on; --force trains anyway")
        return
    scenarios = tuple(resolve(name) for name in only or ())
    with TemporaryDirectory(prefix="dwcp-gym-") as folder:
        made = retrain(held, settings, Path(folder), seed, scenarios)
    say("retrained", f"{made.version}  {made.name}, from {made.decisions} decisions: {made.validation.why}")
    if made.validation.passed:
        say("candidate", f"{made.version}; `dwcp-gym shadow advance {store}` begins its rollout")
    else:
        say("stays", "it does not beat the current model, and is no candidate")


@shadow_app.command()
def rehearse(
    folder: Annotated[Path, typer.Argument(help="New folder for the store and the bundles.")],
    changes: Changes = None,
    file: GatesFile = None,
    daily: Annotated[int, typer.Option(min=50, help="Simulated sessions a day.")] = 400,
    seed: Seed = 0,
) -> None:
    """Rehearse whole rollouts on the simulator: a good candidate, bad ones, a world that moves."""
    from experiments.rollout.gates import read_gates
    from experiments.rollout.rehearsal import SMALL, Extent, Rehearsal

    if folder.exists() and any(folder.iterdir()):
        raise InputError(folder, "", "holds something already; name a new folder")
    settings = read_gates(file, [*SMALL, *(changes or [])] if file is None else changes)

    def tell(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    acts = Rehearsal(folder, settings, Extent(daily=daily, seed=seed), tell).play()
    console.print()
    table = _table("act", "ended", "decisions in that stage", "why")
    for act in acts:
        ended = ", ".join(f"{region} {stage}" for region, stage in act.stages.items())
        table.add_row(
            act.name, ended or "no candidate", f"{act.decisions:,}" if act.decisions else "", act.why
        )
    console.print(table)


@shadow_app.command("error-rates")
def error_rates_command(
    out: Annotated[Path, typer.Argument(help="Folder for error_rates.json and error_rates.png.")],
    changes: Changes = None,
    file: GatesFile = None,
    rollouts: Annotated[int, typer.Option(min=10, help="Simulated rollouts of each candidate.")] = 1000,
    seed: Seed = 0,
) -> None:
    """Simulate rollouts by the thousand: how often gates take a good candidate back, and keep a bad one."""
    from rich.progress import Progress

    from experiments.rollout.error_figure import draw
    from experiments.rollout.error_study import rows_of, study, study_size
    from experiments.rollout.gates import read_gates
    from sim.files import write_json

    settings = read_gates(file, changes)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        work = bar.add_task("rollouts", total=study_size())
        found = study(settings, rollouts, seed, lambda: bar.advance(work))
    table = _table("candidate", "taken back", "came to all", "decisions until then", "by the candidate")
    for row in rows_of(found):
        table.add_row(*row)
    console.print(table)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "error_rates.json", found)
    draw(found, out / "error_rates.png")
    say("figure", out / "error_rates.png")


def _standing_table(one: "Standing") -> Table:
    from experiments.rollout.assignment import SHARES

    days = "" if one.evidence is None else f", {one.evidence.days:.1f} days"
    table = _table(
        f"{one.region}: {one.stage}, {SHARES[one.stage]:.0%} of the keys{days}", "found", "asked", ""
    )
    for condition in one.verdict.conditions:
        value = "nothing known" if condition.value is None else f"{condition.value:.4g}"
        table.add_row(condition.name, value, f"{condition.limit:g}", "yes" if condition.met else "not yet")
    found = one.evidence
    if found is not None:
        if found.saved is not None:
            saved = found.saved
            low, high = ("?" if end is None else f"{end:+.1%}" for end in (saved.low, saved.high))
            table.add_row(
                "a session costs less by", f"{saved.value:+.1%}", f"{low} to {high}, at all times 99 %", ""
            )
        if found.agreement is not None:
            table.add_row("as the incumbent", f"{found.agreement:.1%}", "", "")
        for name, p in found.guards.items():
            table.add_row(f"guard {name}", f"p {p:.2g}", "", "")
    table.add_row("", one.verdict.move, "", "")
    return table


def _store(folder: Path) -> "Store":
    from experiments.shadow.store import Store

    return Store(folder, time.time)


def _tell(step: "Transition") -> None:
    day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(step.time))
    line = f"{day}  {step.region} {step.candidate}: {step.source} -> {step.target} ({step.by}): {step.why}"
    console.print(Text(line), soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table
