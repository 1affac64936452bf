"""What is written of a pruned model: its constants as tensors or computed, whichever is smaller.

Analysis, cut and proof want constants as tensors.  Of what the input computed, a file takes the
nodes instead, where the cut left the result as it was and they take fewer bytes in sum; of what was
cut, a smaller form (see `spa.graph.forms`).  An engine has to make the very bits of it first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from spa.graph import Graph
from spa.graph.forms import Form, same, smallest
from spa.graph.makers import Makers, cheapest, framed, length_of
from spa.graph.normalize import mentioned_in, opsets_of, unused
from spa.graph.tensors import copied, is_external, shell_of, to_array
from spa.make import make
from spa.runtime import evaluate_constants

LEAST = 1024  # bytes of a tensor for which a file that does not grow anyway takes nodes instead
Tensors = Mapping[str, TensorProto]


def compact(model: ModelProto, graph: Graph) -> ModelProto:
    """The model as it is written: `model` itself where nothing of it takes fewer bytes computed.

    It is what is left of the original `graph`, all its constants as tensors, and is not changed.
    """
    makers = graph.makers
    if makers is None or not makers.names:
        return model
    written = model
    for least in (LEAST, 0):
        file = _File(model, graph, makers, least)
        file.as_made()
        file.in_forms()
        written = file.written()
        if bytes_of(written) <= graph.source.bytes:
            break
    return written


def bytes_of(model: ModelProto) -> int:
    """What a model takes as a file, with its external data; large models, too, piece by piece."""
    rest = shell_of(model, "node")
    graph: int = rest.graph.ByteSize()
    graph += sum(map(framed, model.graph.node)) + sum(map(framed, model.graph.initializer))
    rest.ClearField("graph")
    size: int = rest.ByteSize()
    return size + 1 + length_of(graph) + graph


class _File:
    """Which tensors of a model give way to nodes."""

    def __init__(self, model: ModelProto, graph: Graph, makers: Makers, least: int) -> None:
        self.model, self.makers, self.least = model, makers, least
        self.base_dir = graph.source.base_dir
        self.original = {t.name: t for t in graph.proto.graph.initializer}
        self.stored = {t.name: t for t in model.graph.initializer}
        self.taken = set(mentioned_in(model.graph))
        self.gone: set[str] = set()
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []

    def as_made(self) -> None:
        """Take the nodes that made what the cut has left as it was."""
        same = {n: self.stored[n] for n in sorted(self.makers.names & self.stored.keys())}
        same = {n: t for n, t in same.items() if t == self.original.get(n) and self._counts(t)}
        leaves = self._leaves()
        costs = {n: 0 if self.stored.get(n) == t else framed(t) for n, t in leaves.items()}
        while same:
            chosen = cheapest({n: framed(t) for n, t in same.items()}, self.makers.nodes, costs)
            nodes = [self.makers.nodes[i] for i in chosen.nodes]
            wanted = {name: same[name] for name in same if name in chosen.results}
            wrong = self._differing(nodes, [leaves[n] for n in sorted(chosen.tensors)], wanted)
            if not wrong:
                own = {n: leaves[n] for n in sorted(chosen.tensors) if costs[n]}
                self._take(nodes, own, wanted)
                return
            for name in wrong:
                del same[name]

    def in_forms(self) -> None:
        """Write what the cut has changed in a smaller form, and what it has made equal once."""
        opset = opsets_of(self.model).get("", 1)
        seen: dict[tuple[object, ...], str] = {}
        forms: dict[str, Form] = {}
        for name, tensor in self.stored.items():
            if name in self.gone or not self._counts(tensor) or not self._is_changed(name):
                continue
            first = seen.setdefault((tensor.data_type, *tensor.dims, tensor.raw_data), name)
            form: Form | None = Form([make.Identity([first], [name])])
            if first == name or not tensor.raw_data:
                array = to_array(tensor, self.base_dir)
                form = smallest(name, array, opset, lambda wanted: unused(wanted, self.taken))
            if form is not None and form.bytes < framed(tensor):
                forms[name] = form
                self.taken.update(t.name for t in form.tensors)
                self.taken.update(o for node in form.nodes for o in node.output)
        while forms:
            nodes = [node for form in forms.values() for node in form.nodes]
            tensors = [t for form in forms.values() for t in form.tensors]
            first_of = [self.stored[n] for node in nodes for n in node.input if n in self.stored]
            kept = {t.name: t for t in first_of if t.name not in forms}
            wanted = {name: self.stored[name] for name in forms}
            wrong = self._differing(nodes, [*tensors, *kept.values()], wanted)
            if not wrong:
                self.nodes += nodes
                self.tensors += tensors
                self.gone.update(forms)
                return
            for name in wrong:
                del forms[name]

    def written(self) -> ModelProto:
        """The model with nodes in the place of tensors."""
        if not self.gone:
            return self.model
        written = shell_of(self.model, "node")
        written.graph.node.extend([*self.nodes, *self.model.graph.node])
        for name, tensor in self.stored.items():
            if name not in self.gone:
                written.graph.initializer.add().CopyFrom(tensor)
        written.graph.initializer.extend(self.tensors)
        return written

    def _leaves(self) -> dict[str, TensorProto]:
        """What the makers read of what is stored, as it was."""
        read = {name for node in self.makers.nodes for name in node.input}
        known = {**self.original, **self.makers.tensors}
        return {name: known[name] for name in read if name in known}

    def _take(self, nodes: Sequence[NodeProto], own: Tensors, wanted: Tensors) -> None:
        """Put nodes, and tensors that only they read, in the place of those that are wanted."""
        self.gone.update(wanted)
        names: dict[str, str] = {}
        made = [name for node in nodes for name in node.output if name and name not in wanted]
        for name in (*made, *own):
            names[name] = unused(name, self.taken)
            self.taken.add(names[name])
        for node in map(copied, nodes):
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
            self.nodes.append(node)
        for name, tensor in own.items():
            self.tensors.append(copied(tensor))
            self.tensors[-1].name = names[name]

    def _differing(
        self, nodes: Sequence[NodeProto], tensors: Sequence[TensorProto], wanted: Tensors
    ) -> set[str]:
        """Those of the tensors that an engine does not make of the nodes to the very bit."""
        if not wanted:
            return set()
        part = ModelProto(ir_version=self.model.ir_version, opset_import=self.model.opset_import)
        part.graph.name = "constants"
        part.graph.node.extend(nodes)
        part.graph.initializer.extend(tensors)
        part.graph.output.extend(ValueInfoProto(name=name) for name in wanted)
        made = evaluate_constants(part, list(wanted), self.base_dir) or {}
        return {
            name
            for name, tensor in wanted.items()
            if name not in made or not same(made[name], to_array(tensor, self.base_dir))
        }

    def _is_changed(self, name: str) -> bool:
        """Whether the cut made a tensor of one that the input computed, or anew."""
        before = self.original.get(name)
        return before is None or (name in self.makers.names and before != self.stored[name])

    def _counts(self, tensor: TensorProto) -> bool:
        """Whether a tensor is large enough for nodes, and lies in the model."""
        return not is_external(tensor) and framed(tensor) >= self.least
