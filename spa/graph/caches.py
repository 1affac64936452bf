"""Inputs with the axes of pictures that are none: keys and values of earlier tokens, their masks.

What an axis is shows in what is done along it: a cache is grown along one that is open, or
multiplied with what the model computes, and a mask is added to what a softmax reads.  A picture
comes to a layer that has windows first.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence

from onnx import GraphProto, NodeProto

from spa.graph.evaluate import attribute_of, words
from spa.graph.normalize import graphs_in, nodes_in
from spa.graph.single import LAYERS, ON_THE_WAY

RANK = 4
ALIKE = words("Cast Identity Add Sub Mul Div Neg Not And Or Where Equal Less Greater Clip Min Max")
"""What leaves axes where they are."""
INTO = words("ScatterND ScatterElements TensorScatter")
PRODUCTS = words("MatMul Einsum")
PAST = 3  # the first input of an operator for attention that may be a mask or a cache
Axes = tuple[int, ...]
"""Which axis of the input each axis of a tensor is; empty where that is not known."""


def caches(graph: GraphProto, consts: Container[str]) -> frozenset[str]:
    """The inputs of four axes or more whose open axes are lengths."""
    ranks = {info.name: len(info.type.tensor_type.shape.dim) for info in graph.input}
    asked = [info for info in graph.input if ranks[info.name] >= RANK]
    if not asked:
        return frozenset()
    readers: dict[str, list[NodeProto]] = {}
    made: set[str] = set()
    for node in nodes_in(graph.node):
        for name in node.input:
            readers.setdefault(name, []).append(node)
        if node.op_type != "Constant":
            made.update(name for name in node.output if name not in consts)
    walk = _Walk(readers, made)
    found = []
    for info in asked:
        sizes = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        if walk.ends(info.name, len(sizes), {k for k, size in enumerate(sizes) if size <= 0}):
            found.append(info.name)
    return frozenset(found)


class _Walk:
    """From an input to what first tells what its axes are; `made` is what the model computes."""

    def __init__(self, readers: Mapping[str, Sequence[NodeProto]], made: Container[str]) -> None:
        self.readers, self.made = readers, made

    def ends(self, name: str, rank: int, free: set[int]) -> bool:
        """Whether it ends where caches and masks do, and nowhere where pictures do."""
        todo: list[tuple[str, Axes]] = [(name, tuple(range(rank)))]
        seen, found = {name}, False
        while todo:
            tensor, axes = todo.pop()
            for node in self.readers.get(tensor, ()):
                if node.op_type in LAYERS:
                    return False
                if self._tells(node, tensor, axes, free):
                    found = True
                    continue
                for output, held in _onward(node, tensor, axes):
                    if output not in seen:
                        seen.add(output)
                        todo.append((output, held))
        return found

    def _tells(self, node: NodeProto, tensor: str, axes: Axes, free: set[int]) -> bool:
        """Whether only a cache, or a mask, is read like this."""
        others = [name for name in node.input if name and name != tensor]
        if node.op_type in PRODUCTS:
            return bool(others) and all(name in self.made for name in others)
        if node.op_type == "Concat":
            own = axes[attribute_of(node, "axis")] if axes else None
            return own in free and any(name in self.made for name in others)
        if node.op_type in INTO:
            return node.input[0] == tensor and any(name in self.made for name in others)
        attends = "Attention" in node.op_type and tensor in node.input[PAST:]
        return attends or node.op_type == "Softmax"


def _onward(node: NodeProto, tensor: str, axes: Axes) -> Iterator[tuple[str, Axes]]:
    """What holds the same numbers after a node, and where the axes have gone."""
    if node.op_type == "Loop":  # its body reads what it is given in the same order
        for body in graphs_in(node):
            given = zip(node.input, body.input, strict=False)
            yield from ((own.name, axes) for name, own in given if name == tensor)
    elif node.op_type == "Transpose" and axes:
        turn = attribute_of(node, "perm", range(len(axes))[::-1])
        yield node.output[0], tuple(axes[k] for k in turn)
    elif node.op_type in ALIKE:
        yield node.output[0], axes
    elif node.op_type in ON_THE_WAY and node.op_type not in ("Concat", "Gather"):
        yield node.output[0], ()
