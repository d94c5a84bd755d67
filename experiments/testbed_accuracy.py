"""How far the simulator is from reality: errors by class, ranking of codecs, what acting on it would cost."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table
from scipy.stats import spearmanr

from experiments.look import page, save
from experiments.testbed_journal import CALM
from sim.errors import InputError
from sim.files import write_json, write_text

BARS: Final = {"median": 0.05, "p90": 0.20, "spearman": 0.90, "regret": 0.03}
"""What the simulator is to reach on settings that it was not fitted on."""
SHADES: Final = {"none": "#8C8C8C", "zstd": "#0072B2", "hde": "#D55E00", "amst": "#009E73"}
_SAME: Final = 0.03
"""Codecs whose times are this close, relatively, are equal: what the bar for regret allows."""


class Accuracy(NamedTuple):
    """What came out.

    Attributes:
        pairs: One row a setting and codec: real seconds (median of its transfers), simulated, error.
        choices: One row a setting: Spearman's rank correlation of its codecs, regret of what is chosen.
        by_class: Median, p90 and worst of the absolute error, by the classes of a setting.
        summary: The figures that stand against `BARS`, with and without what codecs do here, and counts.
    """

    pairs: pd.DataFrame
    choices: pd.DataFrame
    by_class: pd.DataFrame
    summary: Mapping[str, float]


def accuracy(rows: pd.DataFrame) -> Accuracy:
    """Hold the raw rows of `experiments.testbed_validate` against what was simulated.

    Raises:
        InputError: If no setting has two codecs with a transfer that did not wait for cores.

    >>> path = {"loss": 0.0, "rtt_ms": 20, "rate_mbit": 100, "streams": 1}
    >>> same = {"number": 0, "size_bytes": 1e6, "waited_s": 0.0, **path}
    >>> two = pd.DataFrame({"codec": ["none", "zstd"], "real_s": [2.0, 1.0], "told_s": [2.2, 1.0],
    ...     "laws_s": [2.0, 1.5], **same})
    >>> found = accuracy(two)
    >>> round(found.summary["median"], 3), round(found.summary["spearman"], 3), found.summary["regret"]
    (0.05, 1.0, 0.0)
    """
    keys = ["number", "codec", "rate_mbit", "rtt_ms", "loss", "size_bytes", "streams"]
    every, rows = rows, rows[rows["waited_s"] <= CALM * rows["told_s"]]
    if rows.groupby("number")["codec"].nunique().lt(2).all():
        problem = (
            f"of {len(every)} transfers {len(rows)} had the cores they needed, in no setting those of two"
        )
        raise InputError("testbed", "", f"{problem} codecs; end other work on this machine and run it again")
    pairs = rows.groupby(keys, as_index=False)[["real_s", "told_s", "laws_s"]].median()
    pairs["error"] = pairs["told_s"] / pairs["real_s"] - 1
    pairs["laws_error"] = pairs["laws_s"] / pairs["real_s"] - 1
    pairs["family"] = pairs["codec"].map(family)
    choices = pd.DataFrame([_choice(number, one) for number, one in pairs.groupby("number") if len(one) > 1])
    off, laws_off = pairs["error"].abs(), pairs["laws_error"].abs()
    single = _spread(rows, "told_s")
    summary = {
        "median": float(off.median()),
        "p90": float(off.quantile(0.9)),
        "worst": float(off.max()),
        **{f"single_{name}": share for name, share in single.items()},
        "laws_median": float(laws_off.median()),
        "laws_p90": float(laws_off.quantile(0.9)),
        "spearman": float(choices["spearman"].mean()),
        "spearman_strict": float(choices["spearman_strict"].mean()),
        "regret": float(choices["regret"].mean()),
        "best_chosen": float((choices["regret"] <= _SAME).mean()),
        "settings": len(choices),
        "transfers": len(rows),
        "left_out": len(every) - len(rows),
        **{f"all_{name}": share for name, share in _spread(every, "told_s").items()},
        **{f"repeat_{name}": share for name, share in _spread(_twins(rows), "twin_s").items()},
    }
    return Accuracy(pairs, choices, _by_class(pairs), summary)


def _spread(rows: pd.DataFrame, said: str) -> dict[str, float]:
    """Median and p90 of what single transfers are off from what is said of them."""
    off = (rows[said] / rows["real_s"] - 1).abs()
    return {"median": float(off.median()), "p90": float(off.quantile(0.9))}


def _twins(rows: pd.DataFrame) -> pd.DataFrame:
    """Each transfer but the first of a setting and codec, with the time of the one before it."""
    twins = rows.assign(twin_s=rows.groupby(["number", "codec"])["real_s"].shift())
    return twins[twins["twin_s"].notna()]


def family(codec: str) -> str:
    """Codecs that err alike, together.

    >>> family("zstd-9"), family("hde_xor"), family("amst-8-lz4")
    ('zstd', 'hde', 'amst')
    """
    return next(name for name in SHADES if codec.startswith(name))


def _choice(number: object, codecs: pd.DataFrame) -> dict[str, object]:
    chosen, best = (codecs.iloc[int(codecs[name].to_numpy().argmin())] for name in ("told_s", "real_s"))
    return {
        "number": number,
        "spearman": _rank_agreement(_merged(codecs["told_s"]), _merged(codecs["real_s"])),
        "spearman_strict": _rank_agreement(codecs["told_s"].tolist(), codecs["real_s"].tolist()),
        "regret": float(chosen["real_s"]) / float(best["real_s"]) - 1,
        "chosen": chosen["codec"],
        "best": best["codec"],
    }


def _rank_agreement(told_s: Sequence[float], real_s: Sequence[float]) -> float:
    """Spearman's coefficient; not a number where all of either are equal, for then there is no ranking."""
    if len(set(told_s)) < 2 or len(set(real_s)) < 2:
        return np.nan
    return float(spearmanr(told_s, real_s).statistic)


def _merged(seconds: "pd.Series[float]") -> list[float]:
    """The times, those within `_SAME` of the next shorter one made equal to it."""
    order = np.argsort(seconds.to_numpy(), kind="stable")
    merged = seconds.to_numpy().copy()
    for shorter, longer in pairwise(order):
        if seconds.iloc[longer] <= seconds.iloc[shorter] * (1 + _SAME):
            merged[longer] = merged[shorter]
    return [float(value) for value in merged]


def _by_class(pairs: pd.DataFrame) -> pd.DataFrame:
    classes = {
        "codec": pairs["family"],
        "size": pairs["size_bytes"].map(lambda size: f"{size / 2**20:g} MiB"),
        "loss": pairs["loss"].map(lambda loss: f"{loss:.2%}"),
        "rtt": pairs["rtt_ms"].map(lambda rtt: f"{rtt} ms"),
        "rate": pairs["rate_mbit"].map(lambda rate: f"{rate} Mbit/s"),
        "streams": pairs["streams"].map(str),
    }
    order = {
        "size": pairs["size_bytes"],
        "loss": pairs["loss"],
        "rtt": pairs["rtt_ms"],
        "rate": pairs["rate_mbit"],
        "streams": pairs["streams"],
    }
    found = [_line("all", "", pairs)]
    for name, labels in classes.items():
        by = labels.groupby(order.get(name, labels)).first()
        found += [_line(name, label, pairs[labels == label]) for label in by]
    return pd.DataFrame(found)


def _line(name: str, label: str, pairs: pd.DataFrame) -> dict[str, object]:
    off = pairs["error"].abs()
    return {
        "class": name,
        "value": label,
        "pairs": len(pairs),
        "bias": float(pairs["error"].median()),
        "median": float(off.median()),
        "p90": float(off.quantile(0.9)),
        "worst": float(off.max()),
        "laws_median": float(pairs["laws_error"].abs().median()),
    }


def accuracy_table(found: Accuracy) -> Table:
    """The errors by class, for the terminal."""
    table = Table(box=None, pad_edge=False)
    for name in ("class", "", "pairs", "bias", "median", "p90", "worst"):
        table.add_column(name, justify="left" if name in ("class", "") else "right")
    for row in found.by_class.to_dict("records"):
        shares = (f"{row[name]:.1%}" for name in ("median", "p90", "worst"))
        table.add_row(str(row["class"]), str(row["value"]), str(row["pairs"]), f"{row['bias']:+.1%}", *shares)
    ranking = f"{found.summary['spearman']:.3f}"
    table.caption = f"ranking of codecs (Spearman) {ranking}, regret {found.summary['regret']:.1%}"
    return table


def scatter(found: Accuracy) -> Figure:
    """Simulated against real seconds, a point a setting and codec; on the line both are the same."""
    figure, axes = page(
        5.6,
        "How long does a transfer take, simulated and for real?",
        "One point a setting and codec; filled without loss. Grey band: within 20 %.",
    )
    pairs = found.pairs
    ends = np.array([pairs[["real_s", "told_s"]].to_numpy().min() / 1.4, pairs["real_s"].max() * 1.4])
    axes.fill_between(ends, ends / 1.2, ends * 1.2, color="#EFEFEF", linewidth=0, zorder=0)
    axes.plot(ends, ends, color="#8C8C8C", linewidth=1.0, zorder=1)
    for name, shade in SHADES.items():
        for lossy in (False, True):
            one = pairs[(pairs["family"] == name) & ((pairs["loss"] > 0) == lossy)]
            axes.plot(
                one["real_s"],
                one["told_s"],
                "o",
                markersize=4.5,
                markerfacecolor="none" if lossy else shade,
                markeredgecolor=shade,
                label=name if not lossy else None,
                zorder=2,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_xlabel("real, seconds")
    axes.set_ylabel("simulated, seconds")
    axes.legend(loc="upper left", frameon=False)
    figure.subplots_adjust(left=0.085, right=0.97, top=0.86, bottom=0.1)
    return figure


def _of(summary: Mapping[str, float], which: str) -> str:
    return f"{summary[f'{which}_median']:.1%} (p90 {summary[f'{which}_p90']:.1%})"


def report(found: Accuracy, notes: str) -> str:
    """The report as Markdown."""
    summary = found.summary
    lines = [
        "# Simulator against reality: single transfers",
        "",
        f"{summary['transfers']:g} transfers over emulated paths, {summary['settings']:g} settings; "
        f"{summary['left_out']:g} more are left out, for their processes waited for a core for above "
        f"{CALM:.0%} of the simulated time. {notes}",
        "",
        "| figure | here | bar |",
        "|---|---|---|",
        f"| relative error, median | {summary['median']:.1%} | {BARS['median']:.0%} |",
        f"| relative error, p90 | {summary['p90']:.1%} | {BARS['p90']:.0%} |",
        f"| ranking of codecs, Spearman, mean | {summary['spearman']:.3f} | {BARS['spearman']:.1f} |",
        f"| regret of the simulator's choice, mean | {summary['regret']:.1%} | {BARS['regret']:.0%} |",
        "",
        f"Times are medians of up to three transfers. Single ones: {_of(summary, 'single')}; with those left "
        f"out: {_of(summary, 'all')}; each foretold by another transfer of the same, which is chance: "
        f"{_of(summary, 'repeat')}. By the fitted laws, without what codecs and mover do here: "
        f"{_of(summary, 'laws')}.",
        "",
        f"Codecs whose times lie within {_SAME:.0%} of each other count as equal in the ranking; as they "
        f"came: Spearman {summary['spearman_strict']:.3f}. In {summary['best_chosen']:.0%} of the settings "
        f"the choice by the simulator is within {_SAME:.0%} of the best.",
        "",
        "| class | | pairs | bias | median | p90 | worst | laws, median |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found.by_class.to_dict("records"):
        shares = " | ".join(f"{row[name]:.1%}" for name in ("median", "p90", "worst", "laws_median"))
        lines.append(f"| {row['class']} | {row['value']} | {row['pairs']} | {row['bias']:+.1%} | {shares} |")
    lines += [
        "",
        "Settings whose choice by the simulator costs most:",
        "",
        "| setting | chosen | best | regret |",
    ]
    lines.append("|---|---|---|---|")
    for row in found.choices.nlargest(5, "regret").to_dict("records"):
        lines.append(f"| {row['number']} | {row['chosen']} | {row['best']} | {row['regret']:.1%} |")
    return "\n".join(lines) + "\n"


def write_accuracy(folder: Path, found: Accuracy, notes: str) -> None:
    """Write report, figure and summary beside the raw rows.

    Raises:
        InputError: If the file system refuses.
    """
    write_text(folder / "report.md", report(found, notes))
    write_json(folder / "accuracy.json", {"bars": BARS, **found.summary})
    save(scatter(found), folder / "scatter.png")
