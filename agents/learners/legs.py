"""Training in legs: each starts with fresh episodes and fresh dice, so an interrupted one is run again.

Simulations that run cannot be written down, generators of SimPy least of all. A leg therefore begins with new
episodes drawn by dice that depend on the seed and the number of the leg only; all else (network, optimiser,
replay buffer, step count) is in the checkpoint at its start. So a run that was interrupted ends with the bits
of one that was not.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from agents.catalogue import make_policy
from agents.learners.branching_lanes import branching_envs
from agents.learners.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from agents.learners.forward import network_policy
from agents.learners.guidance import GuidedDQN
from agents.learners.hiding import hide
from agents.learners.imitation import imitate
from agents.learners.models import fitting_kinds, make_model
from agents.learners.settings import (
    LearnerConfig,
    MaskedDQNConfig,
    MaskedPPOConfig,
    OnPolicyConfig,
    VineConfig,
)
from agents.learners.training_env import TrainingEpisode
from agents.learners.training_lanes import training_envs
from agents.play import MakeEnv
from agents.policy import Policy
from sim.files import TEMPORARY, writing
from sim.randomness import stream

Validate = Callable[[Policy], float]
"""Cost of a policy on the validation episodes; the least is the best."""

_LOGGED = (
    "train/loss",
    "train/entropy_loss",
    "train/value_loss",
    "train/explained_variance",
    "train/approx_kl",
    "train/std",
)


class Plan(NamedTuple):
    """One training.

    Attributes:
        config: Algorithm and hyper-parameters.
        seed: Root of its chance.
        leg_steps: Decisions between two checkpoints and validations.
        make_env: Makes the environment.
        environment: What is left open in it, in words of JSON: a checkpoint of another one is refused.
    """

    config: LearnerConfig
    seed: int
    leg_steps: int
    make_env: MakeEnv
    environment: Mapping[str, Any]


class Outcome(NamedTuple):
    """What training has come to.

    Attributes:
        best: Model file with the least validation cost so far.
        curve: A row a leg: step, validation cost, mean reward, losses.
    """

    best: Path
    curve: list[dict[str, float]]


class _LegOver(Exception):  # noqa: N818 -- an end, no error
    """The leg has its steps; raised between two updates, where nothing is half done."""


class _StopAtLegEnd(BaseCallback):
    def __init__(self, until: int) -> None:
        super().__init__()
        self._until = until
        self.rewards: list[float] = []

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self._until:
            raise _LegOver

    def _on_step(self) -> bool:
        self.rewards.append(float(np.mean(self.locals["rewards"])))
        return True


def train(
    plan: Plan,
    pool: Sequence[TrainingEpisode],
    validate: Validate,
    folder: Path,
    progress: Callable[[int], None] = lambda steps: None,
) -> Outcome:
    """Train until the steps of the plan are done, from the last checkpoint in ``folder`` if there is one.

    Args:
        plan: What to train.
        pool: Episodes to train on.
        validate: Scores the policy at the end of every leg; the best one is kept. One that imitates a rule is
            scored before it has learned anything else, too.
        folder: Checkpoints, curve and best model.
        progress: Told the steps done, after every leg.

    Raises:
        InputError: If the checkpoint in the folder is torn or of another training.
        ValueError: If no learner of this kind can be trained on this environment.
    """
    total, checkpoints, env = plan.config.steps, folder / "checkpoints", plan.make_env()
    if plan.config.kind not in (kinds := fitting_kinds(env)):
        raise ValueError(f"{env.task} can train {', '.join(kinds)}, got {plan.config.kind}; take one of them")
    stored = read_checkpoint(checkpoints, plan.config.kind, _described(plan), env)
    model, curve = (stored.model, stored.curve) if stored else (None, [])
    if model is not None:
        model.set_logger(_silent())
        hide(model, plan.config, env)
    while (done := int(curve[-1]["step"]) if curve else 0) < total:
        progress(done)
        until = 0 if not curve and _imitates(plan) else min(total, done + plan.leg_steps)
        model, rewards = _run_leg(plan, pool, model, len(curve), until)
        cost = validate(network_policy(plan.config.name, model))
        if not curve or cost < min(row["validation_cost"] for row in curve):
            _save(model, folder / "best.zip")
        curve.append(_row(model, cost, rewards))
        write_checkpoint(checkpoints, Checkpoint(model, curve), _described(plan))
    progress(total)
    return Outcome(folder / "best.zip", curve)


def _run_leg(
    plan: Plan, pool: Sequence[TrainingEpisode], model: BaseAlgorithm | None, leg: int, until: int
) -> tuple[BaseAlgorithm, list[float]]:
    """One leg, up to the first update at or after ``until`` steps."""
    dice = int(stream(plan.seed, f"{plan.config.name} leg {leg}").integers(2**31))
    unit = 1.0 - plan.config.gamma
    if isinstance(plan.config, VineConfig):
        envs = branching_envs(pool, plan.make_env(), plan.config.envs, unit, engine=plan.config.engine)
    else:
        envs = training_envs(pool, plan.make_env, plan.config.envs, unit, engine=plan.config.engine)
    if model is None:
        model, env = make_model(plan.config, envs, dice), plan.make_env()
        hide(model, plan.config, env)
        if (name := _imitates(plan)) is not None:
            rng, rule = stream(plan.seed, f"{plan.config.name} imitation"), make_policy(name, env)
            spread = plan.config.spread if isinstance(plan.config, MaskedPPOConfig) else 0.0
            imitate(model, env, rule, [one.episode for one in pool], rng, spread=spread)
        model.set_logger(_silent())
    else:
        _cut_replay(model)
        model.set_env(envs, force_reset=True)
    if isinstance(plan.config, MaskedDQNConfig) and plan.config.imitate is not None:
        assert isinstance(model, GuidedDQN)
        model.guide = make_policy(plan.config.imitate, plan.make_env())
    model.set_random_seed(dice)
    stop = _StopAtLegEnd(until)
    with suppress(_LegOver):
        model.learn(
            plan.config.steps - model.num_timesteps,
            callback=stop,
            log_interval=10**9,
            reset_num_timesteps=False,
        )
    return model, stop.rewards


def _imitates(plan: Plan) -> str | None:
    """The rule that the actor starts from."""
    return plan.config.imitate if isinstance(plan.config, OnPolicyConfig) else None


def _cut_replay(model: BaseAlgorithm) -> None:
    """Mark the newest decisions as the last of their episodes, which go no further.

    Without it n-step returns would run from an episode that was left into the next leg's first.
    """
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None and buffer.size():
        newest = buffer.pos - 1
        buffer.timeouts[newest] = buffer.dones[newest] == 0


def _described(plan: Plan) -> dict[str, Any]:
    """What a checkpoint must agree on with the training that goes on from it."""
    return plan.config.model_dump(mode="json") | {
        "seed": plan.seed,
        "leg_steps": plan.leg_steps,
        "environment": plan.environment,
    }


def _row(model: BaseAlgorithm, cost: float, rewards: Sequence[float]) -> dict[str, float]:
    logged = {
        name: float(model.logger.name_to_value[name])
        for name in _LOGGED
        if name in model.logger.name_to_value
    }
    row = {
        "step": float(model.num_timesteps),
        "validation_cost": cost,
        "train_reward": float(np.mean(rewards)) if rewards else 0.0,
    }
    return row | logged


def _silent() -> Logger:
    return Logger(folder=None, output_formats=[])


def _save(model: BaseAlgorithm, path: Path) -> None:
    fresh = path.with_name(f"{TEMPORARY}{path.name}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(fresh)
        os.replace(fresh, path)
