"""What brackets the optimum on the first test episodes: the best answers found, and a bound below all."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from agents.catalogue import make_policy
from agents.planner import MOVES_A_PASS
from agents.planner import search as search_plan
from agents.planner_bracket import CodecPlan, bound_for, questions_of, realised
from agents.play import play
from experiments.config import SELECTORS, ExperimentConfig
from experiments.evaluate import Decisions, oracle_of, played_row, write_episodes
from experiments.run_folder import RunFolder
from experiments.splits import Place, episodes_of
from experiments.train import trained_policy
from experiments.work import Crew
from sim.randomness import stream

BEST_FOUND, BOUND = "best_found", "bound"


class _Task(NamedTuple):
    """One episode whose optimum is looked for."""

    config: ExperimentConfig
    run: Path
    place: Place


def search(run: RunFolder, config: ExperimentConfig, crew: Crew) -> None:
    """Stage ``search``: the best answers found for the first test episodes; of codec decisions only."""
    count = config.evaluation.search_episodes if _is_of_codecs(config) else 0
    _stage("search", _search, count, run, config, crew)


def bounds(run: RunFolder, config: ExperimentConfig, crew: Crew) -> None:
    """Stage ``bound``: what no policy can fall below, on the first test episodes."""
    _stage("bound", _bound, config.evaluation.bound_episodes, run, config, crew)


def _stage(name: str, work: Any, count: int, run: RunFolder, config: ExperimentConfig, crew: Crew) -> None:
    if run.stage_done(name):
        return
    places = [place for place in episodes_of(config).places("test") if place.number < count]
    found = crew.map(name, work, [_Task(config, run.path, place) for place in places])
    write_episodes(run, name, pd.DataFrame(found))
    run.mark(name)


def _is_of_codecs(config: ExperimentConfig) -> bool:
    return episodes_of(config).make_env().task == "compression"


def _search(task: _Task) -> dict[str, Any]:
    config, place = task.config, task.place
    episodes = episodes_of(config)
    env, episode = episodes.make_env(), episodes.draw(place)
    policies = [make_policy(name, env) for name in config.policies if name not in SELECTORS]
    policies += [
        trained_policy(task.run, config, learner.name, learner.seeds[0]) for learner in config.learners
    ]
    questions = questions_of(env, episode.scenario)
    starts = [realised(env, episode, policy, questions)[1][0] for policy in policies]
    rng = stream(config.seed, f"search {place.scenario} {place.number}")
    budget = config.evaluation.search_passes * MOVES_A_PASS
    planned = search_plan(episode, env.codecs, questions, starts, budget=budget, rng=rng)
    seen = Decisions(oracle_of(env))
    world = play(env, episode, CodecPlan(BEST_FOUND, planned.plan), watch=seen)
    return {"policy": BEST_FOUND, "kind": "search", "training_seed": -1} | played_row(place, world, seen)


def _bound(task: _Task) -> dict[str, Any]:
    place, episodes = task.place, episodes_of(task.config)
    env, episode = episodes.make_env(), episodes.draw(place)
    found = bound_for(env, episode, questions_of(env, episode.scenario))
    key = {"policy": BOUND, "kind": "bound", "training_seed": -1, "scenario": place.scenario}
    return key | {"split": place.split, "episode": place.number, "decisions": 0, "cost_s": found.cost_s}
