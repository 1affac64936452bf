"""MACs that no rule told of: operators without a rule, in bodies too.

They cannot be cut, but they are part of the whole that a ratio is a ratio of.  A Scan's body counts
as often as it runs, a Loop's as often as it may (once where nobody knows), an If the mean of its
branches that multiply at all: nobody knows which is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import cast

from onnx import GraphProto, TensorProto

from spa.coupling.view import view_of
from spa.graph.model import Graph, Node
from spa.graph.normalize import constant_of, graphs_in
from spa.labels import Shape
from spa.rules import trait_of

Shapes = Mapping[str, Shape]


def untold(graph: Graph, told: Iterable[int], rows: Callable[[int], int] = lambda node: 1) -> float:
    """MACs of the nodes whose number is not in `told`; 0 for those of unknown shape.

    `rows` is how many rows of the batch a node computes, of which one counts.
    """
    return float(sum(macs for _, macs in untold_by_node(graph, told, rows)))


def untold_by_node(
    graph: Graph, told: Iterable[int], rows: Callable[[int], int] = lambda node: 1
) -> Iterator[tuple[int, float]]:
    """The same node by node: its number, and its MACs."""
    known = set(told)
    for node in graph.order:
        if node.index not in known:
            yield node.index, node.times * _node(node, graph.shapes) / rows(node.index)


def stored_inside(graph: GraphProto) -> Iterator[TensorProto]:
    """The tensors that the bodies of a graph's nodes hold, at any depth."""
    for node in graph.node:
        for body in (each for each in graphs_in(node) if each.node):
            yield from body.initializer
            for inner in body.node:
                held = constant_of(inner)
                if held is not None:
                    yield held
            yield from stored_inside(body)


def _node(node: Node, shapes: Shapes) -> float:
    """Of bodies that cannot be followed the dearest branch of an If, one step of a Scan or Loop."""
    closed = [body for body in node.attrs.values() if isinstance(body, GraphProto)]
    if closed and not node.bodies:
        return max(_inside(body, shapes) for body in closed)
    return _counted(node, shapes)


def _counted(node: Node, shapes: Shapes) -> float:
    macs = trait_of(node).macs
    if macs is None:
        return 0.0
    sizes = [shapes.get(name) for name in (*node.inputs, node.outputs[0])]
    try:
        *inputs, out = cast("Sequence[Shape]", sizes)
        return macs(inputs, node.attrs, out)
    except (TypeError, IndexError, ValueError):  # a shape is not known, or none of a product
        return 0.0


def _inside(body: GraphProto, shapes: Shapes) -> float:
    known = {**shapes, **{t.name: tuple(t.dims) for t in body.initializer}}
    total = 0.0
    for node in body.node:
        total += _counted(view_of(node), known)
        total += max((_inside(inner, known) for inner in graphs_in(node)), default=0.0)
    return total
