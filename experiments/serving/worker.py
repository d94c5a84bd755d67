"""The process of a candidate: ``python -m experiments.serving.worker BUNDLE``, questions in, answers out."""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import BinaryIO, Final

import numpy as np

from experiments.serving.frames import ANSWERED, FAILED, READY, Frames
from experiments.shadow.loader import Bundle, load

_NICENESS: Final = 5
_PR_SET_PDEATHSIG: Final = 1
"""Of Linux' ``prctl``: die with the service, also when hung."""


def main() -> None:
    """Answer from a bundle until the service closes its end."""
    stay_behind()
    bundle = load(Path(sys.argv[1]))
    questions, answers = own_pipes()
    serve(bundle, questions, answers)


def stay_behind() -> None:
    """Let the service go first where they share a core, and die with it."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(_NICENESS)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output, which nothing else can print to from now on."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return sys.stdin.buffer, answers


def serve(bundle: Bundle, questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer one question after the other."""
    frames, nothing = Frames(len(bundle.features), len(bundle.actions)), np.zeros(len(bundle.actions), "<f4")

    def ask(values: np.ndarray, mask: np.ndarray) -> tuple[int, np.ndarray]:
        action, scores = bundle.answer(values, None if mask.all() else mask)
        return int(action), scores

    answers.write(frames.answer(0, READY, 0, 0.0, nothing))
    answer_all(frames, ask, questions, answers)


def answer_all(
    frames: Frames,
    ask: Callable[[np.ndarray, np.ndarray], tuple[int, np.ndarray]],
    questions: BinaryIO,
    answers: BinaryIO,
) -> None:
    """Put each question to a function; one that raises gives a frame that says so."""
    nothing = np.zeros(frames.answer_bytes // 4, "<f4")
    rest = b""
    while chunk := os.read(questions.fileno(), 1 << 16):
        rest += chunk
        whole = len(rest) - len(rest) % frames.question_bytes
        said = []
        for start in range(0, whole, frames.question_bytes):
            number, values, mask = frames.read_question(rest[start : start + frames.question_bytes])
            begun = perf_counter()
            try:
                action, scores = ask(values, mask)
                status = ANSWERED
            except Exception:
                action, scores, status = 0, nothing[: len(mask)], FAILED
            said.append(frames.answer(number, status, action, 1e3 * (perf_counter() - begun), scores))
        answers.write(b"".join(said))
        rest = rest[whole:]


if __name__ == "__main__":
    main()
