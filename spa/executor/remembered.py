"""What a file remembers of the inputs that its model was trained on.

Stored BatchNorm statistics say most: mean and variance of every channel of what a normalization
reads.  Where they are folded into the weights, linear bottlenecks still have mean 0 (see
`recovered`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.executor.recovered import blocks_of, recover
from spa.executor.survey import stored_statistics
from spa.graph.model import Graph
from spa.rules import trait_of

Array = NDArray[Any]


def stored(graph: Graph) -> dict[str, tuple[Array, Array]]:
    """Mean and variance, float32 `[channels]`, of tensors by name, where a file stores them."""
    found: dict[str, tuple[Array, Array]] = {}
    for node in graph.nodes:
        if trait_of(node).statistics is None:
            continue
        told = [graph.consts.get(name) for name in stored_statistics(node)]
        mean, variance = (None if x is None else np.asarray(x, np.float32) for x in told)
        if mean is None or variance is None or not np.isfinite([mean, variance]).all():
            continue
        if variance.min() >= 0 and variance.max() > 0:
            found[node.inputs[0]] = mean, variance
    return found


def centred(graph: Graph, feeds: Sequence[Mapping[str, Array]]) -> tuple[str, ...]:
    """Tensors whose channels had mean 0, where the reasoning holds for this model."""
    known = recover(graph, feeds)
    names = (block.last.outputs[0] for block in blocks_of(graph))
    return tuple(name for name in names if name in known)
