"""Runs: nodes between two tensors of one image, the only way on from the first to the second.

What lies between may become the identity.  A run begins at what is multiplied and ends before the
next product, or before another stream joins it, so that it leaves the same kind of tensor as it
takes; only where that has another shape does it go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import prod
from typing import NamedTuple

from spa.coupling.model import Coupling
from spa.depth.reach import Reach
from spa.graph.model import Node
from spa.trace import is_float

LONGEST = 4  # steps with products of which no run consists, unless one was found before
FARTHEST = 48  # steps that are followed at all
BESIDE = 4  # a tensor of so many times fewer numbers than a sum or a stack of it joins no stream

Multiplies = Callable[[Iterable[int]], frozenset[int]]


class Run(NamedTuple):
    """From the tensor `first` to `last`; `products` are the nodes on the way that cost MACs."""

    first: str
    last: str
    products: frozenset[int]


def runs(
    coupling: Coupling, reach: Reach, multiplies: Multiplies, known: Mapping[str, frozenset[int]]
) -> list[Run]:
    """The runs of a model, one at most to an end, and none with the products of a branch.

    Args:
        coupling: the analysed model.
        reach: of its graph.
        multiplies: says which nodes cost MACs.
        known: by name, the products of branches that end in sums.
    """
    finder = _Finder(coupling, reach, multiplies)
    found: dict[frozenset[int], Run] = {}
    for node in coupling.graph.nodes:
        for name in filter(None, node.outputs):
            run = finder.of(name)
            if run is not None:  # of two with the same products the outer one counts
                found.setdefault(run.products, run)
    ends: dict[str, Run] = {}
    taken = set(known.values())
    for run in found.values():  # of two with one end, the shorter one
        if run.products not in taken and run.last not in known:
            ends[run.last] = run
    return list(ends.values())


class _Finder:
    """Follows a tensor from one place that all of it must pass to the next."""

    def __init__(self, coupling: Coupling, reach: Reach, multiplies: Multiplies) -> None:
        self.coupling, self.graph = coupling, coupling.graph
        self.reach, self.multiplies = reach, multiplies
        self.meets = _Meets(reach)

    def of(self, first: str) -> Run | None:
        """The shortest run that begins at a tensor, if any does."""
        if not self._is_channels(first):
            return None
        run: Run | None = None
        inside: set[int] = set()
        products: frozenset[int] = frozenset()
        turns = 0
        for step in self._steps(first):
            multiplied = self.multiplies(node.index for node in step)
            turns += bool(multiplied)
            if not turns or turns > LONGEST or (run and multiplied):
                break  # nothing is multiplied yet, or enough
            inside.update(node.index for node in step)
            if any(self._joins(node, first, inside) for node in step):
                break
            products |= multiplied
            last = self._only(step[-1])
            if last is not None and self._alike(first, last):
                run = Run(first, last, products)
        return run

    def _steps(self, first: str) -> Iterator[list[Node]]:
        """The nodes from one place that all of a tensor passes to the next, that place last."""
        place = self.meets.of_tensor(first)
        seen: set[int] = set()
        for _ in range(FARTHEST):
            if place is None:
                return
            end = self.graph.nodes[place]
            ways = [end]
            if len(seen) or self.reach.users(first) != {place}:
                made = next(filter(None, end.outputs))
                ways = [n for n in self.reach.between((first,), made) if n.index not in seen]
            seen.update(node.index for node in ways)
            yield ways
            place = self.meets.after[place]

    def _joins(self, node: Node, first: str, inside: set[int]) -> bool:
        """Whether another stream, of about as many numbers, comes in at a node."""
        made = max((prod(self.graph.shapes.get(o, ())) for o in node.outputs if o), default=0)
        for name in self.reach.reads(node):
            if name == first or self.reach.maker.get(name) in inside:
                continue
            if self.graph.shapes.get(name) is None or made <= BESIDE * prod(
                self.graph.shapes[name]
            ):
                return True
        return False

    def _only(self, node: Node) -> str | None:
        """The one output of a node that anybody reads."""
        read = [o for o in node.outputs if o in self.graph.readers or o in self.graph.outputs]
        return read[0] if len(read) == 1 else None

    def _is_channels(self, name: str) -> bool:
        """Whether a tensor holds numbers with channels."""
        image = self.coupling.notes.images.get(name)
        dtype = self.graph.dtypes.get(name)
        return image is not None and bool(image.maps) and dtype is not None and is_float(dtype)

    def _alike(self, first: str, last: str) -> bool:
        """Whether two tensors have one image: type, shape at every size, and axes of channels."""
        if self.graph.dtypes.get(first) != self.graph.dtypes.get(last):
            return False
        images = self.coupling.notes.images
        axes = [sorted(p.axes for p in images[n].maps) for n in (first, last) if n in images]
        return len(axes) == 2 and axes[0] == axes[1] and self.graph.alike(first, last)


class _Meets:
    """By node, the first one after it that all ways to the outputs of the model pass; else None."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        several = len(reach.graph.nodes)
        self.after: list[int | None] = [None] * several
        self._depth = [1] * several
        for node in reversed(reach.graph.nodes):
            self.after[node.index] = self._of([o for o in node.outputs if o])
            place = self.after[node.index]
            self._depth[node.index] = 1 if place is None else self._depth[place] + 1

    def of_tensor(self, name: str) -> int | None:
        """The first node that all ways from a tensor pass."""
        return self._of([name])

    def _of(self, names: list[str]) -> int | None:
        if any(name in self.reach.graph.outputs for name in names):
            return None
        users = {user for name in names for user in self.reach.users(name)}
        place: int | None = None
        for turn, user in enumerate(users):
            place = user if turn == 0 else self._common(place, user)
            if place is None:
                return None
        return place

    def _common(self, one: int | None, other: int | None) -> int | None:
        while one is not None and other is not None and one != other:
            if self._depth[one] < self._depth[other]:
                one, other = other, one
            one = self.after[one]
        return one if one == other else None
