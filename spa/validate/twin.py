"""The norm-free twin: where statistics over channels forbid equality, they are taken out.

LayerNormalization over channels of which some are gone is not exactly what it was, so a pruned
transformer cannot equal its masked original.  With every such operator replaced, in both models, by
one that works element by element, it must.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

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

SKIPPED = frozenset(["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"])
"""Replaced by the sum they start with, then as above."""

EMBEDDED = "EmbedLayerNormalization"
"""Replaced by a sum of rows of its tables, of which the places give the first, then as above."""

REDUCED = frozenset(
    ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceLogSum", "ReduceLogSumExp"]
)
"""Replaced by ReduceSum, which does not see zeros."""


POOLED = frozenset(["GlobalAveragePool", "GlobalMaxPool"])
"""Replaced by the sum of what is pooled, without signs."""

SLIDING = "Conv"
"""Replaced by what goes in: each channel without its neighbours."""

FORMS = frozenset(["Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "ReduceMean"])
"""What may lie between a Sigmoid and an output that it makes all the same."""

WIDE = 4
"""A calm twin divides by the usual size of a tensor, and bends what is so many times that."""


def twin(
    model: ModelProto,
    names: Collection[str],
    name_of: Callable[[NodeProto], str],
    usual: Mapping[str, np.ndarray] | None = None,
) -> ModelProto | None:
    """The model with the nodes called `names` replaced; None where one has no replacement.

    `name_of` tells what a node is called, so that nameless nodes can be found too.  `usual` gives
    the size of what a tensor holds (a scalar of its type): it is divided by that, as a norm would,
    and bounded only far out.  Without, values far beyond 1 end as signs, which in a deep model turn
    with the last bit of its input.
    """
    result = ModelProto()
    result.CopyFrom(model)
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    for graph in all_graphs(result.graph):
        nodes = list(graph.node)
        del graph.node[:]
        for node in nodes:
            if name_of(node) not in names:
                graph.node.append(node)
                continue
            if node.op_type == EMBEDDED:
                read = {name for other in nodes for name in other.input}
                new = _embedded(result, node, read | {o.name for o in graph.output})
            else:
                new = _replace(result, node, opset)
            if new is None:
                return None
            new = [part for step in new for part in _calm(result, step, usual or {})]
            graph.node.extend(new)
    return result


def all_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and the bodies in it, the inner ones first."""
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                if body.node:
                    yield from all_graphs(body)
    yield graph


def sizes_wanted(
    model: ModelProto, names: Collection[str], name_of: Callable[[NodeProto], str]
) -> ModelProto:
    """The model with an output more for what goes into every node called one of `names`."""
    result = ModelProto()
    result.CopyFrom(model)
    shown = {o.name for o in model.graph.output} | {i.name for i in model.graph.input}
    for node in model.graph.node:
        if name_of(node) in names and node.input[0] not in shown:
            shown.add(node.input[0])
            result.graph.output.append(helper.make_empty_tensor_value_info(node.input[0]))
    return result


def _calm(model: ModelProto, step: NodeProto, usual: Mapping[str, np.ndarray]) -> list[NodeProto]:
    """A Tanh of what has a known size becomes a division by it that is bounded far out only."""
    size = usual.get(step.input[0])
    if step.op_type != "Tanh" or size is None:
        return [step]
    given, made = step.input[0], step.output[0]
    names = [f"{made}__{word}" for word in ("size", "width", "small", "bent")]
    width = size.dtype.type(WIDE)
    for name, value in zip(names, (size * width, np.asarray(width)), strict=False):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return [
        helper.make_node("Div", [given, names[0]], [names[2]]),
        helper.make_node("Tanh", [names[2]], [names[3]]),
        helper.make_node("Mul", [names[3], names[1]], [made]),
    ]


def unquantised(model: ModelProto) -> ModelProto:
    """The model in which activations that are quantised and dequantised stay what they were.

    A mask may lie between the two (see `spa.validate.mask`).  Where anything else does, or the
    types differ, they are left.
    """
    result = ModelProto()
    result.CopyFrom(model)
    everywhere = [node for graph in all_graphs(result.graph) for node in graph.node]
    quantised = {n.output[0]: n for n in everywhere if n.op_type == "QuantizeLinear"}
    kinds = {t.name: t.data_type for t in result.graph.initializer}
    for node in everywhere:
        if node.op_type != "DequantizeLinear" or node.domain:
            continue
        source = quantised.get(node.input[0]) or quantised.get(f"{node.input[0]}__whole")
        if source is None or kinds.get(source.input[1]) != kinds.get(node.input[1]):
            continue
        node.CopyFrom(helper.make_node("Identity", source.input[:1], node.output, name=node.name))
    return result


def unsaturated(model: ModelProto) -> ModelProto:
    """The model in which a Sigmoid that makes an output hands on what went into it.

    Far below zero it leaves little but rounding.  Another form, a mean over it or an If around it
    makes no difference.
    """
    result = ModelProto()
    result.CopyFrom(model)
    shown = {o.name for o in result.graph.output}
    _hand_on(result.graph, shown)
    return result


def _hand_on(graph: GraphProto, shown: set[str]) -> None:
    for node in reversed(graph.node):
        if node.domain or shown.isdisjoint(node.output):
            continue
        if node.op_type in FORMS:
            shown.add(node.input[0])
        elif node.op_type == "Sigmoid":
            copy = helper.make_node("Identity", node.input, node.output, name=node.name)
            node.CopyFrom(copy)
        elif node.op_type == "If":
            for attribute in node.attribute:
                made = zip(attribute.g.output, node.output, strict=False)
                shown.update(inner.name for inner, outer in made if outer in shown)
                _hand_on(attribute.g, shown)


def _replace(model: ModelProto, node: NodeProto, opset: int) -> list[NodeProto] | None:
    if node.op_type in SKIPPED:
        return _skipped(node)
    if any(node.output[1:]):
        return None  # somebody uses the statistic itself
    if node.op_type in REDUCED:
        return _summed(model, node, opset)
    if node.op_type in POOLED:
        return [helper.make_node("GlobalLpPool", node.input, node.output, p=1)]
    if node.op_type == SLIDING:
        return [helper.make_node("Identity", node.input[:1], node.output)]
    if node.op_type in BOUNDED:
        return [helper.make_node("Tanh", node.input[:1], node.output[:1])]
    if node.op_type in AFFINE:
        scale, bias = (*node.input[1:3], "", "")[:2]
        return _affine(node.input[0], scale, bias, node.output[0])
    return None


def _affine(source: str, scale: str, bias: str, target: str) -> list[NodeProto]:
    """Tanh, then what is there of scale and bias."""
    steps = [("Tanh", [source])]
    for op, operand in (("Mul", scale), ("Add", bias)):
        if operand:
            steps.append((op, [f"{target}__t{len(steps) - 1}", operand]))
    outputs = [*(f"{target}__t{k}" for k in range(len(steps) - 1)), target]
    return [
        helper.make_node(op, inputs, [output])
        for (op, inputs), output in zip(steps, outputs, strict=True)
    ]


def _skipped(node: NodeProto) -> list[NodeProto] | None:
    """The sum, which may be an output too, then the same as for a norm alone."""
    if any(node.output[1:3]):
        return None
    source, skip, scale, *rest = node.input
    beta, bias = (["", *rest, ""] if "Simplified" in node.op_type else [*rest, "", ""])[:2]
    total = (*node.output[3:], "")[0] or f"{node.output[0]}__sum"
    names = [f"{total}__s", total] if bias else [total]
    parts = [helper.make_node("Add", [source, skip], names[:1])]
    if bias:
        parts.append(helper.make_node("Add", [names[0], bias], names[1:]))
    return parts + _affine(total, scale, beta, node.output[0])


def _embedded(model: ModelProto, node: NodeProto, read: Collection[str]) -> list[NodeProto] | None:
    """The sum of rows, which may be an output too, then the same as for a norm alone."""
    if any(name in read for name in node.output[1:2]):
        return None  # somebody uses the lengths it finds
    first = f"{node.output[0]}__first"
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int64), first))
    rows = zip(node.input[2:5], (node.input[0], first, node.input[1]), strict=True)
    total = (*node.output[2:], "")[0] or f"{node.output[0]}__sum"
    names: list[str] = []
    parts: list[NodeProto] = []
    for table, index in rows:
        if table:
            names.append(f"{total}__r{len(names)}")
            parts.append(helper.make_node("Gather", [table, index], names[-1:]))
    parts.append(helper.make_node("Sum", names, [total]))
    return parts + _affine(total, node.input[5], node.input[6], node.output[0])


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
