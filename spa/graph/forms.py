"""Smaller ways to write an array down: nodes that make it from little.

For what a model had computed and a cut has changed, so that the nodes that made it are of no use
any more: fillings, broadcasts, grids of indices, numbers that fit into fewer bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from spa.graph.evaluate import words
from spa.graph.makers import framed

Array = NDArray[np.generic]
Name = Callable[[str], str]  # from the name that is wanted to one that the file does not have

FILLED, EXPANDED = 9, 8
"""The opsets from which on ConstantOfShape and Expand are there."""

FILLS = words("float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool")
NARROWER = {
    "int64": ("int8", "int16", "int32"),
    "int32": ("int8", "int16"),
    "float32": ("float16",),
}
"""Element types from which an array may be cast, the smallest first."""


@dataclass
class Form:
    """Nodes, the last of which makes the array, and the tensors they read."""

    nodes: list[NodeProto] = field(default_factory=list)
    tensors: list[TensorProto] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """What it takes in a file."""
        return sum(map(framed, self.nodes)) + sum(map(framed, self.tensors))


def smallest(name: str, array: Array, opset: int, new: Name) -> Form | None:
    """The form of an array that takes the fewest bytes; None if it can only be stored."""
    found = [form for form in _forms(name, array, opset, new) if form is not None]
    return min(found, key=lambda form: form.bytes, default=None)


def _forms(name: str, array: Array, opset: int, new: Name) -> Iterator[Form | None]:
    if not array.size or array.dtype.kind not in "biuf":
        return
    yield _filled(name, array, opset, new)
    yield _expanded(name, array, opset, new)
    yield _cast(name, array, new)
    if array.dtype.name in ("int32", "int64"):
        for joint in (None, *range(array.ndim)):
            yield _grid(name, array, joint, new)


def _filled(name: str, array: Array, opset: int, new: Name) -> Form | None:
    """One number everywhere."""
    cell = _varying(array)
    if opset < FILLED or cell.size > 1 or array.dtype.name not in FILLS:
        return None
    shape = numpy_helper.from_array(np.array(array.shape, np.int64), new(f"{name}_shape"))
    value = numpy_helper.from_array(cell.reshape(1))
    return Form([helper.make_node("ConstantOfShape", [shape.name], [name], value=value)], [shape])


def _expanded(name: str, array: Array, opset: int, new: Name) -> Form | None:
    """The same along some axes."""
    cell = _varying(array)
    if opset < EXPANDED or cell.size == array.size:
        return None
    shape = numpy_helper.from_array(np.array(array.shape, np.int64), new(f"{name}_shape"))
    part = numpy_helper.from_array(np.ascontiguousarray(cell), new(f"{name}_part"))
    node = helper.make_node("Expand", [part.name, shape.name], [name])
    return Form([node], [part, shape])


def _varying(array: Array) -> Array:
    """The array without repetition along axes on which nothing changes, not a single bit."""
    for axis in range(array.ndim):
        first = array.take([0], axis)
        if same(np.broadcast_to(first, array.shape), array):
            array = first
    return array


def _cast(name: str, array: Array, new: Name) -> Form | None:
    """The same numbers in fewer bits."""
    for kind in NARROWER.get(array.dtype.name, ()):
        with np.errstate(all="ignore"):
            narrow = array.astype(kind)
        if same(narrow.astype(array.dtype), array):
            part = numpy_helper.from_array(narrow, new(f"{name}_part"))
            to = helper.np_dtype_to_tensor_dtype(array.dtype)
            return Form([helper.make_node("Cast", [part.name], [name], to=to)], [part])
    return None


def _grid(name: str, array: Array, joint: int | None, new: Name) -> Form | None:
    """A sum of what varies along one axis each, or along one and the `joint` one."""
    axes = [axis for axis in range(array.ndim) if axis != joint and array.shape[axis] > 1]
    if len(axes) < 2:
        return None
    base = _line(array, {joint})
    parts = [_line(array, {joint, axis}) for axis in axes]
    parts = [parts[0], *(part - base for part in parts[1:])]  # type: ignore[operator]
    if sum(part.size for part in parts) >= array.size or not same(sum(parts), array):  # type: ignore[arg-type]
        return None
    tensors = [
        numpy_helper.from_array(np.ascontiguousarray(part), new(f"{name}_part{i}"))
        for i, part in enumerate(parts)
    ]
    nodes, total = [], tensors[0].name
    for i, tensor in enumerate(tensors[1:]):
        made = name if tensor is tensors[-1] else new(f"{name}_sum{i}")
        nodes.append(helper.make_node("Add", [total, tensor.name], [made]))
        total = made
    return Form(nodes, tensors)


def _line(array: Array, axes: Iterable[int | None]) -> Array:
    """The array at the first place of every axis but these."""
    whole = set(axes)
    return array[tuple(slice(None) if a in whole else slice(1) for a in range(array.ndim))]


def same(one: Array, other: Array) -> bool:
    """Whether two arrays agree in every bit: NaN and the sign of zero count as well."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype.kind in "biuO":
        return bool(np.array_equal(one, other))
    return np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()
