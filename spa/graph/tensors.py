"""Tensors without copies: `TensorProto`s as read-only arrays, external ones as memory maps."""

from __future__ import annotations

import math
import os
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np
import onnx
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    SparseTensorProto,
    TensorProto,
    TypeProto,
    ValueInfoProto,
    numpy_helper,
)

from spa.errors import ReadError
from spa.graph.mapped import Mapped

Message = TypeVar("Message", ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto)

CACHED_BYTES = 1 << 20
"""Decoded constants up to this size are kept; larger ones live as long as somebody holds them."""

OWN_FILES: set[str] = set()
"""Temporary files that this process made for data that memory should not hold."""

_STRING = np.dtype(object)
_PACKED = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
_KINDS = dict(TensorProto.DataType.items())  # older versions of onnx lack some of them
_BITS = {_KINDS[name]: bits for name, bits in _PACKED.items() if name in _KINDS}


@cache
def dtype_of(elem_type: int) -> np.dtype:
    """The numpy (or ml_dtypes) dtype of an ONNX element type; `object` for strings and unknowns."""
    if elem_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        return _STRING
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, TypeError, ValueError):
        return _STRING


def bits_of(elem_type: int) -> int:
    """Bits that one element takes in `raw_data`; 0 for strings."""
    if elem_type in _BITS:
        return _BITS[elem_type]
    dtype = dtype_of(elem_type)
    size: int = dtype.itemsize
    return 0 if dtype.kind == "O" else 8 * size


def raw_bytes(tensor: TensorProto) -> int:
    """Bytes that the elements of `tensor` take when stored raw."""
    count: int = math.prod(tensor.dims)
    return (count * bits_of(tensor.data_type) + 7) // 8


def is_external(tensor: TensorProto) -> bool:
    """Whether the data of `tensor` lies in a file of its own."""
    return tensor.data_location == TensorProto.EXTERNAL


def location_of(tensor: TensorProto) -> tuple[str, int, int | None]:
    """Location, offset and length (None: to the end) of an external tensor."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    length = entries.get("length")
    return (
        entries.get("location", ""),
        int(entries.get("offset") or 0),
        int(length) if length else None,
    )


def lies_at(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    """Let an empty tensor say where its data lie."""
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))


def external_bytes(tensor: TensorProto) -> int:
    """Bytes of `tensor` that lie in another file."""
    return raw_bytes(tensor) if is_external(tensor) else 0


def tensors_of(proto: ModelProto) -> Iterator[tuple[TensorProto, str]]:
    """Every tensor of a model, wherever it hides, and what to call it."""
    yield from _in_graph(proto.graph)
    for function in proto.functions:
        for node in function.node:
            yield from _in_node(node)


def _in_graph(graph: GraphProto) -> Iterator[tuple[TensorProto, str]]:
    for tensor in graph.initializer:
        yield tensor, f"initializer '{tensor.name}'"
    for sparse in graph.sparse_initializer:
        yield from _in_sparse(sparse, f"sparse initializer '{sparse.values.name}'")
    for node in graph.node:
        yield from _in_node(node)


def _in_sparse(sparse: SparseTensorProto, where: str) -> Iterator[tuple[TensorProto, str]]:
    yield sparse.values, where
    yield sparse.indices, where


def _in_node(node: NodeProto) -> Iterator[tuple[TensorProto, str]]:
    for attribute in node.attribute:
        where = f"attribute '{attribute.name}' of {node.op_type} node '{node.name}'"
        if attribute.HasField("t"):
            yield attribute.t, where
        if attribute.HasField("sparse_tensor"):
            yield from _in_sparse(attribute.sparse_tensor, where)
        for tensor in attribute.tensors:
            yield tensor, where
        for graph in (attribute.g, *attribute.graphs):
            yield from _in_graph(graph)


def copied(message: Message) -> Message:
    """A copy of one's own."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def shell_of(model: ModelProto, *without: str) -> ModelProto:
    """A copy of a model without the initializers of its main graph, and further fields of it."""
    shell = ModelProto()
    for field, value in model.ListFields():
        if field.name != "graph":
            _assign(shell, field.name, value)
    shell.graph.SetInParent()
    for field, value in model.graph.ListFields():
        if field.name not in ("initializer", *without):
            _assign(shell.graph, field.name, value)
    return shell


def _assign(message: Any, name: str, value: Any) -> None:
    """Set one field of a protobuf message, whether it is plain, repeated or a message."""
    target = getattr(message, name)
    if hasattr(target, "MergeFrom"):
        target.MergeFrom(value)
    else:
        setattr(message, name, value)


def to_array(tensor: TensorProto, base_dir: Path | None = None) -> np.ndarray:
    """`tensor` as a read-only array: a memory map if external, a view of its bytes if raw."""
    shape = tuple(tensor.dims)
    plain = bits_of(tensor.data_type) >= 8
    if is_external(tensor):
        array = _mapped(tensor, shape, base_dir, plain)
    elif plain and tensor.HasField("raw_data"):
        array = np.frombuffer(tensor.raw_data, dtype_of(tensor.data_type)).reshape(shape)
    else:
        array = numpy_helper.to_array(tensor)
    if array.flags.writeable:
        array.setflags(write=False)
    return array


def _mapped(
    tensor: TensorProto, shape: tuple[int, ...], base_dir: Path | None, plain: bool
) -> np.ndarray:
    if base_dir is None:
        raise ReadError(
            f"tensor '{tensor.name}' keeps its data in another file and spa does not know in "
            "which folder; pass the path of the model instead of its contents"
        )
    location, offset, _ = location_of(tensor)
    size = raw_bytes(tensor)
    if size == 0:
        return np.zeros(shape, dtype_of(tensor.data_type))
    data = np.memmap(base_dir / location, np.uint8, "r", offset, (size,))
    if plain:
        return np.asarray(data.view(dtype_of(tensor.data_type)).reshape(shape))
    packed = TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=data.tobytes())
    return numpy_helper.to_array(packed)


def defaults_of(graph: GraphProto) -> dict[str, TensorProto]:
    """The initializers that only stand in for an input that a caller leaves out, by name."""
    inputs = {info.name for info in graph.input}
    return {tensor.name: tensor for tensor in graph.initializer if tensor.name in inputs}


def weights_of(graph: GraphProto) -> list[TensorProto]:
    """The initializers whose values no caller can replace."""
    inputs = {info.name for info in graph.input}
    return [tensor for tensor in graph.initializer if tensor.name not in inputs]


class Consts(Mapping[str, np.ndarray]):
    """Initializers by name, decoded when asked for."""

    def __init__(
        self,
        tensors: Iterable[TensorProto],
        base_dir: Path | None = None,
        mapped: Mapped | None = None,
    ) -> None:
        """Index `tensors`, some of which may lie in a mapped file; nothing is decoded yet."""
        self._mapped = mapped
        self._protos: MutableMapping[str, TensorProto] = {tensor.name: tensor for tensor in tensors}
        self._base_dir = base_dir
        self._small: dict[str, np.ndarray] = {}
        self._large: WeakValueDictionary[str, np.ndarray] = WeakValueDictionary()

    def nested(self, tensors: Iterable[TensorProto]) -> Consts:
        """The constants seen from inside a subgraph with `tensors` of its own."""
        inner = Consts(tensors, self._base_dir)
        inner._protos = ChainMap(inner._protos, self._protos)
        return inner

    def __getitem__(self, name: str) -> np.ndarray:
        """The constant called `name`, as a read-only array."""
        array = self._small.get(name)
        if array is None:
            array = self._large.get(name)
        if array is not None:
            return array
        array = to_array(self._protos[name], self._base_dir)
        if array.nbytes <= CACHED_BYTES:
            self._small[name] = array
        else:
            self._large[name] = array
        return array

    def decoded(self, tensor: TensorProto) -> np.ndarray:
        """A tensor that is not one of them, such as an attribute, from the same folder."""
        return to_array(tensor, self._base_dir)

    def in_place(self, name: str) -> np.ndarray:
        """The constant called `name` without a copy where that can be; it may be unaligned."""
        known = self._small.get(name)
        if known is not None:
            return known
        tensor = self._protos[name]
        if self._mapped is not None and bits_of(tensor.data_type) >= 8:
            shape = tuple(tensor.dims)
            array = self._mapped.array(name, dtype_of(tensor.data_type), shape)
            if array is not None:
                return array
        return self[name]

    def __contains__(self, name: object) -> bool:
        """Whether `name` is a constant (does not decode it)."""
        return name in self._protos

    def __iter__(self) -> Iterator[str]:
        """The names, in the order of the file."""
        return iter(self._protos)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._protos)

    @property
    def protos(self) -> Mapping[str, TensorProto]:
        """The undecoded tensors."""
        return MappingProxyType(self._protos)


def data_file(base_dir: Path, location: str, what: str) -> Path:
    """The file at `location`, which must be a regular file inside `base_dir`, or our own."""
    if location in OWN_FILES:
        return Path(location)
    inside = os.path.realpath(base_dir)
    target = os.path.realpath(os.path.join(inside, location))
    if not location or os.path.isabs(location) or os.path.commonpath((inside, target)) != inside:
        raise ReadError(
            f"{what} points at the data file '{location}', which is not inside the folder of the "
            "model; put the file beside the model and export it with a relative location"
        )
    if not os.path.isfile(target):
        raise ReadError(
            f"{what} needs the data file '{location}', which is missing from '{base_dir}'; "
            "copy it beside the model"
        )
    return Path(target)
