"""``dwcp-gym features``: features of an estate's links or nodes, split, judged, drawn and written."""

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from agents.supervised.feature_tables import PARTS, quality, split, write_features
from agents.supervised.features import Pipeline
from agents.supervised.link_features import LINKS
from agents.supervised.node_features import NODES
from experiments.feature_figures import (
    correlation_figure,
    distribution_figure,
    preprocessing_figure,
    temporal_figure,
)
from experiments.look import save
from sim.files import write_text
from sim.monitoring.estate import Estate
from sim.monitoring.telemetry import draw_monitoring
from sim.randomness import stream
from sim.scenario_file import resolve
from sim.units import DAY

PIPELINES: Final[dict[str, Pipeline]] = {"link": LINKS, "node": NODES}


class Made(NamedTuple):
    """What was written: rows, rows of each part, and the files."""

    rows: int
    parts: dict[str, int]
    files: list[Path]


def make_features(
    folder: Path, of: str, scenario: str, *, sites: int, days: float, missing_share: float, seed: int
) -> Made:
    """Watch an estate, compute its features, and write them with report and figures.

    Args:
        folder: Where to.
        of: ``link`` or ``node``.
        scenario: Whose links: a name, or a YAML file.
        sites: Sites of the estate; of nodes there are four times as many.
        days: How long it is watched, at least 3 for a split.
        missing_share: Share of the rows that never arrive.
        seed: Of the estate and of the split.

    Raises:
        InputError: If the scenario or the folder cannot be used.
        ValueError: If there are too few links or days to split.
    """
    pipeline = PIPELINES[of]
    estate = Estate(
        scenario=resolve(scenario), sites=sites, nodes=4 * sites, groups=1, missing_share=missing_share
    )
    seen = draw_monitoring(estate, seed, days * DAY)
    table: pd.DataFrame = (seen.link_metrics if of == "link" else seen.node_metrics).to_pandas()
    frame = pipeline.compute(table)
    part = split(frame, of, stream(seed, "feature split"))
    frame.insert(2, "part", part)
    about: dict[str, Any] = {
        "scenario": scenario,
        "sites": sites,
        "days": days,
        "missing_share": missing_share,
        "seed": seed,
        "rows_by_part": {name: int(np.sum(part == name)) for name in PARTS},
    }
    files = write_features(frame, pipeline, folder, about=about)
    labels = np.where(table["incident"].to_numpy() >= 0, "trouble", "quiet")
    report = folder / "quality.md"
    write_text(report, f"# Quality of the telemetry\n\n{quality(table, pipeline, labels).markdown()}")
    figures = {
        "correlation": correlation_figure(frame, pipeline),
        "distributions": distribution_figure(frame, pipeline),
        "temporal": temporal_figure(frame, pipeline),
        "preprocessing": preprocessing_figure(table, frame, pipeline),
    }
    drawn = [save(figure, folder / f"{name}.png") for name, figure in figures.items()]
    return Made(len(frame), about["rows_by_part"], [*files, report, *drawn])
