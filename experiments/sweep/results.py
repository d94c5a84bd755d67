"""What a sweep has found: a row a run and policy, in a table to read and a file to compute with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from experiments.evidence import best_statics, cost_relative, kinds, read_evidence
from experiments.sweep.expansion import SEED, Point, endings, written
from sim.errors import InputError
from sim.files import write_text

COSTS: Final = {"validation_cost": "validation", "test_cost": "test", "held_out_cost": "held-out"}
"""Columns of costs, and the split that each is of."""
FIXED: Final = ("run", "policy", "kind", *COSTS)
"""Columns of every sweep; those of its keys stand after the first."""
LEARNED: Final = "learner"


def run_rows(point: Point, run: Path) -> list[dict[str, object]]:
    """Cost of every policy of a run, as a share of the best static one's, the mean over scenarios.

    That static policy is the best on validation in each scenario of this very run, of a held-out one the best
    in hindsight: where a sweep changes the episodes, costs of different points are each beside their own.
    Several training seeds are several rows.
    """
    episodes = read_evidence(run).episodes
    statics = {scenario: name for scenario, (name, _) in best_statics(episodes).items()}
    order, rows = kinds(episodes), []
    for place, own in episodes.groupby(["policy", "training_seed"], sort=False):
        policy, seed = str(place[0]), int(str(place[1]))
        costs = {}
        for cost, split in COSTS.items():
            others = episodes[episodes["split"] == split]
            part = own[own["split"] == split]
            costs[cost] = cost_relative(part, others, statics) if len(part) else np.nan
        values = {key: written(value) for key, value in point.values.items()}
        told = {"run": run.name, "policy": policy, "kind": order[policy], **values, **costs}
        if seed >= 0:
            told[SEED] = seed
        rows.append(told)
    return rows


def result_frame(points: Sequence[Point], found: Sequence[list[dict[str, object]]]) -> pd.DataFrame:
    """All rows of a sweep, in its order; values of keys as YAML writes them."""
    keys = swept_keys(points)
    seeds = [SEED] if any(SEED in row for rows in found for row in rows) else []
    columns = ["run", *keys, *seeds, *FIXED[1:]]
    return pd.DataFrame([row for rows in found for row in rows], columns=columns)


def read_frame(path: Path) -> pd.DataFrame:
    """The table that a sweep wrote.

    Raises:
        InputError: If it is torn or foreign.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(path, "", "is torn; `dwcp-gym sweep` writes it anew") from error
    if missing := [name for name in FIXED if name not in frame]:
        problem = f"expected the columns {', '.join(missing)}, too; `dwcp-gym sweep` writes it anew"
        raise InputError(path, "", problem)
    return frame.assign(**{cost: pd.to_numeric(frame[cost], errors="coerce") for cost in COSTS})


def swept_keys(points: Sequence[Point]) -> list[str]:
    """The keys that differ, in their order, the training seed left out."""
    return list(dict.fromkeys(key for point in points for key in point.values if key != SEED))


def by_point(frame: pd.DataFrame) -> pd.DataFrame:
    """Costs of the learners (where there is none, of all that are not static) over the seeds of a point.

    Columns: the keys, policy, runs, and mean, min and max of each cost; the least validation cost first.
    """
    chosen = frame[frame["kind"] == LEARNED]
    if chosen.empty:
        chosen = frame[frame["kind"] != "static"]
    if chosen.empty:
        chosen = frame
    keys = [name for name in frame.columns if name not in (*FIXED, SEED)]
    groups = chosen.groupby([*keys, "policy"], sort=False)
    parts = {"runs": groups.size()}
    for cost in COSTS:
        for measure in ("mean", "min", "max"):
            parts[f"{cost}_{measure}"] = groups[cost].agg(measure)
    return pd.DataFrame(parts).reset_index().sort_values("validation_cost_mean", kind="stable")


def result_table(frame: pd.DataFrame, title: str, most: int = 40) -> Table:
    """The table for the terminal, the cheapest points first."""
    points = by_point(frame)
    keys = [name for name in frame.columns if name not in (*FIXED, SEED)]
    names = endings(keys)
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for key in keys:
        table.add_column(names[key])
    table.add_column("policy")
    table.add_column("runs", justify="right")
    costs = shown_costs(points)
    for cost in costs:
        table.add_column(f"{COSTS[cost]}, %", justify="right")
    for row in points.head(most).to_dict("records"):
        values = [str(row[key]) for key in keys]
        table.add_row(*values, row["policy"], str(row["runs"]), *(cost_cell(row, cost) for cost in costs))
    if len(points) > most:
        table.caption = f"and {len(points) - most} more in the file"
    return table


def shown_costs(points: pd.DataFrame) -> list[str]:
    """The costs that points have; without held-out scenarios there is none of them."""
    return [cost for cost in COSTS if points[f"{cost}_mean"].notna().any()]


def cost_cell(row: Mapping[Any, Any], cost: str) -> str:
    """Mean in percent, with the lowest and highest run in brackets where there are several."""
    mean, low, high = (100 * float(str(row[f"{cost}_{part}"])) for part in ("mean", "min", "max"))
    if mean != mean:
        return "–"
    return f"{mean:.1f} ({low:.1f}–{high:.1f})" if row["runs"] != 1 else f"{mean:.1f}"


def write_page(
    path: Path, title: str, frame: pd.DataFrame, failed: Sequence[str], figure: Path | None
) -> None:
    """The page of a sweep: its question, the table, the figure, what failed."""
    keys = [name for name in frame.columns if name not in (*FIXED, SEED)]
    names = endings(keys)
    points = by_point(frame)
    costs = shown_costs(points)
    heads = [*(f"`{names[key]}`" for key in keys), "policy", "runs", *(f"{COSTS[cost]}, %" for cost in costs)]
    lines = [
        f"# {title}",
        "",
        "Cost in % of the best static policy's, the mean over scenarios; in brackets the lowest and the",
        "highest run. Points are ordered by validation cost; no figure of a test chose anything. On held-out",
        "scenarios, which no policy was trained on, the best static policy is that in hindsight.",
        "",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(keys)}---|{'---:|' * (1 + len(costs))}",
    ]
    for row in points.to_dict("records"):
        cells = [*(str(row[key]) for key in keys), f"`{row['policy']}`", str(row["runs"])]
        lines.append(f"| {' | '.join([*cells, *(cost_cell(row, cost) for cost in costs)])} |")
    if figure is not None:
        lines += ["", f"![Validation cost against each swept key]({figure.name})"]
    if failed:
        lines += ["", "## Failed", "", *(f"* {line}" for line in failed)]
    write_text(path, "\n".join(lines) + "\n")
