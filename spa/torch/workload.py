"""How much inversion a budget of time pays for, told from the model alone.

The clock has no say in it, so that the same budget gives the same inputs on every run; it only
ends what takes longer than was thought.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from spa.graph import Graph
from spa.graph.single import at_hand

RATE = 5e10
"""Multiply-adds per second of a usual pair of cores, both ways."""
STREAM = 8e9
"""Bytes of activations per second."""
GPU = 50
"""Times as fast where there is one."""
ROOM = 2 << 30
"""Bytes of activations that a batch may hold unless told otherwise."""
LARGEST = 128
"""Rows of a batch, at most: enough for statistics, and for two cores to share."""
FEWEST = 8
"""Rows of a batch, at least: of fewer, statistics are noise."""
LEAST_STEPS = 20
"""Below so many, inputs have hardly moved."""
LEAST_ROWS = 32


@dataclass(frozen=True)
class Work:
    """How much is done: `rows` inputs in batches of `batch`, each moved `steps` times."""

    rows: int
    batch: int
    steps: int


@dataclass(frozen=True)
class Price:
    """What one input costs: `macs` of a run forward, and `bytes` of all its activations."""

    macs: float
    bytes: int

    @property
    def seconds(self) -> float:
        """To move it once: forward, and back to the input."""
        return 2 * self.macs / RATE + 3 * self.bytes / STREAM


def price_of(graph: Graph, macs: float) -> Price:
    """What one input of a model costs, whose analysis counts so many multiply-adds."""
    rows = max(1, at_hand(graph))
    names = (name for node in graph.nodes for name in node.outputs if name in graph.shapes)
    return Price(macs, 4 * sum(prod(graph.shapes[name]) for name in names) // rows)


def work_for(
    price: Price,
    rows: int,
    steps: int,
    seconds: float,
    *,
    memory: int | None = None,
    fast: bool = False,
) -> Work | None:
    """How much to do.

    Args:
        price: of one input.
        rows: that there are.
        steps: that are usual.
        seconds: the budget.
        memory: bytes that the process may hold; a quarter of it is for this.
        fast: whether it runs on a GPU.

    Returns:
        None where the budget pays for nothing of use, or a batch is too large for the memory.
    """
    room = ROOM if memory is None else memory // 4
    batch = min(LARGEST, rows, room // max(1, price.bytes))
    there = rows
    moves = seconds * (GPU if fast else 1) / max(price.seconds, 1e-9)
    if moves < rows * steps:
        steps = max(LEAST_STEPS, min(steps, int(moves / max(LEAST_ROWS, batch, min(rows, 256)))))
        rows = min(rows, int(moves / steps))
    if min(batch, rows) < FEWEST or rows < min(there, LEAST_ROWS):
        return None
    batches = -(-rows // batch)
    batch = rows // batches
    return Work(batches * batch, batch, steps)
