"""What is played on the first test episodes only: a look ahead, the best answers found, a bound below all."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from agents.catalogue import make_policy
from agents.lookahead import Lookahead
from agents.planner import MOVES_A_PASS
from agents.planner import search as search_plan
from agents.planner_bracket import CodecPlan, bound_for, questions_of, realised
from agents.play import play
from experiments.config import SELECTORS, ExperimentConfig, ahead_of
from experiments.evaluate import Decisions, oracle_of, played_row, write_episodes
from experiments.run_folder import RunFolder
from experiments.splits import Place, episodes_of
from experiments.train import best_training, trained_policy
from experiments.work import Crew
from sim.randomness import stream

BEST_FOUND, BOUND = "best_found", "bound"


class _Task(NamedTuple):
    """One episode that is played."""

    config: ExperimentConfig
    run: Path
    place: Place


class _Ahead(NamedTuple):
    """One episode in which a training looks ahead."""

    task: _Task
    learner: str
    seed: int


def lookahead(run: RunFolder, config: ExperimentConfig, crew: Crew) -> None:
    """Stage ``lookahead``: the training that is best on validation, with a look ahead at every question."""
    if run.stage_done("lookahead"):
        return
    tasks = _tasks(run, config, config.evaluation.lookahead_episodes)
    best = best_training(run.path, config) if tasks else ("", -1)
    played = crew.map("look ahead", _look, [_Ahead(task, *best) for task in tasks])
    _finish("lookahead", run, played)


def search(run: RunFolder, config: ExperimentConfig, crew: Crew) -> None:
    """Stage ``search``: the best answers found for the first test episodes; of codec decisions only."""
    count = config.evaluation.search_episodes if _is_of_codecs(config) else 0
    _stage("search", _search, count, run, config, crew)


def bounds(run: RunFolder, config: ExperimentConfig, crew: Crew) -> None:
    """Stage ``bound``: what no policy can fall below, on the first test episodes."""
    _stage("bound", _bound, config.evaluation.bound_episodes, run, config, crew)


def _stage(name: str, work: Any, count: int, run: RunFolder, config: ExperimentConfig, crew: Crew) -> None:
    if not run.stage_done(name):
        _finish(name, run, crew.map(name, work, _tasks(run, config, count)))


def _tasks(run: RunFolder, config: ExperimentConfig, count: int) -> list[_Task]:
    places = episodes_of(config).places("test")
    return [_Task(config, run.path, place) for place in places if place.number < count]


def _finish(name: str, run: RunFolder, rows: list[dict[str, Any]]) -> None:
    write_episodes(run, name, pd.DataFrame(rows))
    run.mark(name)


def _is_of_codecs(config: ExperimentConfig) -> bool:
    return episodes_of(config).make_env().task == "compression"


def _look(ahead: _Ahead) -> dict[str, Any]:
    config, place = ahead.task.config, ahead.task.place
    episodes = episodes_of(config)
    env, episode = episodes.make_env(), episodes.draw(place)
    base = trained_policy(ahead.task.run, config, ahead.learner, ahead.seed)
    rng = stream(config.seed, f"look ahead {place.scenario} {place.number}")
    policy = Lookahead(env, base, config.evaluation.lookahead_futures, rng, believes=True)
    seen = Decisions(oracle_of(env))
    world = play(env, episode, policy, watch=seen)
    key = {"policy": ahead_of(ahead.learner), "kind": "lookahead", "training_seed": -1}
    return key | played_row(place, world, seen)


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
