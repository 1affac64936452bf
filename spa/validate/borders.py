"""Nodes at which a difference of rounding may become any difference, and what is done about it.

Where an operator decides (which entries are largest, whether one is above a threshold, how many are
left), what enters it is compared, and the pruned model goes on from what the masked original has
there: near ties are no error, and lengths agree.  Where one draws random numbers, or cannot be
compared at all, the pruned model goes on from what the masked original makes of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, helper

from spa.coupling.view import trait_at
from spa.graph.normalize import captured_names
from spa.graph.tensors import copied
from spa.trace import is_float
from spa.validate.neutral import nodes_inside

Types = Mapping[str, np.dtype]


@dataclass(frozen=True)
class Border:
    """A node whose inputs are compared.

    `given` are inputs that it takes from the masked original, `handed` what that makes instead of
    it; `node` and `op` say which it is.
    """

    node: str
    op: str
    first: str
    compared: tuple[str, ...]
    given: tuple[str, ...]
    handed: tuple[str, ...]
    draws: bool = False


def borders(
    model: ModelProto, dtypes: Types, opaque: Collection[str] = (), broken: Collection[str] = ()
) -> list[Border]:
    """The borders in the main graph of the pruned model, which has the original's names.

    `opaque` and `broken` are first outputs of nodes: of those that cannot be compared at all, and
    of those that make no finite numbers from finite ones.
    """
    made = {name for node in model.graph.node for name in node.output}
    found = (
        _border(node, made, dtypes, node.output[0] in opaque, node.output[0] in broken)
        for node in model.graph.node
    )
    return [border for border in found if border is not None]


def _border(
    node: NodeProto, made: set[str], dtypes: Types, opaque: bool, broken: bool
) -> Border | None:
    trait = trait_at(node)
    reads = dict.fromkeys(n for n in (*node.input, *captured_names(node)) if n in made)
    halves = tuple(name for name in reads if is_float(dtypes.get(name)))
    inner = [trait_at(each) for each in nodes_inside(node)]
    hidden = any(each.decides or each.counts or each.draws for each in inner)
    draws = trait.draws or any(each.draws for each in inner)
    handed = tuple(filter(None, node.output))
    if any(name not in dtypes for name in handed):
        return None  # a sequence, say, which cannot be handed in
    if opaque or hidden or draws:
        return Border(node.name, node.op_type, node.output[0], halves, (), handed, draws)
    if broken:
        return Border(node.name, node.op_type, node.output[0], halves, halves, ())
    decides = {
        n for i, n in enumerate(node.input) if i in trait.decides or (trait.counts and not i)
    }
    given = tuple(name for name in halves if name in decides)
    return Border(node.name, node.op_type, node.output[0], given, given, ()) if given else None


def watched(model: ModelProto, names: Iterable[str]) -> ModelProto:
    """The model with more outputs."""
    result = copied(model)
    shown = {o.name for o in model.graph.output}
    for name in dict.fromkeys(names):
        if name not in shown:
            result.graph.output.append(helper.make_empty_tensor_value_info(name))
    return result


def steered(model: ModelProto, found: Iterable[Border], dtypes: Types) -> ModelProto:
    """The pruned model with inputs more, for what borders take from the masked original.

    What is given to a node is called `NAME__given`; what is handed on instead of a node keeps its
    name.
    """
    found = list(found)
    handed = {name for border in found for name in border.handed}
    compared = [n for border in found for n in border.compared if n not in handed]
    result = watched(model, compared)
    by_first = {border.first: border for border in found}
    nodes = list(result.graph.node)
    del result.graph.node[:]
    entering = dict.fromkeys(handed)
    for node in nodes:
        border = by_first.get(node.output[0])
        if border is not None and border.handed:
            continue
        if border is not None:
            for i, name in enumerate(node.input):
                if name in border.given:
                    node.input[i] = given_name(name)
                    entering[given_name(name)] = None
        result.graph.node.append(node)
    outputs = [o for o in result.graph.output if o.name not in handed]
    del result.graph.output[:]
    result.graph.output.extend(outputs)
    for name in entering:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtypes[name.removesuffix(GIVEN)]))
        result.graph.input.append(helper.make_tensor_value_info(name, kind, None))
    return result


GIVEN = "__given"


def given_name(name: str) -> str:
    """What a tensor of the masked original is called where a border takes it in."""
    return f"{name}{GIVEN}"
