"""Settings of the reinforcement learners: PPO and DQN as Stable-Baselines3 has them, in whole words."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from sim.settings import Settings


def _counted(value: Any) -> Any:
    if not isinstance(value, int):
        return value
    if not 1 <= value <= 1000:
        raise ValueError(f"expected a list of seeds, or how many from 1 to 1000, got {value}")
    return tuple(range(value))


def _each_once(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError(
            f"expected different seeds, got {list(seeds)}; each seed is one independent training"
        )
    return seeds


Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=2**32)], ...],
    BeforeValidator(_counted),
    AfterValidator(_each_once),
    Field(min_length=1),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "array", "items": {"type": "integer"}}]}
    ),
]
"""Independent trainings: a list of seeds, or a number n for 0 to n - 1."""

Layers = Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1)]
"""Widths of hidden layers."""


class LearnerConfig(Settings):
    """What PPO and DQN have in common."""

    kind: str
    """The algorithm."""
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=40)
    """Name of the policy in tables, figures and bundles."""
    seeds: Seeds = (0, 1, 2, 3, 4)
    """Independent trainings: a list of seeds, or a number n for the seeds 0 to n - 1; a claim needs 5."""
    steps: int = Field(default=200_000, ge=1)
    """Decisions to train on, for each seed."""
    envs: int = Field(default=8, ge=1)
    """Environments stepped side by side."""
    gamma: float = Field(default=0.99, gt=0, le=1)
    """Discount of the cost of later decisions."""
    schedule: Literal["constant", "linear"] = "constant"
    """Course of the learning rate: constant, or falling linearly to 0 at the last step."""
    layers: Layers = (64, 64)
    """Widths of the hidden layers."""
    activation: Literal["tanh", "relu"] = "tanh"
    """Non-linearity of the hidden layers."""


class PPOConfig(LearnerConfig):
    """Proximal policy optimisation (Schulman et al., arXiv:1707.06347, 2017)."""

    kind: Literal["ppo"]
    """The algorithm: ppo."""
    name: str = Field(default="ppo", pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=40)
    """Name of the policy in tables, figures and bundles."""
    rate: float = Field(default=3e-4, gt=0, lt=1)
    """Learning rate of Adam, at the start."""
    rollout: int = Field(default=256, ge=1)
    """Decisions of each environment between two updates."""
    batch: int = Field(default=512, ge=2)
    """Decisions in one gradient step; must divide envs * rollout."""
    epochs: int = Field(default=4, ge=1)
    """Passes over a rollout."""
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    """Weight of longer returns in the advantage (generalised advantage estimation)."""
    clip: float = Field(default=0.2, gt=0, lt=1)
    """Greatest relative change of an action's probability that an update rewards."""
    entropy: float = Field(default=0.0, ge=0)
    """Weight of the entropy bonus: more keeps the policy exploring."""
    value_weight: float = Field(default=0.5, gt=0)
    """Weight of the value loss."""
    gradient_limit: float = Field(default=0.5, gt=0)
    """Greatest norm of a gradient."""

    @model_validator(mode="after")
    def _batch_divides_rollout(self) -> Self:
        whole = self.envs * self.rollout
        if whole % self.batch:
            raise ValueError(
                f"batch {self.batch} must divide envs * rollout = {whole} without rest; "
                f"take {max(size for size in range(1, min(self.batch, whole) + 1) if whole % size == 0)}"
            )
        return self


class DQNConfig(LearnerConfig):
    """Deep Q-learning (Mnih et al., Nature 518, 2015)."""

    kind: Literal["dqn"]
    """The algorithm: dqn."""
    name: str = Field(default="dqn", pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=40)
    """Name of the policy in tables, figures and bundles."""
    activation: Literal["tanh", "relu"] = "relu"
    """Non-linearity of the hidden layers."""
    rate: float = Field(default=5e-4, gt=0, lt=1)
    """Learning rate of Adam, at the start."""
    buffer: int = Field(default=100_000, ge=1000)
    """Decisions kept for replay."""
    batch: int = Field(default=256, ge=1)
    """Decisions in one gradient step."""
    learning_starts: int = Field(default=5_000, ge=0)
    """Decisions gathered before the first gradient step."""
    train_freq: int = Field(default=4, ge=1)
    """Steps of each environment between two updates."""
    gradient_steps: int = Field(default=4, ge=1)
    """Gradient steps in one update."""
    target_update: int = Field(default=2_000, ge=1)
    """Decisions between two copies of the network to the target network."""
    exploration_fraction: float = Field(default=0.3, ge=0, le=1)
    """Share of the training over which random choices fade out."""
    exploration_final: float = Field(default=0.03, ge=0, le=1)
    """Share of random choices after that."""
    n_step: int = Field(default=1, ge=1, le=100)
    """Decisions whose rewards are summed before the value estimate takes over."""
    gradient_limit: float = Field(default=10.0, gt=0)
    """Greatest norm of a gradient."""

    @model_validator(mode="after")
    def _buffer_and_start_fit(self) -> Self:
        if self.batch > self.buffer:
            raise ValueError(f"batch {self.batch} must not exceed buffer {self.buffer}; enlarge buffer")
        if self.learning_starts >= self.steps:
            raise ValueError(
                f"learning_starts {self.learning_starts} must lie below steps {self.steps}; lower it"
            )
        return self


Learner = Annotated[PPOConfig | DQNConfig, Field(discriminator="kind")]
"""One learner, told apart by its `kind`."""
