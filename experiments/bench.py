"""How fast the environment is: decisions and training steps a second, beside CartPole in the same run."""

import os
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, Final, TypedDict

import gymnasium as gym
from rich.table import Table
from stable_baselines3.common.vec_env import DummyVecEnv

from experiments import bench_lanes as on
from experiments.bench_lanes import Block

CARTPOLE: Final = "CartPole-v1"
OURS: Final = "envs:dwcp/Compression-v0"
SCENARIOS: Final = ("wan", "hybrid", "flash-crowd", "lossy")
"""The default scenario first."""
ALWAYS: Final = 1
"""The action of the row with a sensible policy: always zstd; random answers crowd the path."""
_BLOCK_S: Final = 0.1
"""CPU seconds of one block; blocks of both environments take turns, so that both see the same machine."""
_LIBRARIES: Final = ("gymnasium", "numpy", "numba", "simpy", "stable-baselines3", "torch")


class Row(TypedDict):
    """One figure: ours, CartPole's, and ours over CartPole's (the median over the blocks).

    Figures that CartPole has no counterpart of have none beside them.
    """

    name: str
    value: float
    unit: str
    cartpole: float | None
    ratio: float | None


class Bench(TypedDict):
    """The machine and its figures."""

    machine: dict[str, Any]
    rows: list[Row]


def measure(seconds: float = 3.0, scenarios: Sequence[str] = SCENARIOS, *, lanes: bool = True) -> Bench:
    """Measure everything, in CPU seconds of this process, resets included.

    Args:
        seconds: CPU seconds for each figure, ours and CartPole's together; twice that for training.
        scenarios: Those in which decisions are counted; training is on the first.
        lanes: Whether the compiled world is measured, too.
    """
    cartpole = _random_steps(gym.make(CARTPOLE))
    rows = [
        _row(f"decisions, {name}, random answers", _random_steps(_ours(name)), cartpole, seconds)
        for name in scenarios
    ]
    usual = scenarios[0]
    rows.append(
        _row(f"decisions, {usual}, always zstd", _random_steps(_ours(usual), ALWAYS), cartpole, seconds)
    )
    rows.append(_training_row(usual, 2 * seconds))
    if lanes:
        rows += _lane_rows(usual, cartpole, seconds)
    return {"machine": _machine(), "rows": rows}


def bench_table(found: Bench) -> Table:
    """The figures for people."""
    machine = found["machine"]
    table = Table(title=f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}")
    table.add_column("figure")
    for column in ("ours", CARTPOLE, "ratio"):
        table.add_column(column, justify="right")
    for row in found["rows"]:
        unit = row["unit"]
        table.add_row(
            row["name"],
            f"{row['value']:,.{0 if row['value'] >= 100 else 3}f} {unit}",
            "" if row["cartpole"] is None else f"{row['cartpole']:,.0f} {unit}",
            "" if row["ratio"] is None else f"{row['ratio']:.3f}",
        )
    return table


def _ours(scenario: str) -> gym.Env[Any, Any]:
    return gym.make(OURS, scenario=scenario)


def _random_steps(env: gym.Env[Any, Any], always: int | None = None) -> Block:
    """Steps under random actions, or under one and the same."""
    env.reset(seed=0)
    env.action_space.seed(0)

    def run(steps: int) -> None:
        for _ in range(steps):
            action = env.action_space.sample() if always is None else always
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return run


def _training_row(scenario: str, seconds: float) -> Row:
    def learner(make: Callable[[], gym.Env[Any, Any]]) -> Block:
        return on.ppo_block(DummyVecEnv([make] * 64), 64)

    ours = learner(lambda: _ours(scenario))
    return _row(
        f"PPO training steps, {scenario}", ours, learner(lambda: gym.make(CARTPOLE)), seconds, steps=4096
    )


def _lane_rows(scenario: str, cartpole: Block, seconds: float) -> list[Row]:
    """The compiled world: decisions by lanes, then what CartPole has no counterpart of."""
    name = f"decisions, {scenario}, random answers"
    rows = [
        _row(f"{name}, {count} lanes", on.lanes_block(scenario, count), cartpole, seconds)
        for count in on.LANES
    ]
    fresh = on.lanes_block(scenario, on.USUAL, fresh=True)
    rows.append(_row(f"{name}, {on.USUAL} lanes, episodes drawn anew", fresh, cartpole, seconds))
    both = on.wall_rate(on.lanes_block(scenario, on.USUAL, threads=2), int(2e5 * seconds))
    rows.append(_plain(f"{name}, {on.USUAL} lanes, 2 threads, wall", both, "1/s"))
    learner, still = on.ppo_blocks(scenario)
    paired = _row("", learner, still, 4 * seconds, steps=4 * 8192)
    trained = f"PPO training steps, {scenario}, {on.USUAL} lanes"
    rows.append(_plain(trained, paired["value"], "1/s"))
    rows.append(_plain(f"{trained}, over those where a step costs nothing", paired["ratio"] or 0.0, ""))
    for running in on.RUNNING:
        event_us, events = on.event_us(running)
        rows.append(_plain(f"event, {running} transfers in flight", event_us, "us"))
    rows.append(_plain("events a decision", events, ""))
    rows.append(_plain(f"memory of a lane, {scenario}", on.bytes_a_lane(scenario), "B"))
    rows.append(_plain("compilation, once", on.compile_s(), "s"))
    return rows


def _plain(name: str, value: float, unit: str) -> Row:
    return {"name": name, "value": value, "unit": unit, "cartpole": None, "ratio": None}


def _row(name: str, ours: Block, cartpole: Block, seconds: float, steps: int | None = None) -> Row:
    """Blocks of both in turn; a first block of each warms up and sets how many steps the others take."""
    ours_steps = _steps_of_a_block(ours) if steps is None else steps
    cartpole_steps = _steps_of_a_block(cartpole) if steps is None else steps
    rates: list[tuple[float, float]] = []
    end_s = process_time() + seconds
    while not rates or process_time() < end_s:
        rates.append((_rate(ours, ours_steps), _rate(cartpole, cartpole_steps)))
    value, other = (median(column) for column in zip(*rates, strict=True))
    ratio = median(mine / theirs for mine, theirs in rates)
    return {"name": name, "value": value, "unit": "1/s", "cartpole": other, "ratio": ratio}


def _steps_of_a_block(block: Block) -> int:
    block(256)
    return max(1, round(_rate(block, 256) * _BLOCK_S))


def _rate(block: Block, steps: int) -> float:
    start_s = process_time()
    block(steps)
    return steps / max(process_time() - start_s, 1e-9)


def _machine() -> dict[str, Any]:
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _LIBRARIES},
    }


def _cpu() -> str:
    """Model name as Linux tells it, else what Python knows."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text("utf-8").splitlines() if told.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
