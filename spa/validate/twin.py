"""The norm-free twin: where statistics over channels forbid equality, they are taken out.

LayerNormalization over channels of which some are gone is not exactly what it was, so a pruned
transformer cannot equal its masked original.  With every such operator replaced, in both models, by
one that works element by element, it must.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

BOUNDED = frozenset(
    [
        "Softmax",
        "LogSoftmax",
        "LRN",
        "LpNormalization",
        "MeanVarianceNormalization",
        "InstanceNormalization",
        "GroupNormalization",
    ]
)
"""Replaced by Tanh, which keeps values bounded however deep the model is."""

AFFINE = frozenset(["LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"])
"""Replaced by Tanh, then their own scale and bias."""

REDUCED = frozenset(
    ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceLogSum", "ReduceLogSumExp"]
)
"""Replaced by ReduceSum, which does not see zeros."""


def twin(
    model: ModelProto, names: Collection[str], name_of: Callable[[NodeProto], str]
) -> ModelProto | None:
    """The model with the nodes called `names` replaced; None where one has no replacement.

    `name_of` tells what a node is called, so that nameless nodes can be found too.
    """
    result = ModelProto()
    result.CopyFrom(model)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    nodes = list(result.graph.node)
    del result.graph.node[:]
    for node in nodes:
        if name_of(node) not in names:
            result.graph.node.append(node)
            continue
        new = _replace(result, node, opset)
        if new is None:
            return None
        result.graph.node.extend(new)
    return result


def _replace(model: ModelProto, node: NodeProto, opset: int) -> list[NodeProto] | None:
    if any(node.output[1:]):
        return None  # somebody uses the statistic itself
    if node.op_type in REDUCED:
        return _summed(model, node, opset)
    if node.op_type in BOUNDED:
        return [helper.make_node("Tanh", node.input[:1], node.output[:1])]
    if node.op_type in AFFINE:
        parts = [helper.make_node("Tanh", node.input[:1], [f"{node.output[0]}__t0"])]
        for k, (op, operand) in enumerate(zip(("Mul", "Add"), node.input[1:3], strict=False)):
            if operand:
                parts.append(
                    helper.make_node(
                        op, [parts[-1].output[0], operand], [f"{node.output[0]}__t{k + 1}"]
                    )
                )
        parts[-1].output[0] = node.output[0]
        return parts
    return None


def _summed(model: ModelProto, node: NodeProto, opset: int) -> list[NodeProto]:
    """The same reduction as a sum; from opset 13 ReduceSum takes its axes as an input."""
    kept = [a for a in node.attribute if a.name != "axes"]
    inputs = list(node.input)
    axes = next((list(a.ints) for a in node.attribute if a.name == "axes"), None)
    result = helper.make_node("ReduceSum", inputs, list(node.output[:1]))
    if axes is not None and opset >= 13:
        name = f"{node.output[0]}__axes"
        model.graph.initializer.append(numpy_helper.from_array(np.array(axes, np.int64), name))
        result.input.append(name)
        result.attribute.extend(kept)
    else:
        result.attribute.extend(node.attribute)
    return [result]
