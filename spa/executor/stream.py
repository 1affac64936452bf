"""Walk a graph from site to site: each segment between two stops is one onnxruntime session.

A stream holds the activations of one model for all probe batches, only as long as a later node
needs them.  Two streams, the dense and the pruned one, are walked side by side, so that the inputs
of a site and the outputs it ought to have are there at the same time: one dense pass, one pruned.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from spa import runtime
from spa.devices import Device
from spa.executor.channels import along
from spa.graph.model import Graph
from spa.graph.normalize import captured_names
from spa.graph.tensors import copied, defaults_of, to_array, weights_of
from spa.make import make
from spa.runtime import Session

Batches = list[NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Part:
    """A segment of a model, ready to run on one batch of values by name."""

    session: Session
    inputs: tuple[str, ...]
    wanted: tuple[str, ...]

    def __call__(self, values: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        """The tensors wanted."""
        return runtime.run(self.session, {n: values[n] for n in self.inputs}, list(self.wanted))

    def inputs_of(self, stream: Stream, batch: int) -> dict[str, NDArray[Any]]:
        """What the stream holds of the inputs."""
        return {n: stream.values[n][batch] for n in self.inputs}


class Stream:
    """The activations of one model, computed up to some node and no further.

    Weights may be replaced before they are used (`weights`).  `graph` is the analysed original, for
    types by tensor name and the folder of external data.  `instead` has stored tensors to run with
    in place of those in `weights`; for the output of a node, a factor and a summand `[2, channels]`
    that it is moved by (axis 1).
    """

    def __init__(
        self,
        model: ModelProto,
        graph: Graph,
        feeds: Sequence[Mapping[str, NDArray[Any]]],
        device: Device = "cpu",
        instead: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        self.model, self.device = model, device
        self.base_dir, self._dtypes = graph.source.base_dir, graph.dtypes
        self._shapes = graph.shapes
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.weights: dict[str, TensorProto] = {t.name: t for t in weights_of(model.graph)}
        self.instead: dict[str, NDArray[Any]] = dict(instead or {})
        self.values: dict[str, Batches] = {
            name: [f[name] for f in feeds] for name in (feeds[0] if feeds else {})
        }
        self.count = len(feeds)
        self.defaults = defaults_of(model.graph)
        for name, default in self.defaults.items():
            self.values.setdefault(name, [to_array(default, self.base_dir)] * self.count)
        self.done = 0
        self._made = {o: k for k, n in enumerate(self.nodes) for o in n.output if o}
        self._last = {name: k for k, node in enumerate(self.nodes) for name in names_in(node)}

    def find(self, output: str) -> int:
        """The number of the node that makes a tensor."""
        return self._made[output]

    def makes(self, name: str) -> bool:
        """Whether some node makes this tensor."""
        return name in self._made

    def run_to(self, stop: int, keep: Collection[str] = ()) -> None:
        """Compute all nodes before number `stop`; hold what later nodes need, and `keep`."""
        made = [o for n in self.nodes[self.done : stop] for o in n.output if o]
        wanted = [o for o in made if self._last.get(o, -1) >= stop or o in keep]
        if wanted:
            part = self.part(stop, wanted)
            found = [part(part.inputs_of(self, k)) for k in range(self.count)]
            self.values |= {name: [outputs[name] for outputs in found] for name in wanted}
        self.done = max(self.done, stop)
        for name in [n for n in self.values if self._last.get(n, -1) < self.done and n not in keep]:
            del self.values[name]

    def array(self, name: str) -> NDArray[Any]:
        """A stored tensor as the model has it, or the default of an input."""
        return to_array(self.weights.get(name) or self.defaults[name], self.base_dir)

    def part(self, stop: int, wanted: Sequence[str]) -> Part:
        """The nodes before number `stop` that have not been computed, to be tried on any values."""
        segment = self.nodes[self.done : stop]
        used = {n for node in segment for n in names_in(node)}
        inputs = sorted(n for n in used if n in self.values)
        moved, affines = self._moved(segment)
        reads, makes = (
            [helper.make_tensor_value_info(n, self._type(n), None) for n in names]
            for names in (inputs, wanted)
        )
        graph = helper.make_graph(moved, "segment", reads, makes)
        part = helper.make_model(
            graph, opset_imports=list(self.model.opset_import), ir_version=self.model.ir_version
        )
        for name in sorted(used):
            if name in self.weights:
                value = self.instead.get(name)
                stored = None if value is None else numpy_helper.from_array(value, name)
                part.graph.initializer.append(stored or self.weights[name])
        part.graph.initializer.extend(affines)
        session = runtime.session(part, base_dir=self.base_dir, device=self.device)
        return Part(session, tuple(inputs), tuple(wanted))

    def _moved(self, segment: list[NodeProto]) -> tuple[list[NodeProto], list[TensorProto]]:
        """The nodes of a segment, their outputs moved where that is asked for."""
        nodes: list[NodeProto] = []
        stored: list[TensorProto] = []
        for node in segment:
            name = node.output[0] if node.output else ""
            affine = self.instead.get(name) if name not in self.weights else None
            if affine is None:
                nodes.append(node)
                continue
            names = [f"{name}/{word}" for word in ("plain", "factor", "scaled", "summand")]
            plain, factor, scaled, summand = names
            made = copied(node)
            made.output[0] = plain
            nodes += [made, make.Mul([plain, factor], [scaled])]
            nodes.append(make.Add([scaled, summand], [name]))
            rank = len(self._shapes[name])
            for own, value in zip((factor, summand), affine, strict=True):
                array = along(value, rank).astype(self._dtypes[name])
                stored.append(numpy_helper.from_array(array, own))
        return nodes, stored

    def _type(self, name: str) -> int:
        if name in self.values:
            return int(helper.np_dtype_to_tensor_dtype(self.values[name][0].dtype))
        dtype = self._dtypes.get(name)
        if dtype is None or dtype.kind == "O":
            return int(TensorProto.FLOAT)
        return int(helper.np_dtype_to_tensor_dtype(dtype))


def names_in(node: NodeProto) -> set[str]:
    """Every tensor a node reads, those captured by its bodies included."""
    return {*node.input, *captured_names(node)} - {""}
