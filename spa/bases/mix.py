"""A model that computes the same, in a basis in which few channels carry nearly all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from spa import runtime
from spa.bases.directions import directions
from spa.bases.free import Free, Use
from spa.coupling.model import Coupling
from spa.devices import Device
from spa.errors import ReadError
from spa.events import Counted, uncounted
from spa.graph.model import Graph
from spa.graph.normalize import unused
from spa.graph.tensors import copied

ROUNDING = 1e-3  # relative L2 up to which two models compute the same
Matrix = NDArray[np.float64]
Feeds = Sequence[Mapping[str, NDArray[Any]]]


def mixed(
    coupling: Coupling,
    parts: Sequence[Free],
    feeds: Feeds,
    device: Device = "cpu",
    batch_norm: bool = True,
    counted: Counted = uncounted,
) -> tuple[ModelProto, tuple[str, ...]] | None:
    """The model in the basis that suits a cut, and the names of the tensors it has changed.

    `parts` may be mixed; `feeds` are probe inputs, one dict per batch.  None if the model would
    then compute something else: nothing is taken on trust.
    """
    found = directions(coupling, parts, feeds, device, batch_norm, counted)
    model = _Mixed(coupling.graph)
    for part, sides in zip(parts, found, strict=True):
        if sides is not None:
            for use in part.uses:
                model.mix(use, sides[use.side])
    proto, names = model.result()
    return (proto, names) if _same(coupling.graph, proto, feeds[0], device) else None


class _Mixed:
    """The stored tensors of a model while their axes are mixed."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names = {(n.index, i): name for n in graph.nodes for i, name in enumerate(n.inputs)}
        self.shared = Counter((*self.names.values(), *graph.outputs))
        self.shared.update(name for n in graph.nodes for name in n.captured)
        self.new: dict[tuple[int, int], Matrix] = {}

    def mix(self, use: Use, by: Matrix) -> None:
        """Along the axis of a use, channel j becomes the sum of channels i times `by[c, i, j]`."""
        key = use.node, use.input
        if key not in self.new:
            self.new[key] = np.array(self.graph.consts[self.names[key]], np.float64)
        rows = np.moveaxis(self.new[key], use.axis, 0)
        rows[use.at] = np.einsum("cij,cit...->cjt...", by, rows[use.at], optimize=True)

    def result(self) -> tuple[ModelProto, tuple[str, ...]]:
        """The model and what was mixed; a tensor used elsewhere as well gets a copy."""
        proto = copied(self.graph.proto)
        stored = {t.name: t for t in proto.graph.initializer}
        taken = {
            *self.shared,
            *self.graph.consts,
            *(o for n in self.graph.nodes for o in n.outputs),
        }
        for (node, i), array in self.new.items():
            name = self.names[node, i]
            own = stored[name]
            dtype = helper.tensor_dtype_to_np_dtype(own.data_type)
            if self.shared[name] > 1:
                name = unused(name, taken)
                taken.add(name)
                proto.graph.node[node].input[i] = name
                own = proto.graph.initializer.add()
            own.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array.astype(dtype)), name))
        return proto, tuple(sorted({self.names[key] for key in self.new}))


def _same(
    graph: Graph, proto: ModelProto, feed: Mapping[str, NDArray[Any]], device: Device
) -> bool:
    """Whether both models are seen to give the same, but for rounding."""
    place: dict[str, Any] = {"device": device, "base_dir": graph.source.base_dir}
    try:
        old, new = (
            runtime.run(runtime.session(m, optimize=False, **place), feed)
            for m in (graph.proto, proto)
        )
    except ReadError:  # some node does not run, so nothing is known
        return False
    return all(
        _distance(value, new[name]) <= ROUNDING
        for name, value in old.items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    )


def _distance(old: NDArray[Any], new: NDArray[Any]) -> float:
    """Relative L2."""
    gap = np.linalg.norm((new - old).astype(np.float64))
    return float(gap / max(float(np.linalg.norm(old.astype(np.float64))), 1e-30))
