"""MACs, parameters and channels of a graph as a function of what is kept.

Every stored tensor and every product of activations is a box under its maps, so its elements are
the product of the elements of its maps.  All maps are counted at once, with one `reduceat` over
their concatenated labels: cheap enough to be asked hundreds of times by a budget search.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto

from spa import labels
from spa.coupling.model import Coupling, KeptUnits
from spa.coupling.products import stored_inside, untold
from spa.coupling.rows import rows_of
from spa.graph.model import Graph
from spa.labels import Ids, IndexMap
from spa.rules import trait_of
from spa.rules.traits import trait_named
from spa.trace import Param

Item = tuple[list[int], float, float, float]
"""Factors (arrays of labels; rows), elements outside them, MACs and parameters per element."""
UNCOUNTED = frozenset(("int64", "int32", "bool", "object", "uint64", "uint32"))
UNCOUNTED_IN_FILES = frozenset((6, 7, 8, 9, 12, 13))  # the same as numbers of TensorProto.DataType


@dataclass(frozen=True)
class Sizes:
    """What one choice costs: multiply-accumulates of one inference, stored numbers, channels."""

    macs: float
    params: float
    channels: float

    def share(self, of: str) -> float:
        """The figure called `of`."""
        return float(getattr(self, of))


class Cost:
    """`Cost(coupling)(kept)` counts what a choice costs; built once per coupling."""

    def __init__(self, coupling: Coupling) -> None:
        self.coupling = coupling
        notes, root = coupling.notes, coupling.root
        self._rows_at = rows_of(notes.graph)  # MACs are per sample
        self._flat: list[Ids] = []
        self._tight: dict[IndexMap, IndexMap] = {}  # keeps id()s valid, too
        self._where: dict[int, int] = {}
        self._rows: list[tuple[int, Ids]] = []
        items: list[Item] = []
        self._params: list[Param] = []  # of the items
        seen: set[str] = set()
        for param in notes.params.values():
            name = param.tensor or ""  # a product of activations has none
            counted = name not in seen and is_parameter(notes.graph, name)
            seen.add(name)
            if counted or param.times:
                items.append(self._item(param, root, float(counted)))
                self._params.append(param)
        graph = notes.graph
        told = {p.node for p in notes.params.values() if p.times}
        self._fixed_macs = untold(graph, told, self._rows_at)
        self._fixed_params = float(
            sum(
                prod(graph.shapes.get(name, ()))
                for name in graph.consts
                if name not in seen and is_parameter(graph, name)
            )
            + sum(prod(tensor.dims) for tensor in _inside(graph) if _is_told(tensor))
        )
        self._plan(items)
        self._channels = Channels(coupling)

    def _item(self, param: Param, root: Ids, counted: float) -> Item:
        """(index maps, elements outside them, MACs per element, parameters per element)."""
        index: list[int] = []
        covered: set[int] = set()
        before: list[IndexMap] = []
        rest = 1.0
        for _, p in param.maps:
            p = self._tight.get(p) or self._tightened(p)
            if not p.axes:
                continue
            index.append(self._slot(p, root))
            shared = [a for a in p.axes if a in covered]
            if shared and _crosses(p, before, root):
                rest /= p.ids.size
            elif shared:  # counted by both: divide by the kept rows
                index.append(-1 - self._shared(p, shared, root))
            covered.update(p.axes)
            before.append(p)
        rest *= float(prod([n for a, n in enumerate(param.view) if a not in covered]))
        return index, rest, param.times / self._rows_at(param.node), counted

    def _tightened(self, p: IndexMap) -> IndexMap:
        tight = self._tight[p] = labels.tighten(p) if p.axes else p
        return tight

    def _slot(self, p: IndexMap, root: Ids) -> int:
        held = labels.core(p.ids)
        slot = self._where.get(id(held))
        if slot is None:
            slot = self._where[id(held)] = len(self._flat)
            self._flat.append(root.take(held.ravel()))
        return slot

    def _shared(self, p: IndexMap, shared: list[int], root: Ids) -> int:
        dense = root[p.dense]
        outer = [p.axes.index(a) for a in shared]
        inner = [a for a in range(dense.ndim) if a not in outer]
        rows = dense.transpose(outer + inner).reshape(prod(dense.shape[a] for a in outer), -1)
        self._rows.append((len(self._rows), rows))
        return len(self._rows) - 1

    def _plan(self, items: list[Item]) -> None:
        self._labels = np.concatenate(self._flat) if self._flat else np.zeros(0, np.int64)
        sizes = [len(f) for f in self._flat]
        self._starts = np.cumsum([0, *sizes])[:-1]
        several, lengths = len(self._flat), max((len(i[0]) for i in items), default=0)
        # every item multiplies `lengths` factors; the last factor is always one
        one = several + len(self._rows)
        table = [
            [i if i >= 0 else several + (-1 - i) for i in index] + [one] * (lengths - len(index))
            for index, *_ in items
        ]
        self._table = np.array(table, np.intp).reshape(len(items), lengths)
        self._rest = np.array([i[1] for i in items])
        self._times = np.array([i[2] for i in items])
        self._counted = np.array([i[3] for i in items])

    def __call__(self, kept: KeptUnits) -> Sizes:
        """Cost of keeping the units in `kept`, bool `[labels]` indexed by unit."""
        if len(self._labels):
            counts = np.add.reduceat(kept.take(self._labels).astype(np.int32), self._starts)
        else:
            counts = np.zeros(0, np.int32)
        rows = [1.0 / max(kept[r].any(1).sum(), 1) for _, r in self._rows]
        return self._sizes(self._elements(counts, rows), self._channels(kept))

    def least(self, kept: Sequence[int]) -> tuple[Sizes, tuple[tuple[Param, float, float], ...]]:
        """What no choice that keeps `kept[group]` units of every cell of the groups goes below.

        Every array keeps those units that occur in it least, so this is exact where all occur
        equally often.  Also the rest, use by use: MACs and parameters.
        """
        counts = list(map(_Fewest(self.coupling, kept), self._flat))
        elements = self._elements(
            np.array(counts, np.float64), [1.0 / len(r) for _, r in self._rows]
        )
        channels = sum(
            n * len(group.cells) for n, group in zip(kept, self.coupling.groups, strict=True)
        )
        rest = zip(self._params, elements * self._times, elements * self._counted, strict=True)
        return self._sizes(elements, channels), tuple(rest)

    def _elements(self, kept: NDArray[Any], rows: Sequence[float]) -> NDArray[np.float64]:
        """Elements of every item, for how many labels of every array are kept."""
        factors = np.concatenate([kept, rows, [1.0]])
        found: NDArray[np.float64] = np.zeros(0)
        if len(self._table):
            found = factors[self._table].prod(1) * self._rest
        return found

    def _sizes(self, elements: NDArray[np.float64], channels: float) -> Sizes:
        return Sizes(
            macs=float(elements @ self._times) + self._fixed_macs,
            params=float(elements @ self._counted) + self._fixed_params,
            channels=float(channels),
        )


class Channels:
    """`Channels(coupling)(kept)` counts channels alone: all that a target in channels asks for."""

    def __init__(self, coupling: Coupling) -> None:
        cells = [g.cells.ravel() for g in coupling.groups]
        self._units = np.concatenate(cells) if cells else np.zeros(0, np.int64)

    def __call__(self, kept: KeptUnits) -> float:
        """How many of the groups' units are in `kept`."""
        return float(np.count_nonzero(kept.take(self._units)))


class _Fewest:
    """How many entries of an array of units are left at least, if cells keep so many of theirs."""

    def __init__(self, coupling: Coupling, kept: Sequence[int]) -> None:
        several = [len(group.cells) for group in coupling.groups]
        self.cell = np.full(coupling.notes.size, -1)  # of every unit; -1: of no group
        begins = np.cumsum([0, *several])
        for group, first in zip(coupling.groups, begins.tolist(), strict=False):
            self.cell[group.cells] = first + np.arange(len(group.cells))[:, None]
        self.size = np.repeat([group.size for group in coupling.groups], several)
        self.kept = np.repeat(kept, several)

    def __call__(self, flat: Ids) -> int:
        units, often = np.unique(flat, return_counts=True)
        cell = self.cell[units]
        fixed = int(often[cell < 0].sum())
        often, cell = often[cell >= 0], cell[cell >= 0]
        order = np.lexsort((often, cell))
        often, cell = often[order], cell[order]
        here, first, present = np.unique(cell, return_index=True, return_counts=True)
        place = np.arange(len(cell)) - first.repeat(present)
        left = self.kept[here] - (self.size[here] - present)  # units that are not here go last
        return fixed + int(often[place < left.repeat(present)].sum())


def _crosses(p: IndexMap, before: Sequence[IndexMap], root: Ids) -> bool:
    """Whether each unit along an axis meets all combinations of those before, equally often."""
    beside = [q for q in before if set(q.axes) & set(p.axes)]
    if len(p.axes) > 1 or any(q.axes != p.axes for q in beside):
        return False
    own, often = np.unique(root[p.dense], return_inverse=True, return_counts=True)[1:]
    rows = np.stack([root[q.dense] for q in beside], axis=1)
    _, other, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    met = np.zeros((len(counts), len(often)), np.int64)
    np.add.at(met, (other.reshape(-1), own.reshape(-1)), 1)
    return bool((met * p.ids.size == counts[:, None] * often).all())


def _inside(graph: Graph) -> Iterable[TensorProto]:
    """The tensors in the bodies of a graph's nodes, of which most graphs have none."""
    values = [value for node in graph.nodes for value in node.attrs.values()]
    firsts = [value[0] if isinstance(value, list) and value else value for value in values]
    has_bodies = any([isinstance(value, GraphProto) for value in firsts])
    return stored_inside(graph.proto.graph) if has_bodies else ()


def is_parameter(graph: Graph, name: str) -> bool:
    """Whether a stored tensor counts as parameters: not shapes, indices and the like."""
    dtype = graph.dtypes.get(name)
    if dtype is None:
        return False
    return _is_counted(dtype) or any(
        node.inputs[i : i + 1] == (name,)
        for node in graph.readers.get(name, ())
        for i in trait_of(node).summed
    )


@cache
def _is_counted(dtype: np.dtype[Any]) -> bool:
    return np.dtype(dtype).name not in UNCOUNTED


def stored(model: ModelProto) -> float:
    """Parameters that a model holds, where `Cost` counts every tensor of the original once.

    A tensor of which two uses keep other elements is stored twice.
    """
    summed = {
        node.input[i]
        for node in model.graph.node
        for i in trait_named(node.domain, node.op_type).summed
        if i < len(node.input)
    }
    held = [t for t in model.graph.initializer if t.name in summed or _is_told(t)]
    inside = filter(_is_told, stored_inside(model.graph))
    return float(sum(prod(t.dims) for t in (*held, *inside)))


def _is_told(tensor: TensorProto) -> bool:
    """Whether a tensor counts as parameters whoever reads it."""
    return tensor.data_type not in UNCOUNTED_IN_FILES


def reduction(before: Sizes, after: Sizes) -> dict[str, float]:
    """Shares removed, 0..1, of every figure."""
    names: Sequence[str] = ("params", "macs", "channels")
    return {
        n: (before.share(n) - after.share(n)) / before.share(n) if before.share(n) else 0.0
        for n in names
    }
