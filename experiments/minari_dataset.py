"""Labelled episodes as a Minari dataset: what the base policy saw, did and was rewarded with."""

import importlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from agents.supervised.counterfactual import Counterfactuals
from envs.compression import Compression
from envs.features import CODEC_FEATURES
from experiments.label import LabelledEpisode, LabelPlan
from sim.catalogue import SCENARIOS
from sim.errors import InputError
from sim.files import writing

_FORMAT = "arrow"
"""Minari's format of Arrow files: read by what is installed anyway."""


def check_minari(name: str) -> None:
    """Refuse a dataset that could not be written, before any work is done.

    Raises:
        InputError: If Minari is not installed, or the name is no id of a dataset or is taken.
    """
    minari = _minari()
    try:
        minari.dataset.minari_dataset.parse_dataset_id(name)
    except ValueError as error:
        problem = f"expected a Minari id such as dwcp/shortest-v0, got {name!r}"
        raise InputError("--minari", "", problem) from error
    path = Path(minari.storage.get_dataset_path(name))
    if path.exists():
        raise InputError(path, "", "this Minari dataset exists; write another version, or remove it")


def write_minari(name: str, plan: LabelPlan, episodes: Sequence[LabelledEpisode]) -> Any:
    """Write episodes as a Minari dataset; `minari.load_dataset` reads it back under its name.

    A step is a decision of the base policy in `dwcp/Compression-v0`: observation, action and reward are those
    of the environment, minus the cost since the question before. The infos hold ``one_step_s`` and
    ``continued_s``, what each answer would have come to, in seconds, shape (n + 1, codecs); NaN at the end,
    where nothing is asked.

    Args:
        name: ``namespace/name-v0``; Minari keeps datasets in ``MINARI_DATASETS_PATH``.
        plan: What was labelled.
        episodes: The labels.

    Returns:
        The `minari.MinariDataset`.

    Raises:
        InputError: If Minari is not installed or the file system refuses.
    """
    minari = _minari()
    codecs = [codec.name for codec in plan.codecs]
    env = Compression(list(plan.scenarios), codecs)
    buffers = [
        minari.data_collector.EpisodeBuffer(
            id=number,
            seed=episode.seed,
            options={"scenario": episode.scenario, "episode_seed": episode.seed},
            **_steps(episode.found),
        )
        for number, episode in enumerate(episodes)
    ]
    with writing(Path(minari.storage.get_dataset_path(name))), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it asks for an author and where the code is
        return minari.create_dataset_from_buffers(
            dataset_id=name,
            buffer=buffers,
            env=_spec(plan, codecs),
            observation_space=env.observation_space,
            action_space=env.action_space,
            algorithm_name=plan.base,
            description="Codec decisions of dwcp-gym with the realised cost of every answer.",
            data_format=_FORMAT,
        )


def _steps(found: Counterfactuals) -> dict[str, Any]:
    """The entries of an `EpisodeBuffer` that hold an entry a step."""
    count = len(found.request)
    seen = np.zeros((count + 1, len(CODEC_FEATURES)), np.float32)
    seen[:-1] = CODEC_FEATURES.scaled(found.features)
    total_s = found.accrued_s[-1] + found.continued_s[-1, found.answer[-1]]
    by_then = np.concatenate([[0.0], found.accrued_s[1:], [total_s]])  # the first reward is from the start
    nothing = np.full((1, found.one_step_s.shape[1]), np.nan)
    return {
        "observations": seen,
        "actions": found.answer,
        "rewards": -np.diff(by_then),
        "terminations": np.arange(1, count + 1) == count,
        "truncations": np.zeros(count, np.bool_),
        "infos": {
            "one_step_s": np.concatenate([found.one_step_s, nothing]),
            "continued_s": np.concatenate([found.continued_s, nothing]),
        },
    }


def _spec(plan: LabelPlan, codecs: list[str]) -> Any:
    """How the environment is made again; None with a scenario of one's own, which Minari could not keep."""
    names = [scenario.name for scenario in plan.scenarios]
    if any(SCENARIOS.get(name) != scenario for name, scenario in zip(names, plan.scenarios, strict=True)):
        return None
    return gym.make("envs:dwcp/Compression-v0", scenario=names, codecs=codecs).spec


def _minari() -> Any:
    """The package, which only this needs."""
    try:
        for part in ("minari.data_collector", "minari.dataset.minari_dataset", "minari.storage"):
            importlib.import_module(part)
        return importlib.import_module("minari")
    except ImportError as error:
        problem = "needs the package minari, which is not installed; pip install 'dwcp-gym[minari]'"
        raise InputError("--minari", "", problem) from error
