"""The clocks of the bench: blocks of steps in turn, on CPU time and on the wall; and several at once."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from time import perf_counter, process_time
from typing import Any, Final, NamedTuple, TypedDict

BLOCK_S: Final = 0.1
"""CPU seconds of one block; blocks of both environments take turns, so that both see the same machine."""
_WARM_S: Final = 0.01
_PATIENCE_S: Final = 300.0
WALL: Final = "wall"
"""Last word of the name of a row that was taken on the wall clock; the row before it has the CPU time."""

Block = Callable[[int], int]
"""Takes at least so many steps of one environment, and returns how many it took."""


class Row(TypedDict):
    """One figure: ours, CartPole's, and ours over CartPole's (the median over the blocks).

    Figures that CartPole has no counterpart of have none beside them.
    """

    name: str
    value: float
    unit: str
    cartpole: float | None
    ratio: float | None


class Rate(NamedTuple):
    """Steps a second of CPU, of all threads of this process together, and of the wall clock."""

    cpu: float
    wall: float


def rate(block: Block, steps: int) -> Rate:
    """How fast a block takes at least so many steps."""
    cpu_s, wall_s = process_time(), perf_counter()
    taken = block(steps)
    cpu_s, wall_s = process_time() - cpu_s, perf_counter() - wall_s
    return Rate(taken / max(cpu_s, 1e-9), taken / max(wall_s, 1e-9))


def in_turn(
    blocks: Sequence[Block], seconds: float, lengths: Sequence[int] | None = None
) -> list[list[Rate]]:
    """Let blocks take turns for so many CPU seconds.

    Args:
        blocks: Who takes turns.
        seconds: Of CPU, all of them together; at least one turn is had.
        lengths: Steps of each in a turn; when None, each is warmed up and takes as many as take `BLOCK_S`.

    Returns:
        For each turn the rate of each block.
    """
    steps = [steps_of_a_block(block) for block in blocks] if lengths is None else lengths
    turns: list[list[Rate]] = []
    end_s = process_time() + seconds
    while not turns or process_time() < end_s:
        turns.append([rate(block, length) for block, length in zip(blocks, steps, strict=True)])
    return turns


def rows_of(
    name: str, ours: Block, cartpole: Block, seconds: float, lengths: Sequence[int] | None = None
) -> list[Row]:
    """Steps a second beside CartPole's, on CPU time and on the wall; arguments as of `in_turn`."""
    turns = in_turn((ours, cartpole), seconds, lengths)
    return [
        _beside(name, "1/CPU s", [(mine.cpu, theirs.cpu) for mine, theirs in turns]),
        _beside(f"{name}, {WALL}", "1/s", [(mine.wall, theirs.wall) for mine, theirs in turns]),
    ]


def row(name: str, unit: str, value: float, cartpole: float | None = None) -> Row:
    """A figure that was taken otherwise."""
    ratio = None if cartpole is None else value / cartpole
    return {"name": name, "value": value, "unit": unit, "cartpole": cartpole, "ratio": ratio}


def at_once(make: Callable[..., Block], arguments: Sequence[Any], processes: int, seconds: float) -> float:
    """Steps a second of the wall clock of as many processes together, each with a block of its own.

    Args:
        make: Makes a block; at the top of a module, for it travels to other processes.
        arguments: Of ``make``.
        processes: How many.
        seconds: Of the wall clock.
    """
    context = multiprocessing.get_context("spawn")
    begin = context.Barrier(processes)
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_meet, initargs=(begin,)) as pool:
        tasks = [pool.submit(_go_on, make, tuple(arguments), seconds) for _ in range(processes)]
        return sum(task.result() for task in tasks)


def steps_of_a_block(block: Block) -> int:
    """As many steps as take about `BLOCK_S`; the first of them may compile, so they are taken twice."""
    block(1)
    steps = 1
    while True:
        start_s = process_time()
        taken = block(steps)
        spent_s = process_time() - start_s
        if spent_s >= _WARM_S:
            return max(1, round(taken * BLOCK_S / spent_s))
        steps = 4 * taken


def _beside(name: str, unit: str, pairs: Sequence[tuple[float, float]]) -> Row:
    value, other = (median(column) for column in zip(*pairs, strict=True))
    ratio = median(mine / theirs for mine, theirs in pairs)
    return {"name": name, "value": value, "unit": unit, "cartpole": other, "ratio": ratio}


_begin: Any = None
"""Where this process, if it is a worker, waits for the others."""


def _meet(begin: Any) -> None:
    global _begin
    _begin = begin


def _go_on(make: Callable[..., Block], arguments: tuple[Any, ...], seconds: float) -> float:
    block = make(*arguments)
    steps = steps_of_a_block(block)
    _begin.wait(_PATIENCE_S)
    start_s, taken = perf_counter(), 0
    while perf_counter() - start_s < seconds:
        taken += block(steps)
    return taken / (perf_counter() - start_s)
