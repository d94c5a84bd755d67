"""The tidy summary of a run: every figure with its interval, every policy set against those to beat."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from experiments.aggregates import interquartile_rows, relative_scores
from experiments.agreement import accuracy, class_scores, confusion, majority_baseline
from experiments.evidence import COMPARED, METRICS, MORE_IS_BETTER, Cells, best_statics, cells, kinds
from experiments.resampling import Estimate, Resampling
from experiments.stats import (
    Scores,
    interquartile_interval,
    mean_interval,
    probability_of_improvement,
    relative_difference,
    share_of_gap_closed,
)
from sim.randomness import stream

BEST_STATIC: Final = "best_static"
BEST_FOUND: Final = "best_found"
BOUND: Final = "bound"
ALL: Final = "all"
"""In place of a scenario: over all of them, each counting alike."""
AGAINST: Final = (BEST_STATIC, "one_step_oracle", "ensemble")
PLAIN: Final = "plain"
"""What happens when no one chooses: zstd, first come first served, equal shares."""
GOODPUT_GOAL: Final = 0.2
"""By so much, as a share, the goodput of a good policy is to lie above that of `PLAIN`."""
LITTLE: Final = 0.03
"""A static policy that costs at most this share more than the best answers found leaves nothing to learn."""
Summary = dict[str, list[dict[str, Any]]]
"""What ``summary.json`` holds: ``rows`` and ``paired``."""


class Chance(NamedTuple):
    """Resampling with chance of its own for each comparison: one policy more changes no other interval."""

    seed: int
    level: float
    resamples: int

    def resampling(self, *names: str) -> Resampling:
        """Resampling for the comparison of these names."""
        return Resampling(stream(self.seed, "/".join(names)), self.level, self.resamples)


def build_summary(
    episodes: pd.DataFrame,
    decisions: pd.DataFrame,
    *,
    rng: np.random.Generator,
    against: Sequence[str] = AGAINST,
    level: float = 0.95,
    resamples: int = 2000,
) -> Summary:
    """Figures, comparisons, headroom and agreement of a run, as ``summary.json`` holds them.

    ``rows`` have policy, scenario, split, metric, value, low, high, unit. Metrics of an episode are means, so
    that the parts of a cost add up to it. Further metrics:

    * ``cost_iqm_s``: interquartile mean of the cost.
    * ``cost_relative_iqm``: interquartile mean, over all episodes of a split, of the cost as a share of the
      best static policy's on the same episode.
    * ``best_static``: validation cost of the static policy that is chosen in a scenario.
    * ``searched_cost_s``: cost on the episodes that ``best_found`` has.
    * ``headroom``: share of the best static cost that ``best_found`` saves.
    * ``nothing_to_learn``: 1 where the best static policy is within 3 % of ``best_found``, else 0.
    * ``headroom_won``: share of the headroom that a policy wins.
    * ``bound_gap``: share of the best static cost that lies above ``bound``.
    * ``gap_closed``: share of that gap that a policy closes.
    * ``goodput_goal_met``: 1 where the goodput lies 20 % or more above ``plain``, by the lower end of its
      interval, else 0. Scenario ``all`` is the geometric mean over scenarios.
    * ``accuracy``, ``f1/<action>``, ``f1_macro``: agreement with the one-step oracle; ``majority``: accuracy
      of the oracle's most frequent action. Scenario ``all`` is over all decisions.

    ``paired`` have policy, against, scenario, split, metric (of `experiments.evidence.COMPARED`), difference
    (a share, negative is less), low, high, probability_of_improvement, on the episodes that both have;
    scenario ``all`` is their geometric mean. What is not known is left out.

    Args:
        episodes: Rows of ``episodes.parquet``.
        decisions: Rows of ``decisions.parquet``.
        rng: The only source of chance: the same state gives the same summary.
        against: Policies that the others are set against.
        level: Share of the resamples that lie inside an interval.
        resamples: How often scores are drawn anew.

    Raises:
        ValueError: If a policy was not run on the same episodes with each of its training seeds, or a kind is
        unknown.
    """
    chance = Chance(int(rng.integers(2**63)), level, resamples)
    board = cells(episodes)
    statics = best_statics(episodes)
    paired = [pair for metric in COMPARED for pair in _paired_rows(board, statics, against, metric, chance)]
    rows = [
        *_metric_rows(board, chance),
        *_aggregate_rows(board, statics, kinds(episodes), chance),
        *_best_static_rows(board, statics, chance),
        *_headroom_rows(board, {scenario: name for scenario, (name, _) in statics.items()}, chance),
        *_bound_rows(board, {scenario: name for scenario, (name, _) in statics.items()}, chance),
        *_goodput_rows(paired),
        *_agreement_rows(episodes, decisions),
    ]
    return {
        "rows": [_known(row) for row in rows if row["value"] == row["value"]],
        "paired": [_known(row) for row in paired],
    }


def _known(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value == value}


def _row(place: tuple[str, str, str], metric: str, estimate: Estimate, unit: str) -> dict[str, Any]:
    policy, scenario, split = place
    return {
        "policy": policy,
        "scenario": scenario,
        "split": split,
        "metric": metric,
        **estimate._asdict(),
        "unit": unit,
    }


def _figure(value: float) -> Estimate:
    return Estimate(float(value), np.nan, np.nan)


def _metric_rows(board: Cells, chance: Chance) -> Iterator[dict[str, Any]]:
    for place, cell in board.items():
        metrics = METRICS if place[2] != "validation" else {"cost_s": METRICS["cost_s"]}
        for metric, unit in metrics.items():
            scores = cell.scores(metric)
            if np.isfinite(scores).all():
                yield _row(place, metric, mean_interval([scores], chance.resampling(*place, metric)), unit)
        iqm = interquartile_interval([cell.scores()], chance.resampling(*place, "iqm"))
        yield _row(place, "cost_iqm_s", iqm, "s")


def _aggregate_rows(
    board: Cells, statics: dict[str, tuple[str, str]], kind: dict[str, str], chance: Chance
) -> Iterator[dict[str, Any]]:
    names = {scenario: name for scenario, (name, _) in statics.items()}
    for split in ("test", "held-out"):
        scores = relative_scores(board, names, split, kind)
        for policy, iqm in interquartile_rows(scores, chance.resampling, split):
            yield _row((policy, ALL, split), "cost_relative_iqm", iqm, "share")


def _best_static_rows(
    board: Cells, statics: dict[str, tuple[str, str]], chance: Chance
) -> Iterator[dict[str, Any]]:
    for scenario, (policy, split) in statics.items():
        place = (policy, scenario, split)
        scores = board[place].scores()
        yield _row(place, BEST_STATIC, mean_interval([scores], chance.resampling(*place, "cost_s")), "s")


def _common(board: Cells, *places: tuple[str, str, str]) -> Collection[int]:
    """Episodes that all of several cells have."""
    return set.intersection(*(set(board[place].episodes.tolist()) for place in places))


def _paired_rows(
    board: Cells, statics: dict[str, tuple[str, str]], against: Sequence[str], metric: str, chance: Chance
) -> Iterator[dict[str, Any]]:
    for split in ("test", "held-out"):
        scenarios = list(dict.fromkeys(place[1] for place in board if place[2] == split))
        for policy in dict.fromkeys(place[0] for place in board if place[2] == split):
            for other in against:
                pairs: dict[str, tuple[Scores, Scores]] = {}
                same = 0
                for scenario in scenarios:
                    name = statics[scenario][0] if other == BEST_STATIC and scenario in statics else other
                    ours, theirs = (policy, scenario, split), (name, scenario, split)
                    if ours not in board or theirs not in board:
                        continue
                    common = _common(board, ours, theirs)
                    pair = board[ours].scores(metric, common), board[theirs].scores(metric, common)
                    if common and all((scores > 0).all() for scores in pair):  # a bound has its cost alone
                        pairs[scenario] = pair
                        same += policy == name
                        if policy != name:
                            yield _pair(ours, other, metric, [pair], chance)
                if len(pairs) == len(scenarios) > max(1, same):
                    yield _pair((policy, ALL, split), other, metric, list(pairs.values()), chance)


def _pair(
    place: tuple[str, str, str],
    against: str,
    metric: str,
    pairs: Sequence[tuple[Scores, Scores]],
    chance: Chance,
) -> dict[str, Any]:
    ours, theirs = [mine for mine, _ in pairs], [other for _, other in pairs]
    names = (*place, against) if metric == "cost_s" else (*place, against, metric)
    difference = relative_difference(ours, theirs, chance.resampling(*names))
    better, worse = (theirs, ours) if metric in MORE_IS_BETTER else (ours, theirs)
    chances = probability_of_improvement(better, worse, chance.resampling(*names, "wins"))
    policy, scenario, split = place
    return {
        "policy": policy, "against": against, "scenario": scenario, "split": split, "metric": metric,
        "difference": difference.value, "low": difference.low, "high": difference.high,
        "probability_of_improvement": chances.value,
    }  # fmt: skip


def _headroom_rows(board: Cells, statics: dict[str, str], chance: Chance) -> Iterator[dict[str, Any]]:
    for _, scenario, split in [place for place in board if place[0] == BEST_FOUND]:
        found = (BEST_FOUND, scenario, split)
        static = (statics.get(scenario, ""), scenario, split)
        if static not in board or not (on := _common(board, found, static)):
            continue
        least, constant = board[found].scores(on=on), board[static].scores(on=on)
        saved = relative_difference([least], [constant], chance.resampling(*found, "headroom"))
        yield _row(found, "headroom", Estimate(-saved.value, -saved.high, -saved.low), "share")
        little = constant.mean() <= (1 + LITTLE) * least.mean()
        yield _row(found, "nothing_to_learn", _figure(little), "flag")
        for place, cell in board.items():
            if place[1:] != (scenario, split) or place[0] == BOUND:
                continue
            if not set(on) <= set(cell.episodes.tolist()):
                continue
            scores = cell.scores(on=on)
            searched = mean_interval([scores], chance.resampling(*place, "searched"))
            yield _row(place, "searched_cost_s", searched, "s")
            if place not in (found, static):
                won = share_of_gap_closed(scores, constant, least, chance.resampling(*place, "won"))
                yield _row(place, "headroom_won", won, "share")


def _bound_rows(board: Cells, statics: dict[str, str], chance: Chance) -> Iterator[dict[str, Any]]:
    for _, scenario, split in [place for place in board if place[0] == BOUND]:
        bound = (BOUND, scenario, split)
        static = (statics.get(scenario, ""), scenario, split)
        if static not in board or not (on := _common(board, bound, static)):
            continue
        least, fixed = board[bound].scores(on=on), board[static].scores(on=on)
        gap = relative_difference([least], [fixed], chance.resampling(*bound, "gap"))
        yield _row(bound, "bound_gap", Estimate(-gap.value, -gap.high, -gap.low), "share")
        for place, cell in board.items():
            if place[1:] != (scenario, split) or place in (bound, static):
                continue
            if set(on) <= set(cell.episodes.tolist()):
                scores = cell.scores(on=on)
                closed = share_of_gap_closed(scores, fixed, least, chance.resampling(*place, "closed"))
                yield _row(place, "gap_closed", closed, "share")


def _goodput_rows(paired: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for pair in paired:
        if (pair["against"], pair["metric"]) == (PLAIN, "goodput_mbps"):
            place = (pair["policy"], pair["scenario"], pair["split"])
            yield _row(place, "goodput_goal_met", _figure(pair["low"] >= GOODPUT_GOAL), "flag")


def _agreement_rows(episodes: pd.DataFrame, decisions: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for policy, scenario, split, counts, classes in confusions(episodes, decisions):
        place = (policy, scenario, split)
        scores = class_scores(counts)
        yield _row(place, "accuracy", _figure(accuracy(counts)), "share")
        yield _row(place, "majority", _figure(majority_baseline(counts)), "share")
        yield _row(place, "f1_macro", _figure(scores.f1[scores.support > 0].mean()), "share")
        for name, score, support in zip(classes, scores.f1, scores.support, strict=True):
            if support:
                yield _row(place, f"f1/{name}", _figure(score), "share")


def confusions(
    episodes: pd.DataFrame, decisions: pd.DataFrame
) -> Iterator[tuple[str, str, str, np.ndarray, list[str]]]:
    """Counts of (oracle's answer, policy's answer) of each policy, over all of a split and by scenario.

    Decisions at which the one-step oracle was not asked are left out.

    Yields:
        Policy, scenario, split, counts of shape (classes, classes), names of the classes.
    """
    asked = decisions[(decisions["policy"] != "one_step_oracle") & (decisions["oracle_action"] != "")]
    if asked.empty:
        return
    splits = episodes[["scenario", "episode", "split"]].drop_duplicates()
    own = asked.merge(splits, on=["scenario", "episode"])
    classes = sorted({str(name) for column in ("oracle_action", "action") for name in own[column].unique()})
    number = {name: index for index, name in enumerate(classes)}
    coded = own.assign(
        oracle=own["oracle_action"].astype(str).map(number), chosen=own["action"].astype(str).map(number)
    )
    for (policy, split), rows in coded.groupby(["policy", "split"], sort=False):
        parts = [(ALL, rows), *((str(name), part) for name, part in rows.groupby("scenario", sort=False))]
        for scenario, part in parts:
            counts = confusion(part["oracle"].to_numpy(), part["chosen"].to_numpy(), len(classes))
            yield str(policy), scenario, str(split), counts, classes
