"""A graph in pieces that can be timed alone, and what each depends on.

A piece is an operator that multiplies (a convolution, a product) and what hangs off it: biases,
norms, activations, shortcuts.  onnxruntime fuses within such pieces, so that they are timed as the
model runs them, which single operators would not be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.coupling.model import Coupling
from spa.labels import Ids

MOST_AXES = 3


@dataclass(frozen=True)
class Piece:
    """Numbers of its nodes, in order, the first the one it is named by.

    `axes` are the groups whose channels change its shapes; groups that lie side by side in one
    tensor share an axis.  A piece without axes takes the same time whatever is cut.
    """

    nodes: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...]


def pieces(coupling: Coupling) -> tuple[Piece, ...]:
    """Every node of the graph, each in one piece."""
    owner = coupling.owner[coupling.root]
    known: dict[int, frozenset[int]] = {}
    return tuple(
        Piece(tuple(nodes), _axes(coupling, nodes, owner, known)) for nodes in _split(coupling)
    )


def _split(coupling: Coupling) -> list[list[int]]:
    """Nodes by piece: what does not multiply joins the latest piece that it reads from."""
    anchors = {p.node for p in coupling.notes.params.values() if p.times}
    found: list[list[int]] = []
    made: dict[str, int] = {}
    for node in coupling.graph.nodes:
        sources = [made[name] for name in node.inputs if name in made]
        if node.index in anchors or not sources:
            found.append([])
            home = len(found) - 1
        else:
            home = max(sources)
        found[home].append(node.index)
        made.update(dict.fromkeys(filter(None, node.outputs), home))
    return found


def _axes(
    coupling: Coupling,
    nodes: list[int],
    owner: NDArray[np.int64],
    known: dict[int, frozenset[int]],
) -> tuple[tuple[int, ...], ...]:
    """Groups by axis, those first that are met first."""
    axes: list[set[int]] = []
    for index in nodes:
        for index_map in coupling.notes.couplings.maps(coupling.graph.nodes[index]):
            groups = _groups(labels.core(index_map.ids), owner, known)
            if not groups or any(groups <= axis for axis in axes):
                continue
            touched = [axis for axis in axes if axis & groups]
            first = axes.index(touched[0]) if touched else len(axes)
            axes = [axis for axis in axes if axis not in touched]
            axes.insert(min(first, len(axes)), set(groups).union(*touched))
    if len(axes) > MOST_AXES:
        axes = [set().union(*axes)]
    return tuple(tuple(sorted(axis)) for axis in axes)


def _groups(ids: Ids, owner: NDArray[np.int64], known: dict[int, frozenset[int]]) -> frozenset[int]:
    if id(ids) not in known:  # the notes keep the array alive, so its id stays its own
        known[id(ids)] = frozenset(int(g) for g in np.unique(owner[ids]) if g >= 0)
    return known[id(ids)]
