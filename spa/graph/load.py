"""Reading: a path, bytes, a stream or a `ModelProto` becomes a frozen `Graph`."""

from __future__ import annotations

import hashlib
import mmap
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import numpy as np
import onnx

from spa import watch
from spa.errors import ReadError, SpaError, first_line
from spa.graph import dims as sizes_of
from spa.graph.caches import caches
from spa.graph.facts import Facts, static_shape
from spa.graph.fold import fold
from spa.graph.guard import check_bytes, check_graph, check_model
from spa.graph.makers import Makers
from spa.graph.mapped import Mapped, state_of
from spa.graph.model import Given, Graph, Source
from spa.graph.nodes import ends_by_data, nodes_of
from spa.graph.normalize import count_ops, normalize, opsets_of
from spa.graph.scopes import open_bodies
from spa.graph.single import single
from spa.graph.stored import Stored, stored_in
from spa.graph.stretch import stretched
from spa.graph.symbols import Seen, symbolic
from spa.graph.tensors import (
    copied,
    defaults_of,
    dtype_of,
    external_bytes,
    is_external,
    shell_of,
    tensors_of,
)
from spa.runtime import infer_node

Model = str | os.PathLike[str] | bytes | onnx.ModelProto | BinaryIO


@dataclass(frozen=True)
class Parsed:
    """The parsed model and where it came from."""

    proto: onnx.ModelProto
    label: str  # what error messages call it
    path: Path | None
    sha256: str
    bytes: int
    base_dir: Path | None
    mapped: Mapped | None = None
    given: Given = None


def read(
    model: Model,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    base_dir: str | os.PathLike[str] | None = None,
) -> Graph:
    """Read, check and normalise a model; the caller's `ModelProto` is left as it is.

    Args:
        model: a path, `"-"` for standard input, the bytes of a file, a binary stream or a model.
        input_shapes: sizes for inputs whose shape is symbolic.
        base_dir: the folder of external data, where `model` is not a path.

    Raises:
        ReadError: the model is missing, damaged, hostile or not supported.
    """
    label = _label(model)
    with _in_a_sentence(label):
        return _graph(_open(model, label, base_dir), input_shapes)


@dataclass(frozen=True)
class Opened:
    """A model that passed every guard, in its normal form, with nothing folded.

    Attributes:
        proto: functions inlined, `Constant` nodes lifted to initializers, nodes sorted.
        stored: what the file as it was given stores in its graphs (see `spa.graph.stored`).
        source: where it came from.
    """

    proto: onnx.ModelProto
    stored: Stored
    source: Source


def opened(model: Model, *, base_dir: str | os.PathLike[str] | None = None) -> Opened:
    """Read and check a model as `read` does, and leave its constants where they are.

    Args:
        model: as for `read`.
        base_dir: likewise.

    Raises:
        ReadError: the model is missing, damaged, hostile or not supported.
    """
    label = _label(model)
    with _in_a_sentence(label):
        parsed = _open(model, label, base_dir)
        check_model(parsed.proto, parsed.label, parsed.base_dir)
        watch.sized(_bytes(parsed, parsed.proto))
        ops, stored = count_ops(parsed.proto), stored_in(parsed.proto.graph)
        proto = normalize(parsed.proto, parsed.label)
        check_graph(proto.graph, opsets_of(proto), parsed.label)
        return Opened(proto, stored, _source(parsed, proto, 0, ops))


@contextmanager
def _in_a_sentence(label: str) -> Iterator[None]:
    """Turn whatever goes wrong with a model into one sentence."""
    try:
        yield
    except SpaError as error:
        raise type(error)(" ".join(str(error).split())) from error.__cause__
    except (MemoryError, RecursionError) as error:
        raise ReadError(
            f"{label} is too large or too deeply nested to be read here ({error}); "
            "export it with external data or on a machine with more memory"
        ) from error
    except UnicodeDecodeError as error:
        raise ReadError(
            f"{label} has names that are no text; it is damaged, so copy it again"
        ) from error
    except Exception as error:
        text = first_line(error)
        raise ReadError(
            f"{label} cannot be read as an ONNX model ({text}); "
            "check it with onnx.checker and export it again"
        ) from error


def _label(model: Model) -> str:
    if isinstance(model, str | os.PathLike):
        return "standard input" if model == "-" else f"'{os.fspath(model)}'"
    name = getattr(model, "name", None)
    return f"'{name}'" if isinstance(name, str) and name else "the model"


def _open(model: Model, label: str, base_dir: str | os.PathLike[str] | None) -> Parsed:
    folder = None if base_dir is None else Path(base_dir)
    if isinstance(model, onnx.ModelProto):
        proto = copied(model)
        digest, size = _digest(proto)
        return Parsed(proto, "the model", None, digest, size, folder, given=model)
    if isinstance(model, bytes | bytearray | memoryview):
        return _parsed(bytes(model), label, None, folder)
    if isinstance(model, str | os.PathLike):
        if model == "-":
            return _parsed(sys.stdin.buffer.read(), label, None, folder)
        path = Path(model)
        return _from_file(path, label, folder or path.absolute().parent)
    if hasattr(model, "read"):
        data = model.read()
        if not isinstance(data, bytes | bytearray | memoryview):
            raise ReadError(f"{label} gives text instead of bytes; open it in binary mode")
        return _parsed(bytes(data), label, None, folder)
    raise ReadError(
        f"cannot read a model from {type(model).__name__}; "
        "pass a path, bytes, a binary stream or an onnx.ModelProto"
    )


def _from_file(path: Path, label: str, base_dir: Path) -> Parsed:
    try:
        with path.open("rb") as file:
            if not path.is_file() or path.stat().st_size == 0:  # a pipe cannot be mapped
                return _parsed(file.read(), label, path, base_dir)
            state = state_of(file.fileno())
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            with memoryview(data) as view:
                parsed = _parsed(view, label, path, base_dir)
            if os.name != "posix":  # where a file that is mapped could not be moved or removed
                data.close()
                return replace(parsed, given=path)
            return replace(parsed, mapped=Mapped(path, state, data), given=path)
    except FileNotFoundError as error:
        raise ReadError(f"{label} does not exist; check the path") from error
    except IsADirectoryError as error:
        raise ReadError(f"{label} is a folder; name the .onnx file in it") from error
    except PermissionError as error:
        raise ReadError(f"{label} may not be read; check its permissions") from error


def _parsed(
    data: bytes | bytearray | memoryview, label: str, path: Path | None, base_dir: Path | None
) -> Parsed:
    check_bytes(data, label)
    proto = onnx.ModelProto()
    digest = hashlib.sha256()
    hashing = threading.Thread(target=_update, args=(digest, data))  # which lets others run
    try:
        hashing.start()
        proto.ParseFromString(data)
    except Exception as error:  # protobuf has a DecodeError of its own, without type stubs
        raise ReadError(
            f"{label} is not an ONNX model or is cut short; "
            "check that it was copied completely and is an .onnx file"
        ) from error
    finally:
        if hashing.ident is not None:  # it reads what the caller is about to let go
            hashing.join()
    given = data if isinstance(data, bytes) else None  # of what is mapped the caller knows the path
    found = digest.hexdigest()
    return Parsed(proto, label, path, found, len(data), base_dir, given=given)


def _update(digest: hashlib._Hash, data: bytes | bytearray | memoryview) -> None:
    """Add data to a digest, unless reading was broken off and the data let go."""
    with suppress(ValueError):
        digest.update(data)


def _digest(proto: onnx.ModelProto) -> tuple[str, int]:
    """Hash and size of a model in memory; beyond 2 GiB tensor by tensor."""
    try:
        data = proto.SerializeToString(deterministic=True)
        return hashlib.sha256(data).hexdigest(), len(data)
    except Exception:  # protobuf refuses to serialise more than 2 GiB, with various exceptions
        return _digest_of_parts(proto)


def _digest_of_parts(proto: onnx.ModelProto) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for part in (shell_of(proto), *proto.graph.initializer):
        raw = part.raw_data if isinstance(part, onnx.TensorProto) else b""
        data = raw or part.SerializeToString(deterministic=True)
        digest.update(data)
        size += len(data)
    return digest.hexdigest(), size


def _graph(parsed: Parsed, input_shapes: Mapping[str, Sequence[int]] | None) -> Graph:
    check_model(parsed.proto, parsed.label, parsed.base_dir)
    watch.sized(_bytes(parsed, parsed.proto))
    ops = count_ops(parsed.proto)
    listed = len(parsed.proto.graph.input) if parsed.proto.ir_version >= 4 else 0
    proto = normalize(parsed.proto, parsed.label)
    unlisted = max(0, listed - len(proto.graph.input))
    check_graph(proto.graph, opsets_of(proto), parsed.label)
    mapped = parsed.mapped if proto is parsed.proto else None  # converted: other weights
    makers = Makers()
    program, known = fold(proto, parsed.base_dir, makers, mapped)
    if any(step.branches for step in program.steps) and open_bodies(proto):
        program, known = fold(proto, parsed.base_dir, makers)  # what bodies store has moved
    inputs = list(proto.graph.input)
    options = defaults_of(proto.graph)
    shapes = {**(input_shapes or {}), **_open_defaults(inputs, options)}
    kept = caches(proto.graph, program.consts)
    axes = sizes_of.axes_of(inputs, shapes, single(proto.graph, program.consts), kept)
    fixed = sizes_of.hinted(inputs, axes, shapes)
    if not axes.kinds and sizes_of.is_complete(program, known):
        sizes, facts = dict(fixed), known
    else:
        sizes, facts = sizes_of.choose(program, inputs, axes, fixed, infer_node)
    nodes = nodes_of(program, facts)
    seen = _seen(facts)
    alone = 1 in sizes.values()
    walked = cache(lambda: sizes_of.elsewhere(program, inputs, axes, sizes, infer_node))
    others = walked() if seen.values or alone else []
    endless = frozenset(n.name for n in (*nodes.main, *nodes.inner) if ends_by_data(n))
    return Graph(
        proto=proto,
        nodes=nodes.main,
        inputs=tuple(info.name for info in inputs if info.name not in options),
        outputs=tuple(info.name for info in proto.graph.output),
        shapes=MappingProxyType(seen.shapes),
        dtypes=MappingProxyType(_dtypes(facts)),
        consts=program.consts,
        values=MappingProxyType(seen.values),
        symbolic=MappingProxyType(
            symbolic(nodes.order, seen, [*map(_seen, others)], program.consts, endless)
        ),
        stretched=MappingProxyType(stretched(nodes.order, seen.shapes, others) if alone else {}),
        dims=MappingProxyType(sizes),
        dynamic=MappingProxyType(dict(axes.symbols)),
        source=_source(parsed, proto, unlisted, ops),
        inner=nodes.inner,
        order=nodes.order,
        options=tuple(options),
        makers=makers,
        elsewhere=cache(lambda: [_shapes(facts) for facts in walked()]),
    )


def _open_defaults(
    inputs: Sequence[onnx.ValueInfoProto], options: Mapping[str, onnx.TensorProto]
) -> dict[str, tuple[int, ...]]:
    """The shapes of defaults whose inputs leave an axis open: an analysis looks at the defaults."""
    return {
        info.name: tuple(options[info.name].dims)
        for info in inputs
        if info.name in options and static_shape(info.type) is None
    }


def _source(
    parsed: Parsed, proto: onnx.ModelProto, unlisted: int, ops: Mapping[str, int]
) -> Source:
    made_by = (proto.producer_name, proto.producer_version)
    return Source(
        path=parsed.path,
        sha256=parsed.sha256,
        bytes=_bytes(parsed, proto),
        opset=opsets_of(proto).get("", 1),
        producer=" ".join(part for part in made_by if part and isinstance(part, str)),
        external=any(is_external(tensor) for tensor, _ in tensors_of(proto)),
        base_dir=parsed.base_dir,
        given=parsed.given,
        unlisted=unlisted,
        ops=ops,
    )


def _bytes(parsed: Parsed, proto: onnx.ModelProto) -> int:
    """What a model takes, its data files included."""
    return parsed.bytes + sum(external_bytes(tensor) for tensor, _ in tensors_of(proto))


def _seen(facts: Facts) -> Seen:
    return Seen(_shapes(facts), {**facts.inner_values, **facts.values})


def _shapes(facts: Facts) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for name, kind in (*facts.inner.items(), *facts.types.items()):
        shape = static_shape(kind)
        if shape is not None:
            shapes[name] = shape
    return shapes


def _dtypes(facts: Facts) -> dict[str, np.dtype]:
    dtypes = {}
    for name, kind in (*facts.inner.items(), *facts.types.items()):
        elem_type = kind.tensor_type.elem_type if kind.HasField("tensor_type") else 0
        dtypes[name] = dtype_of(elem_type)
    return dtypes
