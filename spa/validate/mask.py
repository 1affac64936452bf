"""The zero-mask oracle: the original model, with every dropped channel held at zero everywhere.

A pruned model must compute exactly this.  The masks sit on activations (a `Where` behind every
tensor that loses channels), and the weights stay whole, so that the oracle shares no code with the
rewriter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from spa.coupling.model import Coupling
from spa.labels import Image
from spa.trace.check import Survivors

SELECTABLE = frozenset(("float32", "float64", "int32", "int64", "uint8"))
"""What onnxruntime can select from; other types go through one that holds all their values."""


def masked(coupling: Coupling, alive: NDArray[np.bool_]) -> ModelProto:
    """The original model with the units outside `alive` (bool `[labels]`, by unit) set to zero."""
    left = Survivors(coupling.notes, coupling.root, alive)
    graph = coupling.graph
    model = ModelProto()
    model.CopyFrom(graph.proto)
    del model.graph.node[:]
    for node, proto in zip(graph.nodes, graph.proto.graph.node, strict=True):
        copy = model.graph.node.add()
        copy.CopyFrom(proto)
        for k, name in enumerate(node.outputs):
            image = coupling.notes.images.get(name)
            if image is not None and any(left.touched(p) for p in image.planes):
                copy.output[k] = f"{name}__whole"
                _hold(model, name, mask_of(image, left), np.dtype(graph.dtypes[name]))
    return model


def mask_of(image: Image, left: Survivors) -> NDArray[np.bool_]:
    """Which elements live, broadcastable to the tensor."""
    mask = np.ones((1,) * len(image.shape), bool)
    for p in filter(left.touched, image.planes):
        mask = mask & left.alive[p.ids]
    return mask


def _hold(model: ModelProto, name: str, mask: NDArray[np.bool_], dtype: np.dtype) -> None:
    """Append nodes that make `name` from `name__whole`, dead elements being zero."""
    source, target = f"{name}__whole", name
    carrier = _carrier(dtype)
    nodes: list[NodeProto] = []
    if carrier != dtype:
        kind = helper.np_dtype_to_tensor_dtype(carrier)
        nodes.append(helper.make_node("Cast", [source], [f"{source}_as"], to=kind))
        source, target = f"{source}_as", f"{name}__held"
    if opset_of(model) < 9:  # no Where yet
        constants = {f"{name}__mask": mask.astype(carrier)}
        nodes.append(helper.make_node("Mul", [source, f"{name}__mask"], [target]))
    else:
        constants = {f"{name}__mask": mask, f"{name}__zero": np.zeros((), carrier)}
        picked = [f"{name}__mask", source, f"{name}__zero"]
        nodes.append(helper.make_node("Where", picked, [target]))
    if carrier != dtype:
        kind = helper.np_dtype_to_tensor_dtype(dtype)
        cast = helper.make_node("Cast", [target], [name], to=kind)
        if dtype.name.startswith("float8"):  # else infinities shrink
            cast.attribute.append(helper.make_attribute("saturate", 0))
        nodes.append(cast)
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items())
    model.graph.node.extend(nodes)


def _carrier(dtype: np.dtype) -> np.dtype:
    if dtype.name in SELECTABLE:
        return dtype
    return np.dtype(np.int64 if dtype.kind in "biu" else np.float32)


def opset_of(model: ModelProto) -> int:
    """The version of ai.onnx."""
    return next((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), 1)
