"""The same network, exported another way: initializers keep their names, the rest may change."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, numpy_helper, version_converter


def copied(model):
    result = ModelProto()
    result.CopyFrom(model)
    return result


def renamed(model):
    """Other names for nodes and activations."""
    result = copied(model)
    graph = result.graph
    kept = {v.name for v in (*graph.input, *graph.output, *graph.initializer)}
    made = {name for node in graph.node for name in node.output} - kept - {""}
    _rename(graph.node, {name: f"t::{name}" for name in made})
    del graph.value_info[:]
    return result


def _rename(nodes, table):
    for k, node in enumerate(nodes):
        node.name = f"/again/{k}"
        for names in (node.input, node.output):
            names[:] = [table.get(name, name) for name in names]
        for attribute in node.attribute:
            _rename(attribute.g.node, table)  # a body reads tensors from outside


def nameless(model):
    result = renamed(model)
    for node in result.graph.node:
        node.name = ""
    return result


def converted(model, opset):
    return version_converter.convert_version(model, opset)


def with_batch(model, size):
    """The batch stated."""
    result = copied(model)
    for value in (*result.graph.input, *result.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = size
    del result.graph.value_info[:]
    return result


def tuned(model, seed=0):
    """The same shapes, other weights."""
    result = copied(model)
    random = np.random.default_rng(seed)
    for tensor in result.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.ndim > 1:
            array = array * random.uniform(0.9, 1.1, array.shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return result


def expanded(model):
    """Equal tensors, of which an Identity made two, stored twice."""
    result = copied(model)
    graph = result.graph
    for node in [n for n in graph.node if n.op_type == "Identity"]:
        (same,) = [t for t in graph.initializer if t.name == node.input[0]]
        graph.initializer.add().CopyFrom(same)
        graph.initializer[-1].name = node.output[0]
        graph.node.remove(node)
    return result


def folded(model):
    """Every BatchNormalization worked into the convolution before it."""
    result = expanded(model)
    graph = result.graph
    stored = {t.name: t for t in graph.initializer}
    convs = {node.output[0]: node for node in graph.node if node.op_type == "Conv"}
    norms = [n for n in graph.node if n.op_type == "BatchNormalization" and n.input[0] in convs]
    for norm in norms:
        conv = convs[norm.input[0]]
        scale, bias, mean, var = (numpy_helper.to_array(stored[n]) for n in norm.input[1:5])
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        factor = scale / np.sqrt(var + epsilon)
        weight = numpy_helper.to_array(stored[conv.input[1]])
        weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
        offset = numpy_helper.to_array(stored[conv.input[2]]) if len(conv.input) > 2 else 0
        name = conv.input[1].replace("weight", "bias") + "_folded"
        stored[conv.input[1]].CopyFrom(numpy_helper.from_array(weight, conv.input[1]))
        graph.initializer.append(numpy_helper.from_array(bias + (offset - mean) * factor, name))
        conv.input[:] = [*conv.input[:2], name]
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)
    used = {name for node in graph.node for name in node.input}
    kept = [t for t in graph.initializer if t.name in used]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(kept)
    return result
