"""Every policy on the same episodes: what each episode cost, and what was decided in it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from gymnasium import spaces

from agents.catalogue import kind_of, make_policy
from agents.one_step_oracle import OneStepOracle
from agents.play import play
from agents.policy import Action, Observation, Policy
from envs.base import WorldEnv
from experiments.actions import action_names
from experiments.compositions import composed, composition_of
from experiments.config import SELECTORS, ExperimentConfig
from experiments.run_folder import RunFolder
from experiments.splits import Place, episodes_of
from experiments.stats import percentiles
from experiments.train import trained_policy
from experiments.work import Crew
from sim.files import write_parquet
from sim.units import MBIT
from sim.world import World

_BLOCK = 10
"""Episodes in one task: enough to pay for loading a policy, few enough to move the bar."""


class _Part(NamedTuple):
    """Some episodes of one scenario under one policy, as they travel to a worker."""

    config: ExperimentConfig
    run: Path
    policy: str
    seed: int
    places: tuple[Place, ...]


def evaluation(run: RunFolder, config: ExperimentConfig, crew: Crew) -> None:
    """Stage ``evaluation``: every policy and training seed on validation, test and held-out episodes."""
    if run.stage_done("evaluation"):
        return
    episodes = episodes_of(config)
    contenders = [(name, -1) for name in (*config.policies, *(one.name for one in config.compositions))]
    contenders += [(learner.name, seed) for learner in config.learners for seed in learner.seeds]
    parts = [
        _Part(config, run.path, name, seed, block)
        for split in ("validation", "test", "held-out")
        for block in _blocks(episodes.places(split))  # type: ignore[arg-type]
        for name, seed in contenders
    ]
    found = crew.map("evaluation", _evaluate, parts)
    write_episodes(run, "policies", pd.DataFrame([row for rows, _ in found for row in rows]))
    decisions = pd.concat([table for _, table in found], ignore_index=True)
    write_parquet(run.file("decisions.parquet"), pa.Table.from_pandas(decisions, preserve_index=False))
    run.mark("evaluation")


def join_episodes(run: RunFolder) -> None:
    """Write ``episodes.parquet`` from what evaluation, look ahead, search and bound have left."""
    parts = ("policies", "lookahead", "search", "bound")
    frames = [pd.read_parquet(run.file(f"episodes-{part}.parquet")) for part in parts]
    joined = pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
    write_parquet(run.file("episodes.parquet"), pa.Table.from_pandas(joined, preserve_index=False))


def episode_row(world: World) -> dict[str, float]:
    """Figures of a finished episode, as `experiments.evidence.METRICS` names them."""
    records = pd.DataFrame(world.records)
    scenario = world.episode.scenario
    times = (records["end_s"] - records["arrival_s"]).to_numpy()
    late = np.maximum(0.0, (records["end_s"] - records["deadline_s"]).to_numpy())
    due = np.isfinite(records["deadline_s"].to_numpy())
    makespan = float(records["end_s"].max() - records["arrival_s"].min())
    raw_bytes = float(records["size_bytes"].sum())
    pace = (records["size_bytes"] / times).to_numpy()
    p50, p95, p99 = percentiles(times)
    return {
        "cost_s": world.cost,
        "completion_cost_s": float((records["priority"] * times).sum()),
        "cpu_cost_s": scenario.cpu_price * world.cpu_s,
        "late_cost_s": scenario.late_price * float(late.sum()),
        "cpu_s": world.cpu_s,
        "late_s": float(late.sum()),
        "completion_mean_s": float(times.mean()),
        "completion_p50_s": p50,
        "completion_p95_s": p95,
        "completion_p99_s": p99,
        "missed_share": float((late[due] > 0).mean()) if due.any() else 0.0,
        "wire_bytes": float(records["wire_bytes"].sum()),
        "raw_bytes": raw_bytes,
        "makespan_s": makespan,
        "throughput_mbps": raw_bytes / makespan / MBIT,
        "goodput_mbps": raw_bytes / float(times.sum()) / MBIT,
        "jain": float(pace.sum() ** 2 / (len(pace) * (pace**2).sum())),
    }


def _blocks(places: list[Place]) -> Iterator[tuple[Place, ...]]:
    for scenario in dict.fromkeys(place.scenario for place in places):
        own = [place for place in places if place.scenario == scenario]
        for start in range(0, len(own), _BLOCK):
            yield tuple(own[start : start + _BLOCK])


def write_episodes(run: RunFolder, part: str, frame: pd.DataFrame) -> None:
    """Write the episodes that one stage has played."""
    write_parquet(run.file(f"episodes-{part}.parquet"), pa.Table.from_pandas(frame, preserve_index=False))


def _policy(part: _Part, env: WorldEnv) -> Policy:
    if part.seed >= 0 or part.policy in SELECTORS:
        return trained_policy(part.run, part.config, part.policy, part.seed)
    if composition := composition_of(part.config, part.policy):
        return composed(composition, env)
    return make_policy(part.policy, env)


def _kind(part: _Part, env: WorldEnv) -> str:
    if part.seed >= 0:
        return "learner"
    return "rule" if composition_of(part.config, part.policy) else kind_of(part.policy, env)


def _evaluate(part: _Part) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    episodes = episodes_of(part.config)
    env = episodes.make_env()
    policy = _policy(part, env)
    kind = _kind(part, env)
    tells = isinstance(env.action_space, spaces.Discrete)  # only these are written down one by one
    rows, tables = [], []
    for place in part.places:
        seen = Decisions(oracle_of(env) if place.split == "test" else None)
        world = play(env, episodes.draw(place), policy, watch=seen)
        key = {"policy": part.policy, "kind": kind, "training_seed": part.seed}
        rows.append(key | played_row(place, world, seen))
        if place.split == "test" and tells:
            own: dict[str, Any] = {name: rows[-1][name] for name in _DECISION_KEY}
            tables.append(seen.table(action_names(env)).assign(**own))
    empty = pd.DataFrame(columns=[*_DECISION_KEY, "step", "action", "oracle_action"])
    return rows, pd.concat(tables, ignore_index=True) if tables else empty


_DECISION_KEY = ("policy", "training_seed", "scenario", "episode")


def oracle_of(env: WorldEnv) -> OneStepOracle | None:
    """The one-step oracle, where the question is one that it answers: with which codec."""
    return OneStepOracle(env.codecs) if env.task == "compression" else None


class Decisions:
    """Writes down what was chosen, and what the one-step oracle would have chosen in the same state."""

    def __init__(self, oracle: OneStepOracle | None) -> None:
        self._oracle = oracle
        self.actions: list[Action] = []
        self._oracles: list[int] = []

    def __call__(self, world: World, observation: Observation, action: Action) -> None:
        """Watch one decision."""
        self.actions.append(action)
        if self._oracle is not None:
            self._oracle.bind(world)
            self._oracles.append(int(self._oracle.act(observation)))

    @property
    def agreement(self) -> float:
        """Share of decisions equal to the oracle's; NaN where it was not asked."""
        if self._oracle is None:
            return float("nan")
        return float(np.mean(np.array(self.actions) == np.array(self._oracles)))

    def table(self, names: Sequence[str]) -> pd.DataFrame:
        """One row a decision, actions by name; the oracle's is empty where it was not asked."""
        by_name = np.array(names, dtype=object)
        return pd.DataFrame(
            {
                "step": np.arange(len(self.actions)),
                "action": by_name[np.array(self.actions, np.int64)],
                "oracle_action": by_name[self._oracles] if self._oracle is not None else "",
            }
        ).astype({"action": str, "oracle_action": str})


def played_row(place: Place, world: World, seen: Decisions) -> dict[str, Any]:
    """Where an episode stands, and what came of it."""
    key = {"scenario": place.scenario, "split": place.split, "episode": place.number}
    return key | {"decisions": len(seen.actions)} | episode_row(world) | {"agreement": seen.agreement}
