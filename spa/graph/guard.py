"""Refuses what is damaged or hostile before anything trusts it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from spa.errors import ReadError
from spa.graph.evaluate import schema_of
from spa.graph.tensors import bits_of, data_file, is_external, location_of, raw_bytes, tensors_of

PROTOBUF_LIMIT = (1 << 31) - 1
LARGEST_DIM = 1 << 48  # no axis and no tensor may have more elements than this
MOST_NODES = 20_000  # nodes that functions may unfold into; a file may hold more than that itself
DEEPEST_CALL = 200  # functions that may call each other in a row
STANDARD = frozenset(("", "ai.onnx"))  # the names of the domain of ONNX's own operators
Key = tuple[str, str]

SIGNATURES = (
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the real file with 'git lfs pull'"),
    (b"PK\x03\x04", "a zip archive (perhaps a PyTorch checkpoint)", "export it to ONNX first"),
    (b"\x89HDF", "an HDF5 file", "export it to ONNX first"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it first"),
    (b"<", "an XML or HTML page", "download the real .onnx file"),
    (b"{", "a JSON text", "export it to a binary .onnx file"),
)


def check_bytes(data: bytes | bytearray | memoryview, label: str) -> None:
    """Refuse contents that cannot be an ONNX model, saying what they look like."""
    if len(data) == 0:
        raise ReadError(f"{label} is empty; copy or export the model again")
    head = bytes(data[:64])
    for signature, what, remedy in SIGNATURES:
        if head.startswith(signature):
            raise ReadError(f"{label} is not an ONNX model but {what}; {remedy}")
    if head[4:8] == b"ORTM":
        raise ReadError(
            f"{label} is in the ORT format of onnxruntime, not ONNX; pass the .onnx file it "
            "was made from"
        )
    if len(data) > PROTOBUF_LIMIT:
        raise ReadError(
            f"{label} is larger than 2 GiB, which no ONNX file can be; "
            "save it with its weights as external data"
        )


def check_model(proto: ModelProto, label: str, base_dir: Path | None) -> None:
    """Refuse a model whose parts are missing, contradict each other or reach outside."""
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise ReadError(f"{label} holds no graph; check that it is an .onnx file")
    if not proto.graph.output:
        raise ReadError(f"{label} has no outputs; it may be cut short, so copy or export it again")
    stated = {entry.domain for entry in proto.opset_import}
    standard = any(node.domain in STANDARD for node in proto.graph.node)
    if proto.ir_version >= 3 and (not stated or (standard and stated.isdisjoint(STANDARD))):
        raise ReadError(
            f"{label} does not say which opset it uses; it may be cut short, so copy it again"
        )
    _check_functions(proto, label)
    files: dict[str, int] = {}
    for tensor, where in tensors_of(proto):
        _check_tensor(tensor, where, label, base_dir, files)
    for info in (*proto.graph.input, *proto.graph.output):
        kind = info.type.tensor_type.elem_type
        if kind not in TensorProto.DataType.values():
            raise ReadError(
                f"tensor '{info.name}' in {label} has the unknown element type {kind}; "
                "upgrade onnx or export the model again"
            )
    for info in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_value > LARGEST_DIM:
                raise ReadError(
                    f"tensor '{info.name}' in {label} has an axis of {dim.dim_value} elements; "
                    "no machine holds that, so export the model again"
                )


def _check_tensor(
    tensor: TensorProto, where: str, label: str, base_dir: Path | None, files: dict[str, int]
) -> None:
    count = math.prod(tensor.dims)
    if any(size < 0 for size in tensor.dims) or count > LARGEST_DIM:
        raise ReadError(
            f"{where} in {label} has the impossible shape {list(tensor.dims)}; "
            "export the model again"
        )
    if tensor.data_type not in TensorProto.DataType.values() or tensor.data_type == 0:
        raise ReadError(
            f"{where} in {label} has the unknown element type {tensor.data_type}; "
            "upgrade onnx or export the model again"
        )
    if is_external(tensor):
        _check_external(tensor, f"{where} in {label}", base_dir, files)
        return
    found, expected = _stored(tensor, count)
    if found != expected:
        raise ReadError(
            f"{where} in {label} holds {found} {'bytes' if tensor.raw_data else 'values'} where "
            f"its shape {list(tensor.dims)} needs {expected}; the file is damaged, so copy or "
            "export it again"
        )


def _stored(tensor: TensorProto, count: int) -> tuple[int, int]:
    """How much data a tensor holds and how much it should."""
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data), raw_bytes(tensor)
    kind = tensor.data_type
    if kind in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        field = tensor.float_data if kind == TensorProto.COMPLEX64 else tensor.double_data
        return len(field), 2 * count
    field = getattr(tensor, onnx.helper.tensor_dtype_to_field(kind))
    bits = bits_of(kind)
    if 0 < bits < 8:
        return len(field), -(-count * bits // 8)
    return len(field), count


def _check_external(
    tensor: TensorProto, where: str, base_dir: Path | None, files: dict[str, int]
) -> None:
    if base_dir is None:
        raise ReadError(
            f"{where} keeps its data in another file and spa does not know in which folder; "
            "pass the path of the model instead of its contents"
        )
    try:
        location, offset, length = location_of(tensor)
    except ValueError as error:
        raise ReadError(
            f"{where} states an offset or length that is no number; export the model again"
        ) from error
    if location not in files:
        files[location] = data_file(base_dir, location, where).stat().st_size
    needed = raw_bytes(tensor)
    if bits_of(tensor.data_type) == 0:
        raise ReadError(f"{where} keeps strings in another file; export it with strings inside")
    if offset < 0 or offset + needed > files[location] or (length not in (None, needed)):
        raise ReadError(
            f"{where} needs {needed} bytes at offset {offset} of '{location}', which has "
            f"{files[location]} (stated length: {length}); copy the data file again"
        )


def _check_functions(proto: ModelProto, label: str) -> None:
    """Refuse functions that call themselves or unfold into an absurd number of nodes."""
    bodies = {(f.domain, f.name): f for f in proto.functions}
    sizes: dict[Key, int] = {}

    def size(key: Key, path: tuple[Key, ...]) -> int:
        if len(path) > DEEPEST_CALL:
            raise ReadError(
                f"functions in {label} call each other more than {DEEPEST_CALL} deep; "
                "export the model without them"
            )
        if key in path:
            raise ReadError(
                f"function '{key[1]}' in {label} calls itself; export the model without it"
            )
        if key not in sizes:
            sizes[key] = count(bodies[key].node, (*path, key))
        return sizes[key]

    def count(nodes: Iterable[NodeProto], path: tuple[Key, ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            total += size(key, path) if key in bodies else 1
            for attribute in node.attribute:
                for graph in (attribute.g, *attribute.graphs):
                    total += count(graph.node, path)
        return total

    held = len(proto.graph.node) + sum(len(body.node) for body in proto.functions)
    if bodies and count(proto.graph.node, ()) > MOST_NODES + held:
        raise ReadError(
            f"{label} unfolds into more than {MOST_NODES} nodes once its functions are inlined; "
            "export it without functions"
        )


def check_graph(graph: GraphProto, opsets: Mapping[str, int], label: str) -> None:
    """Refuse nodes that lack something, and tensors that are made twice or not at all."""
    known: set[str] = set()
    for name in _defined(graph):
        if name in known:
            raise _twice(name, label)
        known.add(name)
    _check_nodes(graph, known, opsets, label)


def _defined(graph: GraphProto) -> Iterator[str]:
    stored = {tensor.name for tensor in graph.initializer}  # perhaps the default of an input
    yield from (info.name for info in graph.input if info.name not in stored)
    yield from (tensor.name for tensor in graph.initializer)
    yield from (sparse.values.name for sparse in graph.sparse_initializer)


def _twice(name: str, label: str) -> ReadError:
    return ReadError(
        f"tensor '{name}' in {label} is defined twice; names must be unique, so export it again"
    )


def _check_nodes(
    graph: GraphProto, known: set[str], opsets: Mapping[str, int], label: str
) -> list[str]:
    """Check a graph within which `known` is defined, and add what its nodes make; the new names."""
    made: list[str] = []
    for node in graph.node:
        called = f"{node.op_type} node '{node.name}'"
        texts = node.name, node.op_type, node.domain, *node.input, *node.output
        if not all(isinstance(text, str) for text in texts):
            raise ReadError(f"{label} has names that are no text; it is damaged, so copy it again")
        _check_form(node, opsets, f"{called} in {label}")
        for name in node.input:
            if name and name not in known:
                raise ReadError(
                    f"{called} in {label} reads tensor '{name}', which nothing defines; an "
                    "initializer may be missing, so export the model again"
                )
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                own = [name for name in _defined(body) if name not in known]
                known.update(own)
                own += _check_nodes(body, known, opsets, label)
                known.difference_update(own)  # a copy for every body would be quadratic
        for name in node.output:
            if name and name in known:
                raise _twice(name, label)
            known.add(name)
            made.append(name)
    for info in graph.output:
        if info.name not in known:
            raise ReadError(
                f"output '{info.name}' of {label} is made by no node; "
                "the file may be cut short, so copy or export it again"
            )
    return made


@dataclass(frozen=True)
class _Form:
    """What an operator cannot do without, and the types of its attributes."""

    required: tuple[str, ...] = ()
    inputs: int = 0
    outputs: int = 0
    types: Mapping[str, str] = field(default_factory=dict)


@lru_cache(maxsize=1024)
def _form(op: str, version: int, domain: str) -> _Form:
    schema = schema_of(op, version, domain)
    if schema is None:
        return _Form()
    required = tuple(key for key, value in schema.attributes.items() if value.required)
    types = {key: str(a.type).rpartition(".")[2] for key, a in schema.attributes.items()}
    return _Form(required, schema.min_input, schema.min_output, types)


def _check_form(node: NodeProto, opsets: Mapping[str, int], called: str) -> None:
    """Refuse a node that lacks what its operator requires, or says it in another type."""
    if not node.op_type:
        raise ReadError(f"{called} has no operator; export the model again")
    domain = "" if node.domain == "ai.onnx" else node.domain
    form = _form(node.op_type, opsets.get(domain, 1), domain)
    stated = {attribute.name for attribute in node.attribute} if form.required else ()
    missing = [f"attribute '{key}'" for key in form.required if key not in stated]
    if len(node.input) < form.inputs:
        missing.append(f"input {len(node.input)}")
    if len(node.output) < form.outputs:
        missing.append(f"output {len(node.output)}")
    if missing:
        raise ReadError(
            f"{called} lacks {missing[0]}, which the operator requires; export the model again"
        )
    for attribute in node.attribute:
        wanted = form.types.get(attribute.name)
        if wanted is None or attribute.ref_attr_name:
            continue
        found = AttributeProto.AttributeType.Name(attribute.type)
        if found != wanted:
            raise ReadError(
                f"{called} has attribute '{attribute.name}' as {found} where the operator takes "
                f"{wanted}; export the model again"
            )
