"""A scenario whose best codec is plain: many streams on the long path, compression on the narrow one."""

from collections.abc import Sequence
from functools import partial

import pytest

from agents.catalogue import static_policies
from agents.learners.training_env import TrainingEpisode, training_episode
from agents.play import MakeEnv
from envs.compression import Compression
from sim.codecs import Codec, parse_codec
from sim.episode import Episode, draw_episode
from sim.hosts import Host
from sim.links import LinkModel
from sim.scenarios import PathSpec, Probe, Scenario
from sim.units import GBIT, MBIT, MIB, MINUTE, MS
from sim.workloads import Workload


@pytest.fixture(scope="session")
def two_paths() -> Scenario:
    """1 Gbit/s that windows of 250 kB at 100 ms hold to 2.5 MB/s a stream; 50 Mbit/s for one stream."""
    far = LinkModel(1 * GBIT, rtt_s=100 * MS)
    near = LinkModel(50 * MBIT, rtt_s=5 * MS)
    return Scenario(
        name="two-paths",
        summary="many streams are right on one path, compression on the other, and nobody meets anybody",
        paths=(
            PathSpec(far, name="far", share=0.5, window_bytes=2.5e5),
            PathSpec(near, name="near", share=0.5, link_type="internet"),
        ),
        workload=Workload(mix={"db": 1.0}, interval_s=10 * MINUTE, one_off=1.0, fixed_bytes=64 * MIB),
        host=Host(cores=4, background=0.0, background_sd=0.0),
        probe=Probe(period_s=1 * MINUTE),
        requests=32,
    )


@pytest.fixture(scope="session")
def three_codecs() -> tuple[Codec, ...]:
    return tuple(parse_codec(name) for name in ("none", "zstd", "amst-32"))


@pytest.fixture(scope="session")
def make_env(two_paths: Scenario, three_codecs: Sequence[Codec]) -> MakeEnv:
    return partial(Compression, two_paths, [codec.name for codec in three_codecs])


@pytest.fixture(scope="session")
def pool(two_paths: Scenario, make_env: MakeEnv) -> list[TrainingEpisode]:
    """Episodes to train on, with their reference runs."""
    env = make_env()
    return [
        training_episode(env, draw_episode(two_paths, seed), static_policies(env)[1]) for seed in range(40)
    ]


@pytest.fixture(scope="session")
def validation(two_paths: Scenario) -> list[Episode]:
    return [draw_episode(two_paths, 1000 + number) for number in range(3)]


@pytest.fixture(scope="session")
def unseen(two_paths: Scenario) -> list[Episode]:
    """Episodes that nothing was trained or chosen on."""
    return [draw_episode(two_paths, 2000 + number) for number in range(8)]
