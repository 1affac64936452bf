"""The zero-mask oracle: the original model, with every dropped channel held at zero everywhere.

A pruned model must compute exactly this.  The masks sit on activations (a `Where` behind every
tensor that loses channels), and the weights stay whole, so that the oracle shares no code with the
rewriter.  Only channels that an operator keeps to itself (the state that a recurrent layer reads
again, the queries and keys of a fused attention) are held at zero in its weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from spa.coupling.model import Coupling, KeptUnits
from spa.graph.model import Graph, Node
from spa.graph.normalize import opsets_of
from spa.graph.tensors import copied
from spa.labels import Ids, IndexMap
from spa.make import make
from spa.rules import trait_of
from spa.trace import MAKES, READS, SCALES, Kept, Param
from spa.validate.layout import Layout, layout_of

SELECTABLE = frozenset(("float32", "float64", "int32", "int64", "uint8"))
"""What onnxruntime can select from; other types go through one that holds all their values."""

RANGES = 12
"""The version of ai.onnx from which on a mask can be made as long as a tensor is at run time."""


def masked(coupling: Coupling, kept: KeptUnits) -> ModelProto:
    """The original model with the units outside `kept` (bool `[labels]`, by unit) set to zero."""
    left = Kept(coupling.notes, coupling.root, kept)
    graph = coupling.graph
    model = copied(graph.proto)
    del model.graph.node[:]
    held = _Held(model, coupling, left)
    model.graph.node.extend(held.all(graph.nodes, graph.proto.graph.node))
    return model


class _Held:
    """Writes nodes, in the main graph and in bodies, each followed by what holds its outputs."""

    def __init__(self, model: ModelProto, coupling: Coupling, left: Kept) -> None:
        self.model, self.coupling, self.left = model, coupling, left
        self.graph = coupling.graph
        self.zeros: dict[str, str] = {}
        self.wanted = _zeros_wanted(self.graph)

    def all(self, nodes: Sequence[Node], protos: Iterable[NodeProto]) -> list[NodeProto]:
        """The nodes of one graph."""
        written: list[NodeProto] = []
        for node, proto in zip(nodes, protos, strict=True):
            copy = copied(proto)
            if node.bodies:
                self._enter(node, copy)
            else:
                self._hold_inside(node, copy)
                self.zeros |= _zero_point(self.graph, node, self.zeros, self.wanted)
            written.append(copy)
            for k, name in enumerate(node.outputs):
                if self._loses(name):
                    copy.output[k] = f"{name}__whole"
                    written += self._hold(name)
        return written

    def _enter(self, node: Node, copy: NodeProto) -> None:
        """Write the bodies of a node; what enters them is held at their beginning."""
        for border in node.before:
            self._cross(border)
        for attribute in copy.attribute:
            if attribute.name not in node.bodies:
                continue
            body, entering = attribute.g, []
            for info in body.input:
                if self._loses(info.name):
                    entering += self._hold(info.name)
                    info.name = f"{info.name}__whole"
            written = self.all(node.bodies[attribute.name], body.node)
            del body.node[:]
            body.node.extend(entering + written)
        for border in node.after:
            self._cross(border)

    def _cross(self, border: Node) -> None:
        """Zero points are the same on both sides of a border, where both sides can see them."""
        if border.outputs:
            found = _zero_point(self.graph, border, self.zeros, self.wanted)
            self.zeros |= {n: zero for n, zero in found.items() if zero in self.graph.consts}

    def _loses(self, name: str) -> bool:
        image = self.coupling.notes.images.get(name)
        return image is not None and any(self.left.touched(p) for p in image.maps)

    def _hold(self, name: str) -> list[NodeProto]:
        layout = layout_of(self.coupling.notes.images[name], self.left)
        dtype = np.dtype(self.graph.dtypes[name])
        found, zero = self.graph.shapes[name], self.zeros.get(name, "")
        version = opsets_of(self.model).get("", 1)
        if not self.graph.dims or version < RANGES:  # no other size will be asked for
            layout = Layout(layout.at(found), ()).tight()
        return _hold(self.model, name, layout, dtype, zero)

    def _hold_inside(self, node: Node, copy: NodeProto) -> None:
        """Let a node use weights without the removed channels that nobody outside it can mask."""
        left, notes = self.left, self.coupling.notes
        params = [p for p in notes.couplings.params(node) if p.tensor is not None]
        if not any(left.cuts(p) for p in params):
            return
        made = _labels([q for p in params for role, q in p.maps if role == MAKES])
        images = [notes.images[o] for o in node.outputs if o in notes.images]
        shown = _labels([q for image in images for q in image.maps])
        trait = trait_of(node)
        points = {weight: point for _, weight, point in trait.bytes}
        for param in params:
            if param.input in points.values():
                continue
            mask = _inside(param, left, trait.inward, made, shown)
            if mask.all():
                continue
            name, whole = f"{param.stored}__inside_{node.index}", self.graph.consts[param.stored]
            mask = np.broadcast_to(mask, param.view).reshape(whole.shape)
            zero = _zero_of(self.coupling, node, points.get(param.input), whole)
            quiet = np.where(mask, whole, zero).astype(whole.dtype)
            self.model.graph.initializer.append(numpy_helper.from_array(quiet, name))
            copy.input[param.input] = name


def _zero_of(coupling: Coupling, node: Node, point: int | None, whole: np.ndarray) -> np.ndarray:
    """What is zero in a stored weight: its zero points at input `point`, against its axes.

    A vector belongs to the columns of a matrix; in front of matrices it belongs to each of them.
    """
    name = "" if point is None or point >= len(node.inputs) else node.inputs[point]
    if name not in coupling.graph.consts:
        return np.zeros((), whole.dtype)
    zero = coupling.graph.consts[name]
    batches = whole.ndim - 2
    shape = (*zero.shape[:batches], 1, *zero.shape[batches:])
    return np.asarray(zero).reshape(shape + (1,) * (whole.ndim - len(shape)))


def _labels(maps: list[IndexMap]) -> Ids:
    return np.unique(np.concatenate([p.ids.ravel() for p in maps] or [np.zeros(0, np.int64)]))


def _inside(param: Param, left: Kept, inward: bool, made: Ids, shown: Ids) -> NDArray[np.bool_]:
    """Which elements are kept, or go with channels that can be seen from outside.

    Those that the node reads again cannot, and neither can those that it does not hand out, nor
    any of an `inward` one.
    """
    mask = np.ones((1,) * len(param.view), bool)
    for role, p in param.maps:
        if inward:
            mask = mask & left.flags[p.ids]
        elif left.touched(p) and role in (READS, MAKES, SCALES):
            hidden = np.isin(p.ids, made) if role == READS else ~np.isin(p.ids, shown)
            mask = mask & (left.flags[p.ids] | ~hidden)
    return mask


def _zeros_wanted(graph: Graph) -> dict[str, str]:
    """Which zero points integers are read with: stored ones have no maker to ask."""
    wanted: dict[str, str] = {}
    for node in reversed(graph.order):
        triples = trait_of(node).quantised
        for tensor, _, point in triples:
            zero = (*node.inputs, *[""] * (point + 1))[point] if point >= 0 else ""
            known = zero in graph.consts and graph.consts[zero].size == 1
            if known and tensor < len(node.inputs):
                wanted.setdefault(node.inputs[tensor], zero)
        behind = wanted.get(node.outputs[0]) if node.outputs and not triples else None
        for name in node.inputs if behind else ():
            if graph.dtypes.get(name) == graph.dtypes.get(node.outputs[0]):
                wanted.setdefault(name, behind or "")
    return wanted


def _zero_point(
    graph: Graph, node: Node, zeros: dict[str, str], wanted: Mapping[str, str]
) -> dict[str, str]:
    """The tensor that says what zero is in the integers a node makes, by the name of its output."""
    first, like = node.outputs[0], trait_of(node)
    if like.zero_made is not None:
        made = node.outputs[like.zero_made]
        return {first: made} if made else {}
    if np.dtype(graph.dtypes.get(first, np.float32)).name not in ("int8", "uint8"):
        return {}
    if like.zero is not None:
        found = "".join(node.inputs[like.zero : like.zero + 1])
        return {first: found} if found and prod(graph.shapes.get(found, (0, 0))) == 1 else {}
    moved = next((zeros[name] for name in node.inputs if name in zeros), wanted.get(first, ""))
    return dict.fromkeys(node.outputs, moved) if moved else {}


def _hold(
    model: ModelProto, name: str, layout: Layout, dtype: np.dtype, zero: str = ""
) -> list[NodeProto]:
    """Nodes that make `name` from `name__whole`, removed elements being zero.

    `zero` is the tensor that says which number that is, if it is not 0.
    """
    source, target = f"{name}__whole", name
    carrier = _carrier(dtype)
    nodes: list[NodeProto] = []
    if carrier != dtype:
        kind = helper.np_dtype_to_tensor_dtype(carrier)
        nodes.append(make.Cast([source], [f"{source}_as"], to=kind))
        source, target = f"{source}_as", f"{name}__held"
        if zero:
            nodes.append(make.Cast([zero], [f"{name}__point"], to=kind))
            zero = f"{name}__point"
    if opsets_of(model).get("", 1) < 9:  # no Where yet
        constants = {f"{name}__mask": layout.mask.astype(carrier)}
        nodes.append(make.Mul([source, f"{name}__mask"], [target]))
    else:
        constants = {f"{name}__mask": layout.mask, f"{name}__zero": np.zeros((), carrier)}
        mask, steps, more = _repeated(name, f"{name}__whole", layout)
        nodes += steps
        constants |= more
        nodes.append(make.Where([mask, source, zero or f"{name}__zero"], [target]))
    if carrier != dtype:
        kind = helper.np_dtype_to_tensor_dtype(dtype)
        cast = make.Cast([target], [name], to=kind)
        if dtype.name.startswith("float8"):  # else infinities shrink
            cast.attribute.append(helper.make_attribute("saturate", 0))
        nodes.append(cast)
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items())
    return nodes


def _repeated(
    name: str, source: str, layout: Layout
) -> tuple[str, list[NodeProto], dict[str, np.ndarray]]:
    """The mask as long as the tensor is at run time: its name, the nodes that make it, constants.

    A position of an axis finds its place in the pattern as `Axis.places` says.
    """
    mask, nodes = f"{name}__mask", []
    constants: dict[str, np.ndarray] = {}
    for axis in layout.axes:
        base = f"{name}__axis{axis.number}"
        for word, value in (("zero", 0), ("one", 1), ("outer", axis.outer), ("inner", axis.inner)):
            constants[f"{base}_{word}"] = np.array(value, np.int64)
        constants[f"{base}_number"] = np.array(axis.number, np.int64)
        for made, inputs, output in (
            (make.Shape, [source], "shape"),
            (make.Gather, [f"{base}_shape", f"{base}_number"], "length"),
            (make.Range, [f"{base}_zero", f"{base}_length", f"{base}_one"], "at"),
            (make.Div, [f"{base}_length", f"{base}_outer"], "some"),
            (make.Max, [f"{base}_some", f"{base}_one"], "block"),
            (make.Div, [f"{base}_at", f"{base}_block"], "turn"),
            (make.Mul, [f"{base}_turn", f"{base}_inner"], "start"),
            (make.Mod, [f"{base}_at", f"{base}_inner"], "rest"),
            (make.Add, [f"{base}_start", f"{base}_rest"], "place"),
        ):
            nodes.append(made(inputs, [f"{base}_{output}"]))
        nodes.append(make.Gather([mask, f"{base}_place"], [f"{base}_mask"], axis=axis.number))
        mask = f"{base}_mask"
    return mask, nodes, constants


def _carrier(dtype: np.dtype) -> np.dtype:
    if dtype.name in SELECTABLE:
        return dtype
    return np.dtype(np.int64 if dtype.kind in "biu" else np.float32)
