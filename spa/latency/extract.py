"""One piece of a graph as a model of its own, at the widths that a choice leaves it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from spa.coupling.model import Coupling
from spa.graph.model import Node
from spa.latency.pieces import Piece
from spa.make import make
from spa.rewrite.build import set_attribute, store
from spa.rewrite.shrink import shrink
from spa.rules import trait_of
from spa.trace import Kept
from spa.trace.check import refit

Array = NDArray[Any]
TELLING = 64
"""Elements up to which a constant's values count: axes, sizes and scalars steer kernels."""
SPREAD = 0.1
PICTURE = 4  # axes of a tensor that may be laid out in blocks of channels


@dataclass(frozen=True, eq=False)
class Trial:
    """A model to time, with inputs.

    Trials with one `key` do the same work: operators, attributes, shapes and types are the same,
    only weights differ.  `twice` does it two times over from the same inputs: the difference is
    the work alone, without the change of memory layout at the borders of a model.
    """

    key: str
    model: ModelProto
    feeds: Mapping[str, Array]
    twice: ModelProto | None = None

    @property
    def numbers(self) -> int:
        """Elements that it stores and reads."""
        stored = sum(int(np.prod(t.dims)) for t in self.model.graph.initializer)
        return stored + sum(value.size for value in self.feeds.values())


def timeable(coupling: Coupling, piece: Piece) -> bool:
    """Whether a piece can stand alone: all its shapes are known, and it has no control flow."""
    graph = coupling.graph
    for index in piece.nodes:
        node = graph.nodes[index]
        proto = graph.proto.graph.node[index]
        if node.captured or any(a.type in (5, 10) for a in proto.attribute):
            return False
        for name in (*node.inputs, *node.outputs):
            if name and (name not in graph.shapes or graph.dtypes[name].kind in "OU"):
                return False
    return True


def extract(coupling: Coupling, piece: Piece, left: Kept) -> Trial:
    """A piece with what is left of its tensors; MisplacedError where the choice does not fit."""
    return _Extraction(coupling, left).made(piece)


class _Extraction:
    """Gives tensors names by their order, so that equal pieces become equal models."""

    def __init__(self, coupling: Coupling, left: Kept) -> None:
        self.graph, self.notes, self.left = coupling.graph, coupling.notes, left
        self.names: dict[str, str] = {}
        self.stored: dict[str, Array] = {}
        self.feeds: dict[str, Array] = {}
        self.inside: set[str] = set()
        self.padded: set[str] = set()
        self.marks: list[str] = []
        self.copy = 0

    def made(self, piece: Piece) -> Trial:
        first = [self._node(index) for index in piece.nodes]
        outputs, ends = self._outputs(piece)
        versions = sorted(f"{o.domain}:{o.version}" for o in self.graph.proto.opset_import)
        key = hashlib.sha256("\n".join([*versions, *self.marks]).encode()).hexdigest()[:24]
        model = self._model([*first, *ends], outputs)
        if not self._blocked(piece):
            return Trial(key, model, self.feeds)
        self.copy, self.inside = 1, set()
        second = [self._node(index) for index in piece.nodes]
        more, others = self._outputs(piece)
        both = self._model([*first, *ends, *second, *others], [*outputs, *more])
        return Trial(key, model, self.feeds, both)

    def _blocked(self, piece: Piece) -> bool:
        """Whether kernels may want pictures in blocks of channels, and weights tell copies apart.

        The runtime computes equal things once.
        """
        first = self.graph.nodes[piece.nodes[0]]
        return (
            any(array.ndim == PICTURE for array in self.feeds.values())
            and any(param.times for param in self.notes.couplings.params(first))
            and any(a.size > TELLING and a.dtype.kind not in "iub" for a in self.stored.values())
        )

    def _model(self, nodes: Sequence[NodeProto], outputs: Sequence[str]) -> ModelProto:
        ports = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in self.feeds.items()
        ]
        ends = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph(nodes, "piece", ports, ends)
        for name, array in self.stored.items():
            store(graph.initializer.add(), name, array)
        imports = self.graph.proto.opset_import
        return helper.make_model(graph, opset_imports=imports, ir_version=10)

    def _node(self, index: int) -> NodeProto:
        node, proto = self.graph.nodes[index], self.graph.proto.graph.node[index]
        edits = refit(self.left, node)
        copy = NodeProto(op_type=proto.op_type, domain=proto.domain, name=f"n{len(self.marks)}")
        copy.attribute.extend(proto.attribute)
        given = dict(enumerate(node.inputs))
        for key, value in edits.items():
            if isinstance(key, str):
                set_attribute(copy, key, value)
            else:
                given[key] = given.get(key, "")
        for i in range(max(given, default=-1) + 1):
            edit = edits.get(i)
            copy.input.append(self._input(node, i, None if edit is None else np.asarray(edit)))
        for name in node.outputs:
            self.inside.add(name)
            if trait_of(node).linear == "pads":  # the runtime would move it into a real pool
                self.padded.add(name)
            copy.output.append(self._name(f"{self.copy}:{name}") if name else "")
        self._mark(copy)
        return copy

    def _input(self, node: Node, i: int, edit: Array | None) -> str:
        name = node.inputs[i] if i < len(node.inputs) else ""
        if edit is not None:
            return self._keep(f"{node.index}:{i}", lambda: edit)
        if not name:
            return ""
        param = self.notes.params.get((node.index, i))
        if name in self.graph.consts:
            if param is not None and param.tensor is not None and self.left.cuts(param):
                stored = self.graph.weight(name)
                return self._keep(f"{node.index}:{i}", lambda: shrink(param, stored, self.left))
            return self._keep(name, lambda: np.asarray(self.graph.weight(name)))
        known = self.notes.sized(node, i)
        if known is not None:
            return self._keep(name, lambda: known)
        if name in self.inside:
            return self.names[f"{self.copy}:{name}"]
        if f"<{name}" not in self.names:
            self.feeds[self._name(f"<{name}")] = self._random(name)
        return self.names[f"<{name}"]

    def _keep(self, key: str, array: Callable[[], Array]) -> str:
        """Store a constant under a name of its own; a tensor computed inside may be known, too."""
        key = f"{self.copy}={key}"
        if key not in self.names:
            made = array()
            other = self.copy and made.size > TELLING and made.dtype.kind not in "iub"
            self.stored[self._name(key)] = np.flip(made).copy() if other else made
        return self.names[key]

    def _name(self, key: str) -> str:
        return self.names.setdefault(key, f"t{len(self.names)}")

    def _random(self, name: str) -> Array:
        shape, dtype = self.left.image(self.notes.images[name]).shape, self.graph.dtypes[name]
        if dtype.kind == "b":
            return np.ones(shape, dtype)
        if dtype.kind in "iu":
            return np.zeros(shape, dtype)  # the first of whatever it may be an index of
        # small, and above 0 so that roots and logarithms stay finite: those cost more else
        noise = np.random.default_rng(0).random(shape, np.float32)
        return (SPREAD + noise).astype(dtype)

    def _outputs(self, piece: Piece) -> tuple[list[str], list[NodeProto]]:
        """What others read, as the runtime would leave out the rest; of pictures one pixel.

        So a picture need not be brought out of the layout in which it was made.
        """
        own, read = set(piece.nodes), self.graph.readers
        wanted = [
            name
            for name in self.inside
            if name in self.graph.outputs or any(n.index not in own for n in read.get(name, ()))
        ]
        last = self.graph.nodes[piece.nodes[-1]].outputs
        outputs: list[str] = []
        ends: list[NodeProto] = []
        for name in sorted(wanted or filter(None, last), key=self._name_inside):
            held, shape = self._name_inside(name), self.graph.shapes[name]
            plain = self.graph.dtypes[name].name != "float32" or name in self.padded
            if len(shape) != PICTURE or plain:
                outputs.append(held)
                continue
            outputs.append(f"{held}_end")
            ends.append(make.MaxPool([held], [outputs[-1]], kernel_shape=[1, 1], strides=shape[2:]))
        return outputs, ends

    def _name_inside(self, name: str) -> str:
        return self.names[f"{self.copy}:{name}"]

    def _mark(self, copy: NodeProto) -> None:
        """Describe a node by all that its time depends on."""
        attrs = sorted(a.SerializeToString(deterministic=True).hex() for a in copy.attribute)
        inputs = [self._described(name) for name in copy.input]
        outputs = list(copy.output)
        self.marks.append(repr((copy.domain, copy.op_type, attrs, inputs, outputs)))

    def _described(self, name: str) -> str:
        if name in self.feeds:
            return f"{name}<{self.feeds[name].dtype}{self.feeds[name].shape}"
        if name not in self.stored:
            return name
        array = self.stored[name]
        told = array.tobytes().hex() if array.size <= TELLING and array.dtype.kind in "iub" else ""
        return f"{name}={array.dtype}{array.shape}{told}"


def empty() -> Trial:
    """A model that does nothing: what remains is the cost of a run."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1,)) for name in "xy")
    graph = helper.make_graph([make.Identity(["x"], ["y"])], "empty", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return Trial("empty", model, {"x": np.zeros(1, np.float32)})
