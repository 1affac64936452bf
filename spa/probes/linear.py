"""The range of pixels that folded BatchNormalizations give away.

On what a model was trained on, each channel of a linear output has mean zero (see
`spa.executor.recovered`).  The usual range that comes closest to that is the one it expects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.errors import ReadError
from spa.executor.channels import moments
from spa.executor.recovered import FEW, TRUST, blocks_of, missed, recover
from spa.executor.stream import Stream
from spa.graph.model import Graph, Node
from spa.probes.leaves import leaves
from spa.probes.scale import Scale

PICTURES = 8
LARGEST = 1 << 18  # pixels of a picture beyond which nothing is tried


def closest(graph: Graph, first: Node, scales: Sequence[Scale]) -> Scale | None:
    """The scale under which the first linear output has means closest to zero.

    None where the model has too few such outputs, cannot be run from its first convolution on
    alone (`first`, which reads the pictures), or where means are not close to zero under that
    scale, there and further on.
    """
    blocks = list(blocks_of(graph))
    shape = graph.shapes.get(first.inputs[0], ())
    if len(blocks) < FEW or len(shape) != 4 or shape[2] * shape[3] > LARGEST:
        return None
    pictures = leaves(range(PICTURES), shape[1:], seed=0, name="scale")
    try:
        feeds = [_feeds(graph, first, scale(pictures, 1)) for scale in scales]
        misses = [_missed(graph, first, blocks[0].last, feed) for feed in feeds]
        best = int(np.argmin(np.nan_to_num(misses, nan=np.inf)))
        believed = misses[best] <= TRUST and recover(graph, feeds[best], begin=first.index)
    except (ReadError, KeyError):  # something else is read on the way
        return None
    return scales[best] if believed else None


def _feeds(graph: Graph, first: Node, pictures: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Batches of the size that the model was analysed at."""
    name = first.inputs[0]
    count = max(1, min(graph.shapes[name][0], PICTURES))
    dtype = graph.dtypes.get(name, np.dtype(np.float32))
    starts = range(0, PICTURES - count + 1, count)
    return [{name: pictures[k : k + count].astype(dtype)} for k in starts]


def _missed(graph: Graph, first: Node, last: Node, feeds: list[dict[str, Any]]) -> float:
    """How far from zero the means of the output of `last` are."""
    stream = Stream(graph.proto, graph, feeds)
    stream.done = first.index  # what comes before hands the pictures on as they are
    stream.run_to(last.index + 1, [last.outputs[0]])
    return missed(*moments(stream.values[last.outputs[0]])[:2])
