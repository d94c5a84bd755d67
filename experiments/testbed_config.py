"""The config of a run on the testbed: which episodes, over which path, under which policies."""

from typing import Annotated

from pydantic import Field

from sim.settings import Settings
from sim.units import MBIT, MS


class TestbedPath(Settings):
    """The path that is emulated; it stays as it is."""

    __test__ = False  # pytest takes the name for a test's

    rate_mbit: float = Field(default=100.0, gt=0, le=10_000)
    """Bottleneck, Mbit/s."""
    rtt_ms: float = Field(default=20.0, gt=0, le=10_000)
    """Round trip without queueing, ms."""
    loss: float = Field(default=0.0, ge=0, lt=1)
    """Share of the packets that are lost at random; 1 % is 0.01."""
    window_mb: float = Field(default=3.0, gt=0.04)
    """Largest window of one stream, MB."""

    @property
    def rate(self) -> float:
        """Bottleneck in bytes/s."""
        return self.rate_mbit * MBIT

    @property
    def rtt_s(self) -> float:
        """Round trip in seconds."""
        return self.rtt_ms * MS


class TestbedConfig(Settings):
    """All that `dwcp-gym testbed run` needs to know."""

    __test__ = False  # pytest takes the name for a test's

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)
    """Folder of its results."""
    scenario: str
    """Scenario whose workload is played: a name, or a YAML file of one's own."""
    path: TestbedPath = TestbedPath()
    """The path, in place of the scenario's."""
    transfers: int = Field(default=20, ge=1)
    """Transfers in an episode."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0,), min_length=1)
    """One episode each."""
    repeats: int = Field(default=1, ge=1)
    """How often each episode is played under each policy."""
    codecs: tuple[str, ...] = Field(default=("none", "zstd", "hde", "amst"), min_length=2)
    """Codecs to choose from, in the order of the actions."""
    policies: tuple[str, ...] = Field(default=("none", "zstd", "hde", "amst"), min_length=1)
    """Who chooses: policies that need no training, codecs, or folders of bundles (with a /)."""
    max_mb: float = Field(default=32.0, gt=0)
    """No payload is larger, MB."""
    interval_s: float | None = Field(default=None, gt=0)
    """Mean seconds between two transfers; null keeps the scenario's."""
    size_scale: float | None = Field(default=None, gt=0)
    """Factor on all sizes; null keeps the scenario's."""
    files: str | None = None
    """Folder of real files to cut payloads from; null makes them."""
    disk_gb: float = Field(default=4.0, gt=0)
    """Payloads of one episode take no more disk, GB."""
    minutes: float = Field(default=30.0, gt=0)
    """Time budget; what was not played by then is left out."""

    calibration: str | None = None
    """Figures of codecs to simulate with, as `dwcp-gym calibrate codecs` writes them."""
