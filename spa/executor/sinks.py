"""Where the output of a site goes: through which factors, past which biases, into which sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.graph.model import Graph, Node
from spa.rules import trait_of

TINY = 1e-6  # of the largest gain: a row scaled by less says nothing about what is behind
Step = tuple[Node, int]  # a node, and the number of one of its inputs
Gain = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sink:
    """The way of a site's output, up to where it meets another activation or is used twice.

    Attributes:
        output: what the site makes.
        tensor: what has become of the output there (the sum, where it is added to something).
        axis: the axis of all these tensors that the rows lie along; None if they lie along several.
        steps: the nodes that scale the rows, with the inputs that say by how much.
        bias_input: the node, and its input number, whose stored tensor can take over a change of
            bias, if there is one; a BatchNormalization's is its mean.
        stream: the other summand, where the way ends in a sum of activations of one shape.
    """

    output: str
    tensor: str
    axis: int | None
    steps: tuple[Step, ...] = ()
    bias_input: Step | None = None
    stream: str | None = None

    @property
    def bias(self) -> str | None:
        """The stored tensor that can take over a change of bias."""
        return self.bias_input[0].inputs[self.bias_input[1]] if self.bias_input else None

    def gain(self, consts: Mapping[str, NDArray[Any]]) -> Gain | None:
        """What the rows are multiplied by on the way, `[rows]`; None: nothing.

        `consts` may also say how the output itself is moved (see `Stream`).
        """
        found: Gain | None = None
        if self.output in consts:
            found = np.asarray(consts[self.output][0], np.float64)
        for node, i in self.steps:
            norm = trait_of(node).statistics
            if norm is not None:
                inputs = node.inputs[norm.scale], node.inputs[norm.variance]
                scale, var = (np.asarray(consts[name], np.float64) for name in inputs)
                factor = scale / np.sqrt(var + node.attrs.get("epsilon", 1e-5))
            else:
                factor = np.asarray(consts[node.inputs[i]], np.float64).reshape(-1)
            found = factor if found is None else found * factor
        return found


def scaled(matrix: Gain, gain: Gain | None) -> Gain:
    """Rows `[groups, rows, m]` as they arrive at a sink of such a gain."""
    return matrix if gain is None else matrix * gain.reshape(matrix.shape[:2])[:, :, None]


class Ways:
    """Follows outputs through one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.users: dict[str, list[Step]] = {}
        for node in graph.nodes:
            for i, name in (*enumerate(node.inputs), *((-1, name) for name in node.captured)):
                self.users.setdefault(name, []).append((node, i))
        self.made = {name: node.index for node in graph.nodes for name in node.outputs}
        self.outputs = frozenset(graph.outputs)

    def alone(self, name: str) -> bool:
        """Whether a tensor is used in one place only."""
        return len(self.users.get(name, ())) == 1 and name not in self.outputs

    def paired(self, bias: str, node: Node) -> bool:
        """Whether a stored tensor is used as often as a site's weight: by all that share both."""
        weights = [n for n in node.inputs[:2] if n in self.graph.consts]
        count = max((len(self.users[n]) for n in weights), default=1)
        return len(self.users.get(bias, ())) == count and bias not in self.outputs

    def sink(self, node: Node, axis: int | None) -> Sink:
        """Follow the output of a site whose rows lie along `axis` of it."""
        made = name = node.outputs[0]
        steps: list[Step] = []
        bias_input = self._own(node)
        while self.alone(name):
            after, i = self.users[name][0]
            if i < 0 or len(after.outputs) != 1:
                break
            like = trait_of(after)
            other = after.inputs[1 - i] if len(after.inputs) == 2 else ""
            fixed = other in self.graph.consts
            if like.hands_on and i == 0:
                pass
            elif axis is None:
                break
            elif like.statistics is not None and i == 0 and axis == 1:
                if not all(after.inputs[k] in self.graph.consts for k in like.statistics.all):
                    break
                steps.append((after, like.statistics.scale))
                mean = like.statistics.mean
                if bias_input is None and self.paired(after.inputs[mean], node):
                    bias_input = after, mean
            elif like.linear in ("adds", "scales") and fixed and self._per_row(other, name, axis):
                if like.linear == "scales":
                    steps.append((after, 1 - i))
                elif bias_input is None and not steps and self.paired(other, node):
                    bias_input = after, 1 - i
            elif like.linear == "adds" and not fixed and self._alike(other, name) and other != name:
                early = self.made.get(other, -1) < node.index  # -1: an input of the model
                stream = other if early else None
                return Sink(made, after.outputs[0], axis, tuple(steps), bias_input, stream)
            else:
                break
            name = after.outputs[0]
        return Sink(made, name, axis, tuple(steps), bias_input)

    def _own(self, node: Node) -> Step | None:
        """The site's own bias input, if it is stored as its weight is."""
        how = trait_of(node).contracts
        if how is None or how.bias is None or len(node.inputs) <= how.bias:
            return None
        name = node.inputs[how.bias]
        return (node, how.bias) if name in self.graph.consts and self.paired(name, node) else None

    def _per_row(self, const: str, name: str, axis: int) -> bool:
        """Whether a stored tensor has one number per row, and rows only."""
        shape, full = self.graph.shapes.get(const), self.graph.shapes.get(name)
        if shape is None or full is None or len(shape) > len(full):
            return False
        from_end = len(full) - axis
        return len(shape) >= from_end and shape[-from_end] == full[axis] == prod(shape)

    def _alike(self, a: str, b: str) -> bool:
        shapes = self.graph.shapes
        return a in shapes and shapes[a] == shapes.get(b)
