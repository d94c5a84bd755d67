"""Which figures a run gets: the frames that each needs, cut from its evidence and summary."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.aggregates import Relative, geometric_mean, improvements, profiles, relative_scores
from experiments.evidence import Evidence, best_statics, cells, cost_relative, kinds
from experiments.figures import confusion_with_oracle, cost_by_scenario, headroom, learning_curves
from experiments.headline import HeadlineRow, headline_table
from experiments.look import save
from experiments.profiles import improvement_figure, profile_figure
from experiments.summary import ALL, BEST_STATIC, Chance, Summary, confusions

LEVELS: Final = ("one_step_oracle", "ensemble")
"""Policies that stand as level lines beside the learning curves."""
FEW_STATICS: Final = 4
"""Static policies in a figure of whole distributions: so many that do best."""
MOST_BESIDE: Final = 18
"""Policies in a matrix; those that do best."""
IMITATORS: Final = ("learner", "supervised", "rule")


def draw(folder: Path, evidence: Evidence, summary: Summary, chance: Chance) -> dict[str, Path]:
    """Write the figures that the evidence allows, and return their files by name.

    Args:
        folder: Where to.
        evidence: Frames of the run.
        summary: What ``build_summary`` made of them.
        chance: Of the bands.

    Raises:
        InputError: If the folder cannot be written.
    """
    figures = _figures(evidence, summary, chance)
    return {name: save(figure, folder / f"{name}.png") for name, figure in figures}


def _figures(evidence: Evidence, summary: Summary, chance: Chance) -> Iterator[tuple[str, Figure]]:
    if len(evidence.curves):
        yield "learning_curves", learning_curves(evidence.curves, validation_levels(evidence.episodes))
    costs = _costs(evidence, summary)
    for split, name in (("test", "cost_by_scenario"), ("held-out", "cost_held_out")):
        if len(rows := costs[costs["split"] == split]):
            yield name, cost_by_scenario(rows, split)
    compared = relative(evidence, "test")
    if len(compared) > 1:
        yield "profiles", profile_figure(profiles(shown(compared), chance.resampling, "test"), "test")
        best = sorted(compared, key=geometric_mean)[:MOST_BESIDE]
        yield "improvement", improvement_figure(improvements(best, chance.resampling, "test"), "test")
    if tables := _confusion_shares(evidence):
        yield "confusion", confusion_with_oracle(tables)
    searched = searched_costs(summary, kinds(evidence.episodes))
    if len(searched):
        yield "headroom", headroom(searched)


def relative(evidence: Evidence, split: str) -> list[Relative]:
    """Scores of all policies that have played all episodes of a split, beside the best static one's."""
    statics = {scenario: name for scenario, (name, _) in best_statics(evidence.episodes).items()}
    return relative_scores(cells(evidence.episodes), statics, split, kinds(evidence.episodes))


def shown(compared: Sequence[Relative]) -> list[Relative]:
    """All but the static policies that do worst: more lines than a figure can tell apart."""
    statics = sorted((one for one in compared if one.kind == "static"), key=geometric_mean)
    kept = {one.policy for one in statics[:FEW_STATICS]}
    return [one for one in compared if one.kind != "static" or one.policy in kept]


def validation_levels(episodes: pd.DataFrame) -> dict[str, tuple[str, float]]:
    """Kind and validation cost (share of the best static policy's) of the policies that stand as lines."""
    statics = {scenario: name for scenario, (name, _) in best_statics(episodes).items()}
    rows = episodes[episodes["split"] == "validation"]
    levels = {
        name: (kind, cost_relative(rows[rows["policy"] == name], rows, statics))
        for name, kind in kinds(episodes).items()
        if name in LEVELS and (rows["policy"] == name).any()
    }
    return {name: level for name, level in levels.items() if np.isfinite(level[1])}


def searched_costs(summary: Summary, kind: dict[str, str]) -> pd.DataFrame:
    """Costs on the searched episodes, in percent of the best static policy's, for ``figures.headroom``."""
    rows = pd.DataFrame(summary["rows"])
    static = rows[rows["metric"] == BEST_STATIC].set_index("scenario")["policy"]
    costs = rows[rows["metric"] == "searched_cost_s"]
    par = {
        (row["scenario"], row["split"]): row["value"]
        for row in costs.to_dict("records")
        if static[row["scenario"]] == row["policy"]
    }
    places = zip(costs["scenario"], costs["split"], strict=True)
    percent = 100 * costs["value"] / [par[place] for place in places]
    flags = rows[rows["metric"] == "nothing_to_learn"].set_index("scenario")["value"]
    costs = costs.assign(percent=percent, kind=costs["policy"].map(kind))
    costs["nothing_to_learn"] = costs["scenario"].map(flags).eq(1.0)
    return costs.loc[costs["scenario"].isin(flags.index)]


def _costs(evidence: Evidence, summary: Summary) -> pd.DataFrame:
    kind = kinds(evidence.episodes)
    costs = pd.DataFrame(headline_table(summary), columns=list(HeadlineRow._fields))
    costs = costs.assign(kind=costs["policy"].map(kind))
    return costs.replace({"scenario": {ALL: "all scenarios"}, "best_static": {BEST_STATIC: ""}})


def _confusion_shares(evidence: Evidence) -> dict[tuple[str, str], pd.DataFrame]:
    kind = kinds(evidence.episodes)
    tables = {}
    for policy, scenario, split, counts, names in confusions(evidence.episodes, evidence.decisions):
        if scenario == ALL and split == "test" and kind[policy] in IMITATORS:
            wanted = counts.sum(axis=1, keepdims=True)
            shares = np.divide(counts, wanted, out=np.full(counts.shape, np.nan), where=wanted > 0)
            tables[policy, kind[policy]] = pd.DataFrame(shares, index=names, columns=names)
    return tables
