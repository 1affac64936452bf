"""One form for all models: opset 7 or newer, functions inlined, constants lifted, sorted."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper
from onnx.inliner import inline_local_functions

from spa.errors import ReadError, first_line
from spa.graph.evaluate import has_subgraph

OLDEST = 7
SCALARS = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def normalize(proto: ModelProto, label: str) -> ModelProto:
    """Bring a model that spa owns into its normal form."""
    proto = _modern(proto, label)
    if proto.functions:
        proto = _inlined(proto)
    _plain_inputs(proto)
    lift_constants(proto.graph)
    sort(proto.graph, label)
    return proto


def opsets_of(proto: ModelProto) -> dict[str, int]:
    """The opset version of every domain; `""` is ai.onnx."""
    versions = {
        "" if entry.domain == "ai.onnx" else entry.domain: entry.version
        for entry in proto.opset_import
    }
    return versions or {"": 1}


def graphs_in(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs that a node carries itself."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def nodes_in(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """All these nodes, each before those in its bodies."""
    for node in nodes:
        yield node
        for body in graphs_in(node):
            yield from nodes_in(body.node)


def count_ops(model: ModelProto) -> dict[str, int]:
    """The nodes of a model by op, those in bodies and in local functions included."""
    held = [model.graph.node, *(function.node for function in model.functions)]
    return dict(sorted(Counter(n.op_type for each in held for n in nodes_in(each)).items()))


def captured_names(node: NodeProto) -> tuple[str, ...]:
    """Tensors of the enclosing graphs that the bodies of `node` read, in order of first use."""
    names: dict[str, None] = {}
    for body in graphs_in(node):
        names.update(dict.fromkeys(_free(body)))
    return tuple(names)


def _free(body: GraphProto) -> list[str]:
    local = {info.name for info in body.input} | {tensor.name for tensor in body.initializer}
    local |= {tensor.values.name for tensor in body.sparse_initializer}
    free: list[str] = []
    for node in body.node:
        reads = (*node.input, *captured_names(node))
        free += [name for name in reads if name and name not in local]
        local.update(node.output)
    return free + [info.name for info in body.output if info.name not in local]


def unused(wanted: str, taken: Container[str], mark: str = "_") -> str:
    """`wanted`, or the first of `wanted_2`, `wanted_3`, ... that is not taken."""
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted}{mark}{count}"
    return name


def defined_in(graph: GraphProto, *, deep: bool = False) -> Iterator[str]:
    """Every tensor that a graph defines, with `deep` also those inside its bodies."""
    yield from (info.name for info in graph.input)
    yield from (tensor.name for tensor in graph.initializer)
    yield from (sparse.values.name for sparse in graph.sparse_initializer)
    for node in graph.node:
        yield from (name for name in node.output if name)
        if deep:
            for body in graphs_in(node):
                yield from defined_in(body, deep=True)


def mentioned_in(graph: GraphProto) -> Iterator[str]:
    """Every name of a tensor in a graph, at any depth."""
    yield from defined_in(graph)
    for node in graph.node:
        yield from node.input
        for body in graphs_in(node):
            yield from mentioned_in(body)


def _modern(proto: ModelProto, label: str) -> ModelProto:
    version = opsets_of(proto).get("")
    newest = onnx.defs.onnx_opset_version()
    if version is None:
        return proto
    if version > newest:
        raise ReadError(
            f"{label} uses opset {version}, newer than the {newest} that the installed onnx "
            f"{onnx.__version__} knows; upgrade onnx"
        )
    if version < 1:
        raise ReadError(f"{label} uses opset {version}, which does not exist; export it again")
    if version >= OLDEST:
        return proto
    if not proto.opset_import:
        proto.opset_import.add(domain="", version=1)
    proto.ir_version = max(proto.ir_version, 3)
    try:
        # The converter wants to know shapes, which inference knows better from step to step.
        for target in range(version + 1, OLDEST + 1):
            proto = onnx.shape_inference.infer_shapes(proto)
            proto = onnx.version_converter.convert_version(proto, target)
        return proto
    except Exception as error:
        raise ReadError(
            f"{label} uses opset {version}, older than {OLDEST}, and cannot be converted "
            f"({first_line(error)}); export it with a newer opset"
        ) from error


def _inlined(proto: ModelProto) -> ModelProto:
    weights = detach(proto)
    inlined = inline_local_functions(proto, convert_version=True)
    attach(inlined, weights)
    return inlined


def detach(proto: ModelProto) -> dict[str, bytes]:
    """Take the raw data of large initializers out, so that the rest can be serialised cheaply."""
    weights = {}
    for tensor in proto.graph.initializer:
        if len(tensor.raw_data) > 1024:
            weights[tensor.name] = tensor.raw_data
            tensor.ClearField("raw_data")
    return weights


def attach(proto: ModelProto, weights: dict[str, bytes]) -> None:
    """Put back what `detach` took."""
    for tensor in proto.graph.initializer:
        if tensor.name in weights:
            tensor.raw_data = weights[tensor.name]


def _plain_inputs(proto: ModelProto) -> None:
    """Take weights out of the list of inputs, where they had to stand before IR 4."""
    constants = _weights_listed(proto)
    kept = [info for info in proto.graph.input if info.name not in constants]
    if len(kept) < len(proto.graph.input):
        del proto.graph.input[:]
        proto.graph.input.extend(kept)
    proto.ir_version = max(proto.ir_version, 4)


def _weights_listed(proto: ModelProto) -> set[str]:
    """The initializers that are listed as inputs although nobody means to replace them.

    Before IR 4 every initializer had to be listed, and some exporters went on to list them all.
    From IR 4 on the list means that a caller may give another value, which is believed where few
    are listed: no more than half of the initializers, or no more than half of the numbers stored.
    """
    graph = proto.graph
    inputs = {info.name for info in graph.input}
    listed = {tensor.name for tensor in graph.initializer if tensor.name in inputs}
    if proto.ir_version < 4 or not listed:
        return listed
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    constants = (attribute.t for node in graph.node for attribute in node.attribute)
    stored = sum(sizes.values()) + sum(math.prod(t.dims) for t in constants if t.data_type)
    most = 2 * len(listed) > len(sizes) and 2 * sum(sizes[name] for name in listed) > stored
    return listed if most else set()


def lift_constants(graph: GraphProto) -> None:
    """Turn Constant nodes into initializers of the same name; outputs of the graph keep theirs."""
    outputs = {info.name for info in graph.output}
    kept = []
    for node in graph.node:
        tensor = None if outputs.intersection(node.output) else constant_of(node)
        if tensor is None:
            kept.append(node)
        else:
            graph.initializer.append(tensor)
    if len(kept) < len(graph.node):
        replace_nodes(graph, kept)


def constant_of(node: NodeProto) -> TensorProto | None:
    """The tensor that a Constant node holds, named like its output; None for strings and others."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return None
    if not node.attribute or len(node.output) != 1:
        return None
    attribute = node.attribute[0]
    tensor = TensorProto()
    if attribute.name == "value":
        tensor.CopyFrom(attribute.t)
    elif attribute.name in SCALARS:
        value = onnx.helper.get_attribute_value(attribute)
        tensor = numpy_helper.from_array(np.asarray(value, SCALARS[attribute.name]))
    else:
        return None
    tensor.name = node.output[0]
    return tensor


def replace_nodes(graph: GraphProto, nodes: list[NodeProto]) -> None:
    """Make `nodes` the nodes of `graph`."""
    # Extending copies, and clearing frees what is to be copied: hence by way of a second graph.
    kept = GraphProto()
    kept.node.extend(nodes)
    del graph.node[:]
    graph.node.extend(kept.node)


def sort(graph: GraphProto, label: str) -> None:
    """Sort nodes topologically, keeping the order of the file where it is free."""
    producer = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    needs = [_needs(node, producer) for node in graph.node]
    if all(before < i for i, wanted in enumerate(needs) for before in wanted):
        return
    sorter = TopologicalSorter(dict(enumerate(needs)))
    try:
        sorter.prepare()
    except CycleError as error:
        stuck = graph.node[error.args[1][0]]
        raise ReadError(
            f"{label} has a cycle through {stuck.op_type} node '{stuck.name}', which needs its "
            "own output; export the model again"
        ) from error
    order: list[int] = []
    ready: list[int] = []
    while sorter.is_active():
        for i in sorter.get_ready():
            heapq.heappush(ready, i)
        order.append(heapq.heappop(ready))
        sorter.done(order[-1])
    replace_nodes(graph, [graph.node[i] for i in order])


def _needs(node: NodeProto, producer: dict[str, int]) -> set[int]:
    reads = (*node.input, *captured_names(node)) if has_subgraph(node) else node.input
    return {producer[name] for name in reads if name in producer}
