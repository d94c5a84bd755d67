"""Forecasters, predictors and monitors as bundles: features in, numbers out, loaded as a policy is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from agents.supervised.link_features import LINKS
from agents.supervised.model import Model, Rows
from agents.supervised.node_features import NODES
from envs.features import CODEC_FEATURES
from experiments.onnx_graphs import finished
from experiments.run_folder import versions
from experiments.shadow.loader import Bundle
from experiments.shadow.writer import ParityRows, Told, write_bundle
from experiments.supervised.graphs import OUTPUTS, ROWS, graph

_SCALES: Final = {"scale": "none"}
"""Models of this kind take features as they are."""
_DECLARED: Final[Sequence[Any]] = (
    *CODEC_FEATURES.features,
    *LINKS.measured,
    *LINKS.columns,
    *NODES.measured,
    *NODES.columns,
)
_KNOWN: Final = {one.name: {"unit": one.unit, "about": one.about} for one in _DECLARED}
_FACE: Final = ("obs", "action", "scores")
"""What a policy's graph calls its input and outputs."""


def forecaster_bundle(
    path: Path, name: str, task: str, model: Model, rows: Rows, training: Mapping[str, Any]
) -> Bundle:
    """Write a model as a bundle that says its numbers on every row as the model does.

    Of a model of windows, each step of each feature is an input: ``rtt_ms 2 back`` is two steps before the
    newest. What is unknown counts as its median, also for trees that would have taken it as it is.

    Args:
        path: Folder, or file that ends in ``.zip``.
        name: What it is called.
        task: What it is for: a key of `experiments.supervised.tasks`.
        model: Trained.
        rows: What it is held to: (n, F), or windows (n, T, F).
        training: ``config``, ``data`` and ``seeds`` as far as known.

    Raises:
        InputError: If a row disagrees, or the file system refuses.
    """
    flat = rows.reshape(len(rows), -1)
    usual = np.nan_to_num(np.nanmedian(flat, axis=0)).astype(np.float32)
    known = np.where(np.isnan(flat), usual, flat)
    said = model.predict(known.reshape(rows.shape)).astype(np.float32)
    features = [
        {"name": label, "low": None, "high": None, "default": float(default), "unit": "", **_SCALES, **about}
        for (label, about), default in zip(_inputs(model, rows), usual, strict=True)
    ]
    told = Told(
        name,
        "supervised",
        task,
        features,
        model.outputs,
        {"type": "box", "shape": [len(model.outputs)]},
        {**training, "versions": {key: str(value) for key, value in versions().items()}},
    )
    return write_bundle(path, _numbers(model, rows.shape[1:]), told, ParityRows(known, said), known)


def _inputs(model: Model, rows: Rows) -> list[tuple[str, Mapping[str, Any]]]:
    steps = rows.shape[1] if rows.ndim == 3 else 1
    return [
        (name if back == 0 else f"{name} {back} back", _KNOWN.get(name, {}))
        for back in reversed(range(steps))
        for name in model.inputs
    ]


def _numbers(model: Model, shape: tuple[int, ...]) -> onnx.ModelProto:
    """A model's graph with the face of a policy that answers with numbers."""
    proto = onnx.ModelProto()
    proto.CopyFrom(graph(model))
    made, width = proto.graph, int(np.prod(shape))
    for node in made.node:
        node.input[:] = [_apart(name) for name in node.input]
        node.output[:] = [_apart(name) for name in node.output]
    made.initializer.append(numpy_helper.from_array(np.array([-1, *shape], np.int64), "row_shape"))
    given, *said = _FACE
    nodes = [helper.make_node("Reshape", [given, "row_shape"], [ROWS]), *made.node]
    nodes += [helper.make_node("Identity", [OUTPUTS], [name]) for name in said]
    del made.node[:], made.input[:], made.output[:]
    made.node.extend(nodes)
    made.input.append(helper.make_tensor_value_info(given, TensorProto.FLOAT, ["batch", width]))
    for name in said:
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", len(model.outputs)])
        made.output.append(value)
    return finished(proto, [], "numbers")


def _apart(name: str) -> str:
    """A name inside a model's graph that is not one of the face's."""
    return f"model_{name}" if name in _FACE else name
