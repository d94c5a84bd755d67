"""Concurrency tuning online: how many streams, from the throughput that the last number brought."""

from abc import abstractmethod
from typing import Final

import numpy as np

from agents.policy import Mask, Observation, Policy
from agents.share_rules import Floats, Tilts, allocation, seen_slots, stream_tilt
from envs.allocation_rewards import FALCON_K
from envs.base import WorldEnv

_MEMORY: Final = 20
"""Trials that Bayesian search keeps: conditions change, so old ones mislead."""
_LENGTH, _NOISE, _CURIOSITY = 1.5, 0.1, 1.0
"""Of its process: correlation length in places, variance of a trial, and weight of the deviation."""


class StreamTuner(Policy):
    """One number of streams for all multi-stream transfers, tuned to the highest utility; shares stay plain.

    The utility of a number is the throughput that it brought, over the bandwidth, over ``K^streams``. A
    tuner has a memory of its episode: a batch is taken as rows of one episode, in order.

    Args:
        env: Whose observations it is shown; its ``streams`` are the numbers to choose from.

    Raises:
        ValueError: If there is nothing to choose from.

    Source:
        Arifuzzaman and Arslan: Online Optimization of File Transfers in High-Speed Networks. SC 2021
        (Falcon): the utility, and the three searches that are its subclasses.
    """

    def __init__(self, env: WorldEnv) -> None:
        self._env = allocation(env)
        if len(self._env.streams) < 2:
            raise ValueError(
                f"{self.name} chooses among numbers of streams, got {self._env.streams}; "
                "give the environment some, as streams=(1, 2, 4, 8, 16)"
            )
        self._choices = tuple(sorted(self._env.streams))
        self.reset()

    def reset(self) -> None:
        """Begin in the middle, knowing nothing."""
        self._place = (len(self._choices) - 1) // 2

    def act(self, observation: Observation, mask: Mask | None = None) -> Tilts:
        """Plain shares and the number to try next, float32, shape (size,) or (N, size)."""
        if observation.ndim == 2:
            return np.array([self.act(row) for row in observation], np.float32)
        slots = seen_slots(observation, self._env)
        tuned = (slots["multi_stream"] > 0.5)[0]
        if tuned.any():
            streams = slots["streams"][0, tuned]
            utility = float((slots["wire_share"][0, tuned] / FALCON_K**streams).sum())
            tried = int(np.argmin(np.abs(np.log(self._choices) - np.log(streams).mean())))
            self._place = min(max(self._next(tried, utility), 0), len(self._choices) - 1)
        action = np.zeros(self._env.action_space.shape or (), np.float32)
        chosen = np.full(self._env.slots, float(self._choices[self._place]))
        action[2 * self._env.slots :] = stream_tilt(chosen, self._env.streams)
        return action

    @abstractmethod
    def _next(self, tried: int, utility: float) -> int:
        """Place of the number to try after the one at ``tried`` brought this utility."""


class HillClimb(StreamTuner):
    """One number further the same way as long as utility does not fall, else back."""

    name: str = "hill_climb"

    def reset(self) -> None:
        """Begin in the middle, upwards."""
        super().reset()
        self._way = 1
        self._last = -np.inf

    def _next(self, tried: int, utility: float) -> int:
        if utility < self._last or not 0 <= tried + self._way < len(self._choices):
            self._way = -self._way
        self._last = utility
        return tried + self._way


class GradientAscent(StreamTuner):
    """Try the number below and the one above, then move towards the better, further while that stays so."""

    name = "gradient"

    def reset(self) -> None:
        """Begin in the middle, with the number below."""
        super().reset()
        self._centre = self._place
        self._stride = 0
        self._below: float | None = None

    def _next(self, tried: int, utility: float) -> int:
        if self._below is None:
            self._below = utility
            return self._centre + 1
        way = int(np.sign(utility - self._below))
        self._stride = self._stride + way if way * self._stride > 0 else way
        self._centre = min(max(self._centre + self._stride, 0), len(self._choices) - 1)
        self._below = None
        return self._centre - 1


class BayesianSearch(StreamTuner):
    """The number with the highest upper confidence bound of a Gaussian process over the last trials."""

    name = "bayesian"

    def reset(self) -> None:
        """Begin in the middle, with no trials."""
        super().reset()
        self._trials: list[tuple[int, float]] = []

    def _next(self, tried: int, utility: float) -> int:
        self._trials = [*self._trials, (tried, utility)][-_MEMORY:]
        mean, deviation = _posterior(self._trials, len(self._choices))
        return int(np.argmax(mean + _CURIOSITY * deviation))


def _posterior(trials: list[tuple[int, float]], places: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the utility at each place, in standard deviations of the trials."""
    at = np.array([place for place, _ in trials], float)
    found = np.array([utility for _, utility in trials])
    found = (found - found.mean()) / max(float(found.std()), 1e-9)
    grid = np.arange(places, dtype=float)
    known = _kernel(at, at) + _NOISE * np.eye(len(at))
    across = _kernel(grid, at)
    mean = across @ np.linalg.solve(known, found)
    spread = 1.0 - np.einsum("ij,ji->i", across, np.linalg.solve(known, across.T))
    return mean, np.sqrt(np.maximum(spread, 0.0))


def _kernel(one: Floats, other: Floats) -> Floats:
    covariance: Floats = np.exp(-0.5 * ((one[:, None] - other[None, :]) / _LENGTH) ** 2)
    return covariance
