"""MACs that no rule told of: operators without a rule, and the bodies of If, Loop and Scan.

They cannot be cut, but they are part of the whole that a ratio is a ratio of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

from spa.labels import Shape

Shapes = Mapping[str, Shape]
Count = Callable[[Sequence[Any], Mapping[str, Any], Any], Any]


def untold(graph: Any, told: Iterable[int]) -> float:
    """MACs of the nodes whose number is not in `told`; 0 for those of unknown shape."""
    known, nodes = set(told), graph.proto.graph.node
    costly = [n.index for n in graph.nodes if n.op in COUNTS or n.op in BODIES]
    return sum(_node(nodes[index], graph.shapes) for index in costly if index not in known)


def stored_inside(graph: Any) -> Iterator[Any]:
    """The tensors that the bodies of a graph's nodes hold, at any depth."""
    for node in graph.node:
        for body in _bodies_of(node):
            yield from body.initializer
            for inner in body.node:
                if inner.op_type == "Constant":
                    yield from (a.t for a in inner.attribute if a.name == "value")
            yield from stored_inside(body)


def _bodies_of(node: Any) -> list[Any]:
    held = [a for a in node.attribute if a.type in GRAPHS]
    return [body for a in held for body in (a.g, *a.graphs) if body.node]


def _node(node: Any, shapes: Shapes) -> float:
    if node.op_type in BODIES:
        return _inside(node, shapes)
    if node.op_type not in COUNTS:
        return 0.0
    sizes = [shapes.get(name) for name in node.input]
    attrs = {a.name: a for a in node.attribute}
    try:
        return float(COUNTS[node.op_type](sizes, attrs, shapes.get(node.output[0])))
    except (TypeError, IndexError, ValueError):  # a shape is not known, or none of a product
        return 0.0


def _inside(node: Any, shapes: Shapes) -> float:
    """The dearest branch of an If; a Scan's body as often as it runs; a Loop's once."""
    dearest = 0.0
    for body in _bodies_of(node):
        known = {**shapes, **{t.name: tuple(t.dims) for t in body.initializer}}
        dearest = max(dearest, sum(_node(inner, known) for inner in body.node))
    if node.op_type != "Scan" or node.input[-1] not in shapes:
        return dearest
    axes = next((a.ints for a in node.attribute if a.name == "scan_input_axes"), None) or [0]
    return float(dearest * shapes[node.input[-1]][axes[-1]])


def _product(x: Sequence[Any], attrs: Mapping[str, Any], out: Any) -> Any:
    transposed = "transA" in attrs and attrs["transA"].i
    return prod(out) * x[0][-2 if transposed else -1]


def _recurrent(x: Sequence[Any], _: Mapping[str, Any], out: Any) -> Any:
    return prod(x[0][:2]) * (prod(x[1]) + prod(x[2]))


def _einsum(x: Sequence[Any], attrs: Mapping[str, Any], _: Any) -> Any:
    terms = attrs["equation"].s.decode().replace(" ", "").split("->")[0].split(",")
    if len(terms) == 1 or any("." in term for term in terms):
        return 0.0
    letters = zip("".join(terms), (n for shape in x for n in shape), strict=True)
    return float(prod(dict(letters).values()))


GRAPHS = (5, 10)  # AttributeProto.GRAPH, AttributeProto.GRAPHS
BODIES = frozenset(("If", "Loop", "Scan"))
COUNTS: Mapping[str, Count] = {
    **dict.fromkeys(
        ("Conv", "FusedConv", "ConvInteger"), lambda x, _, out: prod(out) * prod(x[1][1:])
    ),
    "QLinearConv": lambda x, _, out: prod(out) * prod(x[3][1:]),
    "ConvTranspose": lambda x, _, out: prod(x[0]) * prod(x[1][1:]),
    "Einsum": _einsum,
    **dict.fromkeys(
        ("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "FusedGemm", "FusedMatMul"), _product
    ),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), _recurrent),
}
