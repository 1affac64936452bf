"""The proof of a bypass: the model computes what the original does whose branches are zero.

Of a run, what it makes is what it is given.  The original stays whole but for that, so that this
shares no code with the rewriter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from spa.coupling.rows import batch_symbols
from spa.depth import Branch
from spa.devices import Device
from spa.errors import ReadError, VerifyError
from spa.events import Advance, unheard
from spa.graph.model import Graph, Node
from spa.graph.normalize import opsets_of
from spa.graph.tensors import copied
from spa.make import make
from spa.rules import trait_of
from spa.validate.gap import Gap, gap
from spa.validate.inputs import feeds_at
from spa.validate.proof import tolerance
from spa.validate.runs import Runner
from spa.validate.sizes import Sizes, each_other, is_heavy

SELECTS = 9
"""The version of ai.onnx from which on a zero can be chosen, whatever the branch makes."""


def runs_of_bypass(graph: Graph) -> int:
    """How often models are run to prove a bypass."""
    return 2 * (1 + 2 * bool(graph.dims))


@dataclass(frozen=True)
class Bypassed:
    """What the comparison saw: how far the two lie apart, and at which sizes."""

    gap: Gap
    sizes: tuple[Sizes, ...]


def zeroed(graph: Graph, branches: Iterable[Branch]) -> ModelProto:
    """The original in which every sum that ends one of the branches adds zeros.

    What ends a run is made as before, and its shortcut taken in its place.
    """
    model = copied(graph.proto)
    ends = {each.add: each for each in branches}
    del model.graph.node[:]
    for node, proto in zip(graph.nodes, graph.proto.graph.node, strict=True):
        copy = copied(proto)
        branch = ends.get(node.index)
        made: list[NodeProto] = []
        if branch is not None and branch.kind == "run":
            own = f"{branch.name}__own"
            copy.output[list(node.outputs).index(branch.name)] = own
            made = _instead(model, graph, own, branch.shortcut, branch.name)
        elif branch is not None:
            name, place = f"{branch.name}__nothing", list(node.inputs).index(branch.end)
            model.graph.node.extend(_nothing(model, graph, node, place, name))
            copy.input[place] = name
            for beside in _beside(node):
                copy.input[beside] = ""
        model.graph.node.extend((copy, *made))
    return model


def _beside(node: Node) -> list[int]:
    like = trait_of(node).begins
    return [] if like is None else [i for i in like.beside if i < len(node.inputs)]


def _nothing(model: ModelProto, graph: Graph, node: Node, place: int, name: str) -> list[NodeProto]:
    """Nodes that make zeros of the shape and type of an input, or what stands for zeros there."""
    source = node.inputs[place]
    points = [zero for i, _, zero in trait_of(node).quantised if i == place]
    if not points:
        zero = _stored(model, f"{name}_zero", np.zeros((), graph.dtypes[source]))
        return _instead(model, graph, source, zero, name)
    dtype = helper.np_dtype_to_tensor_dtype(graph.dtypes[source])
    wide = [f"{name}_wide{k}" for k in range(3)]  # a choice among bytes has no kernel everywhere
    never = _stored(model, f"{name}_never", np.zeros((), bool))
    return [
        make.Cast([source], wide[:1], to=TensorProto.INT32),
        make.Cast([node.inputs[points[0]]], wide[1:2], to=TensorProto.INT32),
        make.Where([never, *wide[:2]], wide[2:]),
        make.Cast(wide[2:], [name], to=dtype),
    ]


def _instead(
    model: ModelProto, graph: Graph, source: str, other: str, name: str
) -> list[NodeProto]:
    """Nodes that take `other` wherever there is a number in `source`."""
    dtype = graph.dtypes[other] if other in graph.dtypes else graph.dtypes[source]
    plain = dtype in (np.float32, np.float64)
    if plain and opsets_of(model).get("", 1) >= SELECTS:
        never = _stored(model, f"{name}_never", np.zeros((), bool))
        return [make.Where([never, source, other], [name])]
    zero = _stored(model, f"{name}_times", np.zeros((), dtype))
    return [make.Mul([source, zero], [f"{name}_less"]), make.Add([f"{name}_less", other], [name])]


def _stored(model: ModelProto, name: str, value: NDArray[Any]) -> str:
    model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def prove_bypass(
    graph: Graph,
    branches: Iterable[Branch],
    short: ModelProto,
    *,
    seed: int = 0,
    device: Device = "cpu",
    base_dir: Path | None = None,
    ran: Advance = unheard,
    advice: str = "nothing was written, please report this model",
) -> Bypassed:
    """Compare the model without its branches with the original in which they are zero.

    Args:
        graph: the original.
        branches: those that are bypassed.
        short: the model without them, all other weights as they were.
        seed: of the inputs.
        device: where models run.
        base_dir: the folder of external data, by default that of the original.
        ran: hears of every run.
        advice: what to do where they differ.

    Raises:
        VerifyError: it does not run, or computes something else.
    """
    base = base_dir or graph.source.base_dir
    want = Runner(zeroed(graph, branches), base, device, ran)
    got = Runner(short, base, device, ran)
    total, limit = Gap(), tolerance(graph)

    def accepted(sizes: Sizes) -> bool:
        nonlocal total
        feeds = feeds_at(graph, seed, sizes)
        try:
            whole = want(feeds, False)
        except ReadError:
            if sizes == dict(graph.dims):
                raise
            return False  # the original itself refuses these sizes
        try:
            found = got(feeds, False)
        except ReadError as error:
            raise VerifyError(f"without its branches the model does not run: {error}") from error
        # where neither runs to its end, what enters the rest is compared, as far as it has one name
        here = gap({name: whole[name] for name in whole if name in found}, found)
        if here.error > limit or not here.compared:
            raise VerifyError(
                f"without its branches the model does not compute what the original does with them "
                f"at zero (difference {here.error:.1e} of the largest output); {advice}"
            )
        total += here
        return True

    first = dict(graph.dims)
    accepted(first)
    batches = batch_symbols(graph)
    others = each_other(first, accepted, batches, nearest=is_heavy(graph.shapes))
    return Bypassed(total, (first, *others))
