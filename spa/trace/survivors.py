"""What is left of every plane, image and param when only some units are kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.graph.model import Node
from spa.labels import Ids, Image, Plane, Shape
from spa.trace.collect import Collect
from spa.trace.meetings import Flags
from spa.trace.param import Param

View = tuple[Shape, tuple[tuple[str, Plane], ...]]


class MisplacedError(Exception):
    """The survivors do not fit at `node`; `planes` are the images that met there."""

    node: Node

    def __init__(self, message: str, planes: tuple[Plane, ...] = ()) -> None:
        super().__init__(message)
        self.planes = planes


class Survivors:
    """What is left of every plane, image and param when only the units in `alive` are kept.

    Args:
        notes: the sweep over the original graph.
        root: int[labels], the unit of every label.
        alive: bool[labels], indexed by unit.
    """

    def __init__(self, notes: Collect, root: Ids, alive: Flags) -> None:
        self.notes, self.root = notes, root
        self.alive: Flags = alive[root]
        self._planes: dict[tuple[int, tuple[int, ...]], Plane] = {}
        self._images: dict[int, Image] = {}
        self._boxes: dict[int, Shape | None] = {}
        self._views: dict[View, View] = {}
        self._of_param: dict[int, View] = {}
        self._cuts: dict[int, bool] = {}
        self._kept, self._ends = notes.meetings.chosen(self.alive)
        counts = self._ends[1:] - self._ends[:-1]
        self.cut: Flags = counts < notes.meetings.sizes
        self.lost: Flags = counts == 0
        self._touched: list[bool] = self.cut.tolist()

    @cached_property
    def _bounds(self) -> list[int]:
        """Where the survivors of each array of labels begin, by its number, among all."""
        bounds: list[int] = self._ends.tolist()
        return bounds

    @cached_property
    def _places(self) -> NDArray[np.intp]:
        """The places of all survivors in their arrays."""
        return self.notes.meetings.within(self._kept, self._ends)

    @cached_property
    def _units(self) -> Ids:
        """The units of all survivors."""
        return self.root.take(self.notes.meetings.flat.take(self._kept))

    def touched(self, p: Plane) -> bool:
        """Whether anything in the plane dies."""
        place = self.notes.meetings.place(p)
        return not self.alive[p.ids].all() if place is None else self._touched[place]

    def cuts(self, param: Param) -> bool:
        """Whether anything of a param of the notes dies."""
        known = self._cuts.get(id(param))
        if known is None:
            known = self._cuts[id(param)] = any([self.touched(p) for _, p in param.planes])
        return known

    def along(self, p: Plane) -> tuple[int, NDArray[np.intp]] | None:
        """The one axis that a plane varies along, and what is kept there; None if more vary."""
        tight = labels.tighten(p)
        if len(tight.axes) != 1:
            return None
        place = self.notes.meetings.place(p) if tight.ids.size == p.ids.size else None
        if place is None:
            return tight.axes[0], np.flatnonzero(self.alive[tight.ids])
        return tight.axes[0], self._places[self._bounds[place] : self._bounds[place + 1]]

    def plane(self, p: Plane) -> Plane:
        """The plane with dead elements cut away and labels replaced by units."""
        key = (id(p.ids), p.axes)
        known = self._planes.get(key)
        if known is None:
            known = self._planes[key] = self._select(p)
        return known

    def _select(self, p: Plane) -> Plane:
        place = self.notes.meetings.place(p)
        if place is None:
            units = self.root[p.ids[self.alive[p.ids]]]
        else:
            units = self._units[self._bounds[place] : self._bounds[place + 1]]
        if units.size == p.ids.size:
            return Plane(units.reshape(p.ids.shape), p.axes)
        if units.size and p.ids.size == max(p.ids.shape):  # one long axis: always a box
            return Plane(units.reshape([-1 if n > 1 else 1 for n in p.ids.shape]), p.axes)
        box = self._box(p, place)
        if box is None:
            raise MisplacedError("the survivors are no box", planes=(p,))
        left_over = iter(box)
        shape = [next(left_over) if n > 1 else 1 for n in p.ids.shape]
        return Plane(units.reshape(shape), p.axes)

    def _box(self, p: Plane, place: int | None) -> Shape | None:
        """The lengths of what is left along the axes that were longer than 1, if it is a box."""
        if place is not None and place in self._boxes:
            return self._boxes[place]
        box = labels.extent(self.alive[p.ids.reshape([n for n in p.ids.shape if n > 1])])
        if place is not None:
            self._boxes[place] = box
        return box

    def image(self, x: Image) -> Image:
        """The image of what is left; `x` is an image of the notes, which keep it alive."""
        if not x.planes:
            return x
        known = self._images.get(id(x))
        if known is None:
            if len(x.planes) == 1:
                planes: tuple[Plane, ...] = (self.plane(x.planes[0]),)
            else:
                planes = self._together(x.planes)
            known = self._images[id(x)] = Image(self._sizes(x.shape, planes), planes)
        return known

    def view(self, p: Param) -> View:
        """The view and planes of what is left of a param of the notes."""
        known = self._of_param.get(id(p))
        if known is not None:
            return known
        key = (p.view, p.planes)  # one for several params of a node
        known = self._views.get(key)
        if known is None:
            kept = self._together([q for _, q in p.planes])
            planes = tuple([(role, q) for (role, _), q in zip(p.planes, kept, strict=True)])
            sizes = self._sizes(p.view, kept)
            known = self._views[key] = (sizes, planes)
        self._of_param[id(p)] = known
        return known

    def _together(self, planes: Sequence[Plane]) -> tuple[Plane, ...]:
        """What is left of the planes of one tensor.

        Planes over one and the same axis cross (rows and columns of a matrix that lies flat): of
        each is left what all of them keep.
        """
        left = [self.plane(p) for p in planes]
        if len(planes) > 1:
            for k, p in enumerate(planes):
                beside = [q for q in planes if q.axes == p.axes and len(p.axes) == 1]
                alive = self.kept(p, beside).reshape(p.ids.shape) if len(beside) > 1 else None
                if alive is not None and np.count_nonzero(alive) != left[k].ids.size:
                    shape = [-1 if n > 1 else 1 for n in p.ids.shape]
                    left[k] = Plane(self.root[p.ids[alive]].reshape(shape), p.axes)
            self._across(planes)
        return tuple(left)

    def kept(self, p: Plane, planes: Sequence[Plane]) -> NDArray[np.bool_]:
        """Which elements of a plane are kept, bool in its dense form.

        Args:
            p: one of the planes of a tensor.
            planes: the planes of the tensor; those over just the axis of `p` cross it.
        """
        kept = self.alive[p.dense]
        for q in planes if len(p.axes) == 1 else ():
            if q is not p and q.axes == p.axes:
                kept = kept & self.alive[q.dense]
        return kept

    def _across(self, planes: Sequence[Plane]) -> None:
        """Planes that share axes must keep the same there: together, too, they are a box."""
        for k, p in enumerate(planes):
            for q in planes[:k]:
                # an axis of length 1 lets the two choose freely
                shared = [a for a in p.axes if a in q.axes and p.ids.shape[a] > 1]
                if not shared or not (self.touched(p) or self.touched(q)):
                    continue
                if len(p.axes) == len(q.axes) == 1:
                    continue  # they cross
                left = self.plane(p).ids
                size = left.size * self.plane(q).ids.size // prod(left.shape[a] for a in shared)
                if np.count_nonzero(self.alive[p.ids] & self.alive[q.ids]) != size:
                    raise MisplacedError("two planes keep different rows", planes=(p, q))

    @staticmethod
    def _sizes(shape: Shape, planes: Sequence[Plane]) -> Shape:
        if len(planes) == 1 and len(planes[0].axes) == 1:  # the usual case
            (a,) = planes[0].axes
            return (*shape[:a], planes[0].ids.shape[a], *shape[a + 1 :])
        said: dict[int, int] = {}
        for p in planes:
            for a in p.axes:
                n = p.ids.shape[a]
                if said.setdefault(a, n) != n:
                    raise MisplacedError("two planes keep different numbers")
        sizes = list(shape)
        for a, n in said.items():
            sizes[a] = n
        return tuple(sizes)
