"""Groups whose basis is free: between what makes and what reads them, nothing tells channels apart.

Where only linear maps lie between the makers of a group of channels and its readers, and all of
them treat the channels of a cell alike, the channels may be mixed by any invertible matrix if the
readers are multiplied by its inverse.  Values of attention are such a group, and so are queries
and keys, which read each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.coupling.model import Coupling
from spa.coupling.shared import shared
from spa.executor.cells import places
from spa.graph.model import Graph, Node
from spa.labels import Ids, IndexMap
from spa.rules import trait_of
from spa.trace import READS, Param


@dataclass(frozen=True, eq=False)
class Use:
    """An axis of input `input` of node number `node`, a stored tensor, along which channels lie.

    `at` are their places, int64 `[cells, n, times]`; `side` tells which of two matrices that are
    each other's inverse transposed mixes them: 0 that of the makers (of the first factor, where two
    activations are multiplied), 1 that of the readers (of the second).
    """

    node: int
    input: int
    axis: int
    at: Ids
    side: int


@dataclass(frozen=True, eq=False)
class Free:
    """Cells `[cells, n]` of group number `group`, all their uses, and the params that read them.

    `product` is the node that multiplies two activations of the group, if that is how it is read.
    """

    group: int
    cells: Ids
    uses: tuple[Use, ...]
    readers: tuple[Param, ...]
    product: Node | None = None


def tensors_of(part: Free, graph: Graph) -> frozenset[str]:
    """The stored tensors that hold the part."""
    return frozenset(graph.at(use.node).inputs[use.input] for use in part.uses)


def free(coupling: Coupling) -> list[Free]:
    """All groups whose basis is free, in order; not those of weights that are stored once."""
    found = _Search(coupling)
    parts = [f for g in range(len(coupling.groups)) for f in found.one(g)]
    once = shared(coupling.notes).keys()
    return [part for part in parts if once.isdisjoint(tensors_of(part, coupling.graph))]


class _Search:
    def __init__(self, coupling: Coupling) -> None:
        self.coupling, self.root = coupling, coupling.root
        self.graph, self.notes = coupling.graph, coupling.notes
        self.owner = coupling.owner
        self._seen: dict[int, frozenset[int]] = {}
        self.params: dict[int, list[Param]] = defaultdict(list)
        for p in self.notes.params.values():
            self.params[p.node].append(p)
        self.zones: dict[int, list[Node]] = defaultdict(list)
        for node in self.graph.order:
            for g in self._near(node):
                self.zones[g].append(node)

    def _groups(self, maps: Iterable[IndexMap]) -> Iterator[int]:
        for p in maps:
            if id(p.ids) not in self._seen:
                found = np.unique(self.owner[self.root[p.ids]])
                self._seen[id(p.ids)] = frozenset(found[found >= 0].tolist())
            yield from self._seen[id(p.ids)]

    def _near(self, node: Node) -> set[int]:
        """The groups that a node sees, or holds in a stored tensor."""
        found = set(self._groups(q for p in self.params[node.index] for _, q in p.maps))
        for name in (*node.inputs, *node.outputs):
            found.update(self._groups(self._maps(name)))
        return found

    def _maps(self, name: str) -> tuple[IndexMap, ...]:
        image = self.notes.images.get(name)
        return image.maps if image is not None else ()

    def _carried(self, name: str, g: int) -> list[IndexMap]:
        """The index maps of a tensor that hold the group."""
        return [p for p in self._maps(name) if g in self._groups((p,))]

    def one(self, g: int) -> Iterator[Free]:
        """The parts of a group whose basis is free: cells that are read, cells that are multiplied.

        The rows of a fused projection are one group, but queries are not read as values are.
        """
        group = self.coupling.groups[g]
        uses: list[tuple[Param, str, IndexMap]] = []
        products: list[Node] = []
        if group.size < 2:
            return
        for node in self.zones[g]:
            held = {p.input for p in self.params[node.index] for _, q in p.maps if self._in(q, g)}
            if not self._linear(node, g, held):
                return
            if self._multiplied(node, g):
                products.append(node)
            own = [
                (p, role, q)
                for p in self.params[node.index]
                for role, q in p.maps
                if p.tensor is not None and self._in(q, g)
            ]
            if len(own) > len(held):
                return
            uses += own
        readers = [(p, q) for p, role, q in uses if role == READS and p.times]
        met = [q for node in products for n in node.inputs[:2] for q in self._carried(n, g)]
        cells = {
            READS: self._cells((q for _, q in readers), group.cells),
            "": self._cells(met, group.cells),
        }
        if not (cells[READS] ^ cells[""]).all() or len(products) > 1:
            return
        for kind, some in cells.items():
            if some.any():
                mine = group.cells[some]
                product = None if kind else products[0]
                found = self._part(mine, uses, product, g)
                if found is not None:
                    yield Free(g, mine, found, tuple(p for p, _ in readers if kind), product)

    def _in(self, index_map: IndexMap, g: int) -> bool:
        return g in self._groups((index_map,))

    def _cells(self, maps: Iterable[IndexMap], cells: Ids) -> NDArray[np.bool_]:
        """Which cells some index map holds units of."""
        there = np.zeros(self.notes.size, bool)
        for p in maps:
            there[self.root[p.ids]] = True
        return np.asarray(there[cells].any(1))

    def _part(
        self, cells: Ids, uses: Sequence[tuple[Param, str, IndexMap]], product: Node | None, g: int
    ) -> tuple[Use, ...] | None:
        """All uses of some cells; None if one of them is not along one axis of a tensor."""
        sides = None
        if product is not None:
            sides = self._sides(product, g)
            if sides is None:
                return None
        found: list[Use] = []
        for p, role, q in uses:
            if self._cells((q,), cells).any():
                own = self._uses(p, q, cells, role == READS, sides)
                if own is None:
                    return None
                found += own
        return tuple(found)

    def _linear(self, node: Node, g: int, held: set[int]) -> bool:
        """Whether a node treats the channels of a cell alike, and linearly."""
        if node.captured or node.index >= len(self.graph.nodes):
            return False  # inside a body
        like = trait_of(node)
        if like.only_shape:
            return True
        carried = [bool(self._carried(n, g)) or i in held for i, n in enumerate(node.inputs) if n]
        if like.linear == "joins":
            return True
        if like.moves:
            return carried[0]
        if like.linear in ("adds", "subtracts"):
            return all(carried)
        if like.linear in ("scales", "divides"):
            return carried == [True, False] and self._scalar(node, node.inputs[1], g)
        if like.contracts is None or node.attrs.get("group", 1) != 1:
            return False
        return len(held & {0, 1}) < 2

    def _multiplied(self, node: Node, g: int) -> bool:
        """Whether a node multiplies two activations that both hold the group."""
        both = all(bool(self._carried(n, g)) for n in node.inputs[:2])
        return both and trait_of(node).contracts is not None

    def _scalar(self, node: Node, name: str, g: int) -> bool:
        """Whether a factor is the same for all channels of the group."""
        shape = self.graph.shapes.get(name)
        full = self.graph.shapes[node.outputs[0]]
        if shape is None:
            return False
        padded = (1,) * (len(full) - len(shape)) + tuple(shape)
        axes = {a for p in self._carried(node.outputs[0], g) for a in p.axes}
        return all(padded[a] == 1 for a in axes)

    def _sides(self, product: Node, g: int) -> tuple[Ids, Ids] | None:
        """Classes of labels that reach the first factor of a product, and the second."""
        ids = []
        for i in (0, 1):
            maps = self._carried(product.inputs[i], g)
            if len(maps) != 1:
                return None
            ids.append(maps[0].ids)
        parts = self._apart(ids[0], ids[1])
        first, second = (np.unique(parts[x]) for x in ids)
        return None if np.intersect1d(first, second).size else (parts, first)

    def _apart(self, a: Ids, b: Ids) -> Ids:
        """Classes of labels, were those of `a` not multiplied with those of `b`."""
        left, right = self.notes.pairs()
        one, other = (np.zeros(self.notes.size, bool) for _ in range(2))
        one[a], other[b] = True, True
        meet = (one[left] & other[right]) | (other[left] & one[right])
        return labels.components(self.notes.size, left[~meet], right[~meet])

    def _uses(
        self,
        param: Param,
        index_map: IndexMap,
        cells: Ids,
        reads: bool,
        sides: tuple[Ids, Ids] | None,
    ) -> list[Use] | None:
        """Where a stored tensor holds the group; None if not along one axis of its own."""
        stored = self.graph.shapes[param.stored]
        laid = np.broadcast_to(index_map.ids, param.view).reshape(stored)
        tight = labels.tighten(IndexMap(laid, tuple(range(len(stored)))))
        if len(tight.axes) != 1:
            return None
        axis, line = tight.axes[0], tight.dense
        if sides is None:
            at = places(IndexMap(line, (0,)), self.root, cells)
            if at is None or len(at) < len(cells):
                return None
            return [Use(param.node, param.input, axis, at, int(reads))]
        parts, first = sides
        found = []
        for side in (0, 1):
            own = np.isin(parts[line], first) == (side == 0)
            at = places(IndexMap(np.where(own, line, 0), (0,)), self.root, cells)
            if at is not None and len(at) == len(cells):
                found.append(Use(param.node, param.input, axis, at, side))
        total = sum(u.at.size for u in found)
        return found if total == int(np.isin(self.root[line], cells).sum()) else None
