"""Files as a broken exporter, a bad disk or an enemy would make them: `mutated(seed, folder)`.

A base (a random net, or a model that the repository carries) meets one to three mutators.  The same
seed makes the same file.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import Message
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.nets import random_net
from tests.nets.random_lengths import random_lengths_net

ROOT = Path(__file__).parents[2]
CARRIED = ("digits", "fashion")
INTEGERS = (0, 1, -1, 2, 3, 7, -2, 255, 1 << 20, (1 << 31) - 1, -(1 << 31), (1 << 63) - 1)
FLOATS = (0.0, -1.0, 1e-30, 1e30, float("inf"), float("nan"))
NAMES = ("", " ", "x", "\x1b[31mred", "a\nb", "é" * 40, "n" * 3000, "../up", "%s{}", "\u202ename")
TYPES = tuple(range(24))


@dataclass
class File:
    """A model on its way to the disk; `data` is its external file, `cut` what is done to bytes."""

    model: ModelProto
    chance: random.Random
    steps: list[str]
    below: dict[str, int] = field(default_factory=dict)
    sizes: list[dict[str, int]] = field(default_factory=list)
    data: bytes | None = None
    bytes_of: Callable[[bytes], bytes] | None = None

    def pick(self, options):
        """One of a sequence; None where it is empty."""
        options = list(options)
        return self.chance.choice(options) if options else None

    def say(self, *words: object) -> None:
        """Note what was done."""
        self.steps.append(" ".join(ascii(w)[:60] if not isinstance(w, str) else w for w in words))


def mutated(seed: int, folder: Path) -> File:
    """Write `in.onnx` (and its data) into a folder; what it was made of."""
    file = base(seed)
    for _ in range(file.chance.choice((1, 1, 2, 3))):
        mutator = file.pick(MUTATORS)
        file.say(f"[{mutator.__name__}]")
        try:
            mutator(file)
        except Exception as error:  # what another has broken cannot always be broken again
            file.say(f"in vain: {type(error).__name__}")
    content = file.model.SerializeToString()
    if file.bytes_of is not None:
        content = file.bytes_of(content)
    (folder / "in.onnx").write_bytes(content)
    if file.data is not None:
        (folder / "in.data").write_bytes(file.data)
    return file


def base(seed: int) -> File:
    """What is mutated."""
    chance = random.Random(seed)
    kind = chance.choice(("mixture", "mixture", "lengths", "lengths", "carried"))
    if kind == "carried":
        name = chance.choice(CARRIED)
        return File(onnx.load(ROOT / "models" / f"{name}.onnx"), chance, [name])
    if kind == "lengths":
        net = random_lengths_net(seed)
        sizes = [dict(s) for s in net.sizes]
        return File(net.model, chance, [*net.steps], dict(net.below), sizes)
    mixed = random_net(seed)
    return File(mixed.model, chance, [*mixed.steps])


# --- mutators -----------------------------------------------------------------------------------


def raw_bytes(file: File) -> None:
    """Bytes are flipped, lost, doubled, or the end is missing."""
    seed, kind = file.chance.random(), file.pick(("flip", "flip", "drop", "double", "end", "noise"))
    file.say(kind)

    def changed(content: bytes) -> bytes:
        chance, made = random.Random(seed), bytearray(content)
        for _ in range(chance.choice((1, 1, 3, 20))):
            at = chance.randrange(len(made) or 1)
            if kind == "flip" and made:
                made[at] ^= 1 << chance.randrange(8)
            elif kind == "noise" and made:
                made[at] = chance.randrange(256)
            elif kind == "drop":
                del made[at : at + chance.choice((1, 4, 100))]
            elif kind == "double":
                made[at:at] = made[at : at + chance.choice((1, 4, 100))]
        return bytes(made[: chance.randrange(len(made) or 1)] if kind == "end" else made)

    file.bytes_of = changed


def messages(message: Message, depth: int = 0) -> Iterator[Message]:
    """A message and all in it, but for the deepest."""
    yield message
    for described, value in message.ListFields() if depth < 12 else ():
        if described.type == described.TYPE_MESSAGE:
            several = not isinstance(value, Message)
            for inner in value if several else (value,):
                yield from messages(inner, depth + 1)


def fields(file: File) -> None:
    """A field of any message is cleared, doubled, emptied, or holds something else."""
    message = file.pick(messages(file.model))
    described = file.pick(message.DESCRIPTOR.fields)
    value = getattr(message, described.name)
    several = hasattr(value, "append") or hasattr(value, "add")
    how = file.pick(("clear", "set", "set", "double", "drop", "swap"))
    file.say(how, message.DESCRIPTOR.name, described.name)
    if how == "clear" or (not several and how != "set"):
        message.ClearField(described.name)
    elif how == "set":
        _set(file, message, described, several)
    elif len(value):
        first, second = file.chance.randrange(len(value)), file.chance.randrange(len(value))
        items = list(value)
        if how == "swap":
            items[first], items[second] = items[second], items[first]
        elif how == "double":
            items.insert(second, items[first])
        else:
            del items[first]
        copies = [i.__class__.FromString(i.SerializeToString()) if isinstance(i, Message) else i
                  for i in items]  # fmt: skip
        message.ClearField(described.name)
        getattr(message, described.name).extend(copies)


def _set(file: File, message: Message, described, several: bool) -> None:
    values = {
        described.TYPE_STRING: NAMES, described.TYPE_FLOAT: FLOATS, described.TYPE_DOUBLE: FLOATS,
        described.TYPE_BYTES: (b"", b"\xff\x00", b"abcd" * 9),
    }.get(described.type, INTEGERS)  # fmt: skip
    value = file.pick(values)
    if described.type == described.TYPE_MESSAGE:
        alike = [m for m in messages(file.model) if m.DESCRIPTOR is described.message_type]
        other = file.pick(alike)
        if other is not None:
            copy = other.__class__.FromString(other.SerializeToString())
            if several:
                getattr(message, described.name).append(copy)
            else:
                getattr(message, described.name).CopyFrom(copy)
        return
    try:
        if several:
            getattr(message, described.name).append(value)
        else:
            setattr(message, described.name, value)
    except (ValueError, TypeError):
        message.ClearField(described.name)


def edges(file: File) -> None:
    """A node reads another tensor, or none; outputs or nodes change places or names."""
    graph, chance = file.model.graph, file.chance
    node = file.pick(graph.node)
    if node is None:
        return
    known = [n for each in graph.node for n in each.output] + [t.name for t in graph.initializer]
    known += [i.name for i in graph.input]
    how = file.pick(("read", "read", "read", "swap", "less", "more", "make", "order", "gone"))
    file.say(how, node.op_type, node.name)
    if how == "read" and node.input:
        node.input[chance.randrange(len(node.input))] = file.pick([*known, "", "nowhere"])
    elif how == "swap" and len(node.input) > 1:
        first, second = chance.sample(range(len(node.input)), 2)
        node.input[first], node.input[second] = node.input[second], node.input[first]
    elif how == "less" and node.input:
        del node.input[-1]
    elif how == "more":
        node.input.append(file.pick([*known, ""]))
    elif how == "make" and node.output:
        node.output[chance.randrange(len(node.output))] = file.pick([*known, "", "new"])
    elif how == "order":
        nodes = list(graph.node)
        nodes.insert(chance.randrange(len(nodes)), nodes.pop(chance.randrange(len(nodes))))
        copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
        del graph.node[:]
        graph.node.extend(copies)
    elif how == "gone":
        graph.node.remove(node)


def element_types(file: File) -> None:
    """A stored tensor, an input or a Cast is of another type; with or without its numbers."""
    kind, chance = file.pick(TYPES), file.chance
    tensor, info = file.pick(file.model.graph.initializer), file.pick(file.model.graph.input)
    how = file.pick(("cast", "label", "input", "every", "every"))
    file.say(how, kind)
    if how == "label" and tensor is not None:
        tensor.data_type = kind
    elif how == "cast" and tensor is not None:
        _cast(tensor, kind)
    elif how == "input" and info is not None:
        info.type.tensor_type.elem_type = kind
    elif how == "every":
        kind = chance.choice((TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16))
        for each in file.model.graph.initializer:
            if each.data_type == TensorProto.FLOAT:
                _cast(each, kind)
        for each in (*file.model.graph.input, *file.model.graph.output):
            if each.type.tensor_type.elem_type == TensorProto.FLOAT:
                each.type.tensor_type.elem_type = kind


def _cast(tensor: TensorProto, kind: int) -> None:
    try:
        with np.errstate(all="ignore"):
            array = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(kind))
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    except (KeyError, TypeError, ValueError, NotImplementedError):
        tensor.data_type = kind


def attributes(file: File) -> None:
    """A number is another one, an attribute is missing, doubled, or was never heard of."""
    node = file.pick([n for n in file.model.graph.node if n.attribute])
    how = file.pick(("number", "number", "number", "length", "gone", "twice", "unknown", "type"))
    if node is None:
        return
    attribute = file.pick(node.attribute)
    file.say(how, node.op_type, attribute.name)
    if how == "number":
        if attribute.ints:
            k = file.chance.randrange(len(attribute.ints))
            attribute.ints[k] = _near(file, attribute.ints[k])
        elif attribute.floats:
            attribute.floats[0] = file.pick(FLOATS)
        elif attribute.type == attribute.FLOAT:
            attribute.f = file.pick(FLOATS)
        elif attribute.type == attribute.STRING:
            attribute.s = file.pick((b"", b"SAME_UPPER", b"linear", b"\xff", b"\x1b[1m"))
        else:
            attribute.i = _near(file, attribute.i)
    elif how == "length" and attribute.ints:
        if file.chance.random() < 0.5:
            del attribute.ints[-1]
        else:
            attribute.ints.append(1)
    elif how == "gone":
        node.attribute.remove(attribute)
    elif how == "twice":
        node.attribute.add().CopyFrom(attribute)
    elif how == "unknown":
        node.attribute.add(name=file.pick(NAMES), type=attribute.INT, i=1)
    elif how == "type":
        attribute.type = file.pick(range(14))


def _near(file: File, number: int) -> int:
    near = (number - 1, number + 1, 2 * number, -number, *INTEGERS)
    return max(-(1 << 63), min((1 << 63) - 1, file.pick(near)))


def shapes(file: File) -> None:
    """Dimensions of stored tensors, inputs and outputs are others."""
    graph, chance = file.model.graph, file.chance
    if chance.random() < 0.4:
        info = file.pick([i for i in (*graph.input, *graph.output) if i.type.tensor_type.shape.dim])
        if info is None:
            return
        dim = file.pick(info.type.tensor_type.shape.dim)
        how = file.pick(("number", "symbol", "none", "other", "less", "more"))
        file.say(how, info.name)
        if how == "number":
            dim.dim_value = _near(file, dim.dim_value)
        elif how in ("symbol", "other"):
            dim.dim_param = file.pick((*NAMES, "N", "T", "batch"))
        elif how == "none":
            dim.Clear()
        elif how == "less":
            del info.type.tensor_type.shape.dim[-1]
        else:
            info.type.tensor_type.shape.dim.add(dim_value=2)
        return
    tensor = file.pick(graph.initializer)
    if tensor is None:
        return
    how = file.pick(("number", "turn", "less", "more", "fewer rows", "values"))
    file.say(how, tensor.name, list(tensor.dims))
    if how == "number" and tensor.dims:
        k = chance.randrange(len(tensor.dims))
        tensor.dims[k] = _near(file, tensor.dims[k])
    elif how == "turn":
        tensor.dims[:] = list(reversed(tensor.dims))
    elif how == "less" and tensor.dims:
        del tensor.dims[-1]
    elif how == "more":
        tensor.dims.append(1)
    elif how in ("fewer rows", "values"):
        _values(file, tensor, how)


def _values(file: File, tensor: TensorProto, how: str) -> None:
    try:
        array = numpy_helper.to_array(tensor).copy()
    except (ValueError, TypeError, KeyError):
        return
    if how == "fewer rows" and array.ndim and len(array) > 1:
        array = array[:-1]
    elif array.size and array.dtype.kind in "iuf":
        wanted = file.pick(FLOATS if array.dtype.kind == "f" else INTEGERS)
        with np.errstate(all="ignore"):
            array.flat[file.chance.randrange(array.size)] = np.array(wanted).astype(array.dtype)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def external_data(file: File) -> None:
    """Weights lie in a file beside, of which one entry is wrong."""
    chunks, at = [], 0
    for tensor in file.model.graph.initializer:
        if len(tensor.raw_data) >= 16:
            chunks.append(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            entries = (("location", "in.data"), ("offset", at), ("length", len(chunks[-1])))
            for key, value in entries:
                tensor.external_data.add(key=key, value=str(value))
            at += len(chunks[-1])
    file.data = b"".join(chunks)
    outside = [t for t in file.model.graph.initializer if t.external_data]
    how = file.pick(("nothing", "entry", "entry", "entry", "short", "gone", "twice", "inside"))
    file.say(how)
    if not outside or how == "nothing":
        return
    tensor = file.pick(outside)
    entry = file.pick(tensor.external_data)
    if how == "entry":
        places = ("../in.data", "/etc/hostname", ".", "", "in.onnx", "in\x00.data", "./in.data")
        numbers = ("-1", "0", "1", "x", "", "1e3", str(at), str(1 << 40), str(1 << 70))
        entry.value = file.pick(places if entry.key == "location" else numbers)
        file.say(entry.key, entry.value)
    elif how == "short":
        file.data = file.data[: file.chance.randrange(len(file.data) or 1)]
    elif how == "gone":
        tensor.external_data.remove(entry)
    elif how == "twice":
        tensor.external_data.add().CopyFrom(entry)
    else:
        tensor.raw_data = b"\x00" * 16


def opsets(file: File) -> None:
    """Another version, a domain nobody knows, one domain twice, or none; another IR version."""
    model = file.model
    entry = file.pick(model.opset_import)
    how = file.pick(("near", "near", "number", "domain", "twice", "gone", "ir", "op", "op domain"))
    file.say(how)
    node = file.pick(model.graph.node)
    if how == "ir":
        model.ir_version = file.pick((*range(14), *INTEGERS[-4:]))
    elif how == "op" and node is not None:
        other = file.pick([n.op_type for n in model.graph.node] + ["Gelu", "LSTM", "Nothing", "If"])
        file.say(node.op_type, other)
        node.op_type = other
    elif how == "op domain" and node is not None:
        node.domain = file.pick(("com.microsoft", "ai.onnx", "ai.onnx.ml", *NAMES))
    elif entry is None:
        return
    elif how == "near":
        entry.version = max(0, entry.version + file.pick((-8, -4, -2, -1, 1, 2, 4)))
    elif how == "number":
        entry.version = file.pick(INTEGERS)
    elif how == "domain":
        entry.domain = file.pick(("com.microsoft", "ai.onnx", *NAMES))
    elif how == "twice":
        model.opset_import.add(domain=entry.domain, version=entry.version + 1)
    else:
        model.opset_import.remove(entry)


def value_infos(file: File) -> None:
    """What the file says of tensors in between is wrong, doubled or of something else."""
    graph = file.model.graph
    names = [n for node in graph.node for n in node.output] + [t.name for t in graph.initializer]
    for _ in range(file.chance.choice((1, 3, len(names)))):
        name, kind = file.pick(names), file.pick((1, 1, 1, 7, 0, 10, 11))
        rank = file.chance.randrange(6)
        dims = [file.pick((1, 2, 4, 6, 8, "N", None, -1, 1 << 40)) for _ in range(rank)]
        info = graph.value_info.add(name=name)
        info.type.tensor_type.elem_type = kind
        info.type.tensor_type.shape.SetInParent()
        for size in dims:
            dim = info.type.tensor_type.shape.dim.add()
            if isinstance(size, str):
                dim.dim_param = size
            elif size is not None:
                dim.dim_value = size
        file.say(name, kind, dims)


def names(file: File) -> None:
    """A tensor or a node has another name wherever it is named."""
    graph = file.model.graph
    known = {n for node in graph.node for n in (*node.input, *node.output) if n}
    old, new = file.pick(sorted(known)), file.pick(NAMES)
    file.say(old or "", new[:40])
    for node in graph.node:
        for names_of in (node.input, node.output):
            for k, name in enumerate(names_of):
                if name == old:
                    names_of[k] = new
        if file.chance.random() < 0.3:
            node.name = file.pick(NAMES)
    for thing in (*graph.initializer, *graph.input, *graph.output):
        if thing.name == old:
            thing.name = new


MUTATORS: tuple[Callable[[File], None], ...] = (
    raw_bytes, fields, fields, edges, element_types, attributes, attributes, shapes, shapes,
    external_data, opsets, value_infos, names,
)  # fmt: skip
