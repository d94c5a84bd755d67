"""Labelled codec decisions as a table: what a sender saw, and what each answer would have come to."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from agents.supervised.counterfactual import Counterfactor, Counterfactuals, joined
from envs.features import CODEC_FEATURES
from experiments.work import Crew, report
from sim.codecs import Codec, parse_codec
from sim.episode import draw_episode
from sim.errors import InputError
from sim.files import write_parquet
from sim.scenario_file import resolve
from sim.scenarios import Scenario
from sim.telemetry_file import Column

VERSION: Final = 1
"""Version of the schema, in the metadata of the file under ``dwcp-gym labels version``."""

_BLOCK: Final = 5
"""Episodes in one task: enough to pay for the way to a worker, few enough that none waits for the last."""


class LabelPlan(NamedTuple):
    """Which decisions are labelled.

    Attributes:
        scenarios: Whose episodes.
        codecs: The answers.
        base: Who answers all but the one decision: a codec's name, or ``shortest``.
        seeds: Of the episodes of each scenario.
    """

    scenarios: tuple[Scenario, ...]
    codecs: tuple[Codec, ...]
    base: str
    seeds: range


class LabelledEpisode(NamedTuple):
    """An episode and its decisions."""

    scenario: str
    seed: int
    found: Counterfactuals


class _Task(NamedTuple):
    scenario: Scenario
    seeds: tuple[int, ...]
    codecs: tuple[str, ...]
    base: str


def label_plan(scenarios: Sequence[str], codecs: Sequence[str], base: str, seeds: range) -> LabelPlan:
    """A plan from the words of a user.

    Args:
        scenarios: Names, or YAML files.
        codecs: Names.
        base: A codec's name, or ``shortest``.
        seeds: Of the episodes of each scenario.

    Raises:
        InputError: If a name is unknown or stands twice, or there are fewer than two codecs.
    """
    chosen = tuple(resolve(name) for name in scenarios)
    try:
        answers = tuple(parse_codec(name) for name in codecs)
    except ValueError as error:
        raise InputError("--codec", "", str(error)) from error
    for what, names in (("only", [one.name for one in chosen]), ("codec", [one.name for one in answers])):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"--{what}", "", f"'{twice}' stands there twice; name it once")
    if len(answers) < 2:
        raise InputError("--codec", "", f"expected at least 2 codecs to choose from, got {len(answers)}")
    try:
        Counterfactor(answers, base)
    except ValueError as error:
        raise InputError("--base", "", str(error)) from error
    return LabelPlan(chosen, answers, base, seeds)


def label_episodes(plan: LabelPlan, crew: Crew) -> list[LabelledEpisode]:
    """Label every decision of every episode of a plan, scenario by scenario in the order of the seeds."""
    names = tuple(codec.name for codec in plan.codecs)
    seeds = list(plan.seeds)
    blocks = [tuple(seeds[start : start + _BLOCK]) for start in range(0, len(seeds), _BLOCK)]
    tasks = [_Task(scenario, block, names, plan.base) for scenario in plan.scenarios for block in blocks]
    parts = crew.map("labels", _label_block, tasks, units=len(plan.scenarios) * len(seeds))
    return [episode for part in parts for episode in part]


def label_columns(codecs: Sequence[str]) -> tuple[Column, ...]:
    """Columns of the labels, one row a decision; the costs have a column for each codec."""
    seen = (Column(one.name, "double", one.unit, one.about) for one in CODEC_FEATURES.features)
    one_step = "cost that this transfer itself causes when the answer is"
    continued = "cost of the episode from now on when the answer is"
    return (
        Column("scenario", "string", "", "scenario of the episode"),
        Column("seed", "int64", "", "seed of the episode"),
        Column("request", "int64", "", "number of the transfer, from 0, in order of arrival"),
        Column("now_s", "double", "s", "when the question was put, since the start of the episode"),
        Column("accrued_s", "double", "s", "cost of the episode until now"),
        *seen,
        Column("base", "string", "", "policy that answers all other questions"),
        Column("answer", "string", "", "what it answers here"),
        *(Column(f"one_step_s_{name}", "double", "s", f"{one_step} {name}") for name in codecs),
        *(Column(f"continued_s_{name}", "double", "s", f"{continued} {name}") for name in codecs),
        Column("best_one_step", "string", "", "answer with the least one_step_s"),
        Column("best_continued", "string", "", "answer with the least continued_s"),
    )


def label_table(plan: LabelPlan, episodes: Sequence[LabelledEpisode]) -> pa.Table:
    """The labels as a table of `label_columns`, each with its unit and meaning in its metadata."""
    codecs = np.array([codec.name for codec in plan.codecs])
    found = joined([episode.found for episode in episodes])
    counts = [len(episode.found.request) for episode in episodes]
    values: list[Any] = [
        np.repeat([episode.scenario for episode in episodes], counts),
        np.repeat([episode.seed for episode in episodes], counts),
        found.request,
        found.now_s,
        found.accrued_s,
        *found.features.T,
        np.full(len(found.request), plan.base),
        codecs[found.answer],
        *found.one_step_s.T,
        *found.continued_s.T,
        codecs[found.one_step_s.argmin(axis=1)],
        codecs[found.continued_s.argmin(axis=1)],
    ]
    columns = label_columns(codecs.tolist())
    schema = pa.schema(
        [
            pa.field(
                name, pa.type_for_alias(kind), nullable=False, metadata={"unit": unit, "meaning": meaning}
            )
            for name, kind, unit, meaning in columns
        ],
        metadata={
            "dwcp-gym labels version": str(VERSION),
            "dwcp-gym labels codecs": ",".join(codecs),
            "dwcp-gym labels base": plan.base,
        },
    )
    arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def check_label_file(path: Path) -> None:
    """Refuse a name that is not Parquet's, before any work is done."""
    if path.suffix != ".parquet":
        raise InputError(path, "", "expected a name that ends in .parquet")


def write_labels(path: Path, plan: LabelPlan, episodes: Sequence[LabelledEpisode]) -> None:
    """Write the labels as Parquet, whole or not at all.

    Raises:
        InputError: If the file system refuses.
    """
    write_parquet(path, label_table(plan, episodes))


def _label_block(task: _Task) -> list[LabelledEpisode]:
    counterfactor = _counterfactor(task.codecs, task.base)
    found = []
    for seed in task.seeds:
        episode = draw_episode(task.scenario, seed)
        found.append(LabelledEpisode(task.scenario.name, seed, counterfactor.label(episode)))
        report(1)
    return found


@lru_cache(maxsize=1)
def _counterfactor(codecs: tuple[str, ...], base: str) -> Counterfactor:
    """Kept by a worker from task to task, for its arrays are large."""
    return Counterfactor([parse_codec(name) for name in codecs], base)
