"""Reads a policy bundle, verifies it and answers from it; needs NumPy and onnxruntime, nothing else."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime

from experiments.shadow.bundle_files import read_array, read_files, read_manifest, scan_graph
from experiments.shadow.bundle_format import (
    ACTION_ROWS,
    FEATURE_ROWS,
    GRAPH,
    MANIFEST,
    MASK_ROWS,
    SCORE_ROWS,
    BundleError,
)

SCORE_TOLERANCE: Final = 1e-4
"""By how much a score may differ, relative and absolute, between two runtimes; in float32 1e-6 is common."""
NUMBER_TOLERANCE: Final = 1e-4
"""Likewise of a number of an answer; thirty steps of an LSTM and exponentials after them come to 2e-5."""
SIZES, NAMES, SCORES = "action_sizes", "feature_names", "scores"
"""Keys of the graph's own metadata, as JSON: actions of each part, features in order, what scores mean."""

Rows = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]


class Face(NamedTuple):
    """What a graph gives: actions of each part (none for numbers), scores in all, whether it takes a mask."""

    sizes: tuple[int, ...]
    outputs: int
    masked: bool


class Parity(NamedTuple):
    """Rows compared, rows with the same action, ties but for rounding, and the indices of all others."""

    rows: int
    equal: int
    ties: int
    wrong: npt.NDArray[np.int64]


class Graph:
    """Answers from an ONNX graph; single rows through buffers bound once.

    Args:
        graph: The graph, serialised: one float32 input (N, F), ``action_mask`` bool (N, A) if it takes one,
            ``action`` and ``scores`` out.
        source: Where it came from, for messages.
        threads: Of the runtime; 1 is best for single rows.
    """

    def __init__(self, graph: bytes, source: object, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            self.meta: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
            sizes = tuple(int(size) for size in json.loads(self.meta[SIZES]))
            self.names = [str(name) for name in json.loads(self.meta.get(NAMES, "[]"))]
            given = {one.name: one for one in self._session.get_inputs()}
            outputs = {one.name: one for one in self._session.get_outputs()}
            masked = given.pop("action_mask", None) is not None
            ((self._input, values),) = given.items()
            self.width = int(values.shape[1])
            self.face = Face(sizes, sum(sizes) or int(outputs["scores"].shape[1]), masked)
            self._bind(len(outputs["action"].shape) > 1)
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # the runtime's own errors share no base class
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            problem = f"expected a policy graph (features in, action and scores out): {reason}; export again"
            raise BundleError(source, "", problem) from error

    def _bind(self, several_parts: bool) -> None:
        sizes, outputs, masked = self.face
        shape = (1, len(sizes) or outputs) if several_parts else (1,)
        self._row, self._mask = np.zeros((1, self.width), np.float32), np.ones((1, outputs), np.bool_)
        self._action = np.zeros(shape, np.int64 if sizes else np.float32)
        self._scores = np.zeros((1, outputs), np.float32)
        self._binding = self._session.io_binding()
        given: list[tuple[str, npt.NDArray[Any]]] = [(self._input, self._row), ("action_mask", self._mask)]
        for name, buffer in given[: 1 + masked]:
            self._binding.bind_input(name, "cpu", 0, buffer.dtype.type, buffer.shape, buffer.ctypes.data)
        for name, buffer in (("action", self._action), ("scores", self._scores)):
            self._binding.bind_output(name, "cpu", 0, buffer.dtype.type, buffer.shape, buffer.ctypes.data)

    def act(self, values: Rows, mask: Masks | None = None) -> Any:
        """The action for one row (F,): int, int64 (parts,) or float32 (size,); one a row for (N, F).

        Args:
            values: Inputs in the order of the manifest.
            mask: True where an action is allowed, (A,) or (N, A), all parts side by side; None allows all. A
                graph that takes no mask heeds it in answers of one part only.
        """
        if values.ndim == 2:
            actions, scores = self.run(values, mask)
            outside = mask if not self.face.masked else None
            return actions if outside is None else np.where(outside, scores, -np.inf).argmax(axis=1)
        return self.answer(values, mask)[0]

    def answer(self, values: Rows, mask: Masks | None = None) -> tuple[Any, Rows]:
        """The action for one row (F,) as `act` gives it, and scores (A,) that the next call overwrites."""
        self._row[0] = values
        if self.face.masked:
            self._mask[0] = True if mask is None else mask
        self._session.run_with_iobinding(self._binding)
        scores = self._scores[0]
        if mask is not None and not self.face.masked:
            return int(np.where(mask, scores, -np.inf).argmax()), scores
        return int(self._action[0]) if self._action.ndim == 1 else self._action[0].copy(), scores

    def run(self, values: Rows, masks: Masks | None = None) -> tuple[npt.NDArray[Any], Rows]:
        """Actions (n,), (n, parts) or (n, size) and scores (n, A) of a batch (n, F), its masks (n, A)."""
        given: dict[str, npt.NDArray[Any]] = {self._input: np.ascontiguousarray(values, np.float32)}
        if self.face.masked:
            shape = (len(values), self.face.outputs)
            given["action_mask"] = np.ascontiguousarray(
                np.broadcast_to(True if masks is None else masks, shape)
            )
        actions, scores = self._session.run(["action", "scores"], given)
        return actions, scores


class Bundle(Graph):
    """A verified policy. Its inputs are the features in their units, NaN where unknown: then the default.

    Attributes:
        manifest: As `SCHEMA` says.
        name: What the policy is called.
        features: Names in the order of the input.
        actions: Names, those of all parts side by side.
        rows: Inputs of the parity rows, (n, F).
        masks: Their masks (n, A), if it takes masks.
        parity: How they came out on this machine.
    """

    def __init__(self, files: Mapping[str, bytes], source: object, threads: int = 1) -> None:
        manifest = self.manifest = read_manifest(files, source)
        scan_graph(files[GRAPH], f"{source}/{GRAPH}", manifest["opset"])
        super().__init__(files[GRAPH], f"{source}/{GRAPH}", threads)
        self.name: str = manifest["name"]
        self.features = tuple(one["name"] for one in manifest["features"])
        self.actions: tuple[str, ...] = tuple(manifest["actions"])
        self._places = {name: place for place, name in enumerate(self.features)}
        self._defaults = np.array([one["default"] for one in manifest["features"]], np.float32)
        ends = [(one["low"], one["high"]) for one in manifest["features"]]
        self.low = np.array([-math.inf if low is None else low for low, _ in ends])
        self.high = np.array([math.inf if high is None else high for _, high in ends])
        same_order(f"{source}/{MANIFEST}", self.features, self.names, GRAPH)
        face = {
            "action_sizes": list(self.face.sizes),
            "masked": self.face.masked,
            "scores": self.meta.get(SCORES),
        }
        for key, value in face.items():
            if manifest[key] != value:
                problem = f"expected {value} as in {GRAPH}, got {manifest[key]}; export again"
                raise BundleError(f"{source}/{MANIFEST}", key, problem)
        if len(self.actions) != self.face.outputs:
            problem = f"expected {self.face.outputs} as in {GRAPH}, got {len(self.actions)}; export again"
            raise BundleError(f"{source}/{MANIFEST}", "actions", problem)
        self.rows, self.masks, self.parity = self._check_parity(files, source)

    def _check_parity(self, files: Mapping[str, bytes], source: object) -> tuple[Rows, Masks | None, Parity]:
        count, (sizes, outputs, masked) = self.manifest["parity"]["rows"], self.face
        shape = (count,) if self._action.ndim == 1 else (count, len(sizes) or outputs)
        rows = read_array(files, source, FEATURE_ROWS, (count, self.width), "<f4")
        masks = read_array(files, source, MASK_ROWS, (count, outputs), "|b1") if masked else None
        expected = read_array(files, source, ACTION_ROWS, shape, "<i8" if sizes else "<f4")
        wanted = read_array(files, source, SCORE_ROWS, (count, outputs), "<f4")
        parts = expected.reshape(count, -1)
        if sizes and (np.any(parts < 0) or np.any(parts >= np.array(sizes))):
            problem = f"expected actions in [0, size) of {list(sizes)}, got others; export again"
            raise BundleError(f"{source}/{ACTION_ROWS}", "", problem)
        actions, scores = self.run(rows, masks)
        parity = compare(expected, actions, scores, sizes)
        if len(parity.wrong):
            row = parity.wrong[0]
            problem = f"expected action {expected[row]}, got {actions[row]} ({len(parity.wrong)} such rows)"
            raise BundleError(f"{source}/{ACTION_ROWS}", f"row {row}", f"{problem}; export again")
        if not np.allclose(scores, wanted, rtol=SCORE_TOLERANCE, atol=SCORE_TOLERANCE):
            problem = f"scores differ from the graph's by more than {SCORE_TOLERANCE:g}; export again"
            raise BundleError(f"{source}/{SCORE_ROWS}", "", problem)
        return rows, masks, parity

    def row(self, given: Mapping[str, float | None]) -> Rows:
        """The input (F,) for features by name; the default where one is missing, None or NaN.

        Raises:
            BundleError: If there is no feature of that name, or a value is no number.
        """
        row = self._defaults.copy()
        for name, value in given.items():
            place = self._places.get(name)
            if place is None:
                raise BundleError("features", name[:60], f"unknown; known: {', '.join(self.features)}")
            if value is not None:
                row[place] = _number(name, value, self._defaults[place])
        return row

    def outside(self, values: Rows) -> Masks:
        """Where values, shape (..., F), lie outside the range that the manifest gives; NaN is inside."""
        return np.asarray((values < self.low) | (values > self.high))


def _number(name: str, value: Any, default: Any) -> Any:
    if not isinstance(value, bool | int | float | np.number) or math.isinf(value):
        raise BundleError("features", name, f"expected a finite number, got {str(value)[:40]!r}")
    return default if math.isnan(value) else value


def load(path: Path | str, *, features: Sequence[str] | None = None, threads: int = 1) -> Bundle:
    """Read a bundle, a folder or a ``.zip``, verify all of it, and make it ready to answer.

    Args:
        path: The folder or file.
        features: Names that the caller will give, in order; None takes the bundle's word.
        threads: Of the runtime.

    Raises:
        BundleError: In one line, whatever is wrong.
    """
    bundle = Bundle(read_files(Path(path)), path, threads)
    if features is not None:
        same_order(f"{path}/{MANIFEST}", bundle.features, features, "the environment")
    return bundle


def compare(
    expected: npt.NDArray[Any], actions: npt.NDArray[Any], scores: Rows, sizes: Sequence[int]
) -> Parity:
    """Compare actions (n,) or (n, parts) row by row; scores (n, A) tell which differ by rounding only.

    Two scores tie within one step of float32 at the larger of them and 1: softmax loses what is below it.

    >>> scores = np.array([[1.0, 2.0], [2.0, 2.0], [1.0, 2.0]], dtype=np.float32)
    >>> compare(np.array([1, 0, 0]), np.array([1, 1, 1]), scores, [2])
    Parity(rows=3, equal=1, ties=1, wrong=array([2]))
    """
    if not sizes:
        near = np.isclose(expected, actions, rtol=NUMBER_TOLERANCE, atol=NUMBER_TOLERANCE).all(axis=1)
        return Parity(len(expected), int(near.sum()), 0, np.flatnonzero(~near))
    wanted, given = expected.reshape(len(expected), -1), actions.reshape(len(actions), -1)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    of_wanted = np.take_along_axis(scores, wanted + starts, axis=1)
    of_given = np.take_along_axis(scores, given + starts, axis=1)
    step = np.spacing(np.maximum(np.maximum(np.abs(of_wanted), np.abs(of_given)), np.float32(1)))
    same = wanted == given
    alike = same | (np.abs(of_wanted - of_given) <= step)
    equal, tied = same.all(axis=1), alike.all(axis=1)
    return Parity(len(expected), int(equal.sum()), int((tied & ~equal).sum()), np.flatnonzero(~tied))


def same_order(place: object, names: Sequence[str], wanted: Sequence[str], owner: str) -> None:
    """Refuse features that are not the wanted ones in their order."""
    for number, (got, want) in enumerate(zip(names, wanted, strict=False)):
        if got != want:
            problem = f"expected {want!r} as in {owner}, got {got!r}; export for these features"
            raise BundleError(place, f"features[{number}]", problem)
    if len(names) != len(wanted):
        problem = f"expected {len(wanted)} as in {owner}, got {len(names)}; export for these features"
        raise BundleError(place, "features", problem)
