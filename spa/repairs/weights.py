"""The weights and biases of sites in the pruned model: read, replaced, and written back."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from spa.executor.sites import Site
from spa.executor.stream import Stream, names_in
from spa.graph.model import Node
from spa.graph.normalize import unused
from spa.rules import trait_of

Matrix = NDArray[np.float64]


class Weights:
    """Stored tensors of a pruned model, reached by sites of the original."""

    def __init__(self, pruned: Stream) -> None:
        self.pruned = pruned
        self.uses: dict[str, int] = {}
        for proto in pruned.nodes:
            for name in (*proto.input, *(names_in(proto) - set(proto.input))):  # bodies as well
                self.uses[name] = self.uses.get(name, 0) + 1
        for output in pruned.model.graph.output:
            self.uses[output.name] = self.uses.get(output.name, 0) + 1

    def node(self, node: Node) -> NodeProto:
        """The node of the pruned model that a node of the original has become."""
        return self.pruned.nodes[self.pruned.find(node.outputs[0])]

    def name(self, site: Site) -> str:
        """The stored tensor that is the site's weight."""
        return str(self.node(site.node).input[site.input])

    def own(self, site: Site, uses: int = 1) -> bool:
        """Whether so many sites, and nothing else, use the weight; a bias is theirs as well.

        A bias that is an input with a default stays as it is.
        """
        proto = self.node(site.node)
        name, bias = self.name(site), _bias_of(site, proto)
        bias = "" if bias in self.pruned.defaults else bias
        if not all(n in self.pruned.weights for n in (name, bias) if n):
            return False
        own = self.uses[name] == uses and (not bias or uses > 1 or self.uses[bias] == 1)
        return own and self.pruned.array(name).dtype.kind == "f"

    def one_bias(self, sites: Sequence[Site]) -> bool:
        """Whether these sites, and nothing else, add one stored bias to what they make."""
        places = [self._bias_input(site) for site in sites]
        names = {"".join(p[0].input[p[1] : p[1] + 1]) if p else "" for p in places}
        return len(names) == 1 and self.uses.get(names.pop(), 0) == len(sites)

    def shape(self, site: Site) -> tuple[int, ...]:
        """The shape of the weight."""
        return tuple(self.pruned.weights[self.name(site)].dims)

    def of(self, site: Site) -> tuple[Matrix, Matrix, bool]:
        """Weight `[groups, rows, features]`, bias `[groups, rows]`, and whether one may be set."""
        proto = self.node(site.node)
        stored = self.pruned.array(proto.input[site.input]).astype(np.float64)
        weight = np.ascontiguousarray(site.form.matrix(stored, groups_of(proto)))
        bias = self.bias(site, weight.shape[:2])
        return weight, bias, self._bias_input(site) is not None

    def bias(self, site: Site, shape: tuple[int, ...]) -> Matrix:
        """What the site's own node adds to its rows, of this shape `[groups, rows]`."""
        name = _bias_of(site, self.node(site.node))
        if not name:
            return np.zeros(shape)
        own = self.pruned.array(name).astype(np.float64).reshape(-1)
        return np.broadcast_to(own, prod(shape)).reshape(shape).copy()

    def _bias_input(self, site: Site) -> tuple[NodeProto, int, int] | None:
        """Where a change of the bias goes: the node, its input (perhaps a new one), and the sign.

        The mean of a BatchNormalization is subtracted, so there the sign is the other.  A tensor
        elsewhere must serve as many nodes as the weight does.
        """
        proto = self.node(site.node)
        own, bias = site.bias, _bias_of(site, proto)
        if own is not None and bias:
            if bias in self.pruned.defaults:
                return None
            shape = self.shape(site)
            rows = prod(shape) // site.form.features(shape, groups_of(proto))
            return (proto, own, 1) if self.pruned.array(bias).size == rows else None
        if site.sink.bias_input is not None:
            bias_input, i = site.sink.bias_input
            name = self.node(bias_input).input[i]
            if name in self.pruned.weights and self.uses[name] == self.uses[self.name(site)]:
                norm = trait_of(bias_input).statistics
                return self.node(bias_input), i, 1 if norm is None or i != norm.mean else -1
        return None if own is None or site.sink.axis is None else (proto, own, 1)

    def put(self, site: Site, weight: Matrix, change: Matrix | None) -> None:
        """Replace the weight; add `change` `[groups, rows]` to the bias, wherever that is."""
        proto = self.node(site.node)
        self._set(proto.input[site.input], site.form.stored(weight, self.shape(site)))
        place = self._bias_input(site)
        if place is None or change is None:
            return
        bias_input, i, sign = place
        while len(bias_input.input) <= i:
            bias_input.input.append("")
        if not bias_input.input[i]:
            self._add(bias_input, i, change.size, self.pruned.array(proto.input[site.input]).dtype)
        self._shift(bias_input.input[i], sign * change.reshape(-1))

    def _add(self, bias_input: NodeProto, i: int, size: int, dtype: np.dtype) -> None:
        """Give a node a bias of zeros."""
        name = unused(f"{bias_input.output[0]}_spa_bias", {*self.pruned.weights, *self.uses})
        bias_input.input[i] = name
        self.pruned.weights[name] = numpy_helper.from_array(np.zeros(size, dtype), name)
        self.uses[name] = 1

    def _shift(self, name: str, change: Matrix) -> None:
        """Add to a stored tensor, also to what the stream uses in its place."""
        stored = self.pruned.array(name)
        self._set(name, stored.astype(np.float64) + change.reshape(stored.shape))
        if name in self.pruned.instead:
            known = self.pruned.instead[name]
            self.pruned.instead[name] = (known + change.reshape(known.shape)).astype(known.dtype)

    def _set(self, name: str, array: Matrix) -> None:
        dtype = helper.tensor_dtype_to_np_dtype(self.pruned.weights[name].data_type)
        shape = tuple(self.pruned.weights[name].dims)
        new = np.ascontiguousarray(array.reshape(shape).astype(dtype))
        self.pruned.weights[name] = numpy_helper.from_array(new, name)

    def model(self) -> ModelProto:
        """The pruned model with its new weights."""
        model = self.pruned.model
        del model.graph.node[:]
        model.graph.node.extend(self.pruned.nodes)
        stored = GraphProto(initializer=self.pruned.defaults.values())
        del model.graph.initializer[:]
        model.graph.initializer.extend(self.pruned.weights.values())
        model.graph.initializer.extend(stored.initializer)
        return model


def _bias_of(site: Site, proto: NodeProto) -> str:
    """The tensor that the site's own node adds to its rows, if any."""
    return "" if site.bias is None else "".join(proto.input[site.bias : site.bias + 1])


def groups_of(proto: NodeProto) -> int:
    """The number of groups, if it is a convolution."""
    return next((a.i for a in proto.attribute if a.name == "group"), 1)
