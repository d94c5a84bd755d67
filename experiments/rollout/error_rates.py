"""How often gates err: rollouts simulated by the thousand, with the very tests that watch a real one."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.rollout.assignment import SHARES, STAGES
from experiments.rollout.betting import log_capital
from experiments.rollout.evidence import LATE, TESTS, gain_draws
from experiments.rollout.gates import Gates, Step

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

DECISIONS: Final = 8
"""In a session."""


class Hits(NamedTuple):
    """How many decisions of a session are hit, if any is.

    Attributes:
        decisions: Of the session that can be hit.
        numbers: Of those that are.
        chances: Of these numbers.
    """

    decisions: int
    numbers: tuple[int, ...]
    chances: tuple[float, ...]


_OF_ALL: Final = Hits(DECISIONS, (1, 2, 4), (0.4, 0.2, 0.4))
"""Late or missing answers: as many in clusters as a correlation of 0.2 within a session makes."""
_OF_JUDGED: Final = Hits(2, (1, 2), (0.67, 0.33))
"""Wrong answers, among the two of a session of which it becomes known."""
SCATTER: Final = 0.45
"""Standard deviation of the log cost of a session over what was expected."""
_TAIL: Final = 3
"""Degrees of freedom of Student's t, by which log costs scatter: heavier tails than any lognormal."""
_CHUNK: Final = 50
"""Rollouts at a time."""
_PATIENCE: Final = 1.5
"""Multiple of a stage's least length after which a rollout is given up where it is."""


class Truth(NamedTuple):
    """What a candidate really is.

    Attributes:
        saved: Share of the typical cost of a session that it saves; below 0 it is dearer.
        wrong: Share of its answers that are wrong.
        slow: Share of its answers that take longer than any limit of the gates.
        silent: Share of decisions to which it has no answer.
    """

    saved: float = 0.12
    wrong: float = 0.03
    slow: float = 0.002
    silent: float = 0.0002


class Rates(NamedTuple):
    """What became of many rollouts.

    Attributes:
        back: Share that was taken back.
        full: Share that came to answer everything.
        decisions: Median of the decisions in the stage in which they were taken back, NaN if none was.
        answered: Median of those among them that the candidate answered.
    """

    back: float
    full: float
    decisions: float
    answered: float


def least_sessions(stage: str, gates: Gates) -> int:
    """Sessions that a stage takes at least, on a site so busy that its days are over by then."""
    step, share = gates.step(stage), SHARES[stage]
    least = 0 if step is None else step.decisions
    smaller = min(share, 1.0 - share) if 0.0 < share < 1.0 else 1.0
    return int(np.ceil(max(least, 10_000) / DECISIONS / smaller))


def rates(
    truth: Truth,
    gates: Gates,
    rollouts: int,
    rng: np.random.Generator,
    *,
    stages: tuple[str, ...] = STAGES[1:],
    pushed: bool = False,
) -> Rates:
    """Play rollouts of a candidate stage by stage.

    A stage ends when a guard breaks at any session, or when its conditions hold after the least number of
    sessions; one that takes half as long again is given up where it is.

    Args:
        truth: Of the candidate, the same in all stages.
        gates: Conditions.
        rollouts: How many.
        rng: The only source of chance.
        stages: To go through, in order.
        pushed: Whether an operator takes it on after the least number of sessions, whatever is missing.
    """
    back, full, lost = np.zeros(rollouts, np.bool_), np.zeros(rollouts, np.bool_), np.full(rollouts, np.nan)
    share_lost = lost.copy()
    for start in range(0, rollouts, _CHUNK):
        alive = np.arange(start, min(start + _CHUNK, rollouts))
        for stage in stages:
            if not len(alive):
                break
            broken, left = _stage(truth, gates, stage, len(alive), rng, pushed)
            gone = broken < left
            back[alive[gone]] = True
            lost[alive[gone]] = (broken[gone] + 1) * DECISIONS
            share_lost[alive[gone]] = lost[alive[gone]] * SHARES[stage]
            alive = alive[~gone & np.isfinite(left)]
        full[alive] = True
    middle = [float(np.median(one[back])) if back.any() else np.nan for one in (lost, share_lost)]
    return Rates(float(back.mean()), float(full.mean()), *middle)


def _stage(
    truth: Truth, gates: Gates, stage: str, rollouts: int, rng: np.random.Generator, pushed: bool
) -> tuple[Floats, Floats]:
    """Session at which a guard breaks, and that at which the stage is left; infinite if never."""
    least, share, step = least_sessions(stage, gates), SHARES[stage], gates.step(stage)
    shape = rollouts, least if pushed or step is None else int(_PATIENCE * least)
    shares = {
        "wrong": _shares(rng, truth.wrong, _OF_JUDGED, shape),
        "slow": _shares(rng, truth.slow, _OF_ALL, shape),
        "silent": _shares(rng, truth.silent, _OF_ALL, shape),
    }
    broken = _broken_shares(shares, truth, gates)
    ready = np.ones(shape, np.bool_)
    if step is not None and not pushed:
        ready = _measured(shares, step)
    if 0.0 < share < 1.0:
        treated = rng.random(shape, np.float32) < share
        ratio = _heavy(rng, shape) + np.float32(np.log1p(-truth.saved)) * treated
        draws, largest = gain_draws(ratio, treated, share, float(np.log(gates.sessions.largest_ratio)))
        if gates.guard.regression is not None:
            bound = float(np.log1p(gates.guard.regression))
            broken = np.minimum(broken, _first(log_capital(draws - bound, largest + bound) >= _proof(gates)))
        if step is not None and step.gain is not None and not pushed:
            bound = float(np.log1p(-step.gain.above))
            shown = log_capital(bound - draws, largest - bound) >= np.log(1.0 / step.gain.p)
            ready &= np.maximum.accumulate(shown, axis=1)
    ready[:, : least - 1] = False
    return broken, _first(ready)


def _broken_shares(shares: dict[str, Singles], truth: Truth, gates: Gates) -> Floats:
    """Session at which one of the guards of shares breaks."""
    guard = gates.guard
    limits = (
        ("wrong", None if guard.accuracy is None else 1.0 - guard.accuracy),
        ("wrong", None if guard.drop is None else truth.wrong + guard.drop),
        ("slow", None if guard.p99_ms is None else LATE),
        ("silent", guard.errors),
    )
    broken = np.full(len(shares["wrong"]), np.inf)
    for name, limit in limits:
        if limit is not None and getattr(truth, name) > 0.0:
            capital = log_capital(shares[name] - limit, limit)
            broken = np.minimum(broken, _first(capital >= _proof(gates)))
    return broken


def _measured(shares: dict[str, Singles], step: Step) -> NDArray[np.bool_]:
    """Where what was measured until then is as good as the stage asks for."""
    most = {
        "wrong": None if step.accuracy is None else 1.0 - step.accuracy,
        "slow": None if step.p99_ms is None else LATE,
        "silent": step.errors,
    }
    ready = np.ones_like(shares["wrong"], np.bool_)
    count = np.arange(1, ready.shape[-1] + 1)
    for name, limit in most.items():
        if limit is not None:
            ready &= np.cumsum(shares[name], axis=1) <= limit * count
    return ready


def _proof(gates: Gates) -> float:
    return float(np.log(TESTS / gates.guard.p))


def _shares(rng: np.random.Generator, mean: float, hits: Hits, shape: tuple[int, int]) -> Singles:
    """Shares of decisions of sessions, of a mean: most have none, and one hit seldom comes alone."""
    numbers, chances = np.array(hits.numbers), np.array(hits.chances)
    struck = mean * hits.decisions / float(numbers @ chances)
    ends = np.concatenate([[0.0], np.cumsum(struck * chances)])
    drawn = rng.random(shape, np.float32)
    found = np.zeros(shape, np.float32)
    for number, low, high in zip(hits.numbers, ends[:-1], ends[1:], strict=True):
        found[(drawn >= low) & (drawn < high)] = number / hits.decisions
    return found


def _heavy(rng: np.random.Generator, shape: tuple[int, int]) -> Singles:
    """Student's t with `_TAIL` degrees of freedom, scaled to `SCATTER`."""
    squares = np.zeros(shape, np.float32)
    for _ in range(_TAIL):
        squares += rng.standard_normal(shape, np.float32) ** 2
    drawn = rng.standard_normal(shape, np.float32) / np.sqrt(squares / _TAIL)
    return np.asarray(drawn * np.float32(SCATTER / np.sqrt(_TAIL / (_TAIL - 2))), np.float32)


def _first(truths: NDArray[np.bool_]) -> Floats:
    """Place of the first True of each row, infinite without."""
    return np.where(truths.any(axis=1), truths.argmax(axis=1).astype(np.float64), np.inf)
