"""What the policies did in a run: its frames, read and checked, and cut into scores that can be compared."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.stats import Scores
from sim.errors import InputError

KINDS: Final = ("static", "rule", "supervised", "learner", "lookahead", "oracle", "search", "bound")
"""Kinds of policy, in the order of tables."""
SPLITS: Final = ("validation", "test", "held-out")
EPISODE_KEYS: Final = ("policy", "kind", "training_seed", "scenario", "split", "episode")
METRICS: Final = {
    "cost_s": "s", "completion_cost_s": "s", "cpu_cost_s": "s", "late_cost_s": "s",
    "cpu_s": "s", "late_s": "s", "completion_mean_s": "s",
    "completion_p50_s": "s", "completion_p95_s": "s", "completion_p99_s": "s",
    "missed_share": "share", "wire_bytes": "bytes", "raw_bytes": "bytes", "makespan_s": "s",
    "throughput_mbps": "Mbit/s", "goodput_mbps": "Mbit/s", "jain": "share", "agreement": "share",
}  # fmt: skip
"""Figures of an episode, and their units."""
COMPARED: Final = ("cost_s", "goodput_mbps")
"""Figures in which policies are set against each other, episode by episode."""
MORE_IS_BETTER: Final = frozenset({"throughput_mbps", "goodput_mbps", "jain", "agreement"})
"""Figures of which more is better; of the others less is."""
DECISION_COLUMNS: Final = (
    "policy",
    "training_seed",
    "scenario",
    "episode",
    "step",
    "action",
    "oracle_action",
)
CURVE_COLUMNS: Final = ("policy", "training_seed", "step", "validation_cost")


class Evidence(NamedTuple):
    """All that tables, figures and TensorBoard are made of.

    Attributes:
        episodes: A row an episode and run of a policy: ``EPISODE_KEYS`` and ``METRICS``; training_seed is -1
            without training.
        decisions: A row a decision: ``DECISION_COLUMNS``, actions by name or number; may be empty.
        curves: A row a validation of a learner: ``CURVE_COLUMNS``, cost as a share of the best static one's;
            may be empty.
    """

    episodes: pd.DataFrame
    decisions: pd.DataFrame
    curves: pd.DataFrame


class Cell(NamedTuple):
    """One policy in one scenario and split.

    Attributes:
        episodes: Seeds of the episodes, ascending, the same for every training seed.
        metrics: Figures, rows ordered by training seed, then episode.
    """

    episodes: NDArray[np.int64]
    metrics: pd.DataFrame

    def scores(self, metric: str = "cost_s", on: Collection[int] | None = None) -> Scores:
        """Figures of shape (training seeds, episodes), of all episodes or of those in ``on``."""
        table = self.metrics[metric].to_numpy(dtype=np.float64).reshape(-1, len(self.episodes))
        return table if on is None else table[:, np.isin(self.episodes, list(on))]


Cells = Mapping[tuple[str, str, str], Cell]
"""Cells by policy, scenario and split."""


def read_evidence(folder: Path) -> Evidence:
    """The frames in a run's folder: ``episodes.parquet``, ``decisions.parquet`` and every ``curves.csv``.

    Raises:
        InputError: If there is no ``episodes.parquet``, or a file cannot be read or lacks a column.
    """
    decisions = folder / "decisions.parquet"
    curves = [_read(path, CURVE_COLUMNS) for path in sorted(folder.rglob("curves.csv"))]
    return Evidence(
        episodes=_read(folder / "episodes.parquet", (*EPISODE_KEYS, *METRICS)),
        decisions=_read(decisions, DECISION_COLUMNS)
        if decisions.exists()
        else pd.DataFrame(columns=list(DECISION_COLUMNS)),
        curves=pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=list(CURVE_COLUMNS)),
    )


def _read(path: Path, columns: Collection[str]) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except FileNotFoundError as error:
        raise InputError(path, "", "is missing; run `dwcp-gym evaluate` first") from error
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            path, "", f"expected a table, got: {reason}; evaluate again to write it anew"
        ) from error
    missing = [name for name in columns if name not in frame]
    if missing:
        raise InputError(
            path, "", f"expected the columns {', '.join(missing)}, too; evaluate again to write them"
        )
    return frame


def cells(episodes: pd.DataFrame) -> dict[tuple[str, str, str], Cell]:
    """Cut a frame of episodes into cells, ordered by kind, then as they first stand in the frame.

    Raises:
        ValueError: If a policy was not run on the same episodes with each of its training seeds.
    """
    order = {policy: KINDS.index(kind) for policy, kind in kinds(episodes).items()}
    found = {}
    for key, rows in episodes.groupby(["policy", "scenario", "split"], sort=False):
        policy, scenario, split = map(str, key)
        rows = rows.sort_values(["training_seed", "episode"])
        of_each_seed = {tuple(part) for _, part in rows.groupby("training_seed")["episode"]}
        seen = np.asarray(min(of_each_seed), dtype=np.int64)
        if len(of_each_seed) > 1 or len(np.unique(seen)) < len(seen):
            raise ValueError(
                f"expected the same episodes from each training seed of {policy} on {scenario} ({split}), "
                "once each; evaluate it again"
            )
        found[policy, scenario, split] = Cell(seen, rows)
    return dict(sorted(found.items(), key=lambda item: order[item[0][0]]))


def kinds(episodes: pd.DataFrame) -> dict[str, str]:
    """Kind of each policy.

    Raises:
        ValueError: If a kind is unknown.
    """
    found = {
        str(policy): str(kind) for policy, kind in zip(episodes["policy"], episodes["kind"], strict=True)
    }
    if unknown := set(found.values()) - set(KINDS):
        raise ValueError(
            f"expected kinds of policy among {', '.join(KINDS)}, got {', '.join(sorted(unknown))}"
        )
    return found


def best_statics(episodes: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """The static policy of least mean cost in each scenario, and the split on which it was chosen.

    That is validation where a scenario has it. A held-out scenario has none: there the best in hindsight is
    taken, which no one could have chosen beforehand; a policy that beats it beats every constant.
    """
    statics = episodes[episodes["kind"] == "static"]
    means = statics.groupby(["scenario", "split", "policy"])["cost_s"].mean()
    chosen = {}
    for scenario in dict.fromkeys(map(str, statics["scenario"])):
        split = next(split for split in SPLITS if split in means[scenario])
        chosen[scenario] = (str(means[scenario][split].idxmin()), split)
    return chosen


def cost_relative(run: pd.DataFrame, others: pd.DataFrame, reference: Mapping[str, str]) -> float:
    """Cost of a run as a share of another policy's on the episodes that both have, the mean over scenarios.

    Args:
        run: Episodes of one run of a policy, of one split.
        others: Episodes of all policies of that split.
        reference: For each scenario the policy to be set against.

    Returns:
        NaN if the reference is not there in every scenario of the run.
    """
    ratios = []
    for scenario, rows in run.groupby("scenario"):
        same = others[(others["scenario"] == scenario) & (others["policy"] == reference.get(str(scenario)))]
        theirs = same[same["episode"].isin(rows["episode"])]
        ours = rows[rows["episode"].isin(theirs["episode"])]
        ratios.append(ours["cost_s"].mean() / theirs["cost_s"].mean() if len(theirs) else np.nan)
    return float(np.mean(ratios)) if ratios else float("nan")
