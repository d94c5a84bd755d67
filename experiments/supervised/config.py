"""The config of `dwcp-gym supervised`: which models, from how much telemetry, of what size."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from experiments.config import RunSettings
from experiments.supervised.forecast_config import BandwidthConfig, PerformanceConfig
from sim.settings import Settings

TaskName = Literal["performance", "bandwidth", "reliability", "consensus", "anomaly", "selector"]


class WatchConfig(Settings):
    """Where telemetry is drawn; test rows are of an estate that no model was fitted to."""

    scenario: str = "internet"
    """Scenario whose links are watched: a name, or a YAML file of one's own."""
    sites: int = Field(default=4, ge=1)
    """Sending sites of an estate."""
    nodes: int = Field(default=40, ge=1)
    """Nodes of an estate."""
    groups: int = Field(default=6, ge=1)
    """Consensus groups of an estate."""
    train_days: float = Field(default=28.0, gt=0)
    """Days that models are fitted to."""
    validation_days: float = Field(default=14.0, gt=0)
    """Days of another estate, by which training stops and thresholds are chosen."""
    test_days: float = Field(default=14.0, gt=0)
    """Days of a third estate, behind every figure."""


class TreesSettings(Settings):
    """Boosted trees."""

    rounds: int = Field(default=300, ge=1)
    """Rounds of boosting, at most: training stops when validation no longer gains."""
    depth: int = Field(default=6, ge=1, le=20)
    """Greatest depth of a tree."""
    rate: float = Field(default=0.1, gt=0, le=1)
    """Learning rate of the boosting."""


class ForestSettings(Settings):
    """An isolation forest; the defaults are the published ones."""

    trees: int = Field(default=200, ge=1)
    """Trees."""
    sample: int = Field(default=256, ge=2)
    """Rows that each tree parts."""


class SequenceSettings(Settings):
    """A recurrent network over windows."""

    steps: int = Field(default=30, ge=2)
    """Length of a window, in steps."""
    units: int = Field(default=32, ge=1)
    """Units of the recurrent layer."""
    latent: int = Field(default=16, ge=1)
    """Width of its narrowest layer."""
    epochs: int = Field(default=25, ge=1)
    """Passes over the windows, at most: training stops when validation no longer gains."""
    windows: int = Field(default=8000, ge=100)
    """Training windows, drawn at random from all there are."""


class DetectorSettings(Settings):
    """A recurrent network that learns from labels."""

    before: int = Field(default=90, ge=0)
    """Steps before a window that it is shown, too."""
    readers: int = Field(default=3, ge=1)
    """Networks whose chances are averaged."""
    units: int = Field(default=64, ge=1)
    """Units of each layer."""
    epochs: int = Field(default=16, ge=1)
    """Passes over the windows."""
    windows: int = Field(default=40_000, ge=100)
    """Training windows, drawn at random from all there are."""
    estates: int = Field(default=8, ge=0)
    """Estates whose groups it learns from besides those of the training part."""
    judges: int = Field(default=2, ge=0)
    """Estates that thresholds are chosen on besides the validation part; nothing learns from them."""


class ReliabilityConfig(Settings):
    """Which node fails soon."""

    recall: float = Field(default=0.98, gt=0, le=1)
    """Share of incidents that the threshold must find on validation."""
    trees: TreesSettings = TreesSettings()
    """The supervised model."""
    forest: ForestSettings = ForestSettings()
    """The unsupervised one."""
    quiet_rows: int = Field(default=120_000, ge=1000)
    """Training rows without incident that are kept; those of incidents are all kept."""


class ConsensusConfig(Settings):
    """When does a consensus group misbehave."""

    network: SequenceSettings = SequenceSettings()
    """The autoencoder: windows of 30 steps, as published."""
    detector: DetectorSettings = DetectorSettings()
    """What judges the same windows and has labels to learn from."""


class AnomalyConfig(Settings):
    """When does a link or the host behind it misbehave."""

    false_positives: float = Field(default=0.05, gt=0, lt=1)
    """Share of quiet rows that the threshold may flag on validation."""
    forest: ForestSettings = ForestSettings()
    """The isolation forest."""
    network: SequenceSettings = SequenceSettings(steps=60)
    """The autoencoder: windows of 60 steps, as published."""


class SelectorConfig(Settings):
    """Which codec."""

    scenarios: tuple[str, ...] = Field(default=("datacenter", "metro", "wan", "internet"), min_length=1)
    """Scenarios whose decisions are labelled."""
    codecs: tuple[str, ...] = Field(default=("none", "zstd", "hde", "amst"), min_length=2)
    """Codecs to choose from, in the order of the actions."""
    labels: Literal["oracle", "one_step"] = "oracle"
    """What labels cost: oracle, by the one-step oracle; one_step, what the transfer really costs."""
    episodes: int = Field(default=40, ge=10)
    """Episodes a scenario; folds, validation and test are parted by episode."""
    requests: int | None = Field(default=None, ge=1)
    """Decisions in an episode; null keeps each scenario's own number."""
    folds: int = Field(default=3, ge=2)
    """Of the cross-validation."""
    confidence: float = Field(default=0.6, ge=0, lt=1)
    """Below this chance of its best codec the selector leaves the decision to the fallback rule."""
    trees: TreesSettings = TreesSettings(rounds=200, depth=8, rate=0.05)
    """The trees of the ensemble."""
    epochs: int = Field(default=60, ge=1)
    """Passes of the networks over the labels, at most."""


class ModelsConfig(RunSettings):
    """All that `dwcp-gym supervised` needs to know; with code and versions it fixes all but latencies."""

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset()

    title: str = Field(default="What do supervised models add, and how far are they from what can be known?")
    """The question that the page answers, in one line."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Root of all chance."""
    models: tuple[TaskName, ...] = Field(
        default=("performance", "bandwidth", "reliability", "consensus", "anomaly", "selector"), min_length=1
    )
    """Which models, in the order of the page."""
    watch: WatchConfig = WatchConfig()
    """The telemetry of nodes, links and consensus groups."""
    performance: PerformanceConfig = PerformanceConfig()
    """Performance predictor."""
    bandwidth: BandwidthConfig = BandwidthConfig()
    """Bandwidth predictor."""
    reliability: ReliabilityConfig = ReliabilityConfig()
    """Node reliability."""
    consensus: ConsensusConfig = ConsensusConfig()
    """Consensus latency."""
    anomaly: AnomalyConfig = AnomalyConfig()
    """Anomalies of links and hosts."""
    selector: SelectorConfig = SelectorConfig()
    """Compression selector."""

    @model_validator(mode="after")
    def _models_stand_once(self) -> Self:
        if len(set(self.models)) != len(self.models):
            raise ValueError("a model stands twice in models; keep one")
        return self

    @property
    def seeds(self) -> dict[str, object]:
        """What the run folder notes of its chance."""
        return {"seed": self.seed}
