"""The page of a supervised run: all models beside baseline, ceiling and target, with figures and drift."""

from pathlib import Path
from typing import Any, Final

from experiments.look import save
from experiments.run_folder import RunFolder, versions
from experiments.supervised.card import HEADER, bounds_told, measure_row, number, table
from experiments.supervised.config import ModelsConfig
from experiments.supervised.figures import overview, watched_days
from experiments.supervised.registry import REGISTRY_FILE, earlier, read_registry
from experiments.supervised.run import CARD_FILE, read_evaluation
from experiments.supervised.task import Measure, Task
from experiments.supervised.tasks import task
from sim.files import write_text
from sim.settings import as_yaml

PAGE_FILE: Final = "report.md"
LIMITS: Final = (
    "All telemetry is simulated. Links and codecs are fitted to measurements; node health, incidents and "
    "consensus are models with stated sources, and a real estate differs.",
    "Ceilings hold for the simulator's own laws: no model with the same inputs can do better there.",
    "Thresholds, stopping and calibration were chosen on validation rows only; test rows are of estates, "
    "nodes, links or episodes that no model was fitted to.",
    "Latencies are of the machine that wrote this page; its thread's own time leaves out what others did.",
)


def write_page(run: RunFolder, config: ModelsConfig) -> Path:
    """Write the page of all models of a config and its figures from what their evaluations left.

    Raises:
        InputError: If a model is not evaluated, or the file system refuses.
    """
    found: dict[str, Any] = {name: read_evaluation(run, name) for name in config.models}
    tasks: dict[str, Task] = {name: task(name) for name in config.models}
    lines = ["# Supervised models", "", f"**{config.title}**", "", *_answer(found, tasks)]
    figures = run.file("figures")
    save(
        overview({tasks[name].title: told["measures"] for name, told in found.items()}),
        figures / "overview.png",
    )
    lines += ["![Every figure with a target beside its baseline and its ceiling](figures/overview.png)", ""]
    lines += _latencies(found, tasks)
    for name, told in found.items():
        lines += _section(run, tasks[name], told)
    watched = {tasks[name].title: told["days"] for name, told in found.items() if told["days"]}
    if watched:
        save(watched_days(watched), figures / "watched.png")
    lines += _drift(found, tasks, bool(watched))
    lines += _registry(run)
    lines += ["## Limits", "", *(f"* {limit}" for limit in LIMITS), ""]
    lines += ["## How it was made", "", *_made(config)]
    path = run.file(PAGE_FILE)
    write_text(path, "\n".join(lines) + "\n")
    return path


def _answer(found: dict[str, Any], tasks: dict[str, Task]) -> list[str]:
    """One line a target."""
    rows: list[tuple[str, ...]] = [("model", *HEADER)]
    for name, told in found.items():
        rows += [(tasks[name].title, *measure_row(one)) for one in told["measures"] if one.verdict]
    counted = [one.verdict for told in found.values() for one in told["measures"] if one.verdict]
    parts = [f"{counted.count(word)} {word}" for word in dict.fromkeys(counted)]
    return ["## Answer", "", f"Of {len(counted)} targets: {', '.join(parts)}.", "", *table(rows), ""]


def _latencies(found: dict[str, Any], tasks: dict[str, Task]) -> list[str]:
    rows: list[tuple[str, ...]] = [
        ("model", "graph", "p50", "p99", "p99 by the clock", "size", "largest gap to the model")
    ]
    for name, told in found.items():
        for graph, one in told["models"].items():
            times = [f"{one[name]:.3f} ms" for name in ("p50_ms", "p99_ms", "wall_p99_ms")]
            size = f"{one['size_bytes'] / 1e3:.0f} kB"
            rows.append((tasks[name].title, f"`{graph}.onnx`", *times, size, f"{one['gap']:.1e}"))
    return [
        "## How fast they answer",
        "",
        "ONNX Runtime, one row at a time, one thread: its own time, and by the clock beside all other load.",
        "",
        *table(rows),
        "",
    ]


def _section(run: RunFolder, one: Task, told: dict[str, Any]) -> list[str]:
    measures: list[Measure] = told["measures"]
    lines = [
        f"## {one.title}",
        "",
        f"{one.question} Card: [{one.name}/{CARD_FILE}]({one.name}/{CARD_FILE}).",
        "",
    ]
    lines += [*table([HEADER, *map(measure_row, measures)]), "", *bounds_told(measures)]
    for caption, rows in told["tables"].items():
        shown = [[cell if isinstance(cell, str) else number(cell) for cell in row] for row in rows]
        lines += [f"{caption}:", "", *table(shown), ""]
    for name, caption in told["figures"].items():
        lines += [f"![{caption}]({one.name}/figures/{name}.png)", ""]
    return [*lines, *(f"* {note}" for note in told["notes"]), ""]


def _drift(found: dict[str, Any], tasks: dict[str, Task], any_days: bool) -> list[str]:
    rows = [("model", "days", "accuracy", "features that drift", "worst feature (PSI, KS)", "train again")]
    for name, told in found.items():
        days = told["days"]
        if not days:
            continue
        near = sum(day["accuracy"] * day["records"] for day in days) / sum(day["records"] for day in days)
        worst = told["drift"][0] if told["drift"] else None
        shown = f"{worst['feature']} ({number(worst['psi'])}, {number(worst['ks'])})" if worst else "–"
        on = told["retrain_on_day"]
        reasons: list[str] = next((day["reasons"] for day in days if day["day"] == on), [])
        again = "no reason" if on is None else f"day {on}: {'; '.join(reasons)}"
        share = sum(day["drifted"] for day in days) / len(days)
        rows.append((tasks[name].title, str(len(days)), number(near), f"{100 * share:.0f} %", shown, again))
    if not any_days:
        return []
    about = (
        "Feedback records hold what was predicted, what came, and how near it was: 1 - |p - a| / max(p, a). "
        "A feature drifts from a population stability index of 0.25 or a distance of distribution functions "
        "of 0.2 on, against what was seen in training. A model is to be trained again when a day's accuracy "
        "falls below 0.85 or 30 % of its features drift."
    )
    picture = "![Accuracy and drift by day](figures/watched.png)"
    return ["## Drift and feedback", "", about, "", *table(rows), "", picture, ""]


def _registry(run: RunFolder) -> list[str]:
    path = run.path.parent / REGISTRY_FILE
    own = [one for one in read_registry(path) if one["run"] == run.path.name]
    rows = [("model", "version", "first figure", "of the version before")]
    for one in own:
        name, value = next(iter(one["measures"].items()), ("", None))
        before = earlier(path, one["model"], one["run"])
        was = before["measures"].get(name) if before else None
        told = f"{number(was)} (`{before['version']}`)" if before else "–"
        rows.append((one["model"], f"`{one['version']}`", f"{name} {number(value)}", told))
    return [
        "## Versions",
        "",
        f"All versions stand in `{REGISTRY_FILE}` beside the runs.",
        "",
        *table(rows),
        "",
    ]


def _made(config: ModelsConfig) -> list[str]:
    packages = versions()["packages"]
    named = ", ".join(f"{name} {version}" for name, version in dict(packages).items())  # type: ignore[call-overload]
    return [f"Python {versions()['python']}; {named}.", "", "```yaml", as_yaml(config).rstrip("\n"), "```"]
