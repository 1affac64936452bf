"""Which planes meet at which node, so that a question can be put to all of them at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.labels import Ids, Image, Plane
from spa.trace.param import Param

Flags = NDArray[np.bool_]


class Meetings:
    """The planes around every node, and their labels, each array once, end to end.

    Args:
        nodes: of the graph, numbered by `index`.
        images: of the tensors, by name.
        params: by node and input.
        extra: boxes of no tensor, by node.
    """

    def __init__(
        self,
        nodes: Sequence[Any],
        images: dict[str, Image],
        params: dict[tuple[int, int], Param],
        extra: dict[int, list[Plane]],
    ) -> None:
        self._params: dict[int, list[Param]] = defaultdict(list)
        for key in sorted(params):
            self._params[key[0]].append(params[key])
        self._planes: dict[int, list[Plane]] = {}
        self._stacks: dict[int, list[Sequence[Plane]]] = {}
        self._boxes: dict[int, list[Plane]] = {}
        self._twins: dict[int, int] = {}
        self._place: dict[int, int] = {}
        arrays: list[Ids] = []
        twins: dict[tuple[tuple[int, ...], bytes], int] = {}
        numbers: list[int] = []
        starts: list[int] = []
        self._at: list[int] = []
        for node in nodes:
            stacks: list[Sequence[Plane]] = [
                images[name].planes for name in (*node.inputs, *node.outputs) if name in images
            ]
            stacks += [[p for _, p in param.planes] for param in self.params(node)]
            stacks += [[p] for p in extra.get(node.index, ())]
            met = [p for planes in stacks for p in planes]
            self._planes[node.index], self._stacks[node.index] = met, stacks
            self._boxes[node.index] = [p for p in met if p.ids.size > max(p.ids.shape, default=1)]
            filled = [p.ids for p in met if p.ids.size]
            for ids in filled:
                if id(ids) in self._place:
                    continue
                self._place[id(ids)] = len(arrays)
                if ids.size > max(ids.shape, default=1):
                    shape = tuple([n for n in ids.shape if n > 1])
                    twin = self._twins[id(ids)] = twins.setdefault((shape, ids.tobytes()), id(ids))
                    self._place[id(ids)] = self._place[twin]
                if self._place[id(ids)] == len(arrays):
                    arrays.append(ids)
            if filled:
                self._at.append(node.index)
                starts.append(len(numbers))
                numbers += [self._place[id(ids)] for ids in filled]
        self._numbers, self._starts = np.array(numbers, np.intp), np.array(starts, np.intp)
        self._flat = np.concatenate([a.ravel() for a in arrays] or [np.zeros(0, np.int64)])
        self._ends = np.cumsum([0, *(a.size for a in arrays)])[:-1].astype(np.intp)

    def planes(self, node: Any) -> list[Plane]:
        """Every plane that meets at a node: inputs, outputs, params, and boxes of no tensor."""
        return self._planes[node.index]

    def stacks(self, node: Any) -> list[Sequence[Plane]]:
        """The same planes, those of one tensor together."""
        return self._stacks[node.index]

    def boxes(self, node: Any) -> list[Plane]:
        """Those that lie along several axes."""
        return self._boxes[node.index]

    def params(self, node: Any) -> list[Param]:
        """What the node reads from the file, and its product of activations."""
        return self._params.get(node.index, [])

    def place(self, p: Plane) -> int | None:
        """The number of a plane's labels among those that met somewhere."""
        return self._place.get(id(p.ids))

    def twin(self, p: Plane) -> int | None:
        """What planes over several axes with the same labels have in common."""
        return self._twins.get(id(p.ids))

    def every(self, flags: Flags) -> Flags:
        """Whether a flag, bool `[labels]`, holds for all labels of each array, by its number."""
        return self._reduced(np.logical_and, flags)

    def some(self, flags: Flags) -> Flags:
        """Whether a flag, bool `[labels]`, holds for any label of each array, by its number."""
        return self._reduced(np.logical_or, flags)

    def _reduced(self, ufunc: np.ufunc, flags: Flags) -> Flags:
        if not len(self._ends):
            return np.zeros(0, bool)
        return np.asarray(ufunc.reduceat(flags[self._flat], self._ends))

    def where(self, flags: Flags) -> set[int]:
        """The numbers of the nodes at which a flag by array, as of `every`, holds for any."""
        if not len(self._starts):
            return set()
        hit = np.logical_or.reduceat(flags[self._numbers], self._starts)
        return {index for index, is_hit in zip(self._at, hit.tolist(), strict=True) if is_hit}
