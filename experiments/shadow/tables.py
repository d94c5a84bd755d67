"""Bundles, their differences and replays as tables for a terminal."""

import math
from collections.abc import Iterable
from typing import Any

from rich.table import Table

from experiments.shadow.diff import BundleDiff
from experiments.shadow.loader import Bundle
from experiments.shadow.off_policy import Interval
from experiments.shadow.replay import Replay, Replayed

_SHOWN = 12
"""Features in the table of drift: those that have moved most."""


def bundle_tables(bundle: Bundle) -> list[Table]:
    """What a bundle says of itself."""
    manifest = bundle.manifest
    rows = [
        ("policy", f"{bundle.name} ({manifest['kind']})"),
        ("answers", f"{manifest['task']}: {', '.join(bundle.actions[:12])}"),
        ("scores", f"{manifest['scores']}{', takes a mask' if manifest['masked'] else ''}"),
        (
            "graph",
            f"{manifest['files']['policy.onnx']['bytes'] / 1e3:.0f} kB, opset {_words(manifest['opset'])}",
        ),
        ("parity", f"{bundle.parity.rows} rows, {bundle.parity.equal} equal, {bundle.parity.ties} ties"),
        ("data", _words(manifest["training"]["data"])),
        ("seeds", _words(manifest["training"]["seeds"])),
        ("metrics", _words(manifest["metrics"])),
        ("licence", manifest["licence"]),
        ("seal", manifest["seal"][:16]),
    ]
    features = _table("feature", "unit", "from", "to", "scale", "default", "says")
    for one in manifest["features"]:
        ends = [_number(one[key]) for key in ("low", "high")]
        features.add_row(one["name"], one["unit"], *ends, one["scale"], _number(one["default"]), one["about"])
    return [_pairs(rows), features]


def diff_table(found: BundleDiff) -> Table:
    """What differs between two bundles."""
    table = _table("what", "first", "second")
    for one in found.manifest:
        table.add_row(one.key, str(one.first)[:60], str(one.second)[:60])
    for line in found.features:
        table.add_row("features", line, "")
    if found.disagreement is None:
        table.add_row("answers", "cannot be compared: other features or actions", "")
    else:
        table.add_row("answers", f"{found.disagreement:.2%} of {found.rows} rows differ", "")
    return table


def replay_tables(found: Replay, actions: Iterable[str]) -> list[Table]:
    """What a replay has found."""
    tables = [_across(found)]
    if found.gains or found.typical_gains:
        gains = _table("saves", "of the mean cost", "95 %", "of the typical cost", "95 %")
        for name in _ESTIMATORS:
            both = [_gain(one.get(name)) for one in (found.gains, found.typical_gains)]
            if any(cell for pair in both for cell in pair):
                gains.add_row(_ESTIMATORS[name], *both[0], *both[1])
        tables.append(gains)
    names = list(actions)
    confusion = _table(f"{'incumbent' if found.incumbent else 'log'} \\ candidate", *names)
    for name, row in zip(names, found.confusion.tolist(), strict=True):
        confusion.add_row(name, *map(str, row))
    if len(names) <= _SHOWN:
        tables.append(confusion)
    drifts = _table("feature", "PSI", "KS", "below", "above", "unseen", "unknown")
    worst = sorted(found.drifts, key=lambda one: -(0.0 if math.isnan(one.psi) else one.psi))
    for moved in worst[:_SHOWN]:
        shares = [f"{share:.1%}" for share in (moved.below, moved.above, moved.unseen, moved.unknown)]
        drifts.add_row(moved.feature, f"{moved.psi:.3f}", f"{moved.ks:.3f}", *shares)
    return [*tables, drifts]


def _across(found: Replay) -> Table:
    policies = [found.candidate, *([found.incumbent] if found.incumbent else [])]
    across = _table("", *(("candidate", "incumbent")[: len(policies)]), "log")
    across.add_row(
        "policy", *(one.name for one in policies), f"{found.rows} decisions, {found.groups} groups"
    )
    across.add_row("as the log", *(f"{one.agreement:.1%}" for one in policies), "")
    if found.agreement is not None:
        across.add_row("as the incumbent", f"{found.agreement:.1%}", "", "")
    if found.log_accuracy is not None:
        shares = [f"{one.accuracy:.1%}" for one in policies]
        across.add_row("as is best", *shares, f"{found.log_accuracy:.1%}")
    of_log = _interval(found.log_cost)
    for name in ("actual", "dr", "snips", "ips"):
        if any(getattr(one.worth, name) is not None for one in policies):
            own = [_interval(getattr(one.worth, name)) for one in policies]
            across.add_row(f"mean cost, {_ESTIMATORS[name]}", *own, of_log)
            of_log = ""
    if of_log:
        across.add_row("mean cost", *["" for _ in policies], of_log)
    if any(one.worth.overlap is not None for one in policies):
        across.add_row("effective decisions", *(_effective(one) for one in policies), "")
    times = [f"{one.latency.p50_us:.0f}, {one.latency.p99_us:.0f} us" for one in policies]
    across.add_row("one decision, p50, p99", *times, "")
    across.add_row("in batches, a second", *(f"{one.rows_per_s:,.0f}" for one in policies), "")
    return across


_ESTIMATORS = {"actual": "true", "dr": "doubly robust", "snips": "self-normalised", "ips": "by propensity"}


def _gain(one: Interval | None) -> tuple[str, str]:
    return ("", "") if one is None else (f"{one.value:+.1%}", f"{one.low:+.1%} to {one.high:+.1%}")


def _effective(one: Replayed) -> str:
    overlap = one.worth.overlap
    return "" if overlap is None else f"{overlap.effective:,.0f} ({overlap.matched:.0%} match)"


def _interval(one: Interval | None) -> str:
    return "" if one is None else f"{one.value:.4g} ({one.low:.4g} to {one.high:.4g})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _words(values: dict[str, Any]) -> str:
    return ", ".join(f"{key or 'ai.onnx'} {_value(value)}" for key, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"({_words(value)})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def _pairs(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in rows:
        table.add_row(*row)
    return table
