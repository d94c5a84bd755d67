"""The verbs ``dwcp-gym bundle`` and ``dwcp-gym shadow``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from experiments.terminal import console, say
from sim.errors import InputError

if TYPE_CHECKING:
    from agents.policy import Policy
    from envs.base import WorldEnv

bundle_app = typer.Typer(
    name="bundle",
    help="Look at, check and make bundles: a policy as a file that any runtime can load.",
    no_args_is_help=True,
)
shadow_app = typer.Typer(
    name="shadow",
    help="Set a candidate beside its incumbent before it answers anyone.",
    no_args_is_help=True,
)

Bundled = Annotated[Path, typer.Argument(help="Folder or .zip of a bundle.")]
Scenarios = Annotated[
    list[str] | None, typer.Option("--only", help="Scenarios: names, or YAML files of one's own.")
]
Task = Annotated[str, typer.Option(help="compression or scheduling.")]
Codecs = Annotated[list[str] | None, typer.Option("--codec", help="Codecs to choose from.")]


@bundle_app.command()
def verify(bundles: Annotated[list[Path], typer.Argument(help="Folders or .zip files.")]) -> None:
    """Check files, hashes, schema, opset and every parity row; the first that is not as it should is told."""
    from experiments.shadow.bundle import open_bundle

    for path in bundles:
        one = open_bundle(path)
        parity = f"{one.parity.rows} parity rows, {one.parity.equal} equal, {one.parity.ties} ties"
        say("verified", f"{path}  {one.name}: {parity}, seal {one.manifest['seal'][:16]}")


@bundle_app.command()
def show(bundle: Bundled) -> None:
    """Print what a bundle says of itself: features, actions, training, metrics."""
    from experiments.shadow.bundle import open_bundle
    from experiments.shadow.tables import bundle_tables

    for table in bundle_tables(open_bundle(bundle)):
        console.print(table)
        console.print()


@bundle_app.command()
def diff(first: Bundled, second: Bundled) -> None:
    """Print what two bundles say differently, and on how many rows they do different things."""
    from experiments.shadow.bundle import open_bundle
    from experiments.shadow.diff import diff as compare
    from experiments.shadow.tables import diff_table

    found = compare(open_bundle(first), open_bundle(second))
    if found.same:
        say("same", f"{first} and {second} say and do the same")
    else:
        console.print(diff_table(found))


@bundle_app.command()
def pack(bundle: Bundled, out: Annotated[Path, typer.Argument(help="File that ends in .zip.")]) -> None:
    """Put a bundle into one .zip; the same bundle gives the same bytes on every machine."""
    from experiments.shadow.archive import pack as write
    from experiments.shadow.bundle import open_bundle

    open_bundle(bundle)
    write(bundle, out)
    say("bundle", out)


@bundle_app.command()
def rule(
    name: Annotated[str, typer.Argument(help="A rule of the catalogue, e.g. estimate, or a codec.")],
    out: Annotated[Path, typer.Argument(help="Folder, or file that ends in .zip.")],
    only: Scenarios = None,
    task: Task = "compression",
    codec: Codecs = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes a scenario.")] = 20,
    rows: Annotated[int, typer.Option(min=1, help="Decisions on which it is checked.")] = 10_000,
) -> None:
    """Write a rule as a bundle, so that an incumbent is one like any other."""
    from experiments.bundles import rule_bundle

    made = rule_bundle(out, name, _environment(task, only, codec), range(episodes), rows)
    say("bundle", f"{out}  {made.name}: {made.parity.rows} parity rows, {made.parity.equal} equal")


@bundle_app.command()
def loader(out: Annotated[Path, typer.Argument(help="Python file to write.")]) -> None:
    """Write the loader as one file that needs NumPy and onnxruntime, nothing else."""
    from experiments.shadow.single_file import write_single_file

    write_single_file(out)
    say("loader", out)


@shadow_app.command("log")
def log_command(
    out: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    policy: Annotated[str, typer.Option(help="A rule's name, or a bundle's folder or .zip.")] = "estimate",
    explore: Annotated[float, typer.Option(min=0, max=1, help="Chance of an action at random.")] = 0.1,
    only: Scenarios = None,
    task: Task = "compression",
    codec: Codecs = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes a scenario.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first episode.")] = 0,
) -> None:
    """Play with a policy that now and then acts at random, and log decisions, chances and outcomes."""
    from rich.progress import Progress

    from experiments.shadow.explore import log_decisions, write_log
    from sim.episode import draw_episode

    if out.suffix != ".parquet":
        raise InputError(out, "", "expected a name that ends in .parquet")
    env = _environment(task, only, codec)
    player = _player(policy, env)
    seeds = range(seed, seed + episodes)
    drawn = [draw_episode(scenario, number) for scenario in env.scenarios for number in seeds]
    with Progress(console=console, transient=True) as bar:
        work = bar.add_task("episodes", total=len(drawn))
        table = log_decisions(env, drawn, player, explore, lambda units: bar.advance(work, units))
    write_log(out, table)
    say("log", f"{out}  {table.num_rows} decisions")


@shadow_app.command("replay")
def replay_command(
    bundle: Annotated[Path, typer.Option(help="The candidate: folder or .zip.")],
    log: Annotated[Path, typer.Option(help="Decisions: ours, labels, or a CSV or Parquet of one's own.")],
    incumbent: Annotated[
        Path | None, typer.Option(help="The incumbent's bundle; else the log's own.")
    ] = None,
    columns: Annotated[
        Path | None, typer.Option("--map", help="YAML that names the columns of a log of one's own.")
    ] = None,
    outcome: Annotated[str, typer.Option(help="Of labels: one_step or continued.")] = "one_step",
    as_json: Annotated[Path | None, typer.Option("--json", help="Also write all of it here.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of the runtime.")] = 2,
) -> None:
    """Put a log to a candidate and its incumbent: agreement, accuracy, gain, latency, drift."""
    from experiments.shadow.bundle import open_bundle
    from experiments.shadow.decision_log import read_log
    from experiments.shadow.log_map import read_map
    from experiments.shadow.replay import as_json as document
    from experiments.shadow.replay import replay
    from experiments.shadow.tables import replay_tables
    from sim.files import write_json

    if outcome not in ("one_step", "continued"):
        raise InputError("--outcome", "", f"expected one_step or continued, got {outcome!r}")
    candidate = open_bundle(bundle, threads=threads)
    other = None if incumbent is None else open_bundle(incumbent, threads=threads)
    read = read_log(log, candidate, read_map(columns), outcome)  # type: ignore[arg-type]  # checked above
    found = replay(read, candidate, other)
    for table in replay_tables(found, candidate.actions):
        console.print(table)
        console.print()
    for line in found.warnings:
        console.print(Text.assemble(("warning", "bold yellow"), f"  {line}"), soft_wrap=True)
    if as_json is not None:
        write_json(as_json, document(found, candidate, other))
        say("report", as_json)


def _environment(task: str, only: list[str] | None, codecs: list[str] | None) -> "WorldEnv":
    from envs.compression import DEFAULT_CODECS, Compression
    from envs.scheduling import Scheduling
    from sim.catalogue import SCENARIOS
    from sim.codecs import parse_codec
    from sim.scenario_file import resolve

    scenarios = [resolve(name) for name in only or SCENARIOS]
    names = codecs or list(DEFAULT_CODECS)
    try:
        for name in names:
            parse_codec(name)
    except ValueError as error:
        raise InputError("--codec", "", str(error)) from error
    if task == "compression":
        return Compression(scenarios, names)
    if task == "scheduling":
        return Scheduling(scenarios, names)
    raise InputError("--task", "", f"expected compression or scheduling, got {task!r}")


def _player(name: str, env: "WorldEnv") -> "Policy":
    from agents.catalogue import make_policy, policies_of
    from experiments.shadow.bundle import BundlePolicy, open_bundle
    from sim.refusals import suggestion

    if "/" in name or name.endswith(".zip") or Path(name).is_dir():
        return BundlePolicy(open_bundle(name, env.features.names), env.features)  # type: ignore[return-value]
    ready = [one for one, entry in policies_of(env.task).items() if entry.build is not None]
    ready += [codec.name for codec in env.codecs] if env.task == "compression" else []
    if name not in ready:
        known = suggestion(name, ready) or f"; known: {', '.join(ready)}"
        raise InputError("--policy", "", f"unknown policy '{name}'{known}")
    return make_policy(name, env)
