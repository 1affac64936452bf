"""What stored weights stand for: integers less their zero point, times their scale."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.cost import is_parameter
from spa.coupling.model import Coupling
from spa.graph.model import Node
from spa.rules import trait_of
from spa.trace import MAKES, Param

Array = NDArray[np.float32]


def counts(coupling: Coupling, param: Param) -> bool:
    """Whether a stored tensor is a weight: a parameter, or any integers that stand for numbers.

    Sums of integers whose scale nobody tells are none: their numbers are of no use beside others.
    """
    trait = trait_of(coupling.graph.at(param.node))
    if any(tensor == param.input for tensor, _, _ in trait.quantised):
        return True
    return param.input not in trait.summed and is_parameter(coupling.graph, param.stored)


def meant(coupling: Coupling, param: Param) -> Array:
    """The numbers of a param, float32 in its view; of integers what they stand for.

    A scale or a zero point that is computed, or lies along no axis that is known, counts as 1 or 0.
    """
    graph = coupling.graph
    array = np.asarray(graph.weight(param.stored)).astype(np.float32, copy=False)
    array = array.reshape(param.view)
    node = graph.at(param.node)
    for tensor, scale, zero in trait_of(node).quantised:
        if tensor != param.input:
            continue
        own = _along(coupling, node, param, zero)
        array = array if own is None else array - own
        own = _along(coupling, node, param, scale)
        array = array if own is None else array * own
    return array


def _along(coupling: Coupling, node: Node, param: Param, k: int) -> Array | None:
    """Input number `k` against the view of a param; None if that is not known."""
    name = node.inputs[k] if 0 <= k < len(node.inputs) else ""
    if name not in coupling.graph.consts:
        return None
    value = np.asarray(coupling.graph.consts[name]).astype(np.float32)
    if value.size == 1:
        return value.reshape(())
    if value.ndim > 1:
        return _by_block(value, param.view)
    axes = _axes(coupling, node, param)
    if prod(param.view[a] for a in axes) != value.size:
        return None
    return value.reshape([n if a in axes else 1 for a, n in enumerate(param.view)])


def _axes(coupling: Coupling, node: Node, param: Param) -> tuple[int, ...]:
    """The axes that one scale per channel lies along."""
    if trait_of(node).dequantizes:
        rank = len(param.view)
        return (node.attrs.get("axis", 1) % rank,)
    index_map = param.index_map(MAKES)
    return () if index_map is None else index_map.axes


def _by_block(value: NDArray[Any], view: tuple[int, ...]) -> Array | None:
    """Numbers per block of positions, repeated for each of them."""
    if value.ndim != len(view):
        return None
    for axis, (few, many) in enumerate(zip(value.shape, view, strict=True)):
        if few != many:
            value = np.repeat(value, -(-many // few), axis)
            value = np.take(value, range(many), axis)
    return value
