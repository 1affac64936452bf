"""Writing back: the file that was read, with the values that were trained, and nothing else new.

A file that nothing was trained in is written as it was, to the byte.  Data files keep their names
where that takes nobody else's place, and else get a name that holds their digest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto

from spa.errors import ReadError
from spa.graph.datafiles import data_name
from spa.graph.stored import graphs_of, tensor_at
from spa.graph.tensors import (
    data_file,
    dtype_of,
    is_external,
    location_of,
    tensors_of,
    to_array,
)
from spa.graph.write import save as save_model
from spa.storage import (
    Draft,
    alone,
    check_place,
    clashes,
    clean,
    drafted,
    refused,
    same_file,
)
from spa.torch.module import OnnxModule
from spa.torch.values import array_of

CHUNK = 1 << 22
Patch = tuple[int, bytes]
"""Where in a data file other bytes stand, and which."""


@dataclass(frozen=True)
class Data:
    """A data file to be written: a copy of one with patches, under a name."""

    source: Path
    patches: list[Patch]
    name: str


def save(module: OnnxModule, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write a module back as the ONNX file it came from, with the values it has now.

    Names, opset, metadata, types and the layout of data files stay; only values that differ are
    changed, and a module in which none does gives the same bytes.  Values go back into the type
    that the file stores.  The file is written atomically.  A model that was given in memory, whose
    data still lie in files of another one, is written as `spa.graph.save` writes it, with what it
    needs of them.

    Args:
        module: of `spa.torch.load`.
        path: where to; never the file that was read.
        force: whether an existing file may be replaced.

    Raises:
        UsageError: the file exists, is the one that was read, or cannot be written.
        ReadError: the file that the module was read from is gone or was changed.
    """
    target = Path(path)
    source = module.source
    if source.path is not None:
        clashes({"the input": [source.path]}, [target])
    original, contents = source.original()
    folder = source.base_dir
    beside = _beside(original, folder)
    clashes({"a data file of the input": list(beside.values())}, [target])
    if beside and isinstance(source.given, ModelProto):
        save_model(model_of(module), target, force=force, base_dir=folder, external=True)
        return
    check_place(target, "the output", force=force)
    patches: dict[str, list[Patch]] = {location: [] for location in beside}
    changed = _put(module, original, folder, patches)
    with refused(target, "the output", "choose another output or make room there"):
        files = _files(target, beside, patches)
        renamed = {old: data.name for old, data in files.items() if data.name != old}
        for tensor, _ in tensors_of(original) if renamed else ():
            if is_external(tensor) and location_of(tensor)[0] in renamed:
                entry = next(e for e in tensor.external_data if e.key == "location")
                entry.value = renamed[entry.value]
        if changed or renamed or contents is None:
            contents = original.SerializeToString(deterministic=True)
        _write(target, contents, files)
    clean(target.parent)


def model_of(module: OnnxModule) -> ModelProto:
    """The model that a module came from, with the values it has now; data files are not changed.

    What differs from a data file lies in the model itself, the rest still in that file.

    Raises:
        ReadError: the file that the module was read from is gone or was changed.
    """
    model, _ = module.source.original()
    by_path = dict(graphs_of(model.graph))
    for name, slot in module.slots():
        path, own = slot.place
        holder = tensor_at(by_path[path], own)
        if isinstance(holder, TensorProto) and is_external(holder):
            stored = to_array(holder, module.source.base_dir)
            new = _as_stored(array_of(slot.value), holder, stored, name)
            if new is not None:
                del holder.external_data[:]
                holder.data_location = TensorProto.DEFAULT
                holder.raw_data = new.tobytes()
    _put(module, model, module.source.base_dir, {})
    return model


def _beside(model: ModelProto, folder: Path | None) -> dict[str, Path]:
    """The data files of a model by location."""
    found = {location_of(t)[0]: what for t, what in tensors_of(model) if is_external(t)}
    if folder is None:
        return {}
    return {location: data_file(folder, location, what) for location, what in found.items()}


def _put(
    module: OnnxModule, model: ModelProto, folder: Path | None, patches: Mapping[str, list[Patch]]
) -> bool:
    """Put values into a model, or into patches of its data files; whether the model changed."""
    changed = False
    by_path = dict(graphs_of(model.graph))
    for name, slot in module.slots():
        path, own = slot.place
        holder = tensor_at(by_path[path], own)
        value = array_of(slot.value)
        if isinstance(holder, AttributeProto):
            changed |= _put_number(holder, value)
        elif holder is not None and is_external(holder):
            new = _as_stored(value, holder, to_array(holder, folder), name)
            if new is not None:
                location, offset, _ = location_of(holder)
                patches[location].append((offset, new.tobytes()))
        elif holder is not None:
            new = _as_stored(value, holder, to_array(holder), name)
            if new is not None:
                _fill(holder, new)
                changed = True
    return changed


def _put_number(attribute: AttributeProto, value: np.ndarray) -> bool:
    """Put floats into a `Constant` that holds them as plain numbers."""
    before = attribute.SerializeToString(deterministic=True)
    if attribute.name == "value_float":
        attribute.f = float(value.reshape(()))
    elif attribute.name == "value_floats":
        attribute.floats[:] = [float(v) for v in value.reshape(-1)]
    return bool(attribute.SerializeToString(deterministic=True) != before)


def _as_stored(
    value: np.ndarray, tensor: TensorProto, stored: np.ndarray, name: str
) -> np.ndarray | None:
    """A value in the type and shape of the file, or None where the file has it already."""
    if value.shape != tuple(tensor.dims):
        raise ReadError(
            f"parameter '{name}' has the shape {list(value.shape)} where the file has "
            f"{list(tensor.dims)}; only values can be written back"
        )
    with np.errstate(over="ignore"):
        new = np.ascontiguousarray(value.astype(dtype_of(tensor.data_type), copy=False))
    same = new.reshape(-1).view(np.uint8) if new.size else new
    old = np.ascontiguousarray(stored).reshape(-1).view(np.uint8) if new.size else new
    return None if np.array_equal(same, old) else new.reshape(value.shape)


def _fill(tensor: TensorProto, value: np.ndarray) -> None:
    """Put a value where a tensor keeps its own: raw, or in a typed field."""
    if tensor.HasField("raw_data"):
        tensor.raw_data = value.tobytes()
        return
    kind = tensor.data_type
    if kind == TensorProto.FLOAT:
        tensor.float_data[:] = value.reshape(-1).tolist()
    elif kind == TensorProto.DOUBLE:
        tensor.double_data[:] = value.reshape(-1).tolist()
    else:  # half precision is kept as bits in a field of integers
        tensor.int32_data[:] = value.reshape(-1).view(np.uint16).tolist()


def _files(
    target: Path, beside: Mapping[str, Path], patches: Mapping[str, list[Patch]]
) -> dict[str, Data]:
    """The data files to write, by their old location; none for those that can stay."""
    made: dict[str, Data] = {}
    for location, source in beside.items():
        place = target.parent / location
        if place.exists():
            if same_file(place, source) and not patches[location]:
                continue
            name = data_name(target, _digest(source, patches[location]))
        else:
            name = location
        made[location] = Data(source, patches[location], name)
    return made


def _digest(source: Path, patches: list[Patch]) -> str:
    digest = hashlib.sha256()
    for piece in _patched(source, patches):
        digest.update(piece)
    return digest.hexdigest()


def _patched(source: Path, patches: list[Patch]) -> Iterator[bytes]:
    """A data file with patches, piece by piece."""
    at = 0
    with source.open("rb") as file:
        for offset, new in sorted(patches):
            yield from _copied(file, offset - at)
            yield new
            at = offset + len(new)
            file.seek(at)
        while piece := file.read(CHUNK):
            yield piece


def _copied(file: BinaryIO, left: int) -> Iterator[bytes]:
    while left > 0:
        piece = file.read(min(CHUNK, left))
        if not piece:
            return
        left -= len(piece)
        yield piece


def _write(target: Path, contents: bytes, files: Mapping[str, Data]) -> None:
    """Data files first, then the model: whoever is interrupted leaves the old model whole."""
    with ExitStack() as stack:
        drafts: list[tuple[Draft, Path]] = []
        for data in files.values():
            place = target.parent / data.name
            if place.exists() and place.name != target.name and data.name not in files:
                continue  # its name tells its contents
            place.parent.mkdir(parents=True, exist_ok=True)
            draft = stack.enter_context(drafted(place))
            for piece in _patched(data.source, data.patches):
                draft.file.write(piece)
            draft.finish()
            drafts.append((draft, place))
        model = stack.enter_context(drafted(target))
        model.file.write(contents)
        model.finish()
        with alone(target.parent):
            for draft, place in drafts:
                draft.put(place)
            model.put(target)
