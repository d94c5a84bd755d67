"""How fast both engines are when many transfers run at once: by decision, and by event."""

from collections.abc import Callable
from time import process_time
from typing import Any, Final

import numpy as np

from envs.base import WorldEnv
from envs.vector import lanes_of
from experiments.bench_clock import Block
from experiments.bench_lanes import QUESTIONS, Dice, step
from sim.batch.world import BatchWorld, OpenTo, run_lane
from sim.catalogue import find_scenario
from sim.codecs import parse_codec
from sim.decisions import Rules
from sim.episode import Episode, draw_episode
from sim.jit import announce
from sim.scenarios import Scenario
from sim.workloads import Workload
from sim.world import World

_CODECS: Final = ("none", "zstd")
_ZSTD: Final = 1
_TURN_S: Final = 0.2


def crowd(running: int) -> Scenario:
    """A scenario in which so many transfers run at once and as many wait for their slots, on one path."""
    return find_scenario("datacenter").with_(
        requests=2 * running,
        slots=running,
        workload=Workload(mix="default", interval_s=1e-6, max_bytes=1e8, size_scale=0.05),
    )


def crowd_block(question: str, running: int, *, engine: str) -> Block:
    """Whole episodes of a crowd under random answers, one at a time; the episode is drawn before.

    Args:
        question: What is asked; shares are asked for some dozen times an episode.
        running: Transfers at once.
        engine: ``simpy`` or ``batch``.
    """
    scenario = crowd(running)
    paced: dict[str, Any] = {"control_s": 0.002 * running} if question in ("share", "joint") else {}
    env = QUESTIONS[question](scenario, **paced)
    episode = draw_episode(scenario, 0)
    play = _play_lane(env, episode) if engine == "batch" else _play_single(env, episode)

    def run(steps: int) -> int:
        taken = 0
        while taken < steps:
            taken += play()
        return taken

    return run


def event_us(running: int) -> tuple[float, float, float]:
    """What an event costs with so many transfers running, no question open, always zstd.

    An event is what an engine has to put on its agenda: that a transfer comes, that its connections are open,
    and, whenever one starts or ends, which will end next.

    Returns:
        Microseconds of CPU an event on the compiled world, the same on SimPy's, and events a transfer.
    """
    episode = draw_episode(crowd(running), 0)
    codecs = [parse_codec(name) for name in _CODECS]
    batch = BatchWorld([episode], 1, codecs, OpenTo(_ZSTD, dispatch=False, share=False, control_s=1.0))

    def on_lane() -> None:
        batch.start(0, 0)
        batch.next_question(0)

    def on_simpy() -> None:
        World(episode, codecs, Rules(codec=lambda _question: _ZSTD)).next_question()

    announce(run_lane, "the world of single lanes", 20)
    on_lane()
    lane_s = _seconds(on_lane)
    events = int(batch.arrays.lanes[0]["seq"])
    return lane_s / events * 1e6, _seconds(on_simpy) / events * 1e6, events / (2 * running)


def events_a_decision(question: str, lanes: int = 16) -> float:
    """Events between two decisions in the default scenario under random answers, over whole episodes."""
    env = QUESTIONS[question]()
    many = lanes_of(env, lanes, [draw_episode(env.scenarios[0], seed) for seed in range(lanes)])
    many.seed(list(range(lanes)))
    many.begin(np.arange(lanes))
    dice = Dice(env.action_space, lanes, masked=env.masked)
    decisions = number = 0
    while not many.seen.ended.all():
        decisions += int((~many.seen.ended).sum())
        step(many, dice, number)
        number += 1
    return int(many.world.arrays.lanes["seq"].sum()) / decisions


def _seconds(play: Callable[[], None]) -> float:
    """CPU seconds of one run: a mean over at least `_TURN_S`."""
    start_s, runs = process_time(), 0
    while runs == 0 or process_time() - start_s < _TURN_S:
        play()
        runs += 1
    return (process_time() - start_s) / runs


def _play_lane(env: WorldEnv, episode: Episode) -> Callable[[], int]:
    many = lanes_of(env, 1, [episode])
    many.seed([0])
    dice = Dice(env.action_space, 1, masked=env.masked)

    def play() -> int:
        many.begin([0])
        taken = 0
        while not many.seen.ended[0]:
            step(many, dice, taken)
            taken += 1
        return taken

    return play


def _play_single(env: WorldEnv, episode: Episode) -> Callable[[], int]:
    dice = Dice(env.action_space, 1, masked=env.masked)

    def play() -> int:
        _, info = env.reset(options={"episode": episode})
        taken, ended = 0, False
        while not ended:
            action = dice.allowed(taken, info["action_mask"][None]) if env.masked else dice.actions(taken)
            _, _, ended, _, info = env.step(action[0])
            taken += 1
        return taken

    return play
