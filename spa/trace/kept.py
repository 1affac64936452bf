"""What is left of every index map, image and param when only some units are kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.graph.model import Node
from spa.labels import Ids, Image, IndexMap, Shape
from spa.trace.collect import Collect
from spa.trace.couplings import Flags
from spa.trace.param import Param

View = tuple[Shape, tuple[tuple[str, IndexMap], ...]]


class MisplacedError(Exception):
    """What is kept does not fit at `node`; `maps` are the images that met there."""

    node: Node

    def __init__(self, message: str, maps: tuple[IndexMap, ...] = ()) -> None:
        super().__init__(message)
        self.maps = maps


class Kept:
    """What is left of every index map, image and param when only the units in `kept` are kept.

    `root`, int `[labels]`, is the unit of every label; `kept`, bool `[labels]`, goes by unit.
    """

    def __init__(self, notes: Collect, root: Ids, kept: Flags) -> None:
        self.notes, self.root = notes, root
        self.flags: Flags = kept[root]
        self._maps: dict[tuple[int, tuple[int, ...]], IndexMap] = {}
        self._images: dict[int, Image] = {}
        self._boxes: dict[int, Shape | None] = {}
        self._views: dict[View, View] = {}
        self._of_param: dict[int, View] = {}
        self._cuts: dict[int, bool] = {}
        self._kept, self._ends = notes.couplings.chosen(self.flags)
        counts = self._ends[1:] - self._ends[:-1]
        self.cut: Flags = counts < notes.couplings.sizes
        self.lost: Flags = counts == 0
        self._touched: list[bool] = self.cut.tolist()

    @cached_property
    def _bounds(self) -> list[int]:
        """Where what is kept of each array of labels begins, by its number."""
        bounds: list[int] = self._ends.tolist()
        return bounds

    @cached_property
    def _places(self) -> NDArray[np.intp]:
        """The places of all that is kept in their arrays."""
        return self.notes.couplings.within(self._kept, self._ends)

    @cached_property
    def _units(self) -> Ids:
        """The units of all that is kept."""
        return self.root.take(self.notes.couplings.flat.take(self._kept))

    def touched(self, p: IndexMap) -> bool:
        """Whether anything in the index map is removed."""
        place = self.notes.couplings.place(p)
        return not self.flags[p.ids].all() if place is None else self._touched[place]

    def cuts(self, param: Param) -> bool:
        """Whether anything of a param of the notes is removed."""
        known = self._cuts.get(id(param))
        if known is None:
            known = self._cuts[id(param)] = any([self.touched(p) for _, p in param.maps])
        return known

    def along(self, p: IndexMap) -> tuple[int, NDArray[np.intp]] | None:
        """The one axis that a map varies along, and what is kept there; None if more vary."""
        tight = labels.tighten(p)
        if len(tight.axes) != 1:
            return None
        place = self.notes.couplings.place(p) if tight.ids.size == p.ids.size else None
        if place is None:
            return tight.axes[0], np.flatnonzero(self.flags[tight.ids])
        return tight.axes[0], self._places[self._bounds[place] : self._bounds[place + 1]]

    def index_map(self, p: IndexMap) -> IndexMap:
        """The index map with removed elements cut away and labels replaced by units."""
        key = (id(p.ids), p.axes)
        known = self._maps.get(key)
        if known is None:
            known = self._maps[key] = self._select(p)
        return known

    def _select(self, p: IndexMap) -> IndexMap:
        place = self.notes.couplings.place(p)
        if place is None:
            units = self.root[p.ids[self.flags[p.ids]]]
        else:
            units = self._units[self._bounds[place] : self._bounds[place + 1]]
        if units.size == p.ids.size:
            return IndexMap(units.reshape(p.ids.shape), p.axes)
        if units.size and p.ids.size == max(p.ids.shape):  # one long axis: always a box
            return IndexMap(units.reshape([-1 if n > 1 else 1 for n in p.ids.shape]), p.axes)
        box = self._box(p, place)
        if box is None:
            raise MisplacedError("what is kept is no box", maps=(p,))
        left_over = iter(box)
        shape = [next(left_over) if n > 1 else 1 for n in p.ids.shape]
        return IndexMap(units.reshape(shape), p.axes)

    def _box(self, p: IndexMap, place: int | None) -> Shape | None:
        """The lengths of what is left along the axes that were longer than 1, if it is a box."""
        if place is not None and place in self._boxes:
            return self._boxes[place]
        box = labels.extent(self.flags[p.ids.reshape([n for n in p.ids.shape if n > 1])])
        if place is not None:
            self._boxes[place] = box
        return box

    def image(self, x: Image) -> Image:
        """The image of what is left; `x` is an image of the notes, which hold it."""
        if not x.maps:
            return x
        known = self._images.get(id(x))
        if known is None:
            if len(x.maps) == 1:
                maps: tuple[IndexMap, ...] = (self.index_map(x.maps[0]),)
            else:
                maps = self._together(x.maps)
            known = self._images[id(x)] = Image(self._sizes(x.shape, maps), maps)
        return known

    def view(self, p: Param) -> View:
        """The view and index maps of what is left of a param of the notes."""
        known = self._of_param.get(id(p))
        if known is not None:
            return known
        key = (p.view, p.maps)  # one for several params of a node
        known = self._views.get(key)
        if known is None:
            kept = self._together([q for _, q in p.maps])
            maps = tuple([(role, q) for (role, _), q in zip(p.maps, kept, strict=True)])
            sizes = self._sizes(p.view, kept)
            known = self._views[key] = (sizes, maps)
        self._of_param[id(p)] = known
        return known

    def _together(self, maps: Sequence[IndexMap]) -> tuple[IndexMap, ...]:
        """What is left of the index maps of one tensor.

        Maps over one and the same axis cross (rows and columns of a matrix that lies flat): of
        each is left what all of them keep.
        """
        left = [self.index_map(p) for p in maps]
        if len(maps) > 1:
            for k, p in enumerate(maps):
                beside = [q for q in maps if q.axes == p.axes and len(p.axes) == 1]
                kept = self.kept(p, beside).reshape(p.ids.shape) if len(beside) > 1 else None
                if kept is not None and np.count_nonzero(kept) != left[k].ids.size:
                    shape = [-1 if n > 1 else 1 for n in p.ids.shape]
                    left[k] = IndexMap(self.root[p.ids[kept]].reshape(shape), p.axes)
            self._across(maps)
        return tuple(left)

    def kept(self, p: IndexMap, maps: Sequence[IndexMap]) -> NDArray[np.bool_]:
        """Which elements of an index map are kept, bool in its dense form.

        Of the `maps` of its tensor those over just its axis cross it.
        """
        kept = self.flags[p.dense]
        for q in maps if len(p.axes) == 1 else ():
            if q is not p and q.axes == p.axes:
                kept = kept & self.flags[q.dense]
        return kept

    def _across(self, maps: Sequence[IndexMap]) -> None:
        """Index maps that share axes must keep the same there: together, too, they are a box."""
        for k, p in enumerate(maps):
            for q in maps[:k]:
                # an axis of length 1 lets the two choose freely
                shared = [a for a in p.axes if a in q.axes and p.ids.shape[a] > 1]
                if not shared or not (self.touched(p) or self.touched(q)):
                    continue
                if len(p.axes) == len(q.axes) == 1:
                    continue  # they cross
                left = self.index_map(p).ids
                size = left.size * self.index_map(q).ids.size // prod(left.shape[a] for a in shared)
                if np.count_nonzero(self.flags[p.ids] & self.flags[q.ids]) != size:
                    raise MisplacedError("two index maps keep different rows", maps=(p, q))

    @staticmethod
    def _sizes(shape: Shape, maps: Sequence[IndexMap]) -> Shape:
        if len(maps) == 1 and len(maps[0].axes) == 1:  # the usual case
            (a,) = maps[0].axes
            return (*shape[:a], maps[0].ids.shape[a], *shape[a + 1 :])
        said: dict[int, int] = {}
        for p in maps:
            for a in p.axes:
                n = p.ids.shape[a]
                if said.setdefault(a, n) != n:
                    raise MisplacedError("two index maps keep different numbers")
        sizes = list(shape)
        for a, n in said.items():
            sizes[a] = n
        return tuple(sizes)
