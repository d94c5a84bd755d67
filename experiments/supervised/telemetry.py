"""The telemetry that monitors learn from: an estate each for training, validation and test, drawn once."""

from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from experiments.supervised.config import ModelsConfig
from experiments.supervised.task import Tell
from sim.errors import InputError
from sim.files import write_parquet, write_text
from sim.monitoring.estate import Estate
from sim.monitoring.telemetry import Monitoring, draw_monitoring
from sim.randomness import stream
from sim.scenario_file import resolve
from sim.units import DAY

PartName = Literal["train", "validation", "test"]
PARTS: Final[tuple[PartName, ...]] = ("train", "validation", "test")
_DONE: Final = "whole"


def telemetry(config: ModelsConfig, run: Path, part: PartName, tell: Tell) -> Monitoring:
    """Tables of a part, drawn if they are not in the run's folder yet.

    The parts are different estates: other links, nodes and groups, not only other days.

    Raises:
        InputError: If the files are torn, or the file system refuses.
    """
    folder = run / "telemetry" / part
    if not (folder / _DONE).exists():
        tell(f"draw {days(config, part):g} days of telemetry for {part}")
        drawn = draw_monitoring(estate(config), seed(config, part), days(config, part) * DAY)
        for name, table in drawn._asdict().items():
            write_parquet(folder / f"{name}.parquet", table)
        write_text(folder / _DONE, "")
        return drawn
    try:
        return Monitoring(*(pq.read_table(folder / f"{name}.parquet") for name in Monitoring._fields))
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(folder, "", "is torn; remove it, it is drawn again") from error


def estate(config: ModelsConfig) -> Estate:
    """What is watched in each part."""
    watch = config.watch
    return Estate(scenario=resolve(watch.scenario), sites=watch.sites, nodes=watch.nodes, groups=watch.groups)


def more_rounds(config: ModelsConfig, number: int) -> pa.Table:
    """Consensus rounds of one more estate to learn from, as long as the validation part; drawn, not kept."""
    drawn = replace(estate(config), nodes=1)
    own = int(stream(config.seed, f"estate {number} more").integers(2**31))
    return draw_monitoring(drawn, own, days(config, "validation") * DAY).consensus_rounds


def seed(config: ModelsConfig, part: PartName) -> int:
    """Seed of the estate of a part."""
    return int(stream(config.seed, f"estate {part}").integers(2**31))


def days(config: ModelsConfig, part: PartName) -> float:
    """How long a part is watched."""
    watch = config.watch
    return {"train": watch.train_days, "validation": watch.validation_days, "test": watch.test_days}[part]


class Grid(NamedTuple):
    """A table as one block: entities, times, columns; of missing rows the last one before holds.

    Attributes:
        values: Float64, (entities, times, columns).
        names: Of the columns.
        time_s: End of each interval, (times,).
    """

    values: NDArray[np.float64]
    names: tuple[str, ...]
    time_s: NDArray[np.float64]

    def column(self, name: str) -> NDArray[np.float64]:
        """One column, (entities, times)."""
        return self.values[:, :, self.names.index(name)]


def grid(table: pa.Table, entity: str, names: tuple[str, ...]) -> Grid:
    """Numeric columns of a table by entity and time."""
    times, place = np.unique(table["time_s"].to_numpy(), return_inverse=True)
    of = table[entity].to_numpy()
    values = np.full((int(of.max()) + 1, len(times), len(names)), np.nan)
    for number, name in enumerate(names):
        values[of, place, number] = table[name].to_numpy()
    if np.isnan(values).any():
        there = ~np.isnan(values).any(axis=2)
        last = np.maximum.accumulate(np.where(there, np.arange(len(times)), 0), axis=1)
        values = np.take_along_axis(values, last[:, :, None], axis=1)
    return Grid(values, names, times)
