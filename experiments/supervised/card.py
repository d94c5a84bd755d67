"""The model card: what a model is for, what it was trained on, how it does, and where not to trust it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.supervised.task import Measure, Task
from sim.files import write_text

HEADER = ("figure", "value", "naive", "ceiling", "target", "")


def number(value: float | None, unit: str = "") -> str:
    """A figure in few digits; a dash where there is none.

    >>> number(0.98123), number(1234.5, "s"), number(None)
    ('0.981', '1.23e+03 s', '–')
    """
    if value is None or value != value:
        return "–"
    text = f"{value:.0f}" if value == round(value) and abs(value) < 1000 else f"{value:.3g}"
    return f"{text} {unit}".strip()


def table(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Markdown of rows, the header first."""
    head, *body = [[str(cell) for cell in row] for row in rows]
    return [
        f"| {' | '.join(head)} |",
        f"| {' | '.join('---' for _ in head)} |",
        *(f"| {' | '.join(row)} |" for row in body),
    ]


def measure_row(one: Measure) -> tuple[str, ...]:
    """A measure as a row under `HEADER`."""
    value = number(one.value, one.unit)
    if one.low == one.low:
        value += f" ({number(one.low)} to {number(one.high)})"
    sign = "≤" if one.lower_is_better else "≥"
    target = f"{sign} {number(one.target, one.unit)}" if one.target == one.target else "–"
    others = (number(one.naive, one.unit), number(one.ceiling, one.unit))
    return (one.name, value, *others, target, one.verdict)


def write_card(
    path: Path, task: Task, version: str, found: Mapping[str, Any], measures: Sequence[Measure]
) -> None:
    """Write the card of a task's models as Markdown.

    Args:
        path: File.
        task: Whose models.
        version: Their version.
        found: The task's ``evaluation.json``.
        measures: Its figures.

    Raises:
        InputError: If the file system refuses.
    """
    lines = [f"# {task.title}", "", task.question, "", f"Version `{version}`.", ""]
    for heading, text in found["card"].items():
        lines += [f"## {heading}", "", text, ""]
    lines += ["## Figures on test rows", "", *table([HEADER, *map(measure_row, measures)]), ""]
    lines += [*bounds_told(measures), "## Files", ""]
    rows = [("model", "kind", "inputs", "outputs", "ONNX", "p99 of one row", "largest gap to the model")]
    for name, one in found["models"].items():
        size = f"{one['size_bytes'] / 1e3:.0f} kB"
        told = (one["kind"], str(len(one["inputs"])), ", ".join(one["outputs"]), size)
        rows.append((f"`{name}.onnx`", *told, f"{one['p99_ms']:.2f} ms", f"{one['gap']:.1e}"))
    lines += [*table(rows), ""]
    if found["notes"]:
        lines += ["## Notes", "", *(f"* {note}" for note in found["notes"]), ""]
    write_text(path, "\n".join(lines))


def bounds_told(measures: Sequence[Measure]) -> list[str]:
    """How baselines and ceilings of these figures came about, one line each, with the figures it is of."""
    told: dict[str, list[str]] = {}
    for one in measures:
        for word, text in (("Naive", one.baseline), ("Ceiling", one.bound)):
            if text:
                told.setdefault(f"{word}: {text}", []).append(one.name)
    lines = [f"* {text} ({'; '.join(names)})." for text, names in told.items()]
    return [*lines, ""] if lines else []
