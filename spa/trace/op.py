"""What a rule may see and say: the node, its images, and a handful of verbs.

Verbs: `along`, `only`, `same`, `cells`, `rows`, `heads`, `freeze`, `fresh`, `param`, `work`,
`lossy`.  What they do depends on who is listening: `Collect` takes notes, `Check` compares.
Decisions about the structure (which axes carry channels) go through `decide`, so that both take the
same path through a rule.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.graph.model import Graph, Node
from spa.labels import Ids, Image, IndexMap, Shape
from spa.trace.param import is_float, is_number

T = TypeVar("T")
MET = "meets a channel that cannot go"


class Listener(ABC):
    """What stands behind an `Op`: it answers from the graph as it was read, and takes no notes.

    `Collect` and `Check`, the two interpreters, say the rest.
    """

    graph: Graph
    stored: frozenset[str]
    images: Mapping[str, Image]

    # what an op sees

    def attr(self, node: Node, name: str, default: object) -> Any:
        return node.attrs.get(name, default)

    def sized(self, node: Node, i: int) -> np.ndarray | None:
        known = self.graph.values.get(node.inputs[i])
        return known if known is not None else self.graph.consts.get(node.inputs[i])

    def shape(self, node: Node, i: int) -> Shape | None:
        return self.graph.shapes.get(node.inputs[i])

    def out(self, node: Node, k: int) -> Shape | None:
        return self.graph.shapes.get(node.outputs[k]) if k < len(node.outputs) else None

    @abstractmethod
    def factors(self, node: Node, i: int) -> tuple[Shape, ...] | None: ...
    @abstractmethod
    def images_of(self, node: Node) -> list[Image | None]: ...

    # what an op says

    @abstractmethod
    def param(
        self,
        node: Node,
        i: int | None,
        view: Shape,
        maps: dict[str, IndexMap | tuple[int, ...]],
        times: float,
    ) -> list[IndexMap]: ...
    @abstractmethod
    def same(self, node: Node, a: Ids, b: Ids, reason: str) -> None: ...
    @abstractmethod
    def rows(self, node: Node, index_map: IndexMap) -> None: ...
    @abstractmethod
    def fresh(self, node: Node, size: int) -> Ids: ...
    @abstractmethod
    def decide(self, node: Node, choose: Callable[[], T]) -> T: ...

    def cells(self, node: Node, sides: tuple[Ids, ...]) -> None: ...
    def crossed(self, node: Node, index_map: IndexMap) -> None: ...
    def computed(self, node: Node, i: int) -> None: ...
    def heads(self, node: Node, index_map: IndexMap, axes: tuple[int, ...]) -> None: ...
    def lossy(self, node: Node, reason: str) -> None: ...


class NodeView:
    """One node as a listener shows it."""

    _first: Shape | None = None  # of output 0, which rules ask for again and again
    _places: Sequence[int] = range(1 << 30)  # which input of the node each input is

    def __init__(self, listener: Listener, node: Node) -> None:
        self._at = listener
        self.node = node
        self.version: int = node.version

    def attr(self, name: str, default: object = None) -> Any:
        """The node's attribute, or `default`."""
        return self._at.attr(self.node, name, default)

    def _name(self, i: int) -> str:
        return self.node.inputs[self._places[i]]

    def has(self, i: int) -> bool:
        """Whether optional input `i` is given."""
        if i >= len(self._places):
            return False
        at, inputs = self._places[i], self.node.inputs
        return at < len(inputs) and inputs[at] != ""

    def value(self, i: int) -> np.ndarray | None:
        """The value of input `i` if it is known and the same at every size, else None."""
        return self.sized(i) if self._mask(i) is None else None

    def sized(self, i: int) -> np.ndarray | None:
        """The value of input `i` at the sizes of the analysis, if known.

        Only for what a rule holds against shapes: at other sizes `symbolic` elements are others.
        """
        return self._at.sized(self.node, self._places[i]) if self.has(i) else None

    def symbolic(self, i: int) -> NDArray[np.bool_]:
        """Which elements of a known input `i` are others at other sizes."""
        mask, value = self._mask(i), self.sized(i)
        if mask is None:
            return np.zeros(() if value is None else value.shape, np.bool_)
        return mask

    def _mask(self, i: int) -> NDArray[np.bool_] | None:
        return self._at.graph.symbolic.get(self._name(i)) if self.has(i) else None

    def is_const(self, i: int) -> bool:
        """Whether input `i` is stored in the file."""
        return self.has(i) and self._name(i) in self._at.stored

    @property
    def moving(self) -> bool:
        """Whether no input is stored in the file."""
        return self._at.stored.isdisjoint(self.node.inputs)

    def is_float(self, i: int) -> bool:
        """Whether input `i` has a floating-point type."""
        return is_float(self._at.graph.dtypes.get(self._name(i)))

    def is_number(self, i: int) -> bool:
        """Whether channels may be stored in the type of input `i`: floats, and short integers."""
        return is_number(self._at.graph.dtypes.get(self._name(i)))

    def shape(self, i: int) -> Shape:
        """Shape of input `i`."""
        shape = self._at.shape(self.node, self._places[i])
        if shape is None:
            raise ValueError(f"input {i} has no known shape")
        return shape

    def out(self, k: int = 0) -> Shape:
        """Shape of output `k`."""
        shape = self._first if k == 0 else None
        if shape is None:
            shape = self._at.out(self.node, k)
            if shape is None:
                raise ValueError(f"output {k} has no known shape")
            if k == 0:
                self._first = shape
        return shape

    def factors(self, i: int) -> tuple[Shape, ...] | None:
        """Per axis of stored input `i`, the axes that a weight computed from it will have there."""
        return self._at.factors(self.node, self._places[i])

    @property
    def outputs(self) -> int:
        """How many outputs the node names."""
        return len(self.node.outputs)

    def axis(self, rank: int, default: int = 0, name: str = "axis") -> int:
        """The attribute `axis` as a number in [0, rank)."""
        return int(self.attr(name, default)) % max(rank, 1)

    def axes(self, rank: int) -> list[int]:
        """The attribute `axes` likewise; all where it is not stated."""
        return [int(a) % rank for a in self.attr("axes") or range(rank)]


class Op(NodeView):
    """One node as its rule sees it, and what the rule may say of it."""

    def __init__(self, listener: Listener, node: Node) -> None:
        super().__init__(listener, node)
        self.x: Sequence[Image | None] = listener.images_of(node)

    def facing(self, *places: int) -> Op:
        """The same op, of which input i is number `places[i]` of the node."""
        other = copy(self)
        other._places = places
        other.x = tuple([self.x[p] if p < len(self.x) else None for p in places])
        return other

    def decide(self, choose: Callable[[], T]) -> T:
        """A structural choice, made on the original graph and repeated on the rewritten one."""
        chosen: T = self._at.decide(self.node, choose)
        return chosen

    def same(self, a: Ids, b: Ids, reason: str = MET) -> None:
        """These labels, broadcast against each other, are one channel each."""
        self._at.same(self.node, np.asarray(a), np.asarray(b), reason)

    def freeze(self, x: Image | IndexMap | None, reason: str) -> None:
        """Nothing in this image may be removed, and why."""
        for p in x.maps if isinstance(x, Image) else (x,) if x is not None else ():
            self._at.same(self.node, p.ids, np.zeros((), np.int64), reason)

    def squash(
        self, p: IndexMap, keep: Sequence[int], reason: str = "mixed along this axis"
    ) -> IndexMap | None:
        """Merge a map along every axis outside `keep`; without any axis left it is frozen."""
        if p.axes and all([a in keep for a in p.axes]):
            return p
        ids = p.ids
        for a in p.axes:
            if a not in keep:
                head = ids.take([0], axis=a)
                self.same(ids, head)
                ids = head
        left = tuple(a for a in p.axes if a in keep)
        if not left:
            self.freeze(IndexMap(ids, ()), reason)
            return None
        return IndexMap(ids, left)

    def only(self, x: Image, *keep: int, reason: str = "mixed along this axis") -> Image:
        """Keep the image varying along `keep` only: merge the labels that differ elsewhere."""
        kept = [self.squash(p, keep, reason) for p in x.maps]
        if all([p is q for p, q in zip(kept, x.maps, strict=True)]):
            return x
        return Image(x.shape, tuple(p for p in kept if p is not None))

    def alike(self, x: Image, axes: Collection[int], reason: str) -> Image:
        """Keep the image from varying along `axes`: merge the labels that differ there."""
        return self.only(x, *[a for a in range(len(x.shape)) if a not in axes], reason=reason)

    def along(self, x: Image, axis: int, reason: str = "mixed along this axis") -> Ids:
        """The labels along one axis, shape `[x.shape[axis]]`; the image varies nowhere else."""
        if len(x.maps) == 1 and x.maps[0].axes == (axis,):
            return x.maps[0].dense  # the usual case
        maps = self.only(x, axis, reason=reason).maps
        if not maps:
            return np.zeros(x.shape[axis], np.int64)
        for p in maps[1:]:
            self.same(maps[0].ids, p.ids)
        return maps[0].dense

    def cells(self, *sides: Ids) -> None:
        """Row i of every side (`[rows, n]`) is one cell: removed when all of any side is."""
        self._at.cells(self.node, sides)

    def rows(self, ids: Ids) -> None:
        """The op reads this `[rows, n]` array as a box, although no tensor has its shape."""
        self._at.rows(self.node, IndexMap(ids, tuple(range(ids.ndim))))

    def crossed(self, p: IndexMap) -> None:
        """Along several axes of this map lie channels of their own: a weight that is computed.

        Were each axis given labels of its own where these were made, more could be cut.
        """
        self._at.crossed(self.node, p)

    def computed(self, i: int) -> None:
        """Input `i` is a weight, although it is not stored."""
        self._at.computed(self.node, self._places[i])

    def heads(self, p: IndexMap, *axes: int) -> None:
        """Along `axes` of this index map of activations lie products of their own: heads.

        Without axes, several heads may have been tied to the one whose channels these are.
        """
        self._at.heads(self.node, p, axes)

    def fresh(self, size: int) -> Ids:
        """New labels, shape `[size]`, for elements that no tensor of the file holds."""
        return self._at.fresh(self.node, size)

    def lossy(self, reason: str) -> None:
        """What is kept is not exactly what it was: a statistic over channels changes."""
        self._at.lossy(self.node, reason)

    def param(
        self, i: int, view: Sequence[int], times: float = 0.0, **maps: IndexMap | tuple[int, ...]
    ) -> list[IndexMap]:
        """Input `i`, seen as `view`, under maps; a tuple of axes for a map makes labels.

        Returns the index maps in the order given.
        """
        return self._at.param(self.node, self._places[i], tuple(view), maps, times)

    def work(self, view: Sequence[int], times: float, *maps: IndexMap) -> None:
        """A product of activations: `prod(view) · times` MACs, shrinking with the index maps."""
        self._at.param(
            self.node, None, tuple(view), {f"reads{k}": p for k, p in enumerate(maps)}, times
        )

    def operand(self, i: int, axes: Sequence[int] | None = None) -> Image:
        """Input `i` as an image; a stored one makes labels along `axes` (default: all)."""
        if not self.is_const(i):
            x = self.x[i]
            if x is None:
                raise ValueError(f"input {i} is absent")
            return x
        shape = self.shape(i)
        wanted = self.decide(
            lambda: (
                tuple(a for a, n in enumerate(shape) if n > 1 and (axes is None or a in axes))
                if self.is_number(i)
                else ()
            )
        )
        if not wanted:
            return labels.frozen(shape)
        return Image(shape, tuple(self.param(i, shape, makes=wanted)))

    def besides(self, i: int, moving: Collection[int], reason: str) -> Image:
        """Input `i` as an image whose rows along the axes `moving` are all alike.

        Nobody knows which of them are picked, and how often, so they keep the same channels.
        """
        rest = [a for a in range(len(self.shape(i))) if a not in moving]
        return self.only(self.operand(i, rest), *rest, reason=reason) if moving else self.operand(i)

    # images for results

    def made(self, dense: Ids, *axes: int, k: int = 0) -> Image:
        """The image of output `k` with labels `dense` along `axes`."""
        shape = self.out(k)
        return Image(shape, (labels.lay(dense, axes, len(shape)),))

    def shown(self, dense: Ids, *axes: int, k: int = 0) -> Image:
        """As `made`; frozen where all labels are."""
        some = self.decide(lambda: bool(dense.any()))
        return self.made(dense, *axes, k=k) if some else self.frozen(k)

    def like(self, x: Image, k: int = 0) -> Image:
        """The image of output `k`: the labels of `x` (same rank) over the output's own shape."""
        return Image(self.out(k), x.maps)

    def frozen(self, k: int = 0) -> Image:
        """The image of output `k` if nothing in it may be removed."""
        return labels.frozen(self.out(k))

    def all_frozen(self, first: int = 0) -> list[Image]:
        """Frozen images for the outputs from `first` on whose shape is known."""
        return [labels.frozen(self._at.out(self.node, k) or ()) for k in range(first, self.outputs)]
