"""The proof of a bypass: the model computes what the original does whose branches are zero.

The original stays whole but for the zeros, so that this shares no code with the rewriter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from spa.coupling.rows import batch_symbols
from spa.depth import Branch
from spa.devices import Device
from spa.errors import ReadError, VerifyError
from spa.events import Advance, unheard
from spa.graph.model import Graph
from spa.graph.normalize import opsets_of
from spa.graph.tensors import copied
from spa.make import make
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
    """The original in which every sum that ends one of the branches adds zeros."""
    model = copied(graph.proto)
    ends = {each.add: each for each in branches}
    del model.graph.node[:]
    for node, proto in zip(graph.nodes, graph.proto.graph.node, strict=True):
        copy = copied(proto)
        branch = ends.get(node.index)
        if branch is not None:
            name = f"{branch.name}__nothing"
            model.graph.node.append(_zeros(model, graph, branch.end, name))
            copy.input[list(node.inputs).index(branch.end)] = name
        model.graph.node.append(copy)
    return model


def _zeros(model: ModelProto, graph: Graph, source: str, name: str) -> NodeProto:
    """A node that makes zeros of the shape and type of a tensor; its constants are stored."""
    zero = np.zeros((), graph.dtypes[source])
    constants = {f"{name}_zero": zero}
    plain = zero.dtype in (np.float32, np.float64)
    if plain and opsets_of(model).get("", 1) >= SELECTS:
        constants[f"{name}_never"] = np.zeros((), bool)
        made = make.Where([f"{name}_never", source, f"{name}_zero"], [name])
    else:
        made = make.Mul([source, f"{name}_zero"], [name])
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in constants.items())
    return made


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
