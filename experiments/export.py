"""Writes a policy as a bundle of graph, manifest and parity rows; whole, or not when a row disagrees."""

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from experiments.bundle import (
    MANIFEST_FILE,
    PARITY_FILE,
    POLICY_FILE,
    SCHEMA_VERSION,
    BundleReport,
    digest,
    seal,
    verify,
)
from experiments.graph_policy import FEATURE_NAMES, Face, GraphPolicy
from experiments.parity import ACTION, MASK, SCORE, Parity, ParityRows, compare, write_parity
from sim.errors import InputError
from sim.files import TEMPORARY, write_json, writing

LARGEST_BYTES: Final = 5_000_000
"""Of the graph: a bundle must fit beside any sender, and a larger one is a sign of an unpruned forest."""


def write_bundle(
    folder: Path,
    graph: onnx.ModelProto,
    *,
    task: str,
    action_space: Mapping[str, Any],
    features: Sequence[Mapping[str, Any]],
    actions: Sequence[str],
    provenance: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    rows: npt.NDArray[np.float32],
    expected_actions: npt.NDArray[Any],
    masks: npt.NDArray[np.bool_] | None = None,
) -> BundleReport:
    """Write a bundle that answers every row as its policy does; an older bundle there is replaced.

    Args:
        folder: Where the three files go; must not exist, or hold a bundle.
        graph: From ``experiments.onnx_graphs``.
        task: The question that it answers, as `envs.base` names it.
        action_space: What an answer looks like, in words of JSON.
        features: For each input, in order: ``name``, ``unit``, ``low`` and ``high`` (None: no end).
        actions: Names of the actions; those of all parts of an answer side by side, or of its numbers.
        provenance: How the policy was trained; ``policy`` in it becomes the name of the loaded policy.
        evaluation: How it did.
        rows: Observations of real episodes, float32 (n, F).
        expected_actions: What the policy itself does on them, (n,), (n, parts) or, of numbers, (n, size).
        masks: What was allowed in them, (n, A), for a graph that takes masks.

    Returns:
        The report of the finished bundle, ties counted in ``parity``.

    Raises:
        InputError: If a row disagrees, the graph is too large or the folder in the way; nothing is left.
        ValueError: If the arguments do not fit together.
    """
    described = [_described(feature) for feature in features]
    names = [feature["name"] for feature in described]
    graph = _named(graph, names)
    content = graph.SerializeToString()
    if len(content) >= LARGEST_BYTES:
        problem = f"the graph must be below {LARGEST_BYTES / 1e6:g} MB, got {len(content) / 1e6:.1f} MB"
        raise InputError(
            folder / POLICY_FILE, "", f"{problem}; train fewer or shallower trees, or a narrower network"
        )
    policy = GraphPolicy(content, folder / POLICY_FILE)
    sizes = policy.face.sizes
    _check_shapes(policy, names, actions, rows)
    expected_actions = expected_actions.astype(np.int64 if sizes else np.float32)
    _check_expected(policy.face, expected_actions, masks, len(rows))
    answers, scores = policy.run(rows, masks)
    _check_parity(folder, compare(expected_actions, answers, scores, sizes), expected_actions, answers)

    if (
        folder.exists()
        and not (folder / MANIFEST_FILE).is_file()
        and (not folder.is_dir() or any(folder.iterdir()))
    ):
        raise InputError(
            folder, "", "expected a new folder or an older bundle, got something else; name another folder"
        )
    unfinished = folder.with_name(f"{TEMPORARY}{os.getpid()}-{folder.name}")
    try:
        with writing(folder):
            unfinished.mkdir(parents=True)
            (unfinished / POLICY_FILE).write_bytes(content)
            write_parity(unfinished / PARITY_FILE, ParityRows(rows, expected_actions, scores, masks), names)
        manifest: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "task": task,
            "features": described,
            "actions": list(actions),
            "action_space": dict(action_space),
            "action_sizes": list(sizes),
            "masked": policy.face.masked,
            "provenance": provenance,
            "evaluation": evaluation,
            "opset": next(entry.version for entry in graph.opset_import if entry.domain in ("", "ai.onnx")),
            "sha256": {name: digest((unfinished / name).read_bytes()) for name in (POLICY_FILE, PARITY_FILE)},
        }
        write_json(unfinished / MANIFEST_FILE, manifest)
        written = json.loads((unfinished / MANIFEST_FILE).read_text("utf-8"))
        write_json(unfinished / MANIFEST_FILE, {**written, "seal": seal(written)})
        report = verify(unfinished, names)
        with writing(folder):
            _replace(folder, unfinished)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return report._replace(folder=folder)


def _described(feature: Mapping[str, Any]) -> dict[str, Any]:
    missing = {"name", "unit", "low", "high"} - set(feature)
    if missing:
        raise ValueError(
            f"a feature needs name, unit, low and high, got {dict(feature)}; add {', '.join(sorted(missing))}"
        )
    name, low, high = str(feature["name"]), *(_end(feature[end]) for end in ("low", "high"))
    if name.startswith((ACTION, SCORE, MASK)):
        taken = f"{ACTION!r}, {SCORE!r} or {MASK!r}"
        raise ValueError(f"a feature's name must not begin with {taken}, got {name!r}; rename it")
    if low is not None and high is not None and low >= high:
        raise ValueError(
            f"feature {name!r} must have low below high, got {low} and {high}; write None for an open end"
        )
    return {"name": name, "unit": str(feature["unit"]), "low": low, "high": high}


def _end(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _named(graph: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    if len(set(names)) != len(names):
        raise ValueError(
            f"features must differ in name, got {sorted({n for n in names if names.count(n) > 1})} twice"
        )
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    stored = {entry.key: entry.value for entry in graph.metadata_props}
    helper.set_model_props(copy, {**stored, FEATURE_NAMES: json.dumps(names)})
    return copy


def _check_shapes(
    policy: GraphPolicy,
    names: list[str],
    actions: Sequence[str],
    rows: npt.NDArray[np.float32],
) -> None:
    if len(names) != policy.features:
        raise ValueError(f"features must be the {policy.features} inputs of the graph, got {len(names)}")
    if len(actions) != policy.face.outputs:
        raise ValueError(f"actions must name the {policy.face.outputs} of the graph, got {len(actions)}")
    if rows.ndim != 2 or rows.shape[1] != len(names) or len(rows) == 0:
        raise ValueError(f"parity rows must have shape (n, {len(names)}) with n at least 1, got {rows.shape}")
    if rows.dtype != np.float32 or not np.isfinite(rows).all():
        raise ValueError(
            f"parity rows must be finite float32, got {rows.dtype}; take observations of the environment"
        )


def _check_expected(
    face: Face, expected: npt.NDArray[Any], masks: npt.NDArray[np.bool_] | None, rows: int
) -> None:
    parts, wide = expected.reshape(len(expected), -1), len(face.sizes) or face.outputs
    if parts.shape != (rows, wide):
        raise ValueError(f"expected_actions must be {wide} for each of {rows} rows, got {expected.shape}")
    if face.sizes and (np.any(parts < 0) or np.any(parts >= np.array(face.sizes))):
        raise ValueError(
            f"expected_actions must be in [0, size) of {list(face.sizes)}, got {parts.min()} to {parts.max()}"
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
            "expected_actions must be allowed by their masks; pass the masks they were chosen under"
        )


def _check_parity(
    folder: Path, parity: Parity, expected: npt.NDArray[Any], answers: npt.NDArray[Any]
) -> None:
    if len(parity.wrong):
        row = parity.wrong[0]
        problem = (
            f"the graph must answer as the policy on every row, got {answers[row]} for {expected[row]} and"
        )
        way_out = "export the model that gave the expected actions, with its normaliser"
        raise InputError(
            folder, f"row {row}", f"{problem} {len(parity.wrong)} of {parity.rows} rows wrong; {way_out}"
        )


def _replace(folder: Path, finished: Path) -> None:
    if not folder.exists():
        os.replace(finished, folder)
        return
    older = folder.with_name(f"{TEMPORARY}{os.getpid()}-older-{folder.name}")
    os.replace(folder, older)
    try:
        os.replace(finished, folder)
    except OSError:
        os.replace(older, folder)
        raise
    shutil.rmtree(older, ignore_errors=True)
