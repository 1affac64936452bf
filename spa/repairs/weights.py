"""The weights and biases of sites in the pruned model: read, replaced, and written back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from spa.executor.sites import Site
from spa.executor.stream import Stream, names_in

BIASED = frozenset(("Conv", "ConvTranspose", "Gemm"))
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

    def node(self, node: Any) -> NodeProto:
        """The node of the pruned model that a node of the original has become."""
        return self.pruned.nodes[self.pruned.find(node.outputs[0])]

    def own(self, site: Site) -> bool:
        """Whether the site's weight and bias are stored for it alone."""
        proto = self.node(site.node)
        names = [proto.input[site.input], *proto.input[2:3]]
        stored = all(n in self.pruned.weights and self.uses[n] == 1 for n in names if n)
        return stored and self.pruned.array(names[0]).dtype.kind == "f"

    def shape(self, site: Site) -> tuple[int, ...]:
        """The shape of the weight."""
        return tuple(self.pruned.weights[self.node(site.node).input[site.input]].dims)

    def of(self, site: Site) -> tuple[Matrix, Matrix, bool]:
        """Weight `[groups, rows, features]`, bias `[groups, rows]`, and whether one may be set."""
        proto = self.node(site.node)
        groups = next((a.i for a in proto.attribute if a.name == "group"), 1)
        stored = self.pruned.array(proto.input[site.input]).astype(np.float64)
        weight = np.ascontiguousarray(site.form.matrix(stored, groups))
        bias = np.zeros(weight.shape[:2])
        name = proto.input[2] if len(proto.input) > 2 else ""
        if name:
            own = self.pruned.array(name).astype(np.float64).reshape(-1)
            bias = np.broadcast_to(own, (weight[..., 0].size,)).reshape(bias.shape).copy()
        return weight, bias, self._holder(site) != "nowhere"

    def of_rows(self, site: Site) -> int:
        """How many rows the weight makes in all groups."""
        proto = self.node(site.node)
        groups = next((a.i for a in proto.attribute if a.name == "group"), 1)
        return int(np.prod(site.form.matrix(np.zeros(self.shape(site), bool), groups).shape[:2]))

    def _holder(self, site: Site) -> str:
        """Where a change of the bias goes."""
        proto = self.node(site.node)
        if site.node.op in BIASED and (len(proto.input) > 2 and proto.input[2]):
            rows = self.of_rows(site)
            size = int(np.prod(self.pruned.weights[proto.input[2]].dims))
            return "own" if size == rows else "nowhere"
        if site.sink.holder is not None:
            holder, i = site.sink.holder
            name = self.node(holder).input[i]
            if name in self.pruned.weights and self.uses[name] == 1:
                return "norm" if holder.op == "BatchNormalization" else "later"
        return "new" if site.node.op in BIASED and site.sink.axis is not None else "nowhere"

    def put(self, site: Site, weight: Matrix, change: Matrix) -> None:
        """Replace the weight; add `change` `[groups, rows]` to the bias, wherever that is."""
        proto = self.node(site.node)
        self._set(proto.input[site.input], site.form.stored(weight, self.shape(site)))
        where, flat = self._holder(site), change.reshape(-1)
        if where == "new":
            while len(proto.input) < 3:
                proto.input.append("")
            proto.input[2] = self._fresh(f"{proto.output[0]}_spa_bias")
            dtype = self.pruned.array(proto.input[site.input]).dtype
            self.pruned.weights[proto.input[2]] = numpy_helper.from_array(
                flat.astype(dtype), proto.input[2]
            )
            self.uses[proto.input[2]] = 1
        elif where != "nowhere":
            holder, i = site.sink.holder if where != "own" and site.sink.holder else (site.node, 2)
            self._shift(self.node(holder).input[i], -flat if where == "norm" else flat)

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

    def _fresh(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self.pruned.weights or name in self.uses:
            count += 1
            name = f"{wanted}_{count}"
        return name

    def model(self) -> ModelProto:
        """The pruned model with its new weights."""
        model = self.pruned.model
        del model.graph.node[:]
        model.graph.node.extend(self.pruned.nodes)
        del model.graph.initializer[:]
        model.graph.initializer.extend(self.pruned.weights.values())
        return model
