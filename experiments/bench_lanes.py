"""Blocks of steps of both engines under random answers, what lanes take of memory, and compiling them."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.allocation import Allocation
from envs.base import Mask
from envs.compression import Compression
from envs.joint import Joint
from envs.lanes import EnvLanes
from envs.scheduling import Scheduling
from envs.vector import has_lanes, lanes_of
from experiments.bench_clock import Block
from sim.batch.world import SHELF
from sim.catalogue import find_scenario
from sim.episode import Episode, draw_episode
from sim.scenarios import Scenario

CARTPOLE: Final = "CartPole-v1"
QUESTIONS: Final[dict[str, type[Compression | Allocation | Scheduling | Joint]]] = {
    "codec": Compression,
    "share": Allocation,
    "dispatch": Scheduling,
    "joint": Joint,
}
"""The environment that puts each question; ``joint`` puts all."""
_POOL: Final = 64
"""Episodes that lanes run, drawn before the clock starts: to draw one takes longer than to run it."""
_THROWS: Final = 4096


class Dice:
    """Random actions, thrown before the clock starts, evenly among what a mask allows.

    Args:
        space: Of the actions.
        copies: Environments side by side.
        masked: Whether masks are kept to.
    """

    def __init__(self, space: spaces.Space[Any], copies: int, *, masked: bool = False) -> None:
        rng = np.random.default_rng(0)
        throws = max(16, _THROWS // copies)
        if isinstance(space, spaces.Box):
            self._thrown: NDArray[Any] = rng.uniform(space.low, space.high, (throws, copies, *space.shape))
            return
        self._discrete = isinstance(space, spaces.Discrete)
        sizes = [int(space.n)] if isinstance(space, spaces.Discrete) else _sizes(space)
        self._ends = np.cumsum(sizes).tolist()
        self._thrown = rng.integers(sizes, size=(throws, copies, len(sizes)))
        if self._discrete:
            self._thrown = self._thrown[..., 0]
        if masked:  # of what is allowed the highest score: a zero is never chosen
            self._thrown = 1.0 - rng.random((throws, copies, sum(sizes)), np.float32)

    def actions(self, number: int) -> NDArray[Any]:
        """The actions of a step, one a copy."""
        thrown: NDArray[Any] = self._thrown[number % len(self._thrown)]
        return thrown

    def allowed(self, number: int, masks: Mask) -> NDArray[Any]:
        """The actions of a step that keep to masks, shape (copies, actions)."""
        scores = self.actions(number) * masks
        if self._discrete:
            best: NDArray[Any] = scores.argmax(axis=1)
            return best
        parts = zip([0, *self._ends], self._ends, strict=False)
        return np.stack([scores[:, start:end].argmax(axis=1) for start, end in parts], axis=1)


def simpy_block(question: str, scenario: str | None = None, always: int | None = None) -> Block:
    """Steps of the single environment, resets included, under random answers or always the same."""
    env = gym.make(f"envs:dwcp/{QUESTIONS[question].__name__}-v0", **_where(scenario))
    return _single_block(env, always, masked=QUESTIONS[question].masked)


def cartpole_block(copies: int = 1) -> Block:
    """Steps of CartPole: of the plain environment, or of so many copies in its own vector environment."""
    if copies == 1:
        return _single_block(gym.make(CARTPOLE))
    many = gym.make_vec(CARTPOLE, num_envs=copies, vectorization_mode="vector_entry_point")
    many.reset(seed=0)
    dice = Dice(many.single_action_space, copies)

    def run(steps: int) -> int:
        turns = -(-steps // copies)
        for number in range(turns):
            many.step(dice.actions(number))
        return turns * copies

    return run


def lanes_block(question: str, lanes: int, scenario: str | None = None, *, fresh: bool = False) -> Block:
    """Steps of so many lanes under random answers: observations and new episodes included.

    Args:
        question: What is asked.
        lanes: Side by side.
        scenario: Of the episodes; the environment's own when None.
        fresh: Whether every episode is drawn anew.
    """
    env = QUESTIONS[question](**_where(scenario))
    pool = () if fresh else episodes(env.scenarios[0], _POOL)
    many = lanes_of(env, lanes, pool)
    many.seed(list(range(lanes)))
    many.begin(np.arange(lanes))
    dice = Dice(env.action_space, lanes, masked=env.masked)

    def run(steps: int) -> int:
        turns = -(-steps // lanes)
        for number in range(turns):
            step(many, dice, number)
            if many.seen.ended.any():
                many.begin(np.flatnonzero(many.seen.ended))
        return turns * lanes

    return run


def step(many: EnvLanes, dice: Dice, number: int) -> None:
    """One decision of each lane; those at their end stay there."""
    masked = many.env.masked
    many.step(dice.allowed(number, many.seen.masks) if masked else dice.actions(number))


def questions_on_lanes() -> list[str]:
    """Those whose environments have copies on the compiled world."""
    return [question for question, make in QUESTIONS.items() if has_lanes(make())]


def episodes(scenario: Scenario | str, count: int) -> list[Episode]:
    """Episodes of a scenario, by their seeds."""
    found = find_scenario(scenario) if isinstance(scenario, str) else scenario
    return [draw_episode(found, seed) for seed in range(count)]


def bytes_a_lane(question: str, lanes: int = 8) -> tuple[float, float]:
    """Memory of a lane, and of an episode, which lanes may share; both of the default scenario."""
    env = QUESTIONS[question]()
    many = lanes_of(env, lanes, episodes(env.scenarios[0], 1))
    many.begin(np.arange(lanes))
    arrays = many.world.arrays._asdict()
    shelf = sum(arrays.pop(name).nbytes for name in SHELF)
    own = [array for name, array in arrays.items() if name not in ("codecs", "fresh")]
    own += [*many.world.rows, *many.seen, many.seen.observations, many.rewards]  # observations take turns
    return sum(array.nbytes for array in own) / lanes, float(shelf)


def compile_s(questions: Sequence[str]) -> list[float]:
    """CPU seconds until the first steps of each question's lanes, where nothing has been compiled before.

    One after the other in one fresh process: the first compiles the world, too. To import is not counted.
    """
    call = (
        "import sys; from time import process_time; from experiments.bench_lanes import lanes_block\n"
        "for question in sys.argv[1:]:\n"
        "    start_s = process_time(); lanes_block(question, 2)(2); print(process_time() - start_s)"
    )
    with tempfile.TemporaryDirectory() as folder:
        here = os.environ | {"NUMBA_CACHE_DIR": folder, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", call, *questions]
        done = subprocess.run(command, check=True, env=here, stdout=subprocess.PIPE, text=True)
    return [float(line) for line in done.stdout.split()]


def _single_block(env: gym.Env[Any, Any], always: int | None = None, *, masked: bool = False) -> Block:
    dice = Dice(env.action_space, 1, masked=masked)
    _, info = env.reset(seed=0)

    def run(steps: int) -> int:
        nonlocal info
        for number in range(steps):
            if always is not None:
                action: Any = always
            elif masked:
                action = dice.allowed(number, info["action_mask"][None])[0]
            else:
                action = dice.actions(number)[0]
            _, _, terminated, truncated, info = env.step(action)
            if terminated or truncated:
                _, info = env.reset()
        return steps

    return run


def _where(scenario: str | None) -> dict[str, Any]:
    return {} if scenario is None else {"scenario": scenario}


def _sizes(space: spaces.Space[Any]) -> list[int]:
    if not isinstance(space, spaces.MultiDiscrete):
        raise ValueError(f"actions must be Box, Discrete or MultiDiscrete, got {space}")
    sizes: list[int] = space.nvec.tolist()
    return sizes
