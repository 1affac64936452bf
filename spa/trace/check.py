"""Re-read a rewritten graph on labels: every rule must say of what is kept what it said before.

`Kept` selects what is kept of every image.  `Check` runs the same rules on that, with
refitted attributes and constants, and compares with the selected results, node by node; by
induction the rewritten graph then computes what the plan says.  No weights, no onnxruntime.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.graph.model import Node
from spa.labels import Ids, Image, IndexMap, Shape
from spa.trace.kept import Kept, MisplacedError
from spa.trace.op import Listener, NodeView, Op, T
from spa.trace.registry import REFITS, RULES, SILENT, Fixes

__all__ = ["Check", "Kept", "MisplacedError", "Sizes", "check", "merged", "refit"]


class Sizes(NodeView):
    """What a refit may see: the node as it was, and the sizes of what is left."""

    def __init__(self, left: Kept, node: Node) -> None:
        super().__init__(left.notes, node)
        self.left, self.notes = left, left.notes
        self._kept: dict[tuple[int, int], NDArray[np.bool_]] = {}

    def old_shape(self, i: int) -> Shape:
        """Shape of input `i` as it was."""
        return super().shape(i)

    def old_out(self, k: int = 0) -> Shape:
        """Shape of output `k` as it was."""
        return super().out(k)

    def shape(self, i: int) -> Shape:
        """Shape of what is left of input `i`."""
        return self.left.image(self.notes.images[self.node.inputs[i]]).shape

    def out(self, k: int = 0) -> Shape:
        """Shape of what is left of output `k`."""
        return self.left.image(self.notes.images[self.node.outputs[k]]).shape

    def view(self, i: int) -> Shape:
        """View of what is left of the param at input `i`."""
        return self.left.view(self.notes.params[self.node.index, i])[0]

    def kept(self, i: int, axis: int) -> NDArray[np.bool_]:
        """Which positions of input `i` along `axis` are kept, bool `[kept rows, old size]`."""
        if (i, axis) in self._kept:
            return self._kept[i, axis]
        rows = []
        maps = self.notes.images[self.node.inputs[i]].over(axis)
        for p in maps:
            kept = self.left.kept(p, maps)
            inner = tuple(range(p.axes.index(axis) + 1, kept.ndim))
            lines = np.asarray(kept.any(inner)).reshape(-1, p.ids.shape[axis])
            lines = lines[lines.any(1)]
            rows.append(np.unique(lines, axis=0) if len(lines) > 1 else lines)
        found = np.concatenate(rows) if rows else np.ones((1, self.old_shape(i)[axis]), bool)
        self._kept[i, axis] = found
        return found

    def created(self, k: int) -> NDArray[np.bool_]:
        """Which of the k-th batch of fresh labels are kept."""
        return self.left.flags[self.notes.created[self.node.index][k]]

    def count(self, i: int, axis: int, upto: int) -> int:
        """How many of the first `upto` positions are kept; every row must agree."""
        counts = np.unique(self.kept(i, axis)[:, :upto].sum(1))
        if len(counts) != 1:
            raise MisplacedError("rows keep different numbers before a boundary")
        return int(counts[0])


def refit(left: Kept, node: Node) -> Fixes:
    """What the node says about sizes, recomputed: attributes by name, constant inputs by number."""
    key = (node.domain, node.op)
    return {} if key not in REFITS or SILENT[key](node) else REFITS[key](Sizes(left, node))


class Check(Listener):
    """The second listener: compares instead of taking notes."""

    def __init__(self, left: Kept) -> None:
        self.left, self.notes, self.graph = left, left.notes, left.notes.graph
        self.stored: frozenset[str] = left.notes.stored
        self._refit: Fixes = {}
        self._turn: dict[str, int] = defaultdict(int)
        self._chosen: list[Any] = []

    def node(self, node: Node) -> None:
        """Check one node; raises MisplacedError."""
        rule = RULES[node.domain, node.op]
        self._turn.clear()
        self._chosen = self.notes.chosen.get(node.index, [])[::-1]
        try:
            self._refit = refit(self.left, node)
            op = Op(self, node)
            found = rule(op, *op.x)
        except (ValueError, IndexError) as error:  # numpy refuses: sizes no longer fit
            raise MisplacedError(str(error)) from error
        for name, image in zip(
            node.outputs, found if isinstance(found, (list, tuple)) else [found], strict=False
        ):
            if name:
                self._agree(image, self.left.image(self.notes.images[name]))

    def _agree(self, got: Image, want: Image) -> None:
        if got.shape != want.shape or len(got.maps) != len(want.maps):
            raise MisplacedError(f"shape {got.shape} where {want.shape} is wanted")
        for a, b in zip(got.maps, want.maps, strict=True):
            self._equal(a, b)

    def _equal(self, got: IndexMap, want: IndexMap) -> None:
        if got.ids is want.ids and got.axes == want.axes:
            return
        if (
            got.axes != want.axes
            or got.ids.shape != want.ids.shape
            or got.ids.tobytes() != want.ids.tobytes()  # faster than numpy on a few labels
        ):
            raise MisplacedError("channels out of step")

    # what an op sees

    def attr(self, node: Node, name: str, default: object) -> Any:
        return self._refit[name] if name in self._refit else node.attrs.get(name, default)

    def sized(self, node: Node, i: int) -> np.ndarray | None:
        new = self._refit.get(i)
        return new if new is not None else self.notes.sized(node, i)

    def factors(self, node: Node, i: int) -> tuple[Shape, ...] | None:
        known = self.notes.factors(node, i)
        param = self.notes.params.get((node.index, i))
        if known is None or param is None:
            return known
        sizes = iter(self.left.view(param)[0])
        return tuple([tuple([next(sizes) for _ in axis]) for axis in known])

    def shape(self, node: Node, i: int) -> Shape | None:
        if i in self._refit:
            return tuple(self._refit[i].shape)
        param = self.notes.params.get((node.index, i))
        if param is not None and param.tensor is not None:
            return merged(self.graph.shapes[param.tensor], param.view, self.left.view(param)[0])
        image = self.notes.images.get(node.inputs[i])
        return self.left.image(image).shape if image is not None else self.notes.shape(node, i)

    def out(self, node: Node, k: int) -> Shape | None:
        image = self.notes.images.get(node.outputs[k]) if k < len(node.outputs) else None
        return self.notes.out(node, k) if image is None else self.left.image(image).shape

    def images_of(self, node: Node) -> list[Image | None]:
        known, left = self.notes.images.get, self.left.image
        images = [known(name) for name in node.inputs]
        return [left(x) if x is not None and x.maps else x for x in images]

    # what an op says: `cells` asks something of the choice, and boxes prove it; others tell nothing

    def param(
        self,
        node: Node,
        i: int | None,
        view: Shape,
        maps: dict[str, IndexMap | tuple[int, ...]],
        times: float,
    ) -> list[IndexMap]:
        param = self.notes.params[node.index, i if i is not None else -1 - len(node.inputs)]
        left, kept = self.left.view(param)
        if left != view:
            raise MisplacedError(f"a constant of view {left} where {view} is wanted")
        for (_, want), said in zip(kept, maps.values(), strict=True):
            if isinstance(said, IndexMap):
                self._equal(said, want)
        return [p for _, p in kept]

    def same(self, node: Node, a: Ids, b: Ids, reason: str) -> None:
        if a is b:
            return
        if a.shape != b.shape:
            a, b = np.broadcast_arrays(a, b)
        if np.count_nonzero(a != b):
            raise MisplacedError("channels out of step")

    def rows(self, node: Node, index_map: IndexMap) -> None:
        k = self._next("rows")
        self._equal(index_map, self.left.index_map(self.notes.extra[node.index][k]))

    def fresh(self, node: Node, size: int) -> Ids:
        ids = self.notes.created[node.index][self._next("fresh")]
        kept = self.left.root[ids[self.left.flags[ids]]]
        if len(kept) != size:
            raise MisplacedError(f"{size} new channels where {len(kept)} are kept")
        return kept

    def decide(self, node: Node, choose: Callable[[], T]) -> T:
        chosen: T = self._chosen.pop()
        return chosen

    def _next(self, verb: str) -> int:
        self._turn[verb] += 1
        return self._turn[verb] - 1


@lru_cache(maxsize=4096)
def merged(old: Shape, view: Shape, left: Shape) -> Shape:
    """The new shape of a tensor of shape `old` whose view `view` has shrunk to `left`."""
    runs = labels.cut(old, view)
    if runs is None:
        raise MisplacedError(f"view {view} does not refine {old}")
    shape = list(old)
    for coarse, fine in runs:
        size = prod([left[a] for a in fine])
        wide = [a for a in coarse if old[a] > 1] or list(coarse[:1])
        if len(wide) > 1 and size != prod(old[a] for a in coarse):
            raise MisplacedError(f"view {view} does not refine {old}")
        if len(wide) == 1:
            shape[wide[0]] = size
    return tuple(shape)


def check(
    left: Kept, nodes: Iterable[Node], indifferent: frozenset[int] = frozenset()
) -> list[MisplacedError]:
    """Check every node at which something is removed; what does not fit, node by node.

    The nodes numbered in `indifferent` have passed another check: what matters there is only
    whether something is left, and whether it is a box.
    """
    couplings = left.notes.couplings
    touched = couplings.where(left.cut)
    passed = indifferent - couplings.where(left.lost) if indifferent else indifferent
    checker = Check(left)
    errors: list[MisplacedError] = []
    open_nodes = (touched - passed) | (touched & couplings.boxed)  # elsewhere nothing is looked at
    for node in nodes if open_nodes else ():
        if node.index not in open_nodes or (node.domain, node.op) not in RULES or node.captured:
            continue
        try:
            if node.index not in passed:
                checker.node(node)
                continue
            for p in couplings.boxes(node):
                left.index_map(p)
        except MisplacedError as error:
            error.node = node
            met = couplings.maps(node)
            error.maps = tuple(p for p in error.maps or met if left.touched(p))
            errors.append(error)
    return errors
