"""The state of a training between two legs, as files: whole or not there; torn ones are refused."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from agents.learners.models import input_space, load_model
from envs.base import WorldEnv
from sim.errors import InputError
from sim.files import TEMPORARY, writing

_MODEL, _REPLAY, _TRAINING = "model.zip", "replay.pkl", "training.json"
_WAY_OUT = "remove the folder to train from the start"


class Checkpoint(NamedTuple):
    """What a training has come to between two legs.

    Attributes:
        model: Networks, optimiser, counters; of DQN and its like the replay buffer, too.
        curve: A row a leg.
    """

    model: BaseAlgorithm
    curve: list[dict[str, float]]


def write_checkpoint(folder: Path, checkpoint: Checkpoint, training: Mapping[str, Any]) -> None:
    """Write the state after a leg to ``folder/leg-<n>``; the one before stays until the new one is whole.

    Args:
        folder: All checkpoints of the training.
        checkpoint: The state.
        training: What is trained, in words of JSON; `read_checkpoint` must be given the same.

    Raises:
        InputError: If the file system refuses.
    """
    model, curve = checkpoint
    whole = folder / f"leg-{len(curve)}"
    fresh = folder / f"{TEMPORARY}{whole.name}"
    with writing(folder):
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        model.save(fresh / _MODEL)
        if isinstance(model, OffPolicyAlgorithm):
            model.save_replay_buffer(fresh / _REPLAY)
        (fresh / _TRAINING).write_text(json.dumps({"training": training, "curve": curve}))
        os.replace(fresh, whole)
    for other in folder.iterdir():
        if other != whole:
            shutil.rmtree(other, ignore_errors=True)


def read_checkpoint(folder: Path, kind: str, training: Mapping[str, Any], env: WorldEnv) -> Checkpoint | None:
    """The newest state in a folder, without its environment; None if there is none.

    Args:
        folder: All checkpoints of the training.
        kind: Of the learner.
        training: What is trained, as it was given to `write_checkpoint`.
        env: One such as it is trained on.

    Raises:
        InputError: If it is torn, of another training, or of an environment with other spaces.
    """
    numbers = [int(one.name[4:]) for one in folder.glob("leg-*") if one.name[4:].isdecimal()]
    if not numbers:
        return None
    newest = folder / f"leg-{max(numbers)}"
    curve = _curve(newest / _TRAINING, json.loads(json.dumps(training)))
    model = load_model(kind, newest / _MODEL)
    if not curve or curve[-1].get("step") != model.num_timesteps:
        raise InputError(newest, "", f"expected model and curve of the same step, got others; {_WAY_OUT}")
    _check_spaces(newest / _MODEL, model, kind, env)
    if isinstance(model, OffPolicyAlgorithm):
        _load_replay(model, newest / _REPLAY)
    return Checkpoint(model, curve)


def _curve(path: Path, training: Any) -> list[dict[str, float]]:
    try:
        stored = json.loads(path.read_text("utf-8"))
        found, curve = stored["training"], [dict(row) for row in stored["curve"]]
        other = sorted(key for key in training.keys() | found.keys() if training.get(key) != found.get(key))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise _torn(path, "the curve of a training", error) from error
    if other:
        raise InputError(
            path,
            "",
            f"expected the checkpoint of this training, got one with other {', '.join(other)}; {_WAY_OUT}",
        )
    return curve


def _check_spaces(path: Path, model: BaseAlgorithm, kind: str, env: WorldEnv) -> None:
    if model.action_space != env.action_space:
        problem = f"expected actions of {env.action_space}, got {model.action_space}"
    elif model.observation_space != (expected := input_space(kind, env)):
        problem = f"expected observations of shape {expected.shape}, got {model.observation_space.shape}"
    else:
        return
    raise InputError(path, "", f"{problem}; {_WAY_OUT}")


def _load_replay(model: OffPolicyAlgorithm, path: Path) -> None:
    try:
        model.load_replay_buffer(path)
        if model.replay_buffer.n_envs != model.n_envs:  # type: ignore[union-attr]
            raise ValueError("buffer of other environments")
    except Exception as error:  # whatever pickle meets in a torn file
        raise _torn(path, "a replay buffer", error) from error


def _torn(path: Path, expected: str, error: Exception) -> InputError:
    return InputError(
        path, "", f"expected {expected}, got a torn or foreign file ({type(error).__name__}); {_WAY_OUT}"
    )
