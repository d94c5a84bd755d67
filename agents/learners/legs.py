"""Training in legs: each starts with fresh episodes and fresh dice, so one that was interrupted is simply run again.

Simulations that run cannot be written down, generators of SimPy least of all. A leg therefore begins with new episodes
drawn by dice that depend on the seed and the number of the leg only; all else (network, optimiser, replay buffer, step
count) is in the checkpoint at its start. So a run that was interrupted ends with the bits of one that was not.
"""

import json
import os
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from agents.learners.forward import NetworkPolicy, network_policy
from agents.learners.models import make_model
from agents.learners.settings import LearnerConfig, PPOConfig
from agents.learners.training_env import TrainingEpisode, training_envs
from sim.codecs import Codec
from sim.errors import InputError
from sim.randomness import stream

Validate = Callable[[NetworkPolicy], float]
"""Cost of a policy on the validation episodes; the least is the best."""

_LOGGED = ("train/loss", "train/entropy_loss", "train/value_loss", "train/explained_variance", "train/approx_kl")


class Plan(NamedTuple):
    """One training.

    Attributes:
        config: Algorithm and hyper-parameters.
        seed: Root of its chance.
        leg_steps: Decisions between two checkpoints and validations.
        codecs: What the actions stand for.
    """

    config: LearnerConfig
    seed: int
    leg_steps: int
    codecs: Sequence[Codec]


class Outcome(NamedTuple):
    """What training has come to.

    Attributes:
        best: Model file with the least validation cost so far.
        curve: A row a leg: step, validation cost, mean reward, losses.
    """

    best: Path
    curve: list[dict[str, float]]


class _LegOver(Exception):
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
        validate: Scores the policy at the end of every leg; the best one is kept.
        folder: Checkpoints, curve and best model.
        progress: Told the steps done, after every leg.

    Raises:
        InputError: If the checkpoint in the folder is torn or of another training.
    """
    total = plan.config.steps
    curve: list[dict[str, float]] = []
    model, leg = None, 0
    if (folder / "checkpoint").exists():
        model, curve = _restore(plan, pool, folder / "checkpoint")
        leg = len(curve)
    while (done := int(curve[-1]["step"]) if curve else 0) < total:
        progress(done)
        model, rewards = _run_leg(plan, pool, model, leg, min(total, done + plan.leg_steps))
        cost = validate(network_policy(plan.config.name, model))
        if not curve or cost < min(row["validation_cost"] for row in curve):
            _replace(folder / "best.zip", lambda path: model.save(path))  # noqa: B023
        logged = {name: float(model.logger.name_to_value[name]) for name in _LOGGED if name in model.logger.name_to_value}
        row = {"step": float(model.num_timesteps), "validation_cost": cost, "train_return": float(np.mean(rewards))}
        curve.append(row | logged)
        leg += 1
        _checkpoint(model, curve, folder / "checkpoint")
    progress(total)
    return Outcome(folder / "best.zip", curve)


def load_model(kind: str, path: Path) -> PPO | DQN:
    """A saved model, without its environment.

    Raises:
        InputError: If the file is missing, torn or of another algorithm.
    """
    algorithm: type[PPO] | type[DQN] = PPO if kind == "ppo" else DQN
    try:
        return algorithm.load(path, device="cpu")
    except Exception as error:  # Stable-Baselines3 lets zipfile's, pickle's and torch's errors through
        raise InputError(
            path, "", f"expected a saved {kind.upper()} model, got {type(error).__name__}; train it again"
        ) from error


def _run_leg(
    plan: Plan, pool: Sequence[TrainingEpisode], model: PPO | DQN | None, leg: int, until: int
) -> tuple[PPO | DQN, list[float]]:
    """One leg, up to the first update at or after ``until`` steps."""
    dice = int(stream(plan.seed, f"{plan.config.name} leg {leg}").integers(2**31))
    envs = training_envs(pool, plan.codecs, plan.config.envs, 1.0 - plan.config.gamma)
    if model is None:
        model = make_model(plan.config, envs, dice)
        model.set_logger(Logger(folder=None, output_formats=[]))
    else:
        model.set_env(envs, force_reset=True)
    model.set_random_seed(dice)
    stop = _StopAtLegEnd(until)
    try:
        model.learn(
            plan.config.steps - model.num_timesteps,
            callback=stop,
            log_interval=10**9,
            reset_num_timesteps=False,
        )
    except _LegOver:
        pass
    return model, stop.rewards


def _checkpoint(model: PPO | DQN, curve: list[dict[str, float]], folder: Path) -> None:
    """Write the state between two legs; the old checkpoint stays until the new one is whole."""
    fresh = folder.with_name(f".tmp-{folder.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    model.save(fresh / "model.zip")
    if isinstance(model, DQN):
        model.save_replay_buffer(fresh / "replay.pkl")
    (fresh / "curve.json").write_text(json.dumps(curve))
    old = folder.with_name(f".tmp-old-{folder.name}")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def _restore(
    plan: Plan, pool: Sequence[TrainingEpisode], folder: Path
) -> tuple[PPO | DQN, list[dict[str, float]]]:
    kind = "ppo" if isinstance(plan.config, PPOConfig) else "dqn"
    model = load_model(kind, folder / "model.zip")
    model.set_logger(Logger(folder=None, output_formats=[]))
    try:
        curve: list[dict[str, float]] = json.loads((folder / "curve.json").read_text())
        if isinstance(model, DQN):
            model.load_replay_buffer(folder / "replay.pkl")
    except (OSError, ValueError, EOFError, pickle.UnpicklingError, AttributeError) as error:
        raise InputError(
            folder, "", f"expected a checkpoint, got {type(error).__name__}; remove the folder to train from the start"
        ) from error
    return model, curve


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".tmp-{path.name}")
    write(fresh)
    os.replace(fresh, path)
