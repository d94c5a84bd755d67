"""Settings of the two predictors: of transfers and of links."""

from pydantic import Field

from sim.settings import Settings


class ForecastTrees(Settings):
    """Boosted trees of a predictor."""

    rounds: int = Field(default=300, ge=1)
    """Rounds of boosting, at most: training stops when validation no longer gains."""
    depth: int = Field(default=8, ge=1, le=20)
    """Greatest depth of a tree."""
    rate: float = Field(default=0.1, gt=0, le=1)
    """Learning rate of the boosting."""


class ForecastNetwork(Settings):
    """The network of the likeliest time of a transfer."""

    units: int = Field(default=256, ge=1)
    """Of each of its three layers."""
    epochs: int = Field(default=6, ge=1)
    """Passes over the training transfers."""


class PerformanceConfig(Settings):
    """How long will a transfer take."""

    scenarios: tuple[str, ...] = Field(
        default=("datacenter", "metro", "wan", "internet", "cpu-starved", "flash-crowd"), min_length=1
    )
    """Scenarios whose transfers are learned from; every episode has links of its own."""
    held_out: tuple[str, ...] = ("hybrid", "lossy")
    """Scenarios of the test only."""
    codecs: tuple[str, ...] = Field(default=("none", "zstd", "hde", "amst"), min_length=1)
    """Codecs that transfers go with."""
    episodes: int = Field(default=170, ge=1)
    """Training episodes a scenario; a quarter as many are for validation."""
    test_episodes: int = Field(default=20, ge=1)
    """Test episodes a scenario."""
    requests: int | None = Field(default=None, ge=8)
    """Transfers in an episode; null keeps each scenario's own number."""
    explore: float = Field(default=0.2, ge=0, le=1)
    """Share of the transfers whose codec is drawn; the others take the shortest estimate."""
    trees: ForecastTrees = ForecastTrees()
    """The trees, as many again for each quantile."""
    network: ForecastNetwork = ForecastNetwork()
    """The network of the likeliest time."""
    ceiling_transfers: int = Field(default=30, ge=2)
    """Test transfers a scenario that are played in other futures for the ceiling."""
    futures: int = Field(default=20, ge=4)
    """Other futures of each."""


class BandwidthConfig(Settings):
    """What will a link be like in a minute."""

    days: float = Field(default=3.0, gt=0)
    """Days of each of the three estates."""
    sites: int = Field(default=10, ge=1)
    """Sites of each of the three estates, each with links of its own."""
    windows: int = Field(default=16_000, ge=100)
    """Training windows, drawn at random from all there are."""
    units: int = Field(default=24, ge=1)
    """Units of the recurrent layer."""
    epochs: int = Field(default=10, ge=1)
    """Passes over the windows, at most."""
    trees: ForecastTrees = ForecastTrees(rounds=150, depth=5)
    """The trees that it is set against."""
    ceiling_minutes: int = Field(default=300, ge=10)
    """Test minutes whose futures are drawn for the ceiling."""
    futures: int = Field(default=48, ge=8)
    """Futures of each."""
