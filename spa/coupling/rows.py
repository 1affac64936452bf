"""How many rows of the batch every node computes in a run of the analysis: MACs are those of one.

Inputs may have names of their own for the batch, whose sizes are then told apart.
"""

from __future__ import annotations

from collections.abc import Callable

from spa.graph.model import Graph
from spa.graph.single import batch_axes


def batch_symbols(graph: Graph) -> frozenset[str]:
    """The symbols that are the batch: the one that leads all inputs, or that of each input.

    None are where several lead and one of them is met on another axis, too, or is a length.
    """
    axes = batch_axes(graph)
    symbols = {n: graph.dynamic.get(n) or () for n in graph.inputs}
    first = frozenset(s[0] for n, s in symbols.items() if s and axes[n] == 0 and s[0] is not None)
    if len(first) < 2:
        return first
    inside = {s for own in symbols.values() for s in own[1:]}
    lengths = {own[0] for own in symbols.values() if len(own) == 1}
    return frozenset() if first & (inside | lengths) else first


def rows_of(graph: Graph) -> Callable[[int], int]:
    """From the number of a node to its rows.

    Where batches of several names meet, as in a product of all pairs, the larger one counts.
    """
    sizes = {symbol: graph.dims[symbol] for symbol in batch_symbols(graph)}
    if len(set(sizes.values())) < 2:
        rows = next(iter(sizes.values()), 1)
        return lambda node: rows
    leads = {n: own[0] for n in graph.inputs if (own := graph.dynamic.get(n))}
    reached = {name: sizes.get(symbol or "", 0) for name, symbol in leads.items()}
    found: dict[int, int] = {}
    for node in graph.order:
        reads = (*node.inputs, *node.captured)
        found[node.index] = max((reached.get(name, 0) for name in reads), default=0)
        reached.update(dict.fromkeys(node.outputs, found[node.index]))
    return lambda node: found.get(node) or 1
