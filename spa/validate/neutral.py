"""Neutral models: where statistics over channels forbid equality, they are taken out.

LayerNormalization over channels of which some are gone is not exactly what it was, so a pruned
transformer cannot equal its masked original.  With every such operator replaced, in both models, by
one that works element by element, it must.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from spa.coupling.view import trait_at, view_of
from spa.graph.nodes import branches_of
from spa.graph.normalize import graphs_in, opsets_of
from spa.graph.tensors import copied
from spa.make import make
from spa.rules import trait_of
from spa.rules.neutral import BOUND, Room, Step

WIDE = 4  # a calm one divides by the usual size of a tensor, and bends what is so many times that


def neutralised(
    model: ModelProto,
    names: Collection[str],
    name_of: Callable[[NodeProto], str],
    usual: Mapping[str, np.ndarray] | None = None,
) -> ModelProto | None:
    """The model with the nodes called `names` replaced; None where one has no replacement.

    `name_of` tells what a node is called, so that nameless nodes can be found too.  `usual` gives
    the size of what a tensor holds (a scalar of its type): it is divided by that, as a norm would,
    and bounded only far out.  Without, values far beyond 1 end as signs, which in a deep model turn
    with the last bit of its input.
    """
    result = copied(model)
    opset = opsets_of(model).get("", 0)
    for graph in all_graphs(result.graph):
        nodes = list(graph.node)
        read = {name for node in nodes for name in node.input} | {o.name for o in graph.output}
        room = Room(opset, frozenset(read))
        del graph.node[:]
        for node in nodes:
            if name_of(node) not in names:
                graph.node.append(node)
                continue
            view = view_of(node)
            neutral = trait_of(view).neutral
            steps = None if neutral is None else neutral(view, room)
            if steps is None:
                return None
            graph.node.extend(part for s in steps for part in _calm(result, s, usual or {}))
        for name, value in room.constants.items():
            result.graph.initializer.append(numpy_helper.from_array(value, name))
    return result


def all_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and the bodies in it, the inner ones first."""
    for node in graph.node:
        for body in graphs_in(node):
            yield from all_graphs(body)
    yield graph


def nodes_inside(node: NodeProto) -> Iterator[NodeProto]:
    """The nodes in the bodies of a node, at any depth."""
    return (n for body in graphs_in(node) for graph in all_graphs(body) for n in graph.node)


def _calm(model: ModelProto, step: Step, usual: Mapping[str, np.ndarray]) -> list[NodeProto]:
    """A Tanh of what has a known size becomes a division by it that is bounded far out only."""
    size = usual.get(step.inputs[0])
    if step.op != BOUND or size is None:
        return [helper.make_node(step.op, step.inputs, step.outputs, **step.attrs)]
    given, made = step.inputs[0], step.outputs[0]
    names = [f"{made}__{word}" for word in ("size", "width", "small", "bent")]
    width = size.dtype.type(WIDE)
    for name, value in zip(names, (size * width, np.asarray(width)), strict=False):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return [
        make.Div([given, names[0]], [names[2]]),
        make.Tanh([names[2]], [names[3]]),
        make.Mul([names[3], names[1]], [made]),
    ]


def unquantised(model: ModelProto) -> ModelProto:
    """The model in which activations that are quantised and dequantised stay what they were.

    A mask may lie between the two (see `spa.validate.mask`).  Where anything else does, or the
    types differ, they are left.
    """
    result = copied(model)
    everywhere = [node for graph in all_graphs(result.graph) for node in graph.node]
    quantised = {n.output[0]: n for n in everywhere if trait_at(n).quantizes}
    kinds = {t.name: t.data_type for t in result.graph.initializer}
    for node in everywhere:
        if not trait_at(node).dequantizes:
            continue
        source = quantised.get(node.input[0]) or quantised.get(f"{node.input[0]}__whole")
        if source is None or kinds.get(source.input[1]) != kinds.get(node.input[1]):
            continue
        node.CopyFrom(make.Identity(source.input[:1], node.output, name=node.name))
    return result


def unsaturated(model: ModelProto) -> ModelProto:
    """The model in which a Sigmoid that makes an output hands on what went into it.

    Far below zero it leaves little but rounding.  Another form, a mean over it or an If around it
    makes no difference.
    """
    result = copied(model)
    shown = {o.name for o in result.graph.output}
    _hand_on(result.graph, shown)
    return result


def _hand_on(graph: GraphProto, shown: set[str]) -> None:
    for node in reversed(graph.node):
        if node.domain or shown.isdisjoint(node.output):
            continue
        like = trait_at(node)
        if like.linear in ("reshapes", "averages"):
            shown.add(node.input[0])
        elif like.bounded:
            copy = make.Identity(node.input, node.output, name=node.name)
            node.CopyFrom(copy)
        for branch in branches_of(node):
            made = zip(branch.output, node.output, strict=False)
            shown.update(inner.name for inner, outer in made if outer in shown)
            _hand_on(branch, shown)
