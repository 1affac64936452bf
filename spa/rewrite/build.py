"""Write the smaller model: shrunken tensors, refitted sizes, every name kept.

A constant used in several places is cut per use; where the uses disagree, those that differ get a
copy of their own, so that a shared bias is never sliced twice.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from spa.coupling.model import Coupling, KeptUnits
from spa.graph.evaluate import has_subgraph
from spa.graph.model import Node
from spa.graph.normalize import captured_names, unused
from spa.graph.spill import Spill
from spa.graph.tensors import copied, shell_of
from spa.rewrite.override import override
from spa.rewrite.shrink import shrink, signature
from spa.rules import trait_of
from spa.trace import Fixes, Kept, MisplacedError, Param
from spa.trace.check import check, refit

PLAIN = frozenset(("float32", "float64", "float16", "int64", "int32", "int8", "uint8"))
Made = Callable[[], NDArray[Any]]


def rewrite(coupling: Coupling, kept: KeptUnits, *, checked: bool = False) -> ModelProto:
    """The model without the units that are not in `kept`.

    Args:
        coupling: the analysed graph; not changed.
        kept: bool `[labels]`, indexed by unit.
        checked: `misplaced` has just found nothing wrong with this very choice, and it is balanced:
            as many units of every cell of a group are kept.

    Raises:
        MisplacedError: `Check` refuses the cut; nothing is built.
    """
    left = Kept(coupling.notes, coupling.root, kept)
    errors = [] if checked else check(left, coupling.graph.order)
    if errors:
        raise errors[0]
    return Builder(coupling, left).build()


class Builder:
    """Collects new tensors and node edits, then writes them in one go."""

    def __init__(self, coupling: Coupling, left: Kept) -> None:
        self.graph, self.notes, self.left = coupling.graph, coupling.notes, left
        self.nodes: list[NodeProto] = []
        self.fresh: dict[str, Made] = {}  # made one by one, each in the memory of the last
        self.taken = {n for node in self.graph.order for n in (*node.inputs, *node.outputs)}
        self.taken |= self.notes.stored
        self.renamed: dict[tuple[str, bytes], str] = {}
        self.uses = Counter(p.tensor for p in self.notes.params.values())
        self.touched = self.notes.couplings.where(left.cut)
        self.edits = {node.index: self._edits(node) for node in self.graph.order}
        self.kept = self._untouched_uses()

    def build(self) -> ModelProto:
        """All nodes, then the tensors they still name."""
        self.nodes = self._written(self.graph.nodes, self.graph.proto.graph.node)
        return self._assemble()

    def _written(self, nodes: Sequence[Node], protos: Iterable[NodeProto]) -> list[NodeProto]:
        """The nodes of the main graph or of a body as they are from now on."""
        around, self.nodes = self.nodes, []
        for node, proto in zip(nodes, protos, strict=True):
            copy = copied(proto)
            if node.bodies:
                self._enter(node, copy)
            else:
                self._cut_constants(node, copy)
                self._refit(node, copy)
            self.nodes.append(copy)
            if trait_of(node).only_shape:
                self._remember_sizes(node, copy)
        written, self.nodes = self.nodes, around
        return written

    def _enter(self, node: Node, copy: NodeProto) -> None:
        """Write the bodies of an If, Loop or Scan, and what it hands to them."""
        for border in (*node.before, *node.after):
            self._cut_constants(border, copy)
        for attribute in copy.attribute:
            if attribute.name in node.bodies:
                body = attribute.g
                written = self._written(node.bodies[attribute.name], body.node)
                del body.node[:]
                body.node.extend(written)
                for info in (*body.input, *body.output, *body.value_info):
                    self._resize(info)

    def _remember_sizes(self, node: Node, copy: NodeProto) -> None:
        """Let `Shape` of a tensor that was cut tell the old size of what shrank.

        What the graph computes from sizes then stays as it was analysed (a scale of 1/sqrt(width),
        say), and the operators that need the new sizes get them from their refit.
        """
        name, source = node.outputs[0], self.notes.images.get(node.inputs[0])
        if source is None or not any(self.left.touched(p) for p in source.maps):
            return
        span = slice(node.attrs.get("start", 0), node.attrs.get("end"))
        old = np.array(source.shape[span], np.int64)
        new = np.array(self.left.image(source).shape[span], np.int64)
        if (old != new).any():
            copy.output[0] = self._name(f"{name}_spa_now")
            remembered = override(self, copy.output[0], new, old)
            self.nodes[-1].output[0] = name
            self.taken.discard(remembered)

    def _edits(self, node: Node) -> Fixes:
        """What the node must say about sizes from now on, where it said something else."""
        if node.index not in self.touched:
            return {}
        edits = refit(self.left, node)
        for key in [k for k in edits if isinstance(k, int) and k < len(node.inputs)]:
            old = self.notes.sized(node, key)
            if old is not None and np.array_equal(old, edits[key]):
                del edits[key]
        return edits

    def _untouched_uses(self) -> set[str]:
        """Constants that some use needs as they are: these keep their name for that use."""
        stored = self.notes.stored
        kept = set(stored.intersection(self.graph.outputs))
        for node in self.graph.order:
            kept |= stored.intersection(node.captured)
            for i in [i for i, name in enumerate(node.inputs) if name in stored]:
                param = self.notes.params.get((node.index, i))
                cut = param is not None and self.left.cuts(param)
                if not cut and i not in self.edits[node.index]:
                    kept.add(node.inputs[i])
        return kept

    def _cut_constants(self, node: Node, copy: NodeProto) -> None:
        for i, name in enumerate(node.inputs):
            at = node.slots[i] if node.slots else i
            param = self.notes.params.get((node.index, i))
            if param is None or param.tensor is None:
                continue
            if self.left.cuts(param):
                shared = self.uses[name] > 1
                mark = signature(param, self.left) if shared else b"once"
                self._use(copy, at, name, partial(self._shrunken, param), mark)

    def _shrunken(self, param: Param) -> NDArray[Any]:
        return shrink(param, self.graph.weight(param.stored), self.left)

    def _refit(self, node: Node, copy: NodeProto) -> None:
        for key, value in self.edits[node.index].items():
            if isinstance(key, str):
                set_attribute(copy, key, value)
                continue
            old = self.notes.sized(node, key) if key < len(node.inputs) else None
            if old is None:
                while len(copy.input) <= key:
                    copy.input.append("")
                copy.input[key] = self._name(f"{node.name}_{node.op.lower()}_sizes")
                self.fresh[copy.input[key]] = partial(np.asarray, value)
            elif node.inputs[key] in self.notes.stored:
                made = partial(np.asarray, value)
                self._use(copy, key, node.inputs[key], made, b"=" + value.tobytes())
            else:
                mask = self.graph.symbolic.get(node.inputs[key])
                copy.input[key] = override(self, node.inputs[key], old, value, mask)

    def _use(self, copy: NodeProto, i: int, name: str, made: Made, mark: bytes) -> None:
        """Let input `i` use an array in place of constant `name`, under that name if it is free."""
        if (name, mark) not in self.renamed:
            free = name not in self.kept and name not in self.fresh
            self.renamed[name, mark] = (
                name if free else self._name(f"{name}_{copy.name or copy.output[0]}")
            )
            self.fresh[self.renamed[name, mark]] = made
        copy.input[i] = self.renamed[name, mark]

    def _name(self, wanted: str) -> str:
        name = unused(wanted, self.taken)
        self.taken.add(name)
        return name

    # used by `override`

    def constant(self, wanted: str, array: NDArray[Any]) -> str:
        """Store a new constant; returns its name."""
        name = self._name(wanted)
        self.fresh[name] = partial(np.asarray, array)
        return name

    def insert(self, made: Callable[..., NodeProto], inputs: list[str], wanted: str) -> str:
        """Insert a node before the current one; returns the name of its output."""
        name = self._name(wanted)
        self.nodes.append(made(inputs, [name], name=name))
        return name

    def _assemble(self) -> ModelProto:
        old = self.graph.proto
        model = shell_of(old, "node", "value_info")
        model.graph.node.extend(self.nodes)
        used = {n for node in self.nodes for n in node.input} | set(self.graph.outputs)
        if any([node.captured or node.bodies for node in self.graph.nodes]):
            used |= {n for node in self.nodes if has_subgraph(node) for n in captured_names(node)}
        before = self.notes.stored
        spill = Spill() if self.graph.source.external else None
        for tensor in old.graph.initializer:
            if tensor.name in self.fresh:
                array = self.fresh.pop(tensor.name)()
                added = model.graph.initializer.add()
                if spill is None or not spill.take(added, tensor.name, array):
                    store(added, tensor.name, array)
            elif tensor.name in used or tensor.name not in before:
                model.graph.initializer.add().CopyFrom(tensor)
        for name, made in self.fresh.items():
            store(model.graph.initializer.add(), name, made())
        self._describe(model)
        return model

    def _describe(self, model: ModelProto) -> None:
        """Carry over value_info that is true, with the sizes that changed."""
        for info in self.graph.proto.graph.value_info:
            if info.name in self.notes.stored or contradicts(info, self.graph.shapes):
                continue  # the constant says it itself
            copy = model.graph.value_info.add()
            copy.CopyFrom(info)
            self._resize(copy)

    def _resize(self, info: ValueInfoProto) -> None:
        """Let a tensor's description say the sizes that changed."""
        image = self.notes.images.get(info.name)
        if image is None or not any(self.left.touched(p) for p in image.maps):
            return
        dims = info.type.tensor_type.shape.dim
        for dim, old, new in zip(dims, image.shape, self.left.image(image).shape, strict=False):
            if old != new and dim.HasField("dim_value"):
                dim.dim_value = new


def contradicts(info: ValueInfoProto, shapes: Mapping[str, Sequence[int]]) -> bool:
    """Whether a description states another shape than the tensor has, as some exporters do."""
    kind = info.type.tensor_type
    known = shapes.get(info.name)
    if known is None or not kind.HasField("shape"):
        return False
    dims = kind.shape.dim
    if len(dims) != len(known):
        return True
    return any(
        dim.HasField("dim_value") and dim.dim_value != size
        for dim, size in zip(dims, known, strict=True)
    )


def store(tensor: TensorProto, name: str, array: NDArray[Any]) -> None:
    """Write an array into a tensor where it stands: large ones are copied as seldom as possible."""
    data_type = plain_type(array.dtype)
    if data_type is None:
        tensor.CopyFrom(numpy_helper.from_array(array, name))
        return
    tensor.name, tensor.raw_data, tensor.data_type = name, array.tobytes(), data_type
    tensor.dims.extend(array.shape)


@cache
def plain_type(dtype: np.dtype[Any]) -> int | None:
    """The number of an element type whose arrays lie in memory as ONNX stores them."""
    if dtype.name not in PLAIN or sys.byteorder != "little":
        return None
    return int(helper.np_dtype_to_tensor_dtype(dtype))


def set_attribute(node: NodeProto, name: str, value: Any) -> None:
    """Set, replace or (with None) remove an attribute."""
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
    if value is not None:
        node.attribute.append(helper.make_attribute(name, value))


__all__ = ["MisplacedError", "rewrite", "set_attribute"]
