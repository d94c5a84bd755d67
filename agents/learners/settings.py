"""Settings of the reinforcement learners, as Stable-Baselines3 has them, in whole words."""

from typing import Annotated, Any, Final, Literal, Self

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

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=40)]
"""Name of a policy."""


class LearnerConfig(Settings):
    """What all learners have in common."""

    kind: str
    """The algorithm."""
    name: Name
    """Name of the policy in tables, figures and bundles."""
    seeds: Seeds = (0, 1, 2, 3, 4)
    """Independent trainings: a list of seeds, or a number n for the seeds 0 to n - 1; a claim needs 5."""
    steps: int = Field(default=200_000, ge=1)
    """Decisions to train on, for each seed."""
    envs: int = Field(default=8, ge=1)
    """Environments stepped side by side."""
    engine: Literal["batch", "simpy"] = "batch"
    """The world to learn in: the compiled one where the task has it (see docs/engines.md), or SimPy's."""
    gamma: float = Field(default=0.99, gt=0, lt=1)
    """Discount of the cost of later decisions; below 1, as rewards are in units of 1 - gamma."""
    schedule: Literal["constant", "linear"] = "constant"
    """Course of the learning rate: constant, or falling linearly to 0 at the last step."""
    layers: Layers = (64, 64)
    """Widths of the hidden layers; for each slot where `shared`."""
    shared: bool = False
    """Whether all slots of an observation go through the same weights, where it has slots."""
    activation: Literal["tanh", "relu"] = "tanh"
    """Non-linearity of the hidden layers."""
    hidden: tuple[str, ...] = ()
    """Features of the observation that the learner is kept from seeing."""


class OnPolicyConfig(LearnerConfig):
    """What PPO and its kin have in common."""

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
    imitate: str | None = None
    """Rule of the catalogue that the actor imitates before it learns by itself; null starts from nothing."""

    @model_validator(mode="after")
    def _batch_divides_rollout(self) -> Self:
        whole = self.envs * self.rollout
        if whole % self.batch:
            raise ValueError(
                f"batch {self.batch} must divide envs * rollout = {whole} without rest; "
                f"take {max(size for size in range(1, min(self.batch, whole) + 1) if whole % size == 0)}"
            )
        return self


class PPOConfig(OnPolicyConfig):
    """Proximal policy optimisation (Schulman et al., arXiv:1707.06347, 2017)."""

    kind: Literal["ppo"]
    """The algorithm: ppo."""
    name: Name = "ppo"
    """Name of the policy in tables, figures and bundles."""
    action_sd: float = Field(default=1.0, gt=0, le=100)
    """Standard deviation of continuous actions around their mean, at the start; choices have none."""


class VineConfig(OnPolicyConfig):
    """PPO, then the gradient over all answers, each tried on a fork of the world (`agents.learners.vine`)."""

    kind: Literal["vine"]
    """The algorithm: vine."""
    name: Name = "vine"
    """Name of the policy in tables, figures and bundles."""
    branch_after: float = Field(default=0.5, ge=0, le=1)
    """Share of the training that is plain PPO, before answers are tried on forks."""
    gap: int = Field(default=4, ge=1)
    """Decisions of each environment between two at which every answer is tried; at most `rollout`."""
    memory: int = Field(default=16, ge=1)
    """Rollouts whose tries are learned from."""
    cost_limit: float = Field(default=50.0, gt=0)
    """Most that an answer counts as dearer than the best, in mean costs of a decision."""

    @model_validator(mode="after")
    def _a_rollout_has_tries(self) -> Self:
        if self.gap > self.rollout:
            raise ValueError(f"gap {self.gap} must not exceed rollout {self.rollout}; lower it")
        return self


class RecurrentPPOConfig(OnPolicyConfig):
    """PPO whose actor remembers the decisions before in an LSTM (sb3-contrib); it cannot become a bundle."""

    kind: Literal["recurrent_ppo"]
    """The algorithm: recurrent_ppo."""
    name: Name = "recurrent_ppo"
    """Name of the policy in tables and figures."""
    units: int = Field(default=64, ge=1, le=1024)
    """Units of the LSTM, before the hidden layers."""

    @model_validator(mode="after")
    def _imitates_nobody(self) -> Self:
        if self.imitate is not None or self.shared:
            raise ValueError("recurrent_ppo knows neither imitate nor shared; leave them out, or take ppo")
        return self


class MaskedPPOConfig(OnPolicyConfig):
    """PPO that chooses among allowed actions only (Huang and Ontañón, FLAIRS 2022)."""

    kind: Literal["masked_ppo"]
    """The algorithm: masked_ppo."""
    name: Name = "masked_ppo"
    """Name of the policy in tables, figures and bundles."""
    spread: float = Field(default=0.0, ge=0, lt=1)
    """Share of decisions that an actor which imitates a rule makes otherwise, in one part: to learn from."""


class OffPolicyConfig(LearnerConfig):
    """What DQN, masked DQN and QR-DQN have in common."""

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


class DQNConfig(OffPolicyConfig):
    """Deep Q-learning (Mnih et al., Nature 518, 2015)."""

    kind: Literal["dqn"]
    """The algorithm: dqn."""
    name: Name = "dqn"
    """Name of the policy in tables, figures and bundles."""


class MaskedDQNConfig(OffPolicyConfig):
    """Deep Q-learning among allowed actions only."""

    kind: Literal["masked_dqn"]
    """The algorithm: masked_dqn."""
    name: Name = "masked_dqn"
    """Name of the policy in tables, figures and bundles."""
    double: bool = True
    """Whether the online network chooses what the target network values (van Hasselt et al., AAAI 2016)."""
    imitate: str | None = None
    """Rule of the catalogue whose action is taken unless another proves better; null starts from nothing."""
    margin_weight: float = Field(default=0.3, ge=0)
    """Weight, at the start, of the loss that has the rule's action lead all others; falls linearly to 0."""


class QRDQNConfig(OffPolicyConfig):
    """Quantile regression deep Q-learning among allowed actions only (Dabney et al., AAAI 2018).

    Its defaults of ``batch`` and ``quantiles`` make 380 gradient steps a second on one core; the published
    200 quantiles with a batch of 256 make 2.2 (sb3-contrib 2.9.2, torch 2.13).
    """

    kind: Literal["qrdqn"]
    """The algorithm: qrdqn."""
    name: Name = "qrdqn"
    """Name of the policy in tables, figures and bundles."""
    batch: int = Field(default=64, ge=1)
    """Decisions in one gradient step."""
    quantiles: int = Field(default=25, ge=1, le=1000)
    """Quantiles of the return that are learned for each action."""


WITH_MEMORY: Final = frozenset({"recurrent_ppo"})
"""Kinds whose policies remember an episode; a bundle keeps no memory, so they cannot become one."""

Learner = Annotated[
    PPOConfig | VineConfig | RecurrentPPOConfig | MaskedPPOConfig | DQNConfig | MaskedDQNConfig | QRDQNConfig,
    Field(discriminator="kind"),
]
"""One learner, told apart by its `kind`."""
