"""Outputs that say next to nothing on the inputs at hand, so that a relative drift means little."""

from __future__ import annotations

from spa.graph.model import Graph, Node
from spa.rules import trait_of
from spa.trace import is_float
from spa.validate.drift import Drift

NEXT_TO_NOTHING = 0.01


def amounts(graph: Graph) -> frozenset[str]:
    """Outputs whose integers are rounded floats, as pixels are, and so no labels."""
    found = set()
    for output in graph.outputs:
        node = graph.made_by.get(output)
        while node is not None and (_passes(node) or trait_of(node).rounds):
            if is_float(graph.dtypes.get(node.inputs[0])):
                found |= {output} if trait_of(node).rounds else set()
                break
            node = graph.made_by.get(node.inputs[0])
    return frozenset(found)


def _passes(node: Node) -> bool:
    """Whether a node hands on what its first input says."""
    like = trait_of(node)
    return like.moves or like.casts or like.resamples


def silent(graph: Graph, drift: Drift) -> dict[str, float]:
    """Root mean square of the outputs between 0 and 1 that hardly leave 0.

    A detector that finds nothing on pictures of nothing is one: whatever the pruned model says, it
    is many times what the original does.
    """
    found: dict[str, float] = {}
    for output in graph.outputs:
        node = graph.made_by.get(output)
        while node is not None and _passes(node):
            node = graph.made_by.get(node.inputs[0])
        size = drift.size.get(output, 1.0)
        if node is not None and trait_of(node).bounded and size < NEXT_TO_NOTHING:
            found[output] = size
    return found
