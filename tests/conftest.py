"""What every test runs under: one thread, Ctrl-C as ever, the same Hypothesis examples; answers by chance."""

import os
import signal

# Before anything loads torch or BLAS: they read it once, and two test processes share two cores.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
from hypothesis import settings

from sim.decisions import WAIT, Answer, CodecQuestion, DispatchQuestion, Go, Question, Shares
from sim.sharing import MOST_STREAMS

settings.register_profile("house", derandomize=True, deadline=None, database=None)
settings.load_profile("house")

# A shell that runs the tests in the background has them, and the commands they start, ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)


class RandomAnswers:
    """Answers by chance, with all that an answer may say: waiting, weights of zero, other streams.

    Args:
        seed: Of the chance.
        codecs: Answers that a codec question has.
    """

    def __init__(self, seed: int, codecs: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._codecs = codecs

    def __call__(self, question: Question) -> Answer:
        rng = self._rng
        if isinstance(question, CodecQuestion):
            return int(rng.integers(self._codecs))
        if isinstance(question, DispatchQuestion):
            ways = [(place, path) for place, one in enumerate(question.waiting) for path in one.paths]
            wait = question.may_wait and rng.random() < 0.3
            return WAIT if wait else Go(*ways[int(rng.integers(len(ways)))])
        count = len(question.running)
        link, cpu = rng.exponential(size=(2, count)) * (rng.random((2, count)) < 0.9)
        link[-1] += 1e-9  # not all may be zero
        cpu[-1] += 1e-9
        streams = [int(one) for one in rng.integers(1, MOST_STREAMS + 1, count)]
        return Shares(link.tolist(), cpu.tolist(), streams if rng.random() < 0.5 else None)


@pytest.fixture(scope="session")
def random_answers() -> type[RandomAnswers]:
    """Answers by chance, from a seed and the number of codecs."""
    return RandomAnswers
