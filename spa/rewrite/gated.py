"""A model whose branches are switched on and off by inputs, so that one session tries them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from spa.depth import Branch
from spa.graph.model import Graph
from spa.graph.tensors import copied
from spa.make import make
from spa.rewrite.build import store


@dataclass(frozen=True, eq=False)
class StandIn:
    """What is added in place of a branch: `factor` times its shortcut plus `summand`.

    Both are of the rank of the sum, of full length along its axes of channels and 1 elsewhere.
    """

    factor: NDArray[np.float64]
    summand: NDArray[np.float64]


def gate_of(branch: Branch) -> str:
    """The input, a scalar of the type of the sum, that is 1 where a branch is there and else 0."""
    return f"{branch.name}__gate"


def gated(graph: Graph, standins: Mapping[str, StandIn], branches: Sequence[Branch]) -> ModelProto:
    """The model with an input per branch; without the branch its stand-in is added.

    Args:
        graph: the model; not changed.
        standins: by name of a branch.
        branches: of that model, which end in sums of floats.
    """
    model = copied(graph.proto)
    ends = {each.add: each for each in branches}
    one: dict[Any, str] = {}
    del model.graph.node[:]
    for node, proto in zip(graph.nodes, graph.proto.graph.node, strict=True):
        branch = ends.get(node.index)
        copy = copied(proto)
        if branch is not None:
            dtype = graph.dtypes[branch.end]
            if dtype not in one:
                one[dtype] = _stored(model, f"{branch.name}__one", np.ones((), dtype))
            gate = gate_of(branch)
            kind = helper.np_dtype_to_tensor_dtype(dtype)
            model.graph.input.append(helper.make_tensor_value_info(gate, kind, ()))
            switch = _switch(model, branch, standins[branch.name], dtype, one[dtype])
            model.graph.node.extend(switch)
            copy.input[list(node.inputs).index(branch.end)] = switch[-1].output[0]
        model.graph.node.append(copy)
    return model


def _switch(
    model: ModelProto, branch: Branch, standin: StandIn, dtype: np.dtype[Any], one: str
) -> list[NodeProto]:
    """Nodes that make what the branch makes, or its stand-in."""

    def named(part: str) -> str:
        return f"{branch.name}__{part}"

    factor = _stored(model, named("factor"), standin.factor.astype(dtype))
    summand = _stored(model, named("summand"), standin.summand.astype(dtype))
    return [
        make.Sub([one, gate_of(branch)], [named("off")]),
        make.Mul([branch.shortcut, factor], [named("scaled")]),
        make.Add([named("scaled"), summand], [named("moved")]),
        make.Mul([named("moved"), named("off")], [named("instead")]),
        make.Mul([branch.end, gate_of(branch)], [named("on")]),
        make.Add([named("on"), named("instead")], [named("either")]),
    ]


def _stored(model: ModelProto, name: str, array: NDArray[Any]) -> str:
    store(model.graph.initializer.add(), name, array)
    return name
