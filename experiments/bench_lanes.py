"""How fast the compiled world is: by lanes, by threads, by transfers in flight, and under a learner."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any, Final

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.catalogue import static_policies
from agents.learners.training_env import training_episode
from agents.learners.training_lanes import training_envs
from envs.compression import Compression
from envs.lanes import EnvLanes
from envs.vector import lanes_of
from sim.batch.world import SHELF, BatchWorld, OpenTo, run_lane
from sim.catalogue import find_scenario
from sim.codecs import parse_codec
from sim.episode import Episode, draw_episode
from sim.jit import announce
from sim.workloads import Workload

LANES: Final = (1, 16, 64, 256, 1024)
RUNNING: Final = (8, 64, 512, 4096)
"""Transfers that run at once."""
USUAL: Final = 256
_POOL: Final = 64
"""Episodes that lanes run, drawn before the clock starts: to draw one takes longer than to run it."""
_ZSTD: Final = 1

Block = Callable[[int], None]
"""Runs so many steps."""


def lanes_block(scenario: str, lanes: int, threads: int = 1, *, fresh: bool = False) -> Block:
    """Steps of so many lanes under random answers: observations and new episodes included.

    Args:
        scenario: Of the episodes.
        lanes: Side by side.
        threads: That share them.
        fresh: Whether every episode is drawn anew.
    """
    pool = () if fresh else episodes(scenario, _POOL)
    many = lanes_of(Compression(scenario), lanes, pool, threads=threads)
    many.seed(list(range(lanes)))
    many.begin(np.arange(lanes))
    rng = np.random.default_rng(0)
    actions = rng.integers(len(many.env.codecs), size=(64, lanes))

    def run(steps: int) -> None:
        for number in range(-(-steps // lanes)):
            step(many, actions[number % len(actions)])

    return run


def step(many: EnvLanes, actions: NDArray[Any]) -> None:
    """One decision of each lane; those at their end begin anew."""
    many.step(actions)
    if many.seen.ended.any():
        many.begin(np.flatnonzero(many.seen.ended))


def episodes(scenario: str, count: int) -> list[Episode]:
    """Episodes of a scenario, by their seeds."""
    return [draw_episode(find_scenario(scenario), seed) for seed in range(count)]


def wall_rate(block: Block, steps: int) -> float:
    """Steps a second on the wall clock: what several threads give together."""
    block(steps)
    start_s = perf_counter()
    block(steps)
    return steps / (perf_counter() - start_s)


def event_us(running: int) -> tuple[float, float]:
    """Microseconds of CPU an event with so many transfers in flight, and events a decision."""
    crowd = find_scenario("datacenter").with_(
        requests=2 * running,
        slots=running,
        workload=Workload(mix="default", interval_s=1e-6, max_bytes=1e8, size_scale=0.05),
    )
    world = BatchWorld(
        [draw_episode(crowd, 0)],
        1,
        [parse_codec("none"), parse_codec("zstd")],
        OpenTo(_ZSTD, False, False, 1.0),
    )
    announce(run_lane, "the world of single lanes", 20)
    spent_s, runs = 0.0, 0
    while spent_s < 0.2 or runs < 2:  # the first compiles
        world.start(0, 0)
        start_s = process_time()
        world.next_question(0)
        spent_s, runs = spent_s + process_time() - start_s if runs else 0.0, runs + 1
    events = int(world.arrays.lanes[0]["seq"])
    return spent_s / (runs - 1) / events * 1e6, events / (2 * running)


def bytes_a_lane(scenario: str) -> float:
    """Memory of a lane, its episode apart, which lanes may share."""
    many = BatchWorld(
        episodes(scenario, 1), 8, Compression(scenario).codecs, OpenTo(_ZSTD, False, False, 1.0)
    )
    arrays = many.arrays._asdict()
    return sum(one.nbytes for name, one in arrays.items() if name not in (*SHELF, "codecs", "fresh")) / 8


def compile_s() -> float:
    """CPU seconds until the first step of the lanes, where nothing has been compiled yet."""
    call = "from experiments.bench_lanes import lanes_block; lanes_block('wan', 2)(2)"
    with tempfile.TemporaryDirectory() as folder:
        start_s = os.times().children_user
        here = os.environ | {"NUMBA_CACHE_DIR": folder, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", call], check=True, env=here)
        return os.times().children_user - start_s


def ppo_blocks(scenario: str) -> tuple[Block, Block]:
    """Training steps of PPO on the lanes, and of the same PPO where a step costs nothing."""
    env = Compression(scenario)
    pool = [training_episode(env, one, static_policies(env)[0]) for one in episodes(scenario, 16)]
    ours = training_envs(pool, lambda: Compression(scenario), USUAL, 0.01, engine="batch")
    assert isinstance(env.observation_space, spaces.Box)
    return ppo_block(ours, 32), ppo_block(_Still(USUAL, env.observation_space, env.action_space), 32)


def ppo_block(envs: VecEnv, rollout: int) -> Block:
    """Training steps of PPO; updates after so many of each environment."""
    shape = {"net_arch": [64, 64]}
    model = PPO(
        "MlpPolicy",
        envs,
        n_steps=rollout,
        batch_size=2048,
        n_epochs=4,
        seed=0,
        device="cpu",
        policy_kwargs=shape,
    )

    def learn(steps: int) -> None:
        model.learn(steps, reset_num_timesteps=False)

    return learn


class _Still(VecEnv):
    """Environments in which nothing happens."""

    def __init__(self, count: int, seen: spaces.Box, actions: spaces.Space[Any]) -> None:
        super().__init__(count, seen, actions)
        self._seen = np.zeros((count, *seen.shape), np.float32)
        self._rest = np.zeros(count, np.float32), np.zeros(count, np.bool_)
        self._infos: list[dict[str, Any]] = [{} for _ in range(count)]

    def reset(self) -> VecEnvObs:
        return self._seen

    def step_async(self, actions: NDArray[Any]) -> None:
        pass

    def step_wait(self) -> VecEnvStepReturn:
        return self._seen, *self._rest, self._infos

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        return [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        pass

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs

    def close(self) -> None:
        pass
