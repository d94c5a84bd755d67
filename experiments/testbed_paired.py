"""What policies cost for real: beside what was simulated, and against the best codec on the same episodes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from rich.table import Table

from experiments.resampling import Resampling
from experiments.stats import relative_difference
from sim.codecs import parse_codec
from sim.errors import InputError
from sim.randomness import stream

FEWEST: Final = 3
"""Episodes below which no interval is given."""


class Paired(NamedTuple):
    """A policy against the best static codec, on the episodes that both played.

    Attributes:
        policy: Whose costs.
        against: The codec whose mean real cost was least.
        episodes: That both played to their end.
        difference: Share that the policy costs more, in real seconds.
        low: Lower end of its 95 % interval; NaN for fewer than `FEWEST` episodes.
        high: Upper end.
        simulated: The same difference, simulated.
    """

    policy: str
    against: str
    episodes: int
    difference: float
    low: float
    high: float
    simulated: float


def paired(plays: pd.DataFrame) -> list[Paired]:
    """Each policy against the best static codec, dearest last; nothing where no codec was played.

    Repeats of an episode count as their mean: chance on the path is within, episodes are drawn.

    >>> rows = [("zstd", 0, 10.0), ("zstd", 1, 20.0), ("hde", 0, 12.0), ("hde", 1, 15.0), ("ppo", 0, 9.0)]
    >>> plays = pd.DataFrame(rows, columns=["policy", "seed", "cost_s"])
    >>> plays["simulated_cost_s"] = plays["cost_s"]
    >>> [(one.policy, one.against, one.episodes, round(one.difference, 3)) for one in paired(plays)]
    [('ppo', 'hde', 1, -0.25), ('zstd', 'hde', 2, 0.111)]
    """
    costs: Mapping[str, pd.DataFrame] = {
        column: plays.pivot_table(index="seed", columns="policy", values=column)
        for column in ("cost_s", "simulated_cost_s")
    }
    static = [policy for policy in costs["cost_s"] if _is_codec(str(policy))]
    if not static:
        return []
    best = str(costs["cost_s"][static].mean().idxmin())
    found = []
    for policy in costs["cost_s"]:
        if policy == best:
            continue
        both = costs["cost_s"][[policy, best]].dropna()
        if len(both):
            simulated = dict(costs["simulated_cost_s"].loc[both.index].mean())
            found.append(_pair(str(policy), str(best), both, float(simulated[policy] / simulated[best] - 1)))
    return sorted(found, key=lambda one: one.difference)


def _pair(policy: str, best: str, both: pd.DataFrame, simulated: float) -> Paired:
    ours, theirs = (both[[name]].to_numpy(float).T for name in (policy, best))
    how = Resampling(stream(0, f"testbed {policy} {best}"))
    found = relative_difference([ours], [theirs], how)
    low, high = (found.low, found.high) if len(both) >= FEWEST else (np.nan, np.nan)
    return Paired(policy, best, len(both), found.value, low, high, simulated)


def _is_codec(name: str) -> bool:
    try:
        parse_codec(name)
    except ValueError:
        return False
    return True


def plays_table(plays: pd.DataFrame) -> Table:
    """Real beside simulated, a row a policy, the cheapest in reality first; means over its plays."""
    table = Table(box=None, pad_edge=False)
    for name in ("policy", "plays", "real s", "simulated s", "error", "real mean s", "simulated mean s"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    groups = plays.groupby("policy")
    for policy, of_policy in sorted(groups, key=lambda group: float(group[1]["cost_s"].mean())):
        cost, simulated = float(of_policy["cost_s"].mean()), float(of_policy["simulated_cost_s"].mean())
        table.add_row(
            str(policy),
            str(len(of_policy)),
            f"{cost:.2f}",
            f"{simulated:.2f}",
            f"{simulated / cost - 1:+.1%}",
            f"{of_policy['completion_s'].mean():.3f}",
            f"{of_policy['simulated_completion_s'].mean():.3f}",
        )
    return table


def paired_table(found: list[Paired]) -> Table:
    """The differences, for the terminal."""
    table = Table(box=None, pad_edge=False)
    for name in ("policy", "against", "episodes", "real cost", "95 % interval", "simulated"):
        table.add_column(name, justify="left" if name in ("policy", "against") else "right")
    for one in found:
        interval = "-" if np.isnan(one.low) else f"{one.low:+.1%} to {one.high:+.1%}"
        table.add_row(
            one.policy,
            one.against,
            str(one.episodes),
            f"{one.difference:+.1%}",
            interval,
            f"{one.simulated:+.1%}",
        )
    return table


def read_plays(folder: Path) -> pd.DataFrame:
    """The plays of a folder that ``dwcp-gym testbed run`` has left.

    Raises:
        InputError: If its file is torn.
    """
    path = folder / "plays.parquet"
    try:
        plays = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(path, "", "is torn or foreign; `dwcp-gym testbed run` writes it anew") from error
    missing = {"policy", "seed", "cost_s", "simulated_cost_s", "completion_s"} - set(plays.columns)
    if missing or plays.empty:
        raise InputError(path, "", f"expected plays of the testbed, got no {min(missing, default='row')}")
    return plays
