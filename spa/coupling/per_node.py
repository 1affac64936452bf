"""MACs and parameters node by node, of the whole model."""

from __future__ import annotations

from collections import defaultdict
from math import prod

from spa.coupling.cost import Cost, is_parameter
from spa.coupling.model import Coupling
from spa.coupling.products import untold_by_node
from spa.coupling.rows import rows_of


def macs_of_nodes(coupling: Coupling) -> dict[int, float]:
    """The multiply-accumulates of one inference by number of a node; together those of `Cost`."""
    found: dict[int, float] = defaultdict(float)
    for param, macs, _ in Cost(coupling).least([group.size for group in coupling.groups])[1]:
        found[param.node] += float(macs)
    told = {param.node for param in coupling.notes.params.values() if param.times}
    for index, macs in untold_by_node(coupling.graph, told, rows_of(coupling.graph)):
        found[index] += macs
    return {index: macs for index, macs in found.items() if macs}


def params_of_nodes(coupling: Coupling) -> dict[int, float]:
    """The stored numbers that a node reads, by its number; what several read is shared out."""
    graph, found = coupling.graph, defaultdict[int, float](float)
    for name, users in graph.readers.items():
        if name in graph.consts and is_parameter(graph, name):
            for user in users:
                found[user.index] += prod(graph.shapes[name]) / len(users)
    return dict(found)
