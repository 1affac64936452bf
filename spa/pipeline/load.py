"""The first stages: a model is read, what was given for it is looked at, and it is analysed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spa.coupling import analyse
from spa.coupling.cost import Cost
from spa.coupling.rows import batch_symbols
from spa.errors import ReadError
from spa.graph import Graph, read
from spa.pipeline.context import Context
from spa.pipeline.values import Given, Groups
from spa.probes import check_given
from spa.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model as it was read, and the inputs that were given for it."""

    graph: Graph
    given: Given = None


def load(model: Any, recipe: Recipe, context: Context) -> Loaded:
    """Read a model, and the data given for it.

    Args:
        model: a path, bytes, a stream or a ModelProto.
        recipe: input shapes, and what is given.
        context: of the run.

    Raises:
        ReadError: the model or the data cannot be read.
        UsageError: the data do not fit the model.
    """
    with context.stage("load"):
        graph = read(model, input_shapes=recipe.input_shape)
        given: Given = None
        if recipe.calib is not None:
            pixels = recipe.input_range, recipe.mean, recipe.std
            given = check_given(graph, recipe.probe, recipe.calib, *pixels)
    if graph.source.unlisted:
        context.note(
            f"{graph.source.unlisted} weights that the file lists as inputs are taken for weights, "
            "as most are listed; the result does not list them"
        )
    return Loaded(graph, given)


def couple(loaded: Loaded, recipe: Recipe, context: Context) -> Groups:
    """Find the coupled channels of a model.

    Raises:
        ReadError: an operator is unknown, and `recipe.strict` forbids that.
    """
    with context.stage("couple"):
        coupling = analyse(loaded.graph, heads=recipe.heads)
        sizes = Cost(coupling)(coupling.everything())
    groups = context.reach(Groups(coupling, sizes, loaded.given))
    unknown = coupling.notes.unknown
    if unknown and recipe.strict:
        raise ReadError(
            f"strict: {unknown[0].text} at node {unknown[0].node} ({len(unknown)} such nodes); "
            "its channels would stay frozen, so leave out strict to prune the rest"
        )
    return groups


def sizes_note(graph: Graph, context: Context) -> None:
    """Say at which sizes MACs were counted, where the model leaves them open."""
    others = {s: n for s, n in graph.dims.items() if s not in batch_symbols(graph)}
    if others:
        sizes = ", ".join(f"{symbol}={size}" for symbol, size in others.items())
        context.warn(f"MACs are counted at {sizes}; --input-shape sets other sizes")
