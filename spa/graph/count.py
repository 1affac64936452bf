"""How many nodes of each op a file has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from onnx import ModelProto, NodeProto

from spa.graph.normalize import graphs_in


def count_ops(model: ModelProto) -> dict[str, int]:
    """The nodes of a model by op, those in bodies and in local functions included."""
    nodes = [model.graph.node, *(function.node for function in model.functions)]
    return dict(sorted(Counter(n.op_type for each in nodes for n in _with_inner(each)).items()))


def _with_inner(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for body in graphs_in(node):
            yield from _with_inner(body.node)
