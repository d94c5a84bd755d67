"""A policy that answers from an ONNX graph: one thread, buffers bound once, no learning library needed."""

import json
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime

from sim.errors import InputError

ACTION_SIZES: Final = "action_sizes"
"""Key in the graph's metadata: how many actions each part of an answer has, as JSON; ``[A]`` for one part,
``[]`` for an answer of numbers.
"""

_MASK: Final = "action_mask"

FEATURE_NAMES: Final = "feature_names"
"""Key in the graph's metadata: the features in the order of the input, as JSON."""


class Face(NamedTuple):
    """What a graph gives, and whether it takes a mask.

    Attributes:
        sizes: Actions of each part of an answer; empty for an answer of numbers.
        outputs: Scores, those of all parts side by side, or numbers of an answer.
        masked: Whether ``action_mask`` is an input.
    """

    sizes: tuple[int, ...]
    outputs: int
    masked: bool


class GraphPolicy:
    """Answers from an ONNX graph on one thread, with buffers bound once; has the face of a ``Policy``.

    Args:
        graph: The graph, serialised.
        source: The file it came from, for messages.
        name: What the policy is called.

    Raises:
        InputError: If the bytes are not a graph with ``obs`` (and ``action_mask``) in and ``action`` and
            ``scores`` out.
    """

    needs_world: ClassVar[bool] = False

    def __init__(self, graph: bytes, source: Path | str, name: str = "bundle") -> None:
        self.name = name
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            stored = self._session.get_modelmeta().custom_metadata_map
            sizes = tuple(int(size) for size in json.loads(stored[ACTION_SIZES]))
            inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
            masked = any(one.name == _MASK for one in inputs)
            self.face = Face(sizes, sum(sizes) or int(outputs[1].shape[1]), masked)
            self.features: int = int(inputs[0].shape[1])
            self.feature_names: list[str] | None = (
                json.loads(stored[FEATURE_NAMES]) if FEATURE_NAMES in stored else None
            )
            self._bind(len(outputs[0].shape) > 1)
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # the runtime's own errors share no base class
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                source, "", f"expected a policy graph (obs in, action and scores out): {reason}; export again"
            ) from error

    def _bind(self, several_parts: bool) -> None:
        sizes, outputs, masked = self.face
        parts = len(sizes) or outputs
        self._observation = np.zeros((1, self.features), np.float32)
        self._mask = np.ones((1, outputs), np.bool_)
        self._action = np.zeros((1, parts) if several_parts else (1,), np.int64 if sizes else np.float32)
        self._scores = np.zeros((1, outputs), np.float32)
        self._binding = self._session.io_binding()
        bound = self._observation
        self._binding.bind_input("obs", "cpu", 0, np.float32, bound.shape, bound.ctypes.data)
        if masked:
            self._binding.bind_input(_MASK, "cpu", 0, np.bool_, self._mask.shape, self._mask.ctypes.data)
        for name, buffer in (("action", self._action), ("scores", self._scores)):
            self._binding.bind_output(name, "cpu", 0, buffer.dtype.type, buffer.shape, buffer.ctypes.data)

    def act(self, observation: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_] | None = None) -> Any:
        """The action for one observation (F,): int, int64 (parts,) or float32 (size,); one a row for (N, F).

        Args:
            observation: Features in the order of the manifest.
            mask: True where an action is allowed, (A,) or (N, A), all parts side by side; None allows all. A
                graph that takes no mask heeds it in answers of one part only.
        """
        outside = mask if not self.face.masked else None
        if observation.ndim == 2:
            actions, scores = self.run(observation, mask)
            return actions if outside is None else np.where(outside, scores, -np.inf).argmax(axis=1)
        self._observation[0] = observation
        if self.face.masked:
            self._mask[0] = True if mask is None else mask
        self._session.run_with_iobinding(self._binding)
        if outside is not None:
            return int(np.where(outside, self._scores[0], -np.inf).argmax())
        return int(self._action[0]) if self._action.ndim == 1 else self._action[0].copy()

    def run(
        self, observations: npt.NDArray[np.float32], masks: npt.NDArray[np.bool_] | None = None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """Actions (n,), (n, parts) or (n, size) and scores (n, A) of a batch (n, F), its masks (n, A)."""
        given: dict[str, npt.NDArray[Any]] = {"obs": np.ascontiguousarray(observations, np.float32)}
        if self.face.masked:
            shape = (len(observations), self.face.outputs)
            given[_MASK] = np.ascontiguousarray(np.broadcast_to(True if masks is None else masks, shape))
        actions, scores = self._session.run(["action", "scores"], given)
        return actions, scores

    def reset(self) -> None:
        """Nothing is remembered between decisions."""
        return None

    def bind(self, world: Any) -> None:
        """The world is not needed."""
        return None
