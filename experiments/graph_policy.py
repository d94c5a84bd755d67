"""A policy that answers from an ONNX graph: one thread, buffers bound once, no learning library needed."""

import json
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from sim.errors import InputError

ACTION_SIZES: Final = "action_sizes"
"""Key in the graph's metadata: how many actions each part of an answer has, as JSON; ``[A]`` for one part."""

FEATURE_NAMES: Final = "feature_names"
"""Key in the graph's metadata: the features in the order of the input, as JSON."""


class GraphPolicy:
    """Answers from an ONNX graph on one thread, with buffers bound once; has the face of a ``Policy``.

    Args:
        graph: The graph, serialised.
        source: The file it came from, for messages.
        name: What the policy is called.

    Raises:
        InputError: If the bytes are not a graph with ``obs`` in and ``action`` and ``scores`` out.
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
            self.sizes: list[int] = [int(size) for size in json.loads(stored[ACTION_SIZES])]
            self.features: int = int(self._session.get_inputs()[0].shape[1])
            self.feature_names: list[str] | None = (
                json.loads(stored[FEATURE_NAMES]) if FEATURE_NAMES in stored else None
            )
            self._bind(len(self._session.get_outputs()[0].shape) > 1)
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # the runtime's own errors share no base class
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                source, "", f"expected a policy graph (obs in, action and scores out): {reason}; export again"
            ) from error

    def _bind(self, several_parts: bool) -> None:
        parts = len(self.sizes)
        self._observation = np.zeros((1, self.features), np.float32)
        self._action = np.zeros((1, parts) if several_parts else (1,), np.int64)
        self._scores = np.zeros((1, sum(self.sizes)), np.float32)
        self._binding = self._session.io_binding()
        bound = self._observation
        self._binding.bind_input("obs", "cpu", 0, np.float32, bound.shape, bound.ctypes.data)
        for name, buffer in (("action", self._action), ("scores", self._scores)):
            self._binding.bind_output(name, "cpu", 0, buffer.dtype.type, buffer.shape, buffer.ctypes.data)

    def act(self, observation: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_] | None = None) -> Any:
        """The action for one observation (F,), an int or int64 (parts,); for a batch (N, F) one a row.

        Args:
            observation: Features in the order of the manifest.
            mask: True where an action is allowed, (A,) or (N, A), for answers of one part; None allows all.
        """
        if observation.ndim == 2:
            actions, scores = self.run(observation)
            return actions if mask is None else np.where(mask, scores, -np.inf).argmax(axis=1)
        self._observation[0] = observation
        self._session.run_with_iobinding(self._binding)
        if mask is not None:
            return int(np.where(mask, self._scores[0], -np.inf).argmax())
        return int(self._action[0]) if self._action.ndim == 1 else self._action[0].copy()

    def run(
        self, observations: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Actions (n,) or (n, parts) and scores (n, A) of a batch (n, F)."""
        actions, scores = self._session.run(
            ["action", "scores"], {"obs": np.ascontiguousarray(observations, np.float32)}
        )
        return actions, scores

    def reset(self) -> None:
        """Nothing is remembered between decisions."""
        return None

    def bind(self, world: Any) -> None:
        """The world is not needed."""
        return None
