"""Episodes as folders of Parquet tables: what chance has decided, kept bit for bit."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sim.episode import Conditions, Episode, Probes
from sim.errors import InputError
from sim.faults import Faults
from sim.files import TEMPORARY, write_json, write_parquet, writing
from sim.payloads import CLASS_NAMES, Content, Payloads
from sim.physics import GAPS
from sim.scenario_file import load_scenario, save_scenario
from sim.scenarios import CONTROLS
from sim.workloads import Requests

VERSION: Final = 2
"""Version of the layout; a reader refuses a later one."""

_FORMAT: Final = "dwcp-gym episode"
_MANIFEST: Final = "episode.json"
_SCENARIO: Final = "scenario.yaml"
_TABLES: Final = ("requests", "datasets", "paths", "conditions", "probes", "faults")
_LINKS: Final = ("capacity", "rtt_s", "loss", "cross_streams")
_MEASURED: Final = ("rtt_s", "jitter_s", "bandwidth", "loss")
_CUTS: Final = ("capacity_cuts", "loss_bursts", "core_cuts")
_BASELINE_LOSS: Final = "baseline_loss"
_GAPS: Final = tuple(f"loss_gap_{number}" for number in range(GAPS))

Column = NDArray[Any] | Sequence[str]
Table = Mapping[str, NDArray[Any]]


def save_episode(episode: Episode, folder: Path) -> None:
    """Write an episode as a new folder that appears whole or not at all.

    It holds ``scenario.yaml``, the tables ``requests`` (one row a transfer), ``datasets``, ``paths``,
    ``conditions`` (a row a piece and path), ``probes`` (a row a measurement and path) and ``faults``, all
    ``.parquet``, and ``episode.json`` with seed, start and the SHA-256 of each file.

    Raises:
        InputError: If there is something at ``folder`` already, or the file system refuses.
    """
    if os.path.lexists(folder):
        raise InputError(folder, "", "expected a new folder, but it is there already; name another one")
    temporary = folder.with_name(f"{TEMPORARY}{os.getpid()}-{folder.name}")
    with writing(folder):
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir(parents=True)
            save_scenario(episode.scenario, temporary / _SCENARIO)
            for name, columns in _tables(episode).items():
                write_parquet(temporary / f"{name}.parquet", pa.table(dict(columns)))
            manifest = {
                "format": _FORMAT,
                "version": VERSION,
                "seed": episode.seed,
                "start_hour": episode.start_hour,
                "probe_period_s": episode.probes.period_s,
                "sha256": {file.name: _digest(file) for file in sorted(temporary.iterdir())},
            }
            write_json(temporary / _MANIFEST, manifest)
            temporary.rename(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def load_episode(folder: Path) -> Episode:
    """Read what `save_episode` wrote: an episode that runs bit for bit as the one saved.

    Raises:
        InputError: If the folder is no episode, is torn or changed, or is of a later version.
    """
    manifest = _read_manifest(folder)
    tables = {name: _read_table(folder / f"{name}.parquet") for name in _TABLES}
    scenario = load_scenario(folder / _SCENARIO)
    try:
        requests, datasets, paths = tables["requests"], tables["datasets"], tables["paths"]
        pieces = tables["conditions"]
        count = len(paths["nominal"])
        return Episode(
            scenario=scenario,
            seed=int(manifest["seed"]),
            start_hour=float(manifest["start_hour"]),
            requests=Requests(
                **{name: requests[name] for name in Requests._fields[:-1]},
                kind_of_dataset=_codes(CLASS_NAMES, datasets["kind_of_dataset"]),
            ),
            path=requests["path"],
            deadline_s=requests["deadline_s"],
            content=Content(
                _codes(CLASS_NAMES, datasets["kind"]), *(datasets[name] for name in Content._fields[1:])
            ),
            payloads=Payloads(
                _codes(CLASS_NAMES, requests["payload_kind"]),
                *(requests[f"payload_{name}"] for name in Payloads._fields[1:]),
            ),
            changed_noise=requests["changed_noise"],
            loss_gaps=np.column_stack([requests[name] for name in _GAPS]),
            conditions=Conditions(
                times=pieces["time_s"][::count].copy(),
                links=_stacked(pieces, _LINKS, count),
                cores=pieces["cores"][::count].copy(),
            ),
            path_limits=np.column_stack(
                [
                    paths["window_bytes"],
                    paths["queue_bytes"],
                    _codes(CONTROLS, paths["control"]).astype(np.float64),
                ]
            ),
            nominal=paths["nominal"],
            probes=Probes(float(manifest["probe_period_s"]), _stacked(tables["probes"], _MEASURED, count)),
            faults=_faults(tables["faults"], requests["break_share"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        problem = f"expected an episode as version {VERSION} has it, got {type(error).__name__}: {error}"
        raise InputError(folder, "", " ".join(problem.split())) from error


def _tables(episode: Episode) -> dict[str, Mapping[str, Column]]:
    payloads, content = episode.payloads._asdict(), episode.content._asdict()
    requests = episode.requests._asdict()
    kind_of_dataset = requests.pop("kind_of_dataset")
    pieces, paths = episode.conditions.links.shape[:2]
    rows = len(episode.probes.values)
    return {
        "requests": {
            **requests,
            "path": episode.path,
            "deadline_s": episode.deadline_s,
            **{f"payload_{name}": column for name, column in payloads.items()},
            "payload_kind": _names(CLASS_NAMES, episode.payloads.kind),
            "changed_noise": episode.changed_noise,
            "break_share": episode.faults.break_share,
            **{name: column for name, column in zip(_GAPS, episode.loss_gaps.T, strict=True)},
        },
        "datasets": {
            **content,
            "kind": _names(CLASS_NAMES, episode.content.kind),
            "kind_of_dataset": _names(CLASS_NAMES, kind_of_dataset),
        },
        "paths": {
            "name": [spec.name for spec in episode.scenario.paths],
            "window_bytes": episode.path_limits[:, 0],
            "queue_bytes": episode.path_limits[:, 1],
            "control": _names(CONTROLS, episode.path_limits[:, 2].astype(np.int64)),
            "nominal": episode.nominal,
        },
        "conditions": {
            "time_s": np.repeat(episode.conditions.times, paths),
            "path": np.tile(np.arange(paths), pieces),
            **{name: episode.conditions.links[:, :, n].ravel() for n, name in enumerate(_LINKS)},
            "cores": np.repeat(episode.conditions.cores, paths),
        },
        "probes": {
            "time_s": np.repeat(np.arange(rows) * episode.probes.period_s, paths),
            "path": np.tile(np.arange(paths), rows),
            **{name: episode.probes.values[:, :, n].ravel() for n, name in enumerate(_MEASURED)},
        },
        "faults": _fault_rows(episode.faults),
    }


def _fault_rows(faults: Faults) -> Mapping[str, Column]:
    """One row a fault: where it belongs, when it starts and ends, and what holds or which dataset it hits."""
    cuts = [getattr(faults, name) for name in _CUTS]
    lost_s, dataset = faults.baseline_loss_s, faults.baseline_loss_dataset.astype(np.float64)
    rows = np.concatenate([*cuts, np.column_stack([lost_s, lost_s, dataset])])
    kinds = [name for name, cut in zip(_CUTS, cuts, strict=True) for _ in cut] + [_BASELINE_LOSS] * len(
        lost_s
    )
    return {
        "fault": pa.array(kinds, pa.string()),
        "start_s": rows[:, 0],
        "end_s": rows[:, 1],
        "value": rows[:, 2],
    }


def _faults(table: Table, break_share: NDArray[np.float64]) -> Faults:
    rows = np.column_stack([table["start_s"], table["end_s"], table["value"]])
    lost = rows[table["fault"] == _BASELINE_LOSS]
    return Faults(
        **{name: rows[table["fault"] == name] for name in _CUTS},
        baseline_loss_s=lost[:, 0].copy(),
        baseline_loss_dataset=lost[:, 2].astype(np.int64),
        break_share=break_share,
    )


def _names(known: Sequence[str], codes: NDArray[np.int64]) -> Sequence[str]:
    """Codes as names, which hold when a class is added between two others."""
    return [known[code] for code in codes.tolist()]


def _codes(known: Sequence[str], names: NDArray[Any]) -> NDArray[np.int64]:
    return np.array([known.index(name) for name in names.tolist()], dtype=np.int64)


def _stacked(table: Table, names: Sequence[str], paths: int) -> NDArray[np.float64]:
    return np.stack([table[name].reshape(-1, paths) for name in names], axis=-1)


def _read_manifest(folder: Path) -> Mapping[str, Any]:
    """The manifest of an episode whose files are all there as they were written."""
    path = folder / _MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format"] != _FORMAT or not isinstance(manifest["version"], int):
            raise ValueError
        version = manifest["version"]
        digests = dict(manifest["sha256"])
    except OSError as error:
        problem = f"expected the folder of an episode, with {_MANIFEST}: {error.strerror}"
        raise InputError(folder, "", problem) from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(path, "", f"expected the manifest of a {_FORMAT}; is this another file?") from error
    if version != VERSION:
        way_out = (
            "take a newer one" if version > VERSION else "draw the episode anew from its seed, and save it"
        )
        problem = f"is of version {version}, this program reads {VERSION}; {way_out}"
        raise InputError(path, "version", problem)
    for name in (_SCENARIO, *(f"{table}.parquet" for table in _TABLES)):
        file = folder / name
        if not file.is_file() or _digest(file) != digests.get(name):
            problem = "is missing, torn or changed since the episode was saved; copy or save it again"
            raise InputError(file, "", problem)
    return dict(manifest)


def _read_table(path: Path) -> Table:
    try:
        table = pq.read_table(path)
        return {name: np.array(table.column(name).to_numpy()) for name in table.column_names}
    except (OSError, pa.ArrowException) as error:
        raise InputError(path, "", f"expected a Parquet table: {' '.join(str(error).split())}") from error


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
