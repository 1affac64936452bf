"""Which index maps meet at which node, so that a question can be put to all of them at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.graph.model import Node
from spa.labels import Ids, Image, IndexMap, Shape
from spa.trace.param import Param

Flags = NDArray[np.bool_]


class _Numbers:
    """Numbers for arrays of labels: the same for those that are known to hold the same."""

    def __init__(self) -> None:
        self.arrays: list[Ids] = []
        self.boxed: set[int] = set()  # the numbers of those that lie along several axes
        self._lines: dict[int, int] = {}
        self._alike: dict[tuple[Shape, bytes], int] = {}

    def of(self, ids: Ids) -> int:
        """The number of an array that the caller keeps alive."""
        several = len(self.arrays)
        if ids.size > max(ids.shape, default=1):
            shape = tuple([n for n in ids.shape if n > 1])
            number = self._alike.setdefault((shape, ids.tobytes()), several)
            self.boxed.add(number)
        else:
            number = self._lines.setdefault(id(labels.core(ids)), several)
        if number == several:
            self.arrays.append(ids)
        return number


class Couplings:
    """The index maps around every node, and their labels, each array once, end to end.

    `params` are by node and input, `extra` are boxes of no tensor, by node.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        images: dict[str, Image],
        params: dict[tuple[int, int], Param],
        extra: dict[int, list[IndexMap]],
    ) -> None:
        self._params: dict[int, list[Param]] = defaultdict(list)
        for key in sorted(params):
            self._params[key[0]].append(params[key])
        self._stacks: dict[int, list[Sequence[IndexMap]]] = {}
        self._boxes: dict[int, list[IndexMap]] = defaultdict(list)
        self._place: dict[int, int] = {}
        known = _Numbers()
        numbers: list[int] = []
        starts: list[int] = []
        self._at: list[int] = []
        place_of = self._place.get
        for node in nodes:
            index = node.index
            tensors = [images.get(name) for name in (*node.inputs, *node.outputs)]
            stacks: list[Sequence[IndexMap]] = [x.maps for x in tensors if x and x.maps]
            stacks += [[p for _, p in param.maps] for param in self._params.get(index, ())]
            stacks += [[p] for p in extra.get(index, ())]
            self._stacks[index] = stacks
            begin = len(numbers)
            for p in [p for maps in stacks for p in maps]:
                number = place_of(id(p.ids))
                if number is None:
                    if not p.ids.size:
                        continue
                    number = self._place[id(p.ids)] = known.of(p.ids)
                numbers.append(number)
                if number in known.boxed:
                    self._boxes[index].append(p)
            if len(numbers) > begin:
                self._at.append(index)
                starts.append(begin)
        self._numbers, self._starts = np.array(numbers, np.intp), np.array(starts, np.intp)
        self._flat = np.concatenate([a.ravel() for a in known.arrays] or [np.zeros(0, np.int64)])
        self._begins = np.cumsum([0, *(a.size for a in known.arrays)]).astype(np.intp)

    def maps(self, node: Node) -> list[IndexMap]:
        """Every index map that meets at a node: inputs, outputs, params, and boxes of no tensor."""
        return [p for maps in self._stacks.get(node.index, ()) for p in maps]

    def stacks(self, node: Node) -> list[Sequence[IndexMap]]:
        """The same index maps, those of one tensor together."""
        return self._stacks[node.index]

    def boxes(self, node: Node) -> Sequence[IndexMap]:
        """Those that lie along several axes."""
        return self._boxes.get(node.index, ())

    @property
    def boxed(self) -> Set[int]:
        """The numbers of the nodes with such index maps."""
        return self._boxes.keys()

    def params(self, node: Node) -> list[Param]:
        """What the node reads from the file, and its product of activations."""
        return self._params.get(node.index, [])

    def place(self, p: IndexMap) -> int | None:
        """The number of an index map's labels among those that met somewhere.

        Maps with one number hold the same labels in the same order, and lie along one axis both
        or along several of the same lengths both.
        """
        return self._place.get(id(p.ids))

    def distinct(self, maps: Iterable[IndexMap]) -> Iterator[IndexMap]:
        """Index maps without those that hold the same labels as an earlier one."""
        seen: set[int | None] = set()
        place_of = self._place.get
        for p in maps:
            place = place_of(id(p.ids))
            if place not in seen:
                if place is not None:
                    seen.add(place)
                yield p

    def chosen(self, flags: Flags) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where a flag, bool `[labels]`, holds: in all arrays of labels, end to end.

        Returns the places, and where among them those of each array begin, by its number; at the
        end, where the last ones end.
        """
        hit = flags.take(self._flat).nonzero()[0]
        return hit, hit.searchsorted(self._begins)

    def within(self, hit: NDArray[np.intp], bounds: NDArray[np.intp]) -> NDArray[np.intp]:
        """What `chosen` gave as places in each (flattened) array."""
        return hit - np.repeat(self._begins[:-1], bounds[1:] - bounds[:-1])

    @property
    def flat(self) -> Ids:
        """The labels of all arrays, end to end."""
        return self._flat

    def held(self, values: NDArray[Any]) -> list[list[Any]]:
        """The different values (given by label) in each array, ascending, by its number."""
        own = values.take(self._flat)
        changes = np.ones(len(own), bool)
        np.not_equal(own[1:], own[:-1], out=changes[1:])
        changes[self._begins[:-1]] = True
        at = changes.nonzero()[0]
        found, bounds = own[at].tolist(), at.searchsorted(self._begins).tolist()
        return [sorted(set(found[a:b])) for a, b in pairwise(bounds)]

    def of(self, maps: Iterable[IndexMap]) -> Ids:
        """All labels of these index maps, those of arrays that hold the same ones once."""
        wanted = np.zeros(len(self._begins) - 1, bool)
        wanted[list({self._place[id(p.ids)] for p in maps if p.ids.size})] = True
        return np.asarray(self._flat[np.repeat(wanted, self.sizes)])

    @property
    def sizes(self) -> NDArray[np.intp]:
        """How many labels each array holds, by its number."""
        return self._begins[1:] - self._begins[:-1]

    def where(self, flags: Flags) -> set[int]:
        """The numbers of the nodes at which a flag by array, by its number, holds for any."""
        if not len(self._starts):
            return set()
        hit = np.logical_or.reduceat(flags[self._numbers], self._starts)
        return {index for index, is_hit in zip(self._at, hit.tolist(), strict=True) if is_hit}
