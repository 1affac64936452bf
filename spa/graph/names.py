"""The names of tensors: those that a graph has, and names that nobody has yet."""

from __future__ import annotations

from collections.abc import Container, Iterator

from onnx import GraphProto

from spa.graph.normalize import graphs_in


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
