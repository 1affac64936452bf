"""Opens the bodies of If, Loop and Scan, so that what is in them can be seen like all else.

Every tensor gets a name of its own (only names that clash change), what a body stores moves to the
main graph, as do nodes that read nothing else, and a state that every step hands on as it was is
read from outside.  The numbers that the model computes stay what they were.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from spa.graph.evaluate import QUANTIZERS, attribute_of, is_pure
from spa.graph.flatten import drop_initializers
from spa.graph.normalize import (
    captured_names,
    constant_of,
    defined_in,
    graphs_in,
    mentioned_in,
    opsets_of,
    replace_nodes,
    unused,
)

FIRST_SCAN = 9  # before this opset a Scan runs over a batch, too


def is_open(node: NodeProto, opset: int) -> bool:
    """Whether the bodies of a node can be followed: an If, Loop or Scan in the usual form."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in ("If", "Loop", "Scan"):
        return False
    if node.op_type == "Scan" and opset < FIRST_SCAN:
        return False
    return all(map(_is_usual, graphs_in(node))) and _fits(node)


def _is_usual(body: GraphProto) -> bool:
    stored = {tensor.name for tensor in body.initializer}
    return not body.sparse_initializer and stored.isdisjoint(info.name for info in body.input)


def _fits(node: NodeProto) -> bool:
    """Whether the bodies have as many inputs and outputs as the node says."""
    bodies = list(graphs_in(node))
    if node.op_type == "If":
        names = sorted(attribute.name for attribute in node.attribute)
        return names == ["else_branch", "then_branch"] and all(
            not body.input and len(body.output) >= len(node.output) for body in bodies
        )
    if len(bodies) != 1:
        return False
    states = states_of(node)
    fixed = (2, 1) if node.op_type == "Loop" else (len(node.input) - states, 0)
    (body,) = bodies
    return (
        states >= 0
        and len(body.input) == states + fixed[0]
        and len(body.output) >= max(states + fixed[1], len(node.output) + fixed[1])
    )


def states_of(node: NodeProto) -> int:
    """How many states a Loop or Scan carries from step to step."""
    if node.op_type == "Loop":
        return len(node.input) - 2
    return len(node.input) - int(attribute_of(node, "num_scan_inputs", len(node.input) + 1))


def open_bodies(model: ModelProto) -> bool:
    """Open all bodies in place; whether there were any."""
    graph, opset = model.graph, opsets_of(model).get("", 1)
    if not any(is_open(node, opset) for node in graph.node):
        return False
    _Opener(graph, opset).run()
    return True


class _Opener:
    def __init__(self, graph: GraphProto, opset: int) -> None:
        self.graph, self.opset = graph, opset
        self.taken = set(mentioned_in(graph))
        self.seen = set(defined_in(graph))
        self.stored = {tensor.name for tensor in graph.initializer}
        self.idle: set[str] = set()  # what nobody may read any more

    def run(self) -> None:
        for node in self.graph.node:
            self._rename_in(node)
        shown = {info.name for info in self.graph.output}
        self._drop_invariant(self.graph, shown)
        hoisted: list[NodeProto] = []
        for node in self.graph.node:
            self._lift(node, hoisted)
        if hoisted:
            replace_nodes(self.graph, [*hoisted, *self.graph.node])
        for node in self.graph.node:
            self.idle.difference_update(node.input, captured_names(node))
        drop_initializers(self.graph, self.idle - shown)

    def _bodies(self, node: NodeProto) -> list[GraphProto]:
        return list(graphs_in(node)) if is_open(node, self.opset) else []

    # names

    def _rename_in(self, node: NodeProto) -> None:
        """Give clashing names inside a node's bodies new ones, from the outside in.

        What an operator defines in a body that stays closed keeps its name and hides outer ones.
        """
        opened = is_open(node, self.opset)
        for body in graphs_in(node):
            names = {}
            for name in list(defined_in(body)):
                if opened and name in self.seen:
                    names[name] = self._new(name)
                self.seen.add(names.get(name, name))
            _replace_names(body, names)
            for inner in body.node:
                self._rename_in(inner)

    def _new(self, wanted: str) -> str:
        name = unused(wanted, self.taken)
        self.taken.add(name)
        return name

    # states that never change

    def _drop_invariant(self, graph: GraphProto, shown: set[str]) -> None:
        """Let bodies read a state from outside that every step hands on as it was."""
        for node in graph.node:
            for body in self._bodies(node):
                self._drop_invariant(body, {info.name for info in body.output})
            if node.op_type in ("Loop", "Scan") and self._bodies(node):
                given = set(node.input)
                aliases = _without_invariant(node, shown)
                self.idle |= given.difference(node.input)
                if aliases:
                    _read_instead(graph, aliases)

    # what is stored

    def _lift(self, node: NodeProto, hoisted: list[NodeProto]) -> None:
        """Move what the bodies of a node store, and what follows from it, to the main graph."""
        for body in self._bodies(node):
            outputs = {info.name for info in body.output}
            nodes: list[NodeProto] = []
            for tensor in body.initializer:
                self._store(tensor)
            del body.initializer[:]
            for inner in body.node:
                self._lift(inner, hoisted)
                tensor = constant_of(inner)
                if tensor is not None:
                    self._store(tensor)
                elif self._follows(inner) and outputs.isdisjoint(inner.output):
                    hoisted.append(inner)
                    self.stored.update(inner.output)
                else:
                    nodes.append(inner)
            replace_nodes(body, nodes + self._handed_on(body, nodes))

    def _store(self, tensor: TensorProto) -> None:
        self.graph.initializer.add().CopyFrom(tensor)
        self.stored.add(tensor.name)
        self.idle.add(tensor.name)

    def _handed_on(self, body: GraphProto, nodes: list[NodeProto]) -> list[NodeProto]:
        """Nodes that make those outputs of a body which are tensors from outside."""
        local = {info.name for info in body.input}.union(*(node.output for node in nodes))
        made = []
        for info in body.output:
            if info.name not in local:
                source, info.name = info.name, self._new(f"{info.name}_out")
                made.append(helper.make_node("Identity", [source], [info.name]))
        return made

    def _follows(self, node: NodeProto) -> bool:
        """Whether a node computes the same always, from what the main graph stores."""
        return (
            is_pure(node)
            and node.op_type not in QUANTIZERS
            and bool(node.input)
            and all(not name or name in self.stored for name in node.input)
        )


def _without_invariant(node: NodeProto, shown: set[str]) -> dict[str, str]:
    """Take the states out of a node that never change; what to read instead of its outputs."""
    (body,) = graphs_in(node)
    front, back = (2, 1) if node.op_type == "Loop" else (0, 0)
    aliases: dict[str, str] = {}
    inside: dict[str, str] = {}
    sources = {n.output[0]: n.input[0] for n in body.node if n.op_type == "Identity"}
    gone: list[int] = []
    for k in range(states_of(node)):
        given = body.input[front + k].name
        handed = body.output[back + k].name
        while handed in sources:
            handed = sources[handed]
        final = node.output[k] if k < len(node.output) else ""
        if handed != given or final in shown or not node.input[front + k]:
            continue
        gone.append(k)
    if len(gone) == len(node.output) == len(body.output) - back:
        return {}  # nothing else is left of it
    for k in reversed(gone):
        inside[body.input[front + k].name] = node.input[front + k]
        if k < len(node.output) and node.output[k]:
            aliases[node.output[k]] = node.input[front + k]
        del node.input[front + k]
        del body.input[front + k]
        del body.output[back + k]
        if k < len(node.output):
            del node.output[k]
    if inside:
        _replace_names(body, inside)
    return aliases


def _read_instead(graph: GraphProto, aliases: Mapping[str, str]) -> None:
    """Let everything in a graph read other tensors."""
    for node in graph.node:
        node.input[:] = [aliases.get(name, name) for name in node.input]
        for body in graphs_in(node):
            _read_instead(body, aliases)


def _replace_names(body: GraphProto, names: Mapping[str, str]) -> None:
    """Rename what a body defines and reads itself, and what bodies in it read from it."""
    if not names:
        return
    for info in (*body.input, *body.output, *body.value_info, *body.initializer):
        info.name = names.get(info.name, info.name)
    for node in body.node:
        for side in (node.input, node.output):
            side[:] = [names.get(name, name) for name in side]
        for inner in graphs_in(node):
            hidden = set(defined_in(inner))
            _replace_names(inner, {a: b for a, b in names.items() if a not in hidden})
