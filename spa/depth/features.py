"""Where the outputs of a model come from: what its last products are given."""

from __future__ import annotations

from spa.graph.model import Graph
from spa.rules import trait_of


def features_of(graph: Graph) -> tuple[str, ...]:
    """By output, what enters the last product that it is made by, or else the last sum.

    An output tells little where it has few numbers, as that of a classifier: many different
    features give the same.  They are looked for backwards, as long as a node has one input that is
    computed.
    """
    return tuple(dict.fromkeys(_feature(graph, output) for output in graph.outputs))


def _feature(graph: Graph, name: str) -> str:
    found = name
    while (node := graph.made_by.get(found)) is not None:
        computed = [n for n in node.inputs if n in graph.made_by or n in graph.inputs]
        if len(set(computed)) != 1:
            return found if graph.dtypes[found].kind == "f" else name
        if trait_of(node).contracts is not None:
            return computed[0]
        found = computed[0]
    return name
