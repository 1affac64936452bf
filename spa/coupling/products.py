"""MACs that no rule told of: operators without a rule, in bodies too.

They cannot be cut, but they are part of the whole that a ratio is a ratio of.  A Scan's body counts
as often as it runs, a Loop's as often as it may (once where nobody knows), an If the mean of its
branches that multiply at all: nobody knows which is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

from onnx import helper

from spa.labels import Shape

Shapes = Mapping[str, Shape]
Count = Callable[[Sequence[Any], Mapping[str, Any], Any], Any]


def untold(graph: Any, told: Iterable[int]) -> float:
    """MACs of the nodes whose number is not in `told`; 0 for those of unknown shape."""
    known = set(told)
    costly = [n for n in graph.order if n.op in COUNTS or n.op in BODIES]
    return float(sum(n.times * _node(n, graph.shapes) for n in costly if n.index not in known))


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
    if node.op in BODIES:
        return _closed(node, shapes)
    sizes = [shapes.get(name) for name in node.inputs]
    return _counted(node.op, sizes, node.attrs, shapes.get(node.outputs[0]))


def _counted(op: str, sizes: Sequence[Any], attrs: Mapping[str, Any], out: Any) -> float:
    try:
        return float(COUNTS[op](sizes, attrs, out))
    except (TypeError, IndexError, ValueError):  # a shape is not known, or none of a product
        return 0.0


def _closed(node: Any, shapes: Shapes) -> float:
    """Bodies that cannot be followed: the dearest branch of an If, one step of a Scan or Loop."""
    bodies = [body for body in node.attrs.values() if hasattr(body, "node")]
    return max((_inside(body, shapes) for body in bodies), default=0.0)


def _inside(body: Any, shapes: Shapes) -> float:
    known = {**shapes, **{t.name: tuple(t.dims) for t in body.initializer}}
    total = 0.0
    for node in body.node:
        if node.op_type in COUNTS:
            attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            sizes = [known.get(name) for name in node.input]
            total += _counted(node.op_type, sizes, attrs, known.get(node.output[0]))
        total += max((_inside(inner, known) for inner in _bodies_of(node)), default=0.0)
    return total


def _product(x: Sequence[Any], attrs: Mapping[str, Any], out: Any) -> Any:
    return prod(out) * x[0][-2 if attrs.get("transA", 0) else -1]


def _recurrent(x: Sequence[Any], _: Mapping[str, Any], out: Any) -> Any:
    return prod(x[0][:2]) * (prod(x[1]) + prod(x[2]))


def _einsum(x: Sequence[Any], attrs: Mapping[str, Any], _: Any) -> Any:
    equation = attrs["equation"]
    text = equation.decode() if isinstance(equation, bytes) else equation
    terms = text.replace(" ", "").split("->")[0].split(",")
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
