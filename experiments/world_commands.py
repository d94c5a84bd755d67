"""Verbs that need no run: what there is to choose from, what is to be won, labels and features of it."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from experiments.terminal import console, say
from sim.errors import InputError


def scenarios(
    headroom: Annotated[
        bool, typer.Option("--headroom", help="Measure how much there is to win in each.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Names, or YAML files of one's own.")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes a scenario.")] = 8,
    searched: Annotated[
        int, typer.Option(min=1, help="Of these, episodes whose best answers are searched.")
    ] = 2,
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


def slack(
    question: Annotated[str, typer.Argument(help="compression, allocation, scheduling or joint.")],
    only: Annotated[list[str], typer.Option("--only", help="Scenarios: names, or YAML files of one's own.")],
    episodes: Annotated[int, typer.Option(min=1, help="Episodes a scenario.")] = 1,
    tries: Annotated[int, typer.Option(min=0, help="Plans that each search tries.")] = 2048,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core by default.")] = None,
) -> None:
    """Set the hindsight planner against the bound, and say which of the two is loose."""
    from experiments.slack import QUESTIONS, measure_slack, slack_table
    from experiments.work import Crew
    from sim.scenario_file import resolve

    if question not in QUESTIONS:
        raise InputError(
            "command line", "QUESTION", f"expected one of {', '.join(QUESTIONS)}, got {question!r}"
        )
    chosen = [resolve(name) for name in only]
    with Crew(workers, console) as crew:
        console.print(slack_table(question, chosen, measure_slack(question, chosen, episodes, tries, crew)))


def lookahead(
    policy: Annotated[
        str, typer.Argument(help="Folder of a trained run, folder or .zip of a bundle, or a catalogue name.")
    ],
    only: Annotated[list[str], typer.Option("--only", help="Scenarios: names, or YAML files of one's own.")],
    learner: Annotated[
        str | None, typer.Option(help="Of a run: its learner or selector; the first learner by default.")
    ] = None,
    futures: Annotated[int, typer.Option(min=1, help="Futures in which every answer is tried.")] = 8,
    episodes: Annotated[int, typer.Option(min=2, help="Episodes a scenario.")] = 20,
    out: Annotated[Path | None, typer.Option(help="CSV file for the cost of every episode.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core by default.")] = None,
) -> None:
    """Say how much of the gap to the planner a codec policy closes, and how much with a look ahead."""
    from experiments.lookahead import Question, gap_table, gaps, measure, write_costs
    from experiments.work import Crew

    question = Question(policy, learner, futures)
    with Crew(workers, console) as crew:
        frame = measure(question, only, episodes, crew)
    if out is not None:
        write_costs(out, frame)
        say("written", out)
    console.print(gap_table(question, gaps(frame)))


def label(
    out: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Scenarios: names, or YAML files of one's own; all by default."),
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes a scenario.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first episode; the next have the next.")] = 0,
    codec: Annotated[list[str] | None, typer.Option("--codec", help="Codecs that are tried.")] = None,
    base: Annotated[
        str, typer.Option(help="Who answers all other questions: a codec, or shortest.")
    ] = "shortest",
    minari: Annotated[str | None, typer.Option(help="Also write a Minari dataset of this name.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core by default.")] = None,
) -> None:
    """Write for every codec decision what each answer would have cost: this transfer, and in all."""
    from envs.compression import DEFAULT_CODECS
    from experiments.label import check_label_file, label_episodes, label_plan, write_labels
    from experiments.minari_dataset import check_minari, write_minari
    from experiments.work import Crew
    from sim.catalogue import SCENARIOS

    plan = label_plan(only or list(SCENARIOS), codec or DEFAULT_CODECS, base, range(seed, seed + episodes))
    check_label_file(out)
    if minari is not None:
        check_minari(minari)
    with Crew(workers, console) as crew:
        found = label_episodes(plan, crew)
    write_labels(out, plan, found)
    say("labels", f"{out}  {sum(len(episode.found.request) for episode in found)} decisions")
    if minari is not None:
        write_minari(minari, plan, found)
        say("minari", minari)


def features(
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    of: Annotated[str, typer.Option(help="link or node.")] = "link",
    scenario: Annotated[str, typer.Option(help="Whose links: a name, or a YAML file.")] = "internet",
    sites: Annotated[int, typer.Option(min=3, help="Sites that are watched, with four nodes each.")] = 8,
    days: Annotated[float, typer.Option(min=3, help="Days that they are watched.")] = 7,
    missing: Annotated[float, typer.Option(min=0, max=0.9, help="Share of rows that never arrive.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the telemetry and the split.")] = 0,
) -> None:
    """Compute features of simulated telemetry, minute by minute: Parquet, CSV, metadata, quality, figures."""
    from experiments.features import PIPELINES, make_features

    if of not in PIPELINES:
        raise InputError("--of", "", f"expected {' or '.join(PIPELINES)}, got {of!r}")
    made = make_features(
        out,
        of,
        scenario,
        sites=sites,
        days=days,
        missing_share=missing,
        seed=seed,  # type: ignore[arg-type]
    )
    for file in made.files:
        say(file.stem, file)
    told = ", ".join(f"{count} {part}" for part, count in made.parts.items())
    say("rows", f"{made.rows} ({told})")


def policies() -> None:
    """List the policies of each task by the names that configs and tables use."""
    from agents.catalogue import POLICIES, Entry
    from sim.codecs import CODECS

    codecs = {name: Entry("static", "always this codec") for name in CODECS}
    table = Table(box=None, pad_edge=False)
    for column in ("policy", "kind", "what it does"):
        table.add_column(column)
    for task, entries in POLICIES.items():
        table.add_section()
        table.add_row(Text(task, style="bold"))
        for name, entry in ({**codecs, **entries} if task == "compression" else entries).items():
            table.add_row(name, entry.kind, entry.about)
    console.print(table)
