"""What stored tensors do that reach channels through other nodes: they make, read or scale them.

A weight behind a DequantizeLinear or a Cast gets labels along all of its axes before anybody knows
what it is a weight of.  That shows at the first node where it meets what hangs on the inputs of
the model: what the node hands out was made, what it ties to labels that it hands out scales these,
and what does not come out was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

import numpy as np
from numpy.typing import NDArray

from spa.graph.model import FLOW, Node
from spa.labels import FROZEN, Ids, Image
from spa.trace.param import MAKES, READS, SCALES, Param

ROLES = (MAKES, READS, SCALES)
Key = tuple[int, int]
Pairs = list[tuple[Ids, Ids]]


class Derived:
    """Tensors that hang on nothing but what is stored, and what their labels turn out to be.

    Attributes:
        names: of these tensors.
        roles: labels, and what they turned out to be, in the order of the sweep.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.roles: list[tuple[Ids, str]] = []

    def visit(self, node: Node, stored: Set[str], images: Mapping[str, Image], ties: Pairs) -> None:
        """Hear of a node after its rule, with the pairs of labels that it made one."""
        given = [name for name in node.inputs if name]
        moving = [n for n in given if n not in stored and n not in self.names]
        if given and not moving and not node.captured and node.domain != FLOW:
            self.names.update(filter(None, node.outputs))
            return
        mine = [n for n in given if n in self.names] if self.names else ()
        if not mine:
            return
        out = _labels(images[n] for n in node.outputs if n in images)
        met = _labels(images[n] for n in moving if n in images)
        for name in dict.fromkeys(mine):
            for p in images[name].maps if name in images else ():
                self.roles.append((p.ids, _role(p.ids, out, met, ties)))

    def named(self, params: Mapping[Key, Param], size: int) -> dict[Key, Param]:
        """Params under the roles that their labels, `size` in all, turned out to have."""
        known = np.zeros(size, np.int8)  # 1 and more: a place in ROLES
        for ids, role in reversed(self.roles):  # the first has the say
            known[ids] = 1 + ROLES.index(role)
        known[FROZEN] = 0
        return {key: _under(known, param) for key, param in params.items()}


def _under(known: NDArray[np.int8], param: Param) -> Param:
    """One param under its roles; one that its own node contracts is known from there."""
    if param.times or not any(role == MAKES for role, _ in param.maps):
        return param
    turned_out = [(role, known[p.ids].max(initial=0), p) for role, p in param.maps]
    maps = tuple([(ROLES[k - 1] if k and r == MAKES else r, p) for r, k, p in turned_out])
    return Param(param.node, param.input, param.tensor, param.view, maps, param.times)


def _role(ids: Ids, out: Ids, met: Ids, ties: Pairs) -> str:
    """What labels of a tensor are to a node that hands out `out` and was given `met` beside it."""
    own = np.unique(ids[ids != FROZEN])
    tied = [np.zeros(0, np.int64)]
    for a, b in ties:
        tied += [b[np.isin(a, own)], a[np.isin(b, own)]]
    others = np.concatenate(tied)
    handed_out = bool(np.isin(own, out).any())
    if handed_out and not np.isin(others, met).any():
        return MAKES
    return SCALES if handed_out or np.isin(others, out).any() else READS


def _labels(images: Iterable[Image]) -> Ids:
    found = [p.ids.ravel() for image in images for p in image.maps]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
