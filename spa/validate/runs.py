"""A model that is run at several sizes, with sessions that are made once.

Where onnxruntime refuses a model that has operators nobody knows (a plugin of another runtime,
say), the part before them is run: what enters them is an output then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from spa import runtime
from spa.coupling.view import trait_at
from spa.devices import Device
from spa.errors import ReadError
from spa.events import Advance, unheard
from spa.graph.normalize import captured_names
from spa.graph.tensors import copied
from spa.rules import is_known
from spa.runtime import Session
from spa.validate.neutral import all_graphs, nodes_inside

Arrays = Mapping[str, NDArray[Any]]


@dataclass(eq=False)
class Runner:
    """Runs one model, with onnxruntime's optimizer or without.

    `ran` hears of every run; `integers` says whether the optimizer may compute in integers what is
    beside quantisers; `unknown` are the nodes that it ends before, once it has run.
    """

    model: ModelProto
    base_dir: Path | None
    device: Device
    ran: Advance = unheard
    integers: bool = True
    unknown: tuple[NodeProto, ...] = ()
    _sessions: dict[bool, Session] = field(default_factory=dict)
    _last: tuple[Arrays, bool, dict[str, Any]] | None = None

    def __call__(self, feeds: Arrays, optimize: bool) -> dict[str, Any]:
        """The outputs by name, known already where the last run was the same.

        Raises ReadError where onnxruntime refuses the model or the inputs.
        """
        if self._last is not None and self._last[0] is feeds and self._last[1] == optimize:
            return self._last[2]
        if optimize not in self._sessions:
            self._sessions[optimize], self.unknown = self.load(optimize)
        found = runtime.run(self._sessions[optimize], feeds)
        self.ran()
        self._last = feeds, optimize, found
        return found

    def load(self, optimize: bool) -> tuple[Session, tuple[NodeProto, ...]]:
        """A session, and the nodes that it ends before."""
        place = {"device": self.device, "base_dir": self.base_dir, "integers": self.integers}
        nodes = (node for graph in all_graphs(self.model.graph) for node in graph.node)
        alone = any(trait_at(node).inward for node in nodes)
        return session_of(self.model, optimize=optimize, threads=int(alone), **place)

    def of(self, model: ModelProto) -> Runner:
        """The same for another model with the same external data."""
        if model is self.model:
            return self
        return Runner(model, self.base_dir, self.device, self.ran, self.integers)

    def in_floats(self) -> Runner:
        """The same, and nothing is computed in integers that the file has in floats."""
        return Runner(self.model, self.base_dir, self.device, self.ran, integers=False)


def session_of(model: ModelProto, **options: Any) -> tuple[Session, tuple[NodeProto, ...]]:
    """A session of a model, or of the part before operators that nobody knows, and these.

    Raises:
        ReadError: onnxruntime refuses that, too.
    """
    try:
        return runtime.session(model, **options), ()
    except ReadError:
        unknown = tuple(node for node in model.graph.node if not _is_known(node))
        part = before(model, unknown)
        if part is None:
            raise
        return runtime.session(part, **options), unknown


def before(model: ModelProto, nodes: Sequence[NodeProto]) -> ModelProto | None:
    """The part of a model that needs none of `nodes`; None where that has no outputs.

    What enters them is an output, too.
    """
    result = copied(model)
    del result.graph.node[:]
    lost = {name for node in nodes for name in node.output}
    for node in model.graph.node:
        if lost.intersection((*node.input, *captured_names(node), *node.output)):
            lost.update(node.output)
        else:
            result.graph.node.append(node)
    outputs = [o for o in model.graph.output if o.name not in lost]
    made = {name for node in result.graph.node for name in node.output} - {o.name for o in outputs}
    entering = dict.fromkeys(n for node in nodes for n in (*node.input, *captured_names(node)))
    outputs += [helper.make_empty_tensor_value_info(n) for n in entering if n in made]
    del result.graph.output[:]
    result.graph.output.extend(outputs)
    return result if nodes and outputs else None


def _is_known(node: NodeProto) -> bool:
    """Whether rules or catalogues have heard of an operator and of those in its bodies."""
    return all(is_known(each.domain, each.op_type) for each in (node, *nodes_inside(node)))
