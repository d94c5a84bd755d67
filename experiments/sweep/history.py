"""What a search has found: its trials as a table, a page, a figure, and the config with the best of them."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.look import NOTE, PAR, colour, page, save
from experiments.sweep.config import SweepFile
from experiments.sweep.expansion import changed, checked, written
from experiments.sweep.results import LEARNED
from experiments.sweep.tuning import DIGEST, PROBLEM, Tuning
from sim.files import write_text
from sim.settings import dump

COLUMNS: Final = ("trial", "state", "validation_cost", "validations", "run", "problem")


def trials_frame(tuning: Tuning) -> pd.DataFrame:
    """A row a trial: its state, the least cost it reached, how many validations it had, its settings."""
    rows = []
    for trial in tuning.study.get_trials(deepcopy=False):
        reported = list(trial.intermediate_values.values())
        cost = trial.value if trial.value is not None else min(reported, default=np.nan)
        values = {key: written(value) for key, value in tuning.config_of(trial.params).items()}
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "validation_cost": cost,
                "validations": len(reported),
                **values,
                "run": trial.user_attrs.get(DIGEST, ""),
                "problem": trial.user_attrs.get(PROBLEM, ""),
            }
        )
    return pd.DataFrame(rows, columns=[*COLUMNS[:4], *tuning.settings.space, *COLUMNS[4:]])


def best_trial(frame: pd.DataFrame) -> pd.Series | None:
    """The trial of least cost among those that ran to their end."""
    ended = frame[frame["state"] == "complete"]
    return None if ended.empty else ended.iloc[int(ended["validation_cost"].to_numpy().argmin())]


def write_history(tuning: Tuning, learner: str) -> tuple[pd.DataFrame, Path]:
    """Write ``tune-<learner>.csv``, ``.md`` and ``.png`` beside the study: the trials, and the page."""
    frame = trials_frame(tuning)
    stem = tuning.folder / f"tune-{learner}"
    write_text(stem.with_suffix(".csv"), frame.to_csv(index=False))
    figure = save(history(frame, learner), stem.with_suffix(".png"))
    write_text(stem.with_suffix(".md"), _page(tuning, learner, frame, figure))
    return frame, stem.with_suffix(".md")


def write_tuned(file: SweepFile, tunings: dict[str, Tuning], path: Path) -> None:
    """Write the experiment with the best settings found for each learner, for `dwcp-gym run`."""
    values: dict[str, Any] = {}
    for learner, tuning in tunings.items():
        if (best := best_trial(trials_frame(tuning))) is not None:
            found = tuning.config_of(tuning.study.trials[int(best["trial"])].params)
            values |= {f"learners.{learner}.{key}": value for key, value in found.items()}
    dump(checked(file, changed(file, values), values), path)


def history(frame: pd.DataFrame, learner: str) -> Figure:
    """Cost against trials: a dot a trial, and the line of the best so far."""
    figure, axes = page(
        3.9,
        f"Does the search for settings of {learner} still gain?",
        "Least validation cost of each trial, % of the best static policy's. Hollow: cut short by pruning.",
    )
    shade = colour(learner, LEARNED)
    ended, cut = frame[frame["state"] == "complete"], frame[frame["state"] == "pruned"]
    axes.plot(ended["trial"], 100 * ended["validation_cost"], "o", color=shade, markersize=5, zorder=3)
    hollow: dict[str, Any] = {"color": shade, "markerfacecolor": "white", "markersize": 5, "zorder": 3}
    axes.plot(cut["trial"], 100 * cut["validation_cost"], "o", **hollow)
    if not ended.empty:
        best = 100 * ended["validation_cost"].cummin()
        axes.step(ended["trial"], best, where="post", color=shade, linewidth=1.8, zorder=2)
        first = 100 * ended["validation_cost"].iloc[0]
        axes.axhline(first, color=PAR, linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
        name = "as the config has it" if ended["trial"].iloc[0] == 0 else "the first to end"
        axes.annotate(
            name, (1.0, first), (-2, 4), ("axes fraction", "data"), textcoords="offset points",
            ha="right", fontsize=9.5, color=NOTE,
        )  # fmt: skip
        shown = 100 * frame["validation_cost"].dropna()
        low, high = shown.min(), min(shown.max(), 1.35 * first)
        axes.set_ylim(low - 0.08 * (high - low) - 0.2, high + 0.08 * (high - low) + 0.2)
    axes.grid(axis="y")
    axes.set_xlabel("trial")
    axes.set_ylabel("cost, % of the best static policy")
    figure.subplots_adjust(left=0.085, right=0.985, top=0.8, bottom=0.14)
    return figure


def _page(tuning: Tuning, learner: str, frame: pd.DataFrame, figure: Path) -> str:
    keys = list(tuning.settings.space)
    best = best_trial(frame)
    counts = frame["state"].value_counts().to_dict()
    lines = [
        f"# Settings of {learner}",
        "",
        f"{len(frame)} trials: " + ", ".join(f"{count} {state}" for state, count in counts.items()) + ".",
        f"Each trains with the seeds {list(tuning.settings.seeds)}; its figure is its least validation cost,",
        "in % of the best static policy's. The best was chosen for being low: what it is worth, only fresh",
        "seeds and test episodes tell.",
        "",
    ]
    if best is not None:
        first = frame.iloc[0]
        told = ", ".join(f"`{key}: {best[key]}`" for key in keys)
        cost = 100 * best["validation_cost"]
        beside = f" (trial 0, the config as it is: {100 * first['validation_cost']:.1f} %)"
        beside = beside if first["state"] == "complete" and best["trial"] != first["trial"] else ""
        lines += [f"Best: trial {best['trial']}, {cost:.1f} %{beside}: {told}.", ""]
    lines += [
        f"![Cost of the trials]({figure.name})",
        "",
        f"| trial | state | validation, % | validations | {' | '.join(f'`{key}`' for key in keys)} |",
        f"|---:|---|---:|---:|{'---|' * len(keys)}",
    ]
    order = frame.assign(last=frame["state"] != "complete").sort_values(["last", "validation_cost"])
    for row in order.to_dict("records"):
        cost = (
            f"{100 * row['validation_cost']:.1f}" if row["validation_cost"] == row["validation_cost"] else "–"
        )
        cells = [
            str(row["trial"]),
            row["state"],
            cost,
            str(row["validations"]),
            *(str(row[key]) for key in keys),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
