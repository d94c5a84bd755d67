"""Writes a policy as a bundle of graph, manifest and parity rows; whole, or not when a row disagrees."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx

from experiments.shadow.archive import write_files
from experiments.shadow.bundle_format import (
    ACTION_ROWS,
    FEATURE_ROWS,
    FORMAT,
    GRAPH,
    LARGEST,
    MANIFEST,
    MASK_ROWS,
    SCHEMA,
    SCORE_ROWS,
    BundleError,
    digest,
    faults,
    seal,
)
from experiments.shadow.front import in_units
from experiments.shadow.loader import SCORES, Bundle, Face, Graph, Parity, compare
from experiments.shadow.seen import seen_in
from sim.errors import InputError

LARGEST_GRAPH: Final = LARGEST[GRAPH] - 100_000
"""Bytes of a graph that may become a bundle: room is left for names and the scaling in front of it."""

Rows = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]


class Told(NamedTuple):
    """What a manifest says of a policy beyond its graph.

    Attributes:
        name: What it is called.
        kind: learner, supervised, rule, static or other.
        task: The question that it answers, as `envs.base` names it.
        features: For each input, in order: ``name``, ``unit``, ``low``, ``high`` (None: no end), and if need
            be ``scale`` (``linear``, ``log``, or ``none``: as it is), ``about`` and ``default``.
        actions: Names; those of all parts of an answer side by side, or of its numbers.
        action_space: What an answer looks like, in words of JSON.
        training: ``config``, ``data``, ``seeds`` and ``versions`` as far as known.
        metrics: How it did.
        licence: Of the policy.
    """

    name: str
    kind: str
    task: str
    features: Sequence[Mapping[str, Any]]
    actions: Sequence[str]
    action_space: Mapping[str, Any]
    training: Mapping[str, Any] = {}
    metrics: Mapping[str, Any] = {}
    licence: str = "Apache-2.0"


class ParityRows(NamedTuple):
    """Inputs of real episodes, in units, and what the policy itself answers.

    Attributes:
        features: Finite float32, shape (n, F).
        actions: Shape (n,), (n, parts) or, of numbers, (n, size).
        masks: What was allowed, shape (n, A), for a graph that takes masks.
    """

    features: Rows
    actions: npt.NDArray[Any]
    masks: Masks | None = None


def write_bundle(
    path: Path, graph: onnx.ModelProto, told: Told, rows: ParityRows, seen: Rows | None = None
) -> Bundle:
    """Write a bundle that answers every row as its policy does; an older bundle there is replaced.

    Args:
        path: A folder, or a file if it ends in ``.zip``; must not exist, or hold a bundle.
        graph: From ``experiments.onnx_graphs``.
        told: What the manifest says.
        rows: On which the graph must answer as the policy does.
        seen: Inputs that the policy met in training, (n, F), from which drift is told later.

    Returns:
        The finished bundle, read back and verified, ties counted in ``parity``.

    Raises:
        InputError: If a row disagrees, the graph is too large or the folder in the way; nothing is left.
        ValueError: If the arguments do not fit together.
    """
    files = _files(path, graph, told, rows, seen)
    try:
        bundle = Bundle(files, path)
    except BundleError as error:
        raise InputError(str(error), "", "") from error
    write_files(path, files)
    return bundle


def _files(
    path: Path, graph: onnx.ModelProto, told: Told, rows: ParityRows, seen: Rows | None
) -> dict[str, bytes]:
    if graph.ByteSize() >= LARGEST_GRAPH:
        problem = f"the graph must be below {LARGEST[GRAPH] / 1e6:g} MB, got {graph.ByteSize() / 1e6:.1f} MB"
        way_out = "train fewer or shallower trees, or a narrower network"
        raise InputError(path / GRAPH, "", f"{problem}; {way_out}")
    width = len(told.features)
    given = graph.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    if given != width:
        raise ValueError(f"features must be the {given} inputs of the graph, got {width}")
    _check_rows(rows.features, width)
    described = [
        _described(one, rows.features[:, place], None if seen is None else seen[:, place])
        for place, one in enumerate(told.features)
    ]
    names = [one["name"] for one in described]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"features must differ in name, got {twice} twice")
    proto = in_units(graph, described, json.dumps(names))
    content = proto.SerializeToString()
    try:
        policy = Graph(content, path / GRAPH)
    except BundleError as error:
        raise InputError(str(error), "", "") from error
    if len(told.actions) != policy.face.outputs:
        raise ValueError(f"actions must name the {policy.face.outputs} of the graph, got {len(told.actions)}")
    actions = rows.actions.astype(np.int64 if policy.face.sizes else np.float32)
    _check_expected(policy.face, actions, rows.masks, len(rows.features))
    answers, scores = policy.run(rows.features, rows.masks)
    parity = compare(actions, answers, scores, policy.face.sizes)
    _check_parity(path, parity, actions, answers)
    files = {
        GRAPH: content,
        FEATURE_ROWS: _npy(rows.features),
        ACTION_ROWS: _npy(actions),
        SCORE_ROWS: _npy(scores),
        **({} if rows.masks is None else {MASK_ROWS: _npy(rows.masks)}),
    }
    manifest = _plain(
        {
            "format": FORMAT,
            "name": told.name,
            "kind": told.kind,
            "task": told.task,
            "licence": told.licence,
            "features": described,
            "actions": list(told.actions),
            "action_sizes": list(policy.face.sizes),
            "action_space": dict(told.action_space),
            "masked": policy.face.masked,
            "scores": policy.meta.get(SCORES),
            "training": {"policy": told.name, "config": {}, "data": {}, "seeds": {}, "versions": {}}
            | dict(told.training),
            "metrics": told.metrics,
            "opset": {one.domain: one.version for one in proto.opset_import},
            "parity": {"rows": parity.rows, "ties": parity.ties},
            "files": {
                name: {"sha256": digest(one), "bytes": len(one)} for name, one in sorted(files.items())
            },
        }
    )
    manifest["seal"] = seal(manifest)
    for key, problem in faults(manifest, SCHEMA, ""):
        raise ValueError(f"a manifest must fit its schema: {key}: {problem}")
    text = json.dumps(manifest, indent=1, allow_nan=False) + "\n"
    return {MANIFEST: text.encode(), **dict(sorted(files.items()))}


def _described(feature: Mapping[str, Any], checked: Rows, seen: Rows | None) -> dict[str, Any]:
    missing = {"name", "unit", "low", "high"} - set(feature)
    if missing:
        raise ValueError(
            f"a feature needs name, unit, low and high, got {dict(feature)}; add {', '.join(sorted(missing))}"
        )
    low, high = (_end(feature[end]) for end in ("low", "high"))
    scale = str(feature.get("scale", "none"))
    if low is not None and high is not None and low >= high:
        problem = f"must have low below high, got {low} and {high}"
        raise ValueError(f"feature {feature['name']!r} {problem}; write None for an open end")
    if scale != "none" and (low is None or high is None or (scale == "log" and low <= 0)):
        problem = f"needs both ends, for a log scale above 0, got {low} and {high}"
        raise ValueError(f"feature {feature['name']!r} {problem}")
    usual = float(np.median(checked if seen is None else seen))
    default = float(np.clip(usual, -math.inf if low is None else low, math.inf if high is None else high))
    described: dict[str, Any] = {"name": str(feature["name"]), "unit": str(feature["unit"])}
    described |= {"about": str(feature.get("about", "")), "low": low, "high": high, "scale": scale}
    described |= {"default": float(feature.get("default", default))}
    return described if seen is None else described | {"seen": seen_in(seen)._asdict()}


def _end(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _check_rows(rows: Rows, width: int) -> None:
    if rows.ndim != 2 or rows.shape[1] != width or len(rows) == 0:
        raise ValueError(f"parity rows must have shape (n, {width}) with n at least 1, got {rows.shape}")
    if rows.dtype != np.float32 or not np.isfinite(rows).all():
        raise ValueError(f"parity rows must be finite float32, got {rows.dtype}; take features of episodes")


def _check_expected(face: Face, expected: npt.NDArray[Any], masks: Masks | None, rows: int) -> None:
    parts, wide = expected.reshape(len(expected), -1), len(face.sizes) or face.outputs
    if parts.shape != (rows, wide):
        raise ValueError(f"expected actions must be {wide} for each of {rows} rows, got {expected.shape}")
    if face.sizes and (np.any(parts < 0) or np.any(parts >= np.array(face.sizes))):
        raise ValueError(
            f"expected actions must be in [0, size) of {list(face.sizes)}, got {parts.min()} to {parts.max()}"
        )
    if face.masked != (masks is not None):
        raise ValueError("masks must be given for a graph that takes them, and for no other")
    if masks is None:
        return
    if masks.shape != (rows, face.outputs) or masks.dtype != np.bool_:
        raise ValueError(
            f"masks must be bool of shape {(rows, face.outputs)}, got {masks.dtype} {masks.shape}"
        )
    starts = np.concatenate([[0], np.cumsum(face.sizes)[:-1]]).astype(np.int64)
    if not np.take_along_axis(masks, parts + starts, axis=1).all():
        raise ValueError(
            "expected actions must be allowed by their masks; pass the masks they were chosen under"
        )


def _check_parity(path: Path, parity: Parity, expected: npt.NDArray[Any], answers: npt.NDArray[Any]) -> None:
    if len(parity.wrong):
        row = parity.wrong[0]
        problem = (
            f"the graph must answer as the policy on every row, got {answers[row]} for {expected[row]} and"
        )
        way_out = "export the model that gave the expected actions, with its normaliser"
        raise InputError(
            path, f"row {row}", f"{problem} {len(parity.wrong)} of {parity.rows} rows wrong; {way_out}"
        )


def _npy(array: npt.NDArray[Any]) -> bytes:
    """Little-endian, in C order, as version 1.0 of the format: what a reader of ten lines can take apart."""
    stream = io.BytesIO()
    plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    np.lib.format.write_array(stream, plain, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def _plain(value: Any) -> Any:
    """As JSON has it: no array, no NaN (null)."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
