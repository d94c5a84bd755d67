"""Episodes from a site's own log: what it says is kept, and the rest is drawn from a scenario."""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.episode import Episode, complete_episode, draw_paths, draw_start_hour
from sim.log_columns import COLUMNS, OUTCOMES, Logged, understand
from sim.log_payloads import fit_changes, with_samples
from sim.log_table import read_table
from sim.payloads import CLASS_NAMES
from sim.randomness import stream
from sim.scenarios import Scenario
from sim.traces import Trace
from sim.workloads import Requests, draw_requests

Ints = NDArray[np.int64]


def read_transfer_log(path: Path, scenario: Scenario, seed: int, traces: Sequence[Trace] = ()) -> Episode:
    """An episode with the transfers of a log; arrivals, sizes and all else that the log says are kept.

    What it leaves open is drawn from the scenario as `sim.episode.draw_episode` does, from the same streams
    (``log kinds`` for the classes of logged datasets): the same arguments give the same bytes.

    Args:
        path: A file that ends in ``.csv`` or ``.parquet``, rows in any order; its columns are on the page
            `docs/telemetry.md`.
        scenario: The network, host, prices and the rest of the workload.
        seed: Seed of all that is drawn.
        traces: Recorded link conditions, as for `sim.episode.draw_episode`.

    Raises:
        InputError: If the file or a cell of it cannot be used: file, line, what was expected, in one line.
    """
    table = read_table(path, [*(column.name for column in COLUMNS), *OUTCOMES])
    logged = understand(table, [spec.name for spec in scenario.paths])
    scenario = scenario.with_(requests=len(table))
    start_hour = draw_start_hour(scenario, seed) if logged.hour is None else logged.hour
    drawn = draw_requests(scenario.workload, len(table), stream(seed, "requests"), start_hour)
    dataset, kind_of_dataset = _datasets(logged, drawn)
    kinds = stream(seed, "log kinds").choice(
        len(CLASS_NAMES), size=len(kind_of_dataset), p=scenario.workload.shares
    )
    requests = Requests(
        arrival_s=logged.arrival_s,
        dataset=dataset,
        size_bytes=logged.size_bytes,
        priority=np.where(np.isnan(logged.priority), drawn.priority, logged.priority),
        deadline_slack=drawn.deadline_slack,
        kind_of_dataset=np.where(kind_of_dataset >= 0, kind_of_dataset, kinds),
    )
    paths = np.where(logged.path >= 0, logged.path, draw_paths(scenario, seed, requests))
    episode = complete_episode(scenario, seed, requests, paths, start_hour=start_hour, traces=traces)
    return replace(
        _with_deadlines(episode, logged),
        payloads=with_samples(episode.payloads, logged, dataset),
        content=fit_changes(episode.content, logged, dataset),
    )


def _datasets(logged: Logged, drawn: Requests) -> tuple[Ints, Ints]:
    """Dataset of each transfer, numbered by first appearance, and class of each dataset, -1 if it is open.

    Without logged datasets, the drawn ones hold, each split by the classes that the log gives its transfers.
    """
    labels: list[Hashable]
    kinds = logged.kind.tolist()
    if logged.dataset is None:
        kinds = np.where(logged.kind >= 0, logged.kind, drawn.kind_of_dataset[drawn.dataset]).tolist()
        labels = list(zip(drawn.dataset.tolist(), kinds, strict=True))
    else:
        labels = [row if name is None else name for row, name in enumerate(logged.dataset)]
    numbers: dict[Hashable, int] = {}
    dataset = np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)
    kind_of_dataset = np.full(len(numbers), -1, dtype=np.int64)
    for number, kind in zip(dataset.tolist(), kinds, strict=True):
        kind_of_dataset[number] = max(kind_of_dataset[number], kind)
    return dataset, kind_of_dataset


def _with_deadlines(episode: Episode, logged: Logged) -> Episode:
    """The episode with the deadlines of a log, if it has any."""
    if np.isnan(logged.deadline_s).all():
        return episode
    base_rtt_s = episode.conditions.links[:, :, 1].min(axis=0)
    requests, path = episode.requests, episode.path
    idle_s = requests.size_bytes / episode.nominal[path] + 4 * base_rtt_s[path]
    slack = (logged.deadline_s - requests.arrival_s) / idle_s
    return replace(episode, deadline_s=logged.deadline_s, requests=requests._replace(deadline_slack=slack))
