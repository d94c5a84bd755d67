"""Episodes laid out by hand, so that a sum on paper says what must happen."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sim.codecs import parse_codec
from sim.decisions import CodecQuestion
from sim.episode import Conditions, Episode, draw_episode
from sim.errors import InputError
from sim.hosts import Host
from sim.links import LinkModel
from sim.physics import GAPS, GOODPUT_SHARE
from sim.scenarios import CONTROLS, PathSpec, Scenario
from sim.telemetry import TransferRecord
from sim.workloads import Workload
from sim.world import World

CODECS = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]
WIDE = 1e12
"""Bytes of a queue or a window that never bind."""


def lay(
    arrival_s: Sequence[float],
    size_bytes: Sequence[float],
    *,
    carries: float = 1e6,
    rtt_s: float = 3e-4,
    loss: float = 0.0,
    cross: float = 0.0,
    pieces: Sequence[tuple[float, float]] = (),
    window: float = WIDE,
    queue: float = WIDE,
    control: str = "cubic",
    slots: int = 100_000,
    host: Host | None = None,
    dataset: Sequence[int] | None = None,
    priority: Sequence[float] | None = None,
    deadline_s: Sequence[float] | None = None,
    cpu_price: float = 0.0,
    late_price: float = 0.0,
) -> Episode:
    """An episode on one path that carries ``carries`` payload bytes a second, or what ``pieces`` say.

    ``pieces`` are (time, payload bytes/s) from 0 on. All content has ratio 4, W 0.5, tau 100 s and novelty 1,
    and codecs run at their fitted rates. The shortest round trip, 0.3 ms, makes a start of 0.6 ms.
    """
    count = len(arrival_s)
    host = host or Host(cores=64, background=0.0, background_sd=0.0)
    scenario = Scenario(
        name="by-hand",
        summary="laid out by hand",
        paths=(PathSpec(LinkModel(carries, rtt_s=rtt_s)),),
        workload=Workload(datasets=1 if dataset is None else max(dataset) + 1),
        host=host,
        requests=count,
        slots=slots,
        cpu_price=cpu_price,
        late_price=late_price,
    )
    drawn = draw_episode(scenario, 0)
    sizes = np.asarray(size_bytes, dtype=np.float64)
    datasets = np.zeros(count, np.int64) if dataset is None else np.asarray(dataset, np.int64)
    kinds = max(int(datasets.max()) + 1, scenario.workload.datasets)
    even = np.ones(count)
    rates = pieces or [(0.0, carries)]
    links = np.array([[[rate / GOODPUT_SHARE / (1 - loss), rtt_s, loss, cross]] for _, rate in rates])
    return replace(
        drawn,
        requests=drawn.requests._replace(
            arrival_s=np.asarray(arrival_s, dtype=np.float64),
            dataset=datasets,
            size_bytes=sizes,
            priority=even if priority is None else np.asarray(priority, dtype=np.float64),
        ),
        path=np.zeros(count, np.int64),
        deadline_s=np.full(count, np.inf) if deadline_s is None else np.asarray(deadline_s, dtype=np.float64),
        content=drawn.content._replace(
            working_set=np.full(kinds, 0.5), tau_s=np.full(kinds, 100.0), shifted=np.zeros(kinds)
        ),
        payloads=drawn.payloads._replace(
            size_bytes=sizes, ratio3=4 * even, novelty=even, encode_noise=even, decode_noise=even
        ),
        changed_noise=even,
        loss_gaps=np.ones((count, GAPS)),
        conditions=Conditions(
            np.array([time for time, _ in rates]), links, np.full(len(rates), float(host.cores))
        ),
        path_limits=np.array([[window, queue, CONTROLS.index(control)]]),
        nominal=np.array([rates[0][1] / GOODPUT_SHARE]),
    )


def two_paths(
    episode: Episode,
    carries: tuple[float, float],
    path: Sequence[int],
    *,
    slots: tuple[int | None, int | None] = (1, 1),
    any_path: bool = False,
) -> Episode:
    """The same on two paths, which carry so many payload bytes a second without loss."""
    (spec,) = episode.scenario.paths
    specs = tuple(
        replace(spec, name=f"path {number}", share=0.5, slots=own) for number, own in enumerate(slots)
    )
    links = np.repeat(episode.conditions.links, 2, axis=1)
    links[:, :, 0] = np.array(carries) / GOODPUT_SHARE
    return replace(
        episode,
        scenario=episode.scenario.with_(paths=specs, any_path=any_path),
        path=np.asarray(path, np.int64),
        conditions=episode.conditions._replace(links=links),
        path_limits=np.repeat(episode.path_limits, 2, axis=0),
        nominal=links[0, :, 0],
        probes=episode.probes._replace(values=np.repeat(episode.probes.values, 2, axis=1)),
    )


def play(episode: Episode, *codecs: str) -> World:
    """Run to the end; the codecs answer in turn, the last one for all that are left."""
    names = sorted(set(codecs))
    world = World(episode, [parse_codec(name) for name in names])
    answers = [names.index(name) for name in codecs]
    world.run(lambda question: answers.pop(0) if len(answers) > 1 else answers[0])
    return world


def by_request(world: World) -> list[TransferRecord]:
    """Records in order of arrival."""
    return sorted(world.records)


@pytest.fixture(name="lay")
def _lay() -> Callable[..., Episode]:
    return lay


@pytest.fixture(name="two_paths")
def _two_paths() -> Callable[..., Episode]:
    return two_paths


@pytest.fixture(name="play")
def _play() -> Callable[..., World]:
    return play


@pytest.fixture(name="by_request")
def _by_request() -> Callable[[World], list[TransferRecord]]:
    return by_request


@pytest.fixture(name="in_turn")
def _in_turn() -> Callable[[CodecQuestion], int]:
    """Another of the four `CODECS` each time."""
    return lambda question: question.request % len(CODECS)


@pytest.fixture
def played(in_turn: Callable[[CodecQuestion], int]) -> Callable[..., World]:
    """Runs an episode to the end with four codecs, in turn unless another rule is given."""

    def run(episode: Episode, rule: Callable[[CodecQuestion], int] = in_turn) -> World:
        world = World(episode, CODECS)
        world.run(rule)
        return world

    return run


@pytest.fixture
def refused(read: Callable[[str], object], tmp_path: Path) -> Callable[[str], str]:
    """The one line with which a file of this text is refused; ``read`` is the test file's own."""

    def message(text: str) -> str:
        with pytest.raises(InputError) as caught:
            read(text)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return message
