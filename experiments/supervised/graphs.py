"""Supervised models as ONNX graphs with one face: ``rows`` in, ``outputs`` (n, outputs) out, float32."""

import logging
import time
import warnings
from copy import deepcopy
from functools import singledispatch
from typing import Final, NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from xgboost import Booster

from agents.supervised.boosted import Boosted
from agents.supervised.calibrated import LEAST, CalibratedSelector
from agents.supervised.forest import IsolationForest
from agents.supervised.model import Model, Rows
from agents.supervised.outcomes import PROSPECT_RATE, PROSPECT_S
from agents.supervised.performance import PerformancePredictor
from agents.supervised.sequences import SequenceModel
from experiments.onnx_graphs import OPSET, exported, selector_graph
from experiments.onnx_trees import TREE_OPSET, forest_node, sum_node

ROWS: Final = "rows"
OUTPUTS: Final = "outputs"
_TIMED: Final = 1000


class Parity(NamedTuple):
    """How an exported graph does beside its model.

    Attributes:
        rows: Rows that both were asked.
        gap: Largest difference, relative to the spread of the model's own answers.
        p50_ms: Median time of one row, in ms of its thread's own time: what others do meanwhile is left out.
        p99_ms: 99th percentile of the same.
        wall_p99_ms: 99th percentile by the clock on the wall, beside whatever else the machine did.
        size_bytes: Of the graph.
    """

    rows: int
    gap: float
    p50_ms: float
    p99_ms: float
    wall_p99_ms: float
    size_bytes: int


@singledispatch
def graph(model: Model) -> onnx.ModelProto:
    """The graph of a trained model.

    Raises:
        TypeError: Of a kind that has no graph.
        ValueError: Before the model has learned.
    """
    raise TypeError(f"{model.kind} has no ONNX graph; make one of Boosted, IsolationForest or SequenceModel")


@graph.register
def _(model: SequenceModel) -> onnx.ModelProto:
    given = torch.zeros(2, model.config.steps, len(model.inputs))
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model.net(),
            (given,),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            input_names=[ROWS],
            output_names=[OUTPUTS],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program; it must be called with dynamo=True")
    return _finished(program.model_proto, model)


@graph.register
def _(model: Boosted) -> onnx.ModelProto:
    nodes, constants, parts = _tree_parts(model)
    nodes.append(helper.make_node("Concat", parts, [OUTPUTS], axis=1))
    return _finished(_proto(nodes, constants, model), model)


@graph.register
def _(model: PerformancePredictor) -> onnx.ModelProto:
    """Factors of the trees and of the network, and what they are factors of."""
    proto = exported(deepcopy(model.density()), len(model.inputs), ["likeliest"])
    nodes, constants, parts = _tree_parts(model)
    each = len(model.config.quantiles)
    places = np.array([*[PROSPECT_S] * each, *[PROSPECT_RATE] * each, PROSPECT_S])
    constants.append(numpy_helper.from_array(places, "places"))
    nodes += [
        helper.make_node("Cast", ["likeliest"], ["likeliest32"], to=TensorProto.FLOAT),
        helper.make_node("Concat", [*parts, "likeliest32"], ["logs"], axis=1),
        helper.make_node("Exp", ["logs"], ["factors"]),
        helper.make_node("Gather", [ROWS, "places"], ["promised"], axis=1),
        helper.make_node("Mul", ["promised", "factors"], [OUTPUTS]),
    ]
    _taken_over(proto, model)
    proto.graph.initializer.extend(constants)
    proto.graph.node.extend(nodes)
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", TREE_OPSET))
    return _finished(proto, model)


def _taken_over(proto: onnx.ModelProto, model: Model) -> None:
    """Give a policy's graph the names of a model's: ``rows`` in, ``outputs`` out."""
    made = proto.graph
    for node in made.node:
        node.input[:] = [ROWS if name == "obs" else name for name in node.input]
    made.input[0].name = ROWS
    del made.output[:]
    made.output.append(
        helper.make_tensor_value_info(OUTPUTS, TensorProto.FLOAT, ["batch", len(model.outputs)])
    )


def _tree_parts(model: Boosted) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto], list[str]]:
    """Nodes and constants of all trees, and what each target's outputs are called."""
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    parts: list[str] = []
    for number, booster in enumerate(model.boosters()):
        last = f"margin{number}"
        _add_margin(booster, last, nodes, constants)
        if model.config.objective == "event":
            nodes.append(helper.make_node("Sigmoid", [last], [f"chance{number}"]))
            last = f"chance{number}"
        elif len(model.config.quantiles) > 1:  # quantiles that cross are put in order, as the model does
            count = len(model.config.quantiles)
            constants.append(numpy_helper.from_array(np.array([count], np.int64), f"count{number}"))
            nodes.append(
                helper.make_node(
                    "TopK", [last, f"count{number}"], [f"sorted{number}", f"place{number}"], axis=1, largest=0
                )
            )
            last = f"sorted{number}"
        parts.append(last)
    return nodes, constants, parts


def _add_margin(
    booster: Booster, name: str, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]
) -> None:
    """Add what the trees of a booster come to, on top of its intercept."""
    found = sum_node(booster, ROWS, f"{name}_sum")
    nodes += [found.node, helper.make_node("Add", [f"{name}_sum", f"{name}_base"], [name])]
    constants.append(numpy_helper.from_array(found.base, f"{name}_base"))


@graph.register
def _(model: IsolationForest) -> onnx.ModelProto:
    """Mean depth by one node, and the score that Liu, Ting and Zhou make of it."""
    constants = [
        numpy_helper.from_array(np.array(v, np.float32), n) for n, v in model.score_constants().items()
    ]
    nodes = [
        forest_node(model.table(), ROWS, "depth"),
        helper.make_node("Mul", ["depth", "minus_share"], ["exponent"]),
        helper.make_node("Pow", ["two", "exponent"], [OUTPUTS]),
    ]
    return _finished(_proto(nodes, constants, model), model)


@graph.register
def _(model: CalibratedSelector) -> onnx.ModelProto:
    """The selector's own graph, and its temperature in float64 as the model has it."""
    proto = selector_graph(model.selector)  # type: ignore[arg-type]
    _taken_over(proto, model)
    made = proto.graph
    constants = {"least": LEAST, "sharpness": 1.0 / model.temperature}
    made.initializer.extend(numpy_helper.from_array(np.array(v, np.float64), n) for n, v in constants.items())
    made.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "across"))
    made.node.extend(
        [
            helper.make_node("Cast", ["scores"], ["scores64"], to=TensorProto.DOUBLE),
            helper.make_node("Max", ["scores64", "least"], ["above"]),
            helper.make_node("Pow", ["above", "sharpness"], ["powers"]),
            helper.make_node("ReduceSum", ["powers", "across"], ["whole"], keepdims=1),
            helper.make_node("Div", ["powers", "whole"], ["chances"]),
            helper.make_node("Cast", ["chances"], [OUTPUTS], to=TensorProto.FLOAT),
        ]
    )
    return _finished(proto, model)


def _proto(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], model: Model) -> onnx.ModelProto:
    made = helper.make_graph(
        nodes,
        model.kind,
        [helper.make_tensor_value_info(ROWS, TensorProto.FLOAT, ["batch", len(model.inputs)])],
        [helper.make_tensor_value_info(OUTPUTS, TensorProto.FLOAT, ["batch", len(model.outputs)])],
        constants,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", TREE_OPSET)]
    return helper.make_model(made, opset_imports=opsets, ir_version=10)


def _finished(proto: onnx.ModelProto, model: Model) -> onnx.ModelProto:
    """Named, checked, without the stack traces that an exporter leaves in it (they carry local paths)."""
    made = proto.graph
    for part in (proto, made, *made.node, *made.input, *made.output, *made.value_info, *made.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    del made.value_info[:]
    names = {"inputs": ",".join(model.inputs), "outputs": ",".join(model.outputs), "kind": model.kind}
    helper.set_model_props(proto, names)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def measure(proto: onnx.ModelProto, model: Model, rows: Rows, rounds: int = 3) -> Parity:
    """Hold a graph against its model on all rows, and time single ones, one after the other.

    Of several rounds the least percentiles count: others' load only adds.
    """
    raw = proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    own = model.predict(rows)
    other = np.asarray(session.run([OUTPUTS], {ROWS: rows})[0], np.float64)
    spread = np.maximum(own.std(axis=0), 1e-6 * np.maximum(1.0, np.abs(own).max(axis=0)))
    ones: list[NDArray[np.float32]] = [rows[i : i + 1] for i in np.arange(_TIMED) % len(rows)]
    measured = []
    for _ in range(rounds):
        taken = np.empty((len(ones), 2))
        for place, one in enumerate(ones):
            start = time.thread_time_ns(), time.perf_counter_ns()
            session.run([OUTPUTS], {ROWS: one})
            taken[place] = time.thread_time_ns() - start[0], time.perf_counter_ns() - start[1]
        measured.append(np.percentile(taken / 1e6, (50, 99), axis=0).ravel())
    p50, _, p99, wall_p99 = np.min(measured, axis=0)
    gap = float((np.abs(own - other) / spread).max())
    return Parity(len(rows), gap, float(p50), float(p99), float(wall_p99), len(raw))
