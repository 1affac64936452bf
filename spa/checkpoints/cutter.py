"""From a plan, or a model that was cut, to what is left of one tensor of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np

from spa.checkpoints.exported import Array, Exported
from spa.checkpoints.places import Indices, Shape, Way, bare, box, permuted
from spa.errors import UsageError
from spa.plans import Plan
from spa.plans.take import take


@dataclass(frozen=True, eq=False)
class Left:
    """What is left of a tensor.

    Attributes:
        positions: of its numbers in the tensor as it was, counted in order; int64 of the new shape.
        fresh: the numbers of the pruned model, of the same shape; None where it is not at hand.
    """

    positions: Indices
    fresh: Array | None

    def of(self, array: Array) -> Array:
        """The new tensor, in the type of the old one."""
        if self.fresh is not None:
            return np.asarray(self.fresh, array.dtype)
        return array.reshape(-1)[self.positions]


@dataclass
class Cutter:
    """What is kept of the tensors that a file stores.

    Attributes:
        plan: what to keep.
        export: the file that the checkpoint became; None where it is not at hand.
        slim: the pruned model, whose numbers are taken; None where they are only cut.
    """

    plan: Plan
    export: Exported | None = None
    slim: Exported | None = None
    _kept: dict[str, Indices] = field(default_factory=dict)

    def shape(self, name: str) -> Shape | None:
        """The shape of a stored tensor before the cut, as far as it is known."""
        if self.export is not None and name in self.export.tensors:
            return self.export.tensors[name].shape
        if name in self.plan.tensors:
            return tuple(self.plan.tensors[name]["shape"])
        if self.export is None and self.slim is not None and name in self.slim.tensors:
            return self.slim.tensors[name].shape
        return None

    def sizes(self) -> dict[str, int]:
        """How many numbers every stored tensor holds before the cut, as far as that is known."""
        sides = (self.export,) if self.export is not None else (self.slim,)
        names = dict.fromkeys([*self.plan.tensors, *(n for s in sides if s for n in s.tensors)])
        return {n: prod(shape) for n in names if (shape := self.shape(n)) is not None}

    def is_cut(self, name: str) -> bool:
        """Whether the plan takes something from a tensor."""
        return name in self.plan.tensors

    def kept(self, name: str) -> Indices:
        """Positions that are kept of a stored tensor, int64 of the new shape.

        Raises:
            UsageError: the tensor is cut in several ways, or is of another shape.
        """
        if name not in self._kept:
            shape = self.shape(name)
            assert shape is not None
            whole: Indices = np.arange(prod(shape)).reshape(shape)
            entry = self.plan.tensors.get(name)
            if entry is not None and list(entry["shape"]) != list(shape):
                raise UsageError(
                    f"the plan does not fit: {name} has shape {list(shape)}, the plan was made for "
                    f"{list(entry['shape'])}; give the file that the plan was made on"
                )
            if entry is not None and entry.get("others"):
                raise UsageError(
                    f"{name} is read in several places that keep different positions, which one "
                    "tensor of a checkpoint cannot hold; export so that equal weights stay apart "
                    "(PyTorch: keep_initializers_as_inputs=True), or plan with --ignore for one"
                )
            self._kept[name] = whole if entry is None else take(whole, entry)
        return self._kept[name]

    def left(self, array: Array, way: Way) -> Left | None:
        """What is left of a tensor that is found in a way; None where that is no array."""
        place = way.places[0]
        shape = self.shape(place.tensor)
        assert shape is not None
        whole = len(way.places) == 1 and prod(shape) == array.size
        if whole and permuted(shape, place.order) == bare(array.shape):
            return self._permuted(array.shape, shape, way)
        return self._gathered(array.shape, way)

    def _permuted(self, own: Shape, shape: Shape, way: Way) -> Left:
        """Another order of axes is undone after the cut, whatever was cut."""
        (place,) = way.places
        kept = self.kept(place.tensor)
        sizes = iter([kept.shape[axis] for axis in place.order if shape[axis] > 1])
        new = tuple(next(sizes) if size > 1 else size for size in own)
        back = np.empty(prod(own), np.int64)
        back[place.elements(shape, back.size)] = np.arange(back.size)
        positions = back[kept.transpose(place.order).reshape(new)]
        fresh = self._fresh(place.tensor, kept.shape)
        return Left(positions, None if fresh is None else fresh.transpose(place.order).reshape(new))

    def _gathered(self, own: Shape, way: Way) -> Left | None:
        """Joined or divided axes, or several pieces: number by number."""
        each = prod(own) // len(way.places)
        at: list[Indices] = []
        values: list[Array] = []
        for place in way.places:
            shape = self.shape(place.tensor)
            assert shape is not None
            kept = self.kept(place.tensor)
            there = np.full(prod(shape), -1)
            there[kept.reshape(-1)] = np.arange(kept.size)
            at.append(there[place.elements(shape, each)])
            fresh = self._fresh(place.tensor, kept.shape)
            if fresh is not None:
                values.append(fresh.reshape(-1)[at[-1]])
        moved = _unmoved(np.concatenate(at), own, way.axis)
        positions = box(moved >= 0)
        if positions is None:
            return None
        if len(values) < len(way.places):
            return Left(positions, None)
        return Left(
            positions, _unmoved(np.concatenate(values), own, way.axis).reshape(-1)[positions]
        )

    def _fresh(self, name: str, shape: Shape) -> Array | None:
        """The numbers of a stored tensor in the pruned model, where it has it in this shape."""
        found = None if self.slim is None else self.slim.tensors.get(name)
        return found if found is not None and found.shape == shape else None

    def added(self, name: str) -> Array | None:
        """The bias that the refit has put beside a weight which had none."""
        if self.slim is None:
            return None
        for other in self.slim.beside.get(name, ()):
            known = self.export is not None and other in self.export.tensors
            if (
                not known
                and "_spa_bias" in other
                and len(bare(self.slim.tensors[other].shape)) <= 1
            ):
                return self.slim.tensors[other].reshape(-1)
        return None


def _unmoved(flat: Array, shape: Shape, axis: int) -> Array:
    """An array whose axis was moved to the front and which was then flattened, as it was."""
    moved = (shape[axis], *shape[:axis], *shape[axis + 1 :])
    return np.moveaxis(flat.reshape(moved), 0, axis)


def lines(positions: Indices, shape: Shape) -> dict[int, tuple[int, ...]]:
    """Kept positions of each axis that was cut, as far as they are the same all along it."""
    found: dict[int, tuple[int, ...]] = {}
    where = np.unravel_index(positions, shape)
    for axis, size in enumerate(shape):
        if positions.shape[axis] == size:
            continue
        along = np.moveaxis(where[axis], axis, 0).reshape(positions.shape[axis], -1)
        if along.size and (along == along[:, :1]).all():
            found[axis] = tuple(along[:, 0].tolist())
    return found
