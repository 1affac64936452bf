"""How many probe inputs: enough for the statistics, few enough for time and memory."""

from __future__ import annotations

import os

import numpy as np

from spa.coupling.rows import batch_symbols
from spa.errors import LimitError
from spa.graph.model import Graph
from spa.graph.single import at_hand

MOST, LEAST = 1024, 32
SMALL = 256  # numbers per input: of less, a sample tells little, and twice as many are cheap
NUMBERS = 7_500_000  # input numbers in all that are aimed at
BUDGET = 1 << 30  # bytes of activations that are held at once unless told otherwise
PARTS = 3  # of the memory: both streams' activations, columns with their products, and the rest
BATCH = 32
ALONE = 3 << 30  # bytes of activations that the smallest run may hold unless told otherwise
FEWEST = 4  # where activations are so large that a sample has places by the hundred thousand


def samples_for(graph: Graph, memory: int | None = None) -> int:
    """Number of samples, between `FEWEST` and 2048, for a graph as analysed.

    `memory` is the bytes that the process may hold; None: what is usual, but no more than if it
    were what is free.
    """
    room = (memory or _free()) // (2 * PARTS)
    if memory is None:
        room = min(BUDGET, room)
    inputs = sum(
        int(np.prod(graph.shapes[n][1:] or (1,))) for n in graph.inputs if n in graph.shapes
    )
    most = MOST if inputs >= SMALL else 2 * MOST
    wanted = int(np.clip(NUMBERS // max(inputs, 1), LEAST, most))
    batch = at_hand(graph)
    return int(np.clip(min(wanted, room * max(batch, 1) // max(2 * _peak(graph), 1)), FEWEST, most))


def check_room(graph: Graph, memory: int | None = None) -> None:
    """Refuse a model of which the smallest run does not fit in `memory` (bytes, or what is usual).

    Raises:
        LimitError: what one sample, or the whole of a fixed batch, holds at a time is more.
    """
    rows = at_hand(graph) if batch_symbols(graph) else 1  # a fixed batch is run as a whole
    needed = _peak(graph) // max(rows, 1)
    limit = memory or ALONE
    if needed <= limit:
        return
    name = max(graph.shapes, key=lambda n: _bytes(graph, n))
    shape = ", ".join(map(str, graph.shapes[name]))
    smaller = "export it for a smaller input or batch"
    if set(graph.dims) - batch_symbols(graph):
        smaller = "give smaller sizes with --input-shape"
    raise LimitError(
        f"one run of this model holds about {needed / 2**30:.1f} GiB of activations (the largest "
        f"is {name}, [{shape}]), more than the {limit / 2**30:.3g} GiB that it may; "
        f"{smaller}, or give --memory {-(-2 * needed // 2**30)}G"
    )


def _free() -> int:
    """Bytes of memory that nobody uses."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # no POSIX
        return 2 * PARTS * BUDGET


def _peak(graph: Graph) -> int:
    """Largest number of bytes held at one time in one run, at the sizes of the analysis."""
    last: dict[str, int] = {}
    for node in graph.nodes:
        for name in (*node.inputs, *node.captured):
            last[name] = node.index
    held = peak = 0
    for node in graph.nodes:
        held += sum(_bytes(graph, n) for n in node.outputs if n)
        peak = max(peak, held)
        held -= sum(
            _bytes(graph, n)
            for n in set(node.inputs)
            if last.get(n) == node.index and n not in graph.consts
        )
    return peak


def _bytes(graph: Graph, name: str) -> int:
    return 4 * int(np.prod(graph.shapes.get(name, (0,))))
