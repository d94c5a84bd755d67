"""Puts before a policy's graph what turns features in their units into what the policy was trained on."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from experiments.shadow.loader import NAMES

INPUT: Final = "features"
"""Name of the input: float32 (N, F), in units, NaN where unknown."""

_FARTHEST: Final = float(np.finfo(np.float64).max)


def in_units(graph: onnx.ModelProto, features: Sequence[Mapping[str, Any]], names: str) -> onnx.ModelProto:
    """A copy of a graph that takes features in their units in place of ``obs``.

    NaN becomes the default; then, in float64 as `envs.features.FeatureList.scaled` does it, a feature is
    clipped to its range, its logarithm taken if its scale is ``log``, and the range brought to [-1, 1]. A
    feature of scale ``none`` passes as it is.

    Args:
        graph: With ``obs`` float32 (N, F) as its first input.
        features: Of the manifest, in order: ``low``, ``high``, ``scale``, ``default``.
        names: Of the features as JSON, for the graph's metadata.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    free = np.array([one["scale"] == "none" for one in features])
    log = np.array([one["scale"] == "log" for one in features])
    low = np.array([-_FARTHEST if f else one["low"] for f, one in zip(free, features, strict=True)])
    high = np.array([_FARTHEST if f else one["high"] for f, one in zip(free, features, strict=True)])
    start, end = np.log(low, where=log, out=low.copy()), np.log(high, where=log, out=high.copy())
    with np.errstate(over="ignore"):
        gain = np.where(free, 1.0, 2.0 / (end - start))
        shift = np.where(free, 0.0, -1.0 - start * gain)
    constants = {
        "defaults": np.array([one["default"] for one in features], np.float32),
        "low": low,
        "high": high,
        "log": log,
        "one": np.ones(1),
        "gain": gain,
        "shift": shift,
    }
    nodes = [
        _node("IsNaN", [INPUT], "unknown"),
        _node("Where", ["front_unknown", "front_defaults", INPUT], "known"),
        _node("Cast", ["front_known"], "exact", to=TensorProto.DOUBLE),
        _node("Max", ["front_exact", "front_low"], "above"),
        _node("Min", ["front_above", "front_high"], "inside"),
        _node("Where", ["front_log", "front_inside", "front_one"], "positive"),
        _node("Log", ["front_positive"], "logarithm"),
        _node("Where", ["front_log", "front_logarithm", "front_inside"], "straight"),
        _node("Mul", ["front_straight", "front_gain"], "wide"),
        _node("Add", ["front_wide", "front_shift"], "scaled"),
        helper.make_node("Cast", ["front_scaled"], ["obs"], name="front_obs", to=TensorProto.FLOAT),
    ]
    body = copy.graph
    rest = [*nodes, *body.node]
    del body.node[:]
    body.node.extend(rest)
    body.initializer.extend(
        numpy_helper.from_array(value, f"front_{name}") for name, value in constants.items()
    )
    body.input[0].CopyFrom(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", len(features)]))
    stored = {entry.key: entry.value for entry in graph.metadata_props}
    helper.set_model_props(copy, {**stored, NAMES: names})
    onnx.checker.check_model(copy, full_check=True)
    return copy


def _node(kind: str, given: Sequence[str], name: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(given), [f"front_{name}"], name=f"front_{name}", **attributes)
