"""Which tensors are as long as the data say: what durations, detections or a search come to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from onnx import NodeProto

from spa.coupling.view import trait_at
from spa.errors import VerifyError
from spa.graph.model import Graph, Node
from spa.graph.normalize import graphs_in
from spa.rules import trait_of


def sized_by_data(graph: Graph) -> frozenset[str]:
    """The tensors of the main graph whose shape depends on values of inputs, not on their sizes.

    Another model of the same function, such as one whose weights were refitted, may make them of
    another length.
    """
    valued: set[str] = set(graph.inputs)
    shaped: set[str] = set()
    for node, proto in zip(graph.nodes, graph.proto.graph.node, strict=True):
        reads = {n for n in (*node.inputs, *node.captured) if n}
        if trait_of(node).only_shape:
            if reads & shaped:
                valued.update(node.outputs)
            continue
        if reads & shaped or _counted(node, proto, valued):
            shaped.update(node.outputs)
        if reads & (valued | shaped):
            valued.update(node.outputs)
    return frozenset(shaped - {""})


def _counted(node: Node, proto: NodeProto, valued: Collection[str]) -> bool:
    trait = trait_of(node)
    steers = {*trait.sized, *([0] if trait.counts else [])}
    if any(name in valued for i, name in enumerate(node.inputs) if i in steers):
        return True
    return any(trait_at(each).counts for body in graphs_in(proto) for each in body.node)


def check_shapes(
    graph: Graph, before: Mapping[str, Any], after: Mapping[str, Any], advice: str
) -> None:
    """Every output is there, and as long as it was unless the data say how long it is.

    Raises:
        VerifyError: one is not.
    """
    free = sized_by_data(graph)
    declared = {o.name: o.type.tensor_type.shape.dim for o in graph.proto.graph.output}
    for name, a in before.items():
        b = after.get(name)
        if not isinstance(a, np.ndarray) or (isinstance(b, np.ndarray) and a.shape == b.shape):
            continue
        if isinstance(b, np.ndarray) and name in free and a.ndim == b.ndim:
            fixed = [k for k, dim in enumerate(declared.get(name, ())) if dim.dim_value]
            if all(a.shape[k] == b.shape[k] for k in fixed):
                continue
        shape = b.shape if isinstance(b, np.ndarray) else "missing"
        raise VerifyError(
            f"output {name} of the pruned model has shape {shape} where the original has "
            f"{a.shape}; {advice}"
        )
