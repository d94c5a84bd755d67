"""What goes between the service and the process of a candidate: frames of a fixed length, no more."""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

ANSWERED, FAILED, READY = 0, 1, 2
"""What an answer may be: one, none (the policy raised), or that the process has loaded."""
_NUMBER: Final = struct.Struct("<Q")
_HEAD: Final = struct.Struct("<QBid")


class Frame(NamedTuple):
    """An answer.

    Attributes:
        number: Of the question.
        status: ``ANSWERED``, ``FAILED`` or ``READY``.
        action: Place among the candidate's actions.
        took_ms: In its process.
        scores: Of the actions, float32 (A,).
    """

    number: int
    status: int
    action: int
    took_ms: float
    scores: NDArray[np.float32]


class Frames:
    """Frames for a policy of so many features and actions."""

    def __init__(self, features: int, actions: int) -> None:
        self._features, self._actions = features, actions
        self.question_bytes = _NUMBER.size + 4 * features + actions
        self.answer_bytes = _HEAD.size + 4 * actions

    def question(self, number: int, values: NDArray[np.float32], mask: NDArray[np.bool_]) -> bytes:
        """Question to bytes: values (F,), mask (A,)."""
        return _NUMBER.pack(number) + values.tobytes() + mask.tobytes()

    def read_question(self, frame: bytes) -> tuple[int, NDArray[np.float32], NDArray[np.bool_]]:
        """And back."""
        (number,) = _NUMBER.unpack_from(frame)
        values = np.frombuffer(frame, np.float32, self._features, _NUMBER.size)
        mask = np.frombuffer(frame, np.bool_, self._actions, _NUMBER.size + 4 * self._features)
        return number, values, mask

    def answer(
        self, number: int, status: int, action: int, took_ms: float, scores: NDArray[np.float32]
    ) -> bytes:
        """Answer to bytes."""
        return _HEAD.pack(number, status, action, took_ms) + scores.tobytes()

    def read_answers(self, buffer: bytes) -> Iterator[Frame]:
        """All whole answers at the start of a buffer."""
        for start in range(0, len(buffer) - self.answer_bytes + 1, self.answer_bytes):
            scores = np.frombuffer(buffer, np.float32, self._actions, start + _HEAD.size)
            yield Frame._make((*_HEAD.unpack_from(buffer, start), scores))
