"""Whether the weights of a model are quantised already, which no least squares can refit."""

from __future__ import annotations

from math import prod

import numpy as np

from spa.coupling.model import Coupling
from spa.rules import trait_of
from spa.trace import MAKES, READS, is_float, is_number

MOSTLY = 0.5


def quantised_share(coupling: Coupling) -> float:
    """The share of the elements of weights, those that make or read channels, that are quantised.

    Integers and floats of a byte or less are; so are floats that the graph rounds to a scale before
    they are used.
    """
    elements = {True: 0, False: 0}
    dtypes = coupling.graph.dtypes
    rounded = {node.index for node in coupling.graph.order if trait_of(node).quantizes}
    for param in coupling.notes.weights:
        if not any(role in (MAKES, READS) for role, _ in param.maps):
            continue
        kind = np.dtype(dtypes[param.stored])
        if is_number(kind):  # longer integers are ids, sizes and biases
            few = not is_float(kind) or kind.itemsize == 1
            elements[few or param.node in rounded] += prod(param.view)
    return elements[True] / max(1, sum(elements.values()))


def is_mostly_quantised(coupling: Coupling) -> bool:
    """Whether most weights are quantised."""
    return quantised_share(coupling) > MOSTLY
