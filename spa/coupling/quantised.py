"""Whether the weights of a model are integers already, which no least squares can refit."""

from __future__ import annotations

from math import prod

import numpy as np

from spa.coupling.model import Coupling
from spa.trace.kinds import is_float
from spa.trace.param import MAKES, READS

MOSTLY = 0.5


def integer_share(coupling: Coupling) -> float:
    """The share of the elements of weights, those that make or read channels, that are integers."""
    dtypes, elements = coupling.graph.dtypes, {True: 0, False: 0}
    for param in coupling.notes.params.values():
        if param.tensor is None or not any(role in (MAKES, READS) for role, _ in param.planes):
            continue
        kind = np.dtype(dtypes[param.tensor])
        if is_float(kind) or kind.itemsize == 1:  # longer integers are ids, sizes and biases
            elements[not is_float(kind)] += prod(param.view)
    return elements[True] / max(1, sum(elements.values()))


def is_mostly_integers(coupling: Coupling) -> bool:
    """Whether most weights are integers."""
    return integer_share(coupling) > MOSTLY
