"""Features of telemetry in five stages: each declared once, per link or node; none of them sees ahead."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, get_args

import numpy as np
import pandas as pd

from agents.supervised.feature_windows import (
    Floats,
    entropy,
    filled,
    lagged,
    robust_score,
    rolled,
    since_seen,
    slope,
)
from sim.units import HOUR, MINUTE

Stage = Literal["canonical", "temporal", "cross", "transfer", "anomaly"]
STAGES: Final = get_args(Stage)
"""In the order in which they are computed; a stage reads itself and those before it."""

LAGS: Final = (1, 5, 15, 60)
SPANS: Final = (5, 15, 60)
"""Minutes of rolling windows, as published but for 30."""
STATISTICS: Final = ("mean", "std", "min", "max")
TREND: Final = 15
HOUR_LONG: Final = 60
"""Minutes in an hour: the longest window."""
HELD: Final = 10
"""Minutes for which the last value stands in for missing ones."""
SCALES: Final = (1, 5)
"""Minutes between the values of a pattern of three, of which the entropy is taken."""
SCORE_LIMIT: Final = 20.0
OUTLIER: Final = 3.5
"""Robust standard deviations from which a value counts as an outlier (Iglewicz, Hoaglin 1993)."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity as telemetry has it.

    Attributes:
        name: Name of the feature, with its unit.
        unit: Unit of the feature.
        low: Least value that can be; what lies below counts as missing.
        high: Greatest value that can be; what lies above counts as missing.
        about: What it says.
        source: Column of the telemetry table.
        scale: Units of the source in one unit of the feature.
        followed: Whether its course is followed: lags, windows, scores. Otherwise only its value is taken.
    """

    name: str
    unit: str
    low: float
    high: float
    about: str
    source: str
    scale: float = 1.0
    followed: bool = True


class Series:
    """One link's or node's minutes, oldest first, without gaps, and what has been computed of them so far.

    Attributes:
        hour: Local hour of day, [0, 24), shape (n,).
        day: Days since the first, shape (n,).
        measured: By feature name, in its units, NaN where nothing (possible) was measured; shape (n,) each.
        columns: Features so far, by name, in order.
    """

    def __init__(self, hour: Floats, day: Floats, measured: Mapping[str, Floats]) -> None:
        self.hour, self.day = hour, day
        self.measured = measured
        self.columns: dict[str, Floats] = {}

    def __getitem__(self, name: str) -> Floats:
        """A feature of this or an earlier stage."""
        return self.columns[name]


Formula = Callable[[Series], Floats]


@dataclass(frozen=True, slots=True)
class Column:
    """One feature.

    Attributes:
        name: Name in tables and files.
        unit: Its unit.
        low: Least value; what lies below is brought to it.
        high: Greatest value; likewise.
        window: Minutes that it reads at most, its own included.
        stage: Where it is computed.
        about: What it says.
        formula: How it follows from what was computed before.
    """

    name: str
    unit: str
    low: float
    high: float
    window: int
    stage: Stage
    about: str
    formula: Formula


class Pipeline:
    """All features of links, or of nodes, computed for each by itself from a telemetry table.

    Attributes:
        entity: Column of the table that says of whom a row is.
        measured: What the table must hold.
        columns: The features, in order.
        names: Theirs.

    Args:
        entity: ``link`` or ``node``.
        measured: What the table must hold.
        columns: The features, each after those that it reads.
    """

    def __init__(self, entity: str, measured: Sequence[Measured], columns: Sequence[Column]) -> None:
        self.entity = entity
        self.measured = tuple(measured)
        self.columns = tuple(columns)
        self.names = tuple(column.name for column in columns)
        if len(set(self.names)) != len(self.names):
            raise ValueError("feature names must differ from each other")
        stages = [STAGES.index(column.stage) for column in columns]
        if stages != sorted(stages):
            raise ValueError(f"features must be declared stage by stage: {', '.join(STAGES)}")

    def compute(self, table: pd.DataFrame) -> pd.DataFrame:
        """Features of every minute of every link or node.

        Args:
            table: Rows with the entity, ``time_s``, ``hour``, ``day`` and the sources of what is measured, in
                any order; of rows of one minute the last counts; minutes without a row are filled in.

        Returns:
            The entity, ``time_s``, ``day`` and the features, sorted by entity and time; NaN where there is no
            past to read.

        Raises:
            ValueError: If a column is missing.
        """
        needed = [self.entity, "time_s", "hour", "day", *(one.source for one in self.measured)]
        if lacking := [name for name in needed if name not in table.columns]:
            raise ValueError(f"the table lacks {', '.join(lacking)}; it has {', '.join(table.columns)}")
        numbers = table[self.entity].to_numpy()
        kept = table[needed]
        parts = [self._of_one(int(number), kept[numbers == number]) for number in np.unique(numbers)]
        return pd.concat(parts, ignore_index=True)

    def table(self) -> str:
        """Markdown table of the features, in order."""
        rows = [
            "| feature | unit | from | to | min | stage | what it says |",
            "|---|---|---|---|---|---|---|",
        ]
        rows += [
            f"| `{one.name}` | {one.unit} | {one.low:g} | {one.high:g} | {one.window} | {one.stage} "
            f"| {one.about} |"
            for one in self.columns
        ]
        return "\n".join(rows)

    def _of_one(self, number: int, rows: pd.DataFrame) -> pd.DataFrame:
        minutes = np.rint(rows["time_s"].to_numpy(np.float64) / MINUTE).astype(np.int64)
        order = np.argsort(minutes, kind="stable")
        first, last = minutes[order[0]], minutes[order[-1]]
        place = minutes - first
        n = int(last - first) + 1
        keep = np.full(n, -1, np.int64)
        keep[place[order]] = order  # of equals the last one stays
        there = keep >= 0

        def spread(name: str) -> Floats:
            values = np.full(n, np.nan)
            values[there] = rows[name].to_numpy(np.float64)[keep[there]]
            return values

        measured = {one.name: spread(one.source) / one.scale for one in self.measured}
        for one in self.measured:
            values = measured[one.name]
            values[~((values >= one.low) & (values <= one.high))] = np.nan
        time_s = (first + np.arange(n)) * MINUTE
        anchor = int(order[0])
        hours = rows["hour"].to_numpy(np.float64)[anchor] + (time_s - time_s[0]) / HOUR
        days = rows["day"].to_numpy(np.float64)[anchor] + np.floor(hours / 24)
        series = Series(hours % 24, days, measured)
        for column in self.columns:
            series.columns[column.name] = np.clip(column.formula(series), column.low, column.high)
        of_day = filled(spread("day"), n)
        keys = {self.entity: np.full(n, number), "time_s": time_s, "day": of_day.astype(np.int64)}
        return pd.DataFrame({**keys, **series.columns})


def canonical(measured: Sequence[Measured]) -> Iterator[Column]:
    """The quantities themselves, in the features' units, gaps filled for `HELD` minutes."""
    for one in measured:
        formula = partial(_held, name=one.name)
        yield Column(one.name, one.unit, one.low, one.high, 1 + HELD, "canonical", one.about, formula)


def temporal(measured: Sequence[Measured]) -> Iterator[Column]:
    """Their course: values before, windows, rates and trends; and where in the day and the week it is."""
    for one in (one for one in measured if one.followed):
        low, high, span = one.low, one.high, one.high - one.low
        for lag in LAGS:
            yield _course(
                one, f"lag{lag}", lag + 1, f"{lag} min before", (low, high), partial(lagged, lag=lag)
            )
        for minutes in SPANS:
            for kind in STATISTICS:
                ends = (0.0, span) if kind == "std" else (low, high)
                of = partial(rolled, window=minutes, statistic=kind)
                yield _course(one, f"{kind}{minutes}", minutes, f"{kind} over {minutes} min", ends, of)
        yield _course(one, "rate", 2, "change since the minute before", (-span, span), _rate)
        about = f"slope over {TREND} min, by the minute"
        yield _course(one, "trend", TREND, about, (-span, span), partial(slope, window=TREND))
    for name, period in (("hour", 24), ("day", 7)):
        for wave in ("sin", "cos"):
            about = f"{wave} of the {name}, {period} to the turn"
            formula = partial(_cycle, name=name, period=period, wave=wave)
            yield Column(f"{name}_{wave}", "", -1.0, 1.0, 1, "temporal", about, formula)


def anomaly(measured: Sequence[Measured]) -> Iterator[Column]:
    """How unusual they are for the hour: robust scores, entropies over scales, outliers."""
    followed = [one.name for one in measured if one.followed]
    limit = SCORE_LIMIT
    for name in followed:
        about = "distance from the hour's median in robust standard deviations"
        yield Column(f"{name}_z", "", -limit, limit, HOUR_LONG, "anomaly", about, partial(_score, name=name))
    for name in followed:
        for gap in SCALES:
            about = f"entropy of the hour's orders of three values {gap} min apart"
            formula = partial(_entropy, name=name, gap=gap)
            window = HOUR_LONG + 2 * gap
            yield Column(f"{name}_entropy{gap}", "share", 0.0, 1.0, window, "anomaly", about, formula)
    yield Column(
        "outliers",
        "count",
        0.0,
        float(len(followed)),
        HOUR_LONG,
        "anomaly",
        f"quantities more than {OUTLIER} robust standard deviations off",
        partial(_outliers, names=followed),
    )


def staleness(stage: Stage) -> Column:
    """Minutes since all of what is followed was measured."""
    return Column(
        "staleness_min",
        "min",
        0.0,
        float(HOUR_LONG),
        HOUR_LONG,
        stage,
        "minutes since everything was measured last",
        lambda series: since_seen(np.stack(list(series.measured.values()))),
    )


def _course(
    one: Measured,
    suffix: str,
    window: int,
    about: str,
    ends: tuple[float, float],
    of: Callable[[Floats], Floats],
) -> Column:
    """A temporal feature of one quantity alone."""
    unit = f"{one.unit}/min" if suffix in ("rate", "trend") else one.unit
    name = one.name
    return Column(f"{name}_{suffix}", unit, *ends, window, "temporal", about, lambda series: of(series[name]))


def _rate(values: Floats) -> Floats:
    return values - lagged(values, 1)


def _held(series: Series, name: str) -> Floats:
    return filled(series.measured[name], HELD)


def _cycle(series: Series, name: str, period: int, wave: str) -> Floats:
    turns = (series.hour if name == "hour" else series.day) / period
    return np.sin(2 * np.pi * turns) if wave == "sin" else np.cos(2 * np.pi * turns)


def _score(series: Series, name: str) -> Floats:
    return robust_score(series[name], HOUR_LONG, SCORE_LIMIT)


def _entropy(series: Series, name: str, gap: int) -> Floats:
    return entropy(series[name], gap, HOUR_LONG)


def _outliers(series: Series, names: Sequence[str]) -> Floats:
    return np.sum([np.abs(series[f"{name}_z"]) > OUTLIER for name in names], axis=0, dtype=np.float64)
