"""Tables of features: split by time and link, judged for quality, written with what their columns mean."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from agents.supervised.features import Pipeline
from sim.errors import InputError
from sim.files import write_json, write_whole
from sim.units import MINUTE

VERSION: Final = 1
"""Of the metadata."""
PARTS: Final = ("train", "validation", "test")
METADATA: Final = "metadata.json"


class Shares(NamedTuple):
    """How much of the links (or nodes) and of the days the three parts get.

    Attributes:
        validation: Share of the links, and share of the days.
        test: Likewise.
    """

    validation: float = 0.2
    test: float = 0.25


def split(
    table: pd.DataFrame, entity: str, rng: np.random.Generator, shares: Shares | None = None
) -> npt.NDArray[np.str_]:
    """Part of each row: other links *and* other days for each, so that nothing of one leaks into another.

    Links are dealt out by chance; of the days the first are for training, the last for the test. What is of
    one part's links and another's days belongs to none.

    Args:
        table: Rows with the entity and ``day``.
        entity: ``link`` or ``node``.
        rng: Deals out the links.
        shares: Of links and days; a fifth for the validation, a quarter for the test unless told.

    Returns:
        ``train``, ``validation``, ``test`` or an empty string, shape (rows,).

    Raises:
        ValueError: If there are fewer than three links or three days.
    """
    given = shares or Shares()
    of_link = _dealt(rng.permutation(np.unique(table[entity])), given, f"{entity}s")
    of_day = _dealt(np.unique(table["day"]), given, "days")
    by_link = table[entity].map(of_link).to_numpy(str)
    by_day = table["day"].map(of_day).to_numpy(str)
    return np.where(by_link == by_day, by_link, "")


def _dealt(values: npt.NDArray[Any], shares: Shares, what: str) -> dict[Any, str]:
    """Part of each value: the first for training, the last for the test, at least one for each."""
    count = len(values)
    if count < len(PARTS):
        raise ValueError(f"a split needs at least {len(PARTS)} {what}, got {count}; record more of them")
    validation, test = (max(1, round(share * count)) for share in shares)
    if validation + test >= count:
        raise ValueError(f"validation and test take all {count} {what}; leave some for training")
    parts = np.repeat(PARTS, (count - validation - test, validation, test))
    return dict(zip(values.tolist(), parts.tolist(), strict=True))


class Quality(NamedTuple):
    """What is wrong with a telemetry table, before anything is mended.

    Attributes:
        rows: Rows of the table.
        entities: Links or nodes in it.
        minutes: Minutes that it should have: from the first to the last of each link or node.
        absent: Minutes of these without a row.
        duplicates: Rows of a minute that another row is of as well.
        columns: A row a measured quantity: share missing, share out of range, least, median, greatest.
        labels: How often each label occurs.
    """

    rows: int
    entities: int
    minutes: int
    absent: int
    duplicates: int
    columns: pd.DataFrame
    labels: dict[str, int]

    def markdown(self) -> str:
        """The report as a page."""
        lines = [
            f"{self.rows} rows of {self.entities} series; {self.absent} of {self.minutes} minutes without a "
            f"row ({self.absent / max(self.minutes, 1):.2%}), {self.duplicates} rows twice.",
            "",
            "| quantity | missing | out of range | least | median | greatest |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| `{one.quantity}` | {one.missing:.2%} | {one.out_of_range:.2%} | {one.least:.4g} "
            f"| {one.median:.4g} | {one.greatest:.4g} |"
            for one in self.columns.itertuples()
        ]
        if self.labels:
            total = sum(self.labels.values())
            lines += ["", "| label | rows | share |", "|---|---|---|"]
            lines += [f"| {name} | {count} | {count / total:.3%} |" for name, count in self.labels.items()]
        return "\n".join([*lines, ""])


def quality(
    table: pd.DataFrame, pipeline: Pipeline, labels: Sequence[str] | npt.NDArray[np.str_] | None = None
) -> Quality:
    """Judge a telemetry table that a pipeline is to read.

    Args:
        table: As `Pipeline.compute` takes it.
        pipeline: What is to be read of it.
        labels: Class of each row, where there is one: their balance is told.
    """
    minute = np.rint(table["time_s"] / MINUTE).astype(np.int64)
    keys = pd.DataFrame({"entity": table[pipeline.entity], "minute": minute})
    spans = keys.groupby("entity")["minute"].agg(lambda one: int(one.max() - one.min()) + 1)
    twice = int(keys.duplicated().sum())
    told = []
    for one in pipeline.measured:
        values = table[one.source].to_numpy(np.float64) / one.scale
        known = values[np.isfinite(values)]
        outside = ((known < one.low) | (known > one.high)).sum()
        ends = (known.min(), np.median(known), known.max()) if len(known) else (np.nan,) * 3
        told.append((one.name, 1 - len(known) / len(values), outside / max(len(known), 1), *ends))
    names = ["quantity", "missing", "out_of_range", "least", "median", "greatest"]
    counts = pd.Series(np.asarray(labels)).value_counts() if labels is not None else pd.Series(dtype=np.int64)
    return Quality(
        rows=len(table),
        entities=len(spans),
        minutes=int(spans.sum()),
        absent=int(spans.sum()) - (len(table) - twice),
        duplicates=twice,
        columns=pd.DataFrame(told, columns=names),
        labels={str(name): int(count) for name, count in counts.items()},
    )


def write_features(
    frame: pd.DataFrame, pipeline: Pipeline, folder: Path, *, about: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write a table of features as Parquet and CSV, with the metadata of both in JSON.

    Args:
        frame: From `Pipeline.compute`, further columns allowed (such as the part of the split).
        pipeline: What made it.
        folder: Where to; made when missing.
        about: Where it comes from, for the metadata; JSON-able.

    Returns:
        The files: ``features.parquet``, ``features.csv``, ``metadata.json``, which is written last.

    Raises:
        InputError: If the file system refuses.
    """
    parquet, text = io.BytesIO(), io.StringIO()
    frame.to_parquet(parquet, index=False, compression="zstd")
    frame.to_csv(text, index=False)
    contents = {"features.parquet": parquet.getvalue(), "features.csv": text.getvalue().encode()}
    metadata = {
        "version": VERSION,
        "entity": pipeline.entity,
        "rows": len(frame),
        "columns": list(frame.columns),
        "features": [
            {name: getattr(one, name) for name in ("name", "unit", "low", "high", "window", "stage", "about")}
            for one in pipeline.columns
        ],
        "about": dict(about or {}),
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    for name, content in contents.items():
        write_whole(folder / name, lambda stream, content=content: stream.write(content))  # type: ignore[misc]
    write_json(folder / METADATA, metadata)
    return [*(folder / name for name in contents), folder / METADATA]


def read_features(folder: Path, pipeline: Pipeline) -> pd.DataFrame:
    """Read the Parquet file that `write_features` wrote, held against its metadata and the pipeline of today.

    Raises:
        InputError: If a file is missing or torn, or its features are not those of the pipeline.
    """
    place = folder / METADATA
    try:
        metadata = json.loads(place.read_text("utf-8"))
        content = (folder / "features.parquet").read_bytes()
        names = [one["name"] for one in metadata["features"]]
        digest, version = metadata["sha256"]["features.parquet"], metadata["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            folder, "", f"expected features with their {METADATA}: {error}; write them anew"
        ) from error
    if version != VERSION or names != list(pipeline.names):
        problem = f"holds other features ({len(names)}) than the pipeline has today ({len(pipeline.names)})"
        raise InputError(place, "features", f"{problem}; write them anew")
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError(
            folder / "features.parquet", "", f"is not what {METADATA} was written for; write it anew"
        )
    return pd.read_parquet(io.BytesIO(content))
