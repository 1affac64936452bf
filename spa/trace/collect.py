"""Interpret a graph on labels, once and forward, and note which labels are one channel."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.graph.model import FLOW, Graph, Node
from spa.labels import FROZEN, Ids, Image, IndexMap, Shape
from spa.trace.couplings import Couplings
from spa.trace.op import Listener, Op, T
from spa.trace.param import MAKES, NoElementsError, Param
from spa.trace.registry import RULES
from spa.trace.roles import Derived

log = logging.getLogger(__name__)

MadeAt = tuple[int, int, int]
"""Where labels were made: the node's number, its input (`FRESH`: none), and which time there."""
FRESH = 1 << 30
OPTION = -2  # in place of a node's number: an input with a default
NONE_ALIKE: Mapping[MadeAt, Ids] = MappingProxyType({})
Factors = Mapping[tuple[int, int], tuple[Shape, ...]]
"""By node and input, for every axis of a stored tensor, the axes it is made of."""
NONE_MADE: Factors = MappingProxyType({})


@dataclass(frozen=True)
class Reason:
    """Why something is frozen or only roughly kept: the sentence, and the node that says so."""

    text: str
    op: str
    node: str


TIED = "tied into one unit"
EVEN = Reason(f"{TIED}, as rows beside it must keep equally many", "", "")


@dataclass(frozen=True, eq=False)
class Roots:
    """The solution: labels with one root are one unit.

    `solid[label]` is 0 for what is frozen; `loose` is the same before freezing, so that frozen
    classes can still be told apart; `why[label]` indexes `reasons` (-1: not frozen).
    """

    solid: Ids
    loose: Ids
    why: NDArray[np.int64]
    reasons: tuple[Reason, ...]


class Collect(Listener):
    """The notes of one sweep; `roots` solves them.

    Args:
        graph: as read by `spa.graph.read`.
        strict: let an error inside a rule through instead of freezing its node.
        alike: by where labels were made, for each of them the first that is the same channel.
        made_of: the axes that weights computed from stored tensors will have.
    """

    def __init__(
        self,
        graph: Graph,
        strict: bool = False,
        alike: Mapping[MadeAt, Ids] = NONE_ALIKE,
        made_of: Factors = NONE_MADE,
    ) -> None:
        self.graph = graph
        self.strict = strict
        self.alike = alike
        self.made_of = made_of
        self.crossings: list[IndexMap] = []
        self.built: list[str] = []
        self.stored: frozenset[str] = frozenset(graph.consts)
        self.size = 1
        self.images: dict[str, Image] = {}
        self.params: dict[tuple[int, int], Param] = {}
        self.extra: dict[int, list[IndexMap]] = defaultdict(list)
        self.created: dict[int, list[Ids]] = defaultdict(list)
        self.made_at: dict[MadeAt, Ids] = {}
        self.headed: list[tuple[IndexMap, tuple[int, ...]]] = []
        self.chosen: dict[int, list[Any]] = defaultdict(list)
        self.losses: list[Reason] = []
        self.unknown: list[Reason] = []
        self._pairs: list[tuple[Ids, Ids]] = []
        self._ties: list[Reason] = []  # who says so, batch by batch
        self._frozen: list[tuple[Ids, Reason]] = []
        self.sides: list[tuple[tuple[Ids, ...], Reason]] = []  # of every cell, and who says so
        self._derived = Derived()

    # what an op sees

    def factors(self, node: Node, i: int) -> tuple[Shape, ...] | None:
        return self.made_of.get((node.index, i))

    def images_of(self, node: Node) -> list[Image | None]:
        return [self.images.get(name) for name in node.inputs]

    # what an op says

    def param(
        self,
        node: Node,
        i: int | None,
        view: Shape,
        maps: dict[str, IndexMap | tuple[int, ...]],
        times: float,
    ) -> list[IndexMap]:
        key = (node.index, i if i is not None else -1 - len(node.inputs))
        if i is not None and key in self.params:
            raise ValueError(f"input {i} is used twice by one rule")
        made = [
            self._make(p, view, (*key, k)) if isinstance(p, tuple) else p
            for k, p in enumerate(maps.values())
        ]
        self._check_view(node, i, view, made)
        roles = [role.rstrip("0123456789") for role in maps]
        tensor = None if i is None else node.inputs[i]
        named = tuple(zip(roles, made, strict=True))
        self.params[key] = Param(node.index, key[1], tensor, view, named, times * node.times)
        return made

    def _check_view(self, node: Node, i: int | None, view: Shape, maps: list[IndexMap]) -> None:
        """Refuse a view that a stored tensor does not fill: labels would mean other elements."""
        stored = i is not None and node.inputs[i] in self.stored
        shape = self.shape(node, i) if stored and i is not None else None
        if stored and prod(view) == 0:
            raise NoElementsError(f"input {i} has the shape {list(view)} and so no elements")
        if shape is not None and prod(shape) != prod(view):
            raise ValueError(f"input {i} has the shape {list(shape)} in place of {list(view)}")
        for p in maps:
            fits = len(p.ids.shape) == len(view)
            if not fits or any(n not in (1, m) for n, m in zip(p.ids.shape, view, strict=True)):
                raise ValueError(f"input {i} does not have the form that its node asks for")

    def _make(self, axes: tuple[int, ...], view: Shape, key: MadeAt) -> IndexMap:
        sizes = [n if a in axes else 1 for a, n in enumerate(view)]
        size = prod(sizes)  # the only channel of its axis can never go
        ids = np.zeros(1, np.int64) if size == 1 else self._new(size, key)
        return IndexMap(ids.reshape(sizes), tuple(sorted(axes)))

    def _new(self, size: int, key: MadeAt) -> Ids:
        self.size += size
        ids = np.arange(self.size - size, self.size, dtype=np.int64)
        self.made_at[key] = ids
        return ids[self.alike[key]] if key in self.alike else ids

    def fresh(self, node: Node, size: int) -> Ids:
        ids = self._new(size, (node.index, FRESH, len(self.created[node.index])))
        self.created[node.index].append(ids)
        return ids

    def same(self, node: Node, a: Ids, b: Ids, reason: str) -> None:
        if a is b:
            return
        if a.shape != b.shape:
            a, b = np.broadcast_arrays(a, b)
        differ = a != b
        if not np.count_nonzero(differ):
            return
        a, b = a[differ], b[differ]
        fixed = (a == FROZEN) | (b == FROZEN)
        if fixed.any():
            hit = np.unique(np.maximum(a[fixed], b[fixed]))
            self._frozen.append((hit, Reason(reason, node.op, node.name)))
        self._pair(a[~fixed], b[~fixed], Reason(TIED, node.op, node.name))

    def _pair(self, a: Ids, b: Ids, tie: Reason) -> None:
        if a.size:
            self._pairs.append((a, b))
            self._ties.append(tie)

    def cells(self, node: Node, sides: tuple[Ids, ...]) -> None:
        if len(sides[0]) > 1:
            self.sides.append((sides, Reason(TIED, node.op, node.name)))

    def rows(self, node: Node, index_map: IndexMap) -> None:
        self.extra[node.index].append(index_map)

    def crossed(self, node: Node, index_map: IndexMap) -> None:
        self.crossings.append(index_map)

    def computed(self, node: Node, i: int) -> None:
        self.built.append(node.inputs[i])

    def heads(self, node: Node, index_map: IndexMap, axes: tuple[int, ...]) -> None:
        self.headed.append((index_map, axes))

    def decide(self, node: Node, choose: Callable[[], T]) -> T:
        chosen = choose()
        self.chosen[node.index].append(chosen)
        return chosen

    def lossy(self, node: Node, reason: str) -> None:
        self.losses.append(Reason(reason, node.op, node.name))

    # the sweep

    def sweep(self) -> Collect:
        """Run every rule once, in order, and freeze the outputs."""
        self.begin()
        self.run()
        for name in self.graph.outputs:
            for p in self.images[name].maps if name in self.images else ():
                self._frozen.append((np.unique(p.ids), Reason("graph output", "output", name)))
        self.params = self._derived.named(self.params, self.size)
        return self

    def begin(self) -> None:
        """Inputs and what is stored are frozen."""
        for name in self.graph.inputs:
            if name in self.graph.shapes:
                self.images[name] = labels.frozen(self.graph.shapes[name])
        for k, name in enumerate(self.graph.options):
            self._keep_whole(k, name)
        for name in self.graph.consts:
            self.images[name] = labels.frozen(self.graph.shapes.get(name, ()))

    def run(self) -> None:
        """The rules of all nodes."""
        for node in self.graph.order:
            if node.domain == FLOW or any([o and o not in self.stored for o in node.outputs]):
                self._visit(node)

    def _keep_whole(self, k: int, name: str) -> None:
        """Freeze all axes of an input with a default, for which a caller may have a value."""
        shape = self.graph.shapes.get(name)
        if shape is None:
            return
        maps = tuple(
            [self._make((a,), shape, (OPTION, k, a)) for a, n in enumerate(shape) if n > 1]
        )
        self.images[name] = Image(shape, maps)
        for index_map in maps:
            self.hold(index_map.ids, Reason("an input of the model with a default", "input", name))

    def _hold_stretched(self, node: Node, name: str) -> None:
        axes = self.graph.stretched.get(name, frozenset())
        for p in self.images[name].maps if axes else ():
            if not axes.isdisjoint(p.axes):
                self.hold(p.ids, Reason("meets an axis of an open length", node.op, node.name))

    def _visit(self, node: Node) -> None:
        rule = RULES.get((node.domain, node.op))
        known = all([n in self.images for n in node.inputs if n])
        sized = all([o in self.graph.shapes for o in node.outputs if o])
        if rule is None or node.captured or not known or not sized:
            why = (
                f"no rule for {_full(node)}"
                if rule is None
                else "control flow"
                if node.captured
                else f"shape of an {'input' if not known else 'output'} is not known"
            )
            self._give_up(node, why)
            return
        said = len(self._pairs)
        try:
            op = Op(self, node)
            found = rule(op, *op.x)
            images = found if isinstance(found, (list, tuple)) else [found]
            for name, image in zip(node.outputs, images, strict=False):
                if name:
                    if image.shape != self.graph.shapes[name]:
                        raise ValueError(
                            f"rule says {image.shape}, shapes say {self.graph.shapes[name]}"
                        )
                    self.images[name] = image
                    self._hold_stretched(node, name)
            for name in node.outputs[len(images) :]:
                if name:
                    self.images[name] = labels.frozen(self.graph.shapes[name])
            self._derived.visit(node, self.stored, self.images, self._pairs[said:])
        except Exception as error:
            if self.strict:
                raise
            log.info("rule for %s gave up at %r: %s", node.op, node.name, error)
            self._give_up(node, f"its rule gave up: {error}")

    def _give_up(self, node: Node, why: str) -> None:
        reason = Reason(why, _full(node), node.name)
        self.unknown.append(reason)
        for key in [k for k in self.params if k[0] == node.index]:
            for _, p in self.params.pop(key).maps:
                self._frozen.append((np.unique(p.ids), reason))
        for name in {*node.inputs, *node.captured}:
            for p in self.images[name].maps if name in self.images else ():
                self._frozen.append((np.unique(p.ids), reason))
        for name in node.outputs:
            if name in self.graph.shapes:
                self.images[name] = labels.frozen(self.graph.shapes[name])

    @cached_property
    def couplings(self) -> Couplings:
        """Which index maps meet where; the sweep must be over."""
        return Couplings(self.graph.order, self.images, self.params, self.extra)

    @property
    def weights(self) -> list[Param]:
        """The params that are stored tensors, in order."""
        return [p for p in self.params.values() if p.tensor is not None]

    def uses(self) -> dict[str, list[Param]]:
        """Every stored tensor that rules know as a param, with its uses in order."""
        uses: dict[str, list[Param]] = defaultdict(list)
        for param in self.weights:
            uses[param.stored].append(param)
        return uses

    def makers(self) -> Iterator[tuple[str, IndexMap]]:
        """Stored tensors that make channels, and which."""
        for param in self.weights:
            index_map = param.index_map(MAKES)
            if index_map is not None:
                yield param.stored, index_map

    # later words, from those who read the notes

    def tie(self, ids: Ids, other: Ids, reason: Reason = EVEN) -> None:
        """Merge these labels too."""
        a, b = (x.ravel() for x in np.broadcast_arrays(ids, other))
        fixed = (a == FROZEN) | (b == FROZEN)
        if fixed.any():
            self.hold(np.maximum(a, b)[fixed], Reason("tied to a channel that cannot go", "", ""))
        self._pair(a[~fixed], b[~fixed], reason)

    def hold(self, ids: Ids, reason: Reason) -> None:
        """Freeze these labels too."""
        self._frozen.append((np.unique(ids), reason))

    def copy(self) -> Collect:
        """The same notes; what is tied or held there changes nothing here."""
        other = copy(self)
        other._pairs, other._frozen = self._pairs.copy(), self._frozen.copy()
        other._ties = self._ties.copy()
        return other

    def pairs(self) -> tuple[Ids, Ids]:
        """Labels that are one channel, pair by pair."""
        left = np.concatenate([a for a, _ in self._pairs] or [np.zeros(0, np.int64)])
        right = np.concatenate([b for _, b in self._pairs] or [np.zeros(0, np.int64)])
        return left, right

    def ties(self) -> tuple[NDArray[np.int64], tuple[Reason, ...]]:
        """Who says of each of the `pairs` that they are one, as a number of the reasons."""
        numbers = np.arange(len(self._ties))
        return numbers.repeat([len(a) for a, _ in self._pairs]), tuple(self._ties)

    def roots(self) -> Roots:
        """Solve the notes: the unit of every label, and why the frozen ones are frozen."""
        while True:
            loose = labels.components(self.size, *self.pairs())
            why = np.full(self.size, -1)
            why[FROZEN] = 0
            for k, (ids, _) in enumerate(self._frozen):
                units = loose[ids]
                why[units[why[units] < 0]] = k
            solid = np.where(why[loose] >= 0, FROZEN, loose)
            if not self._merge_lone_cells(solid):
                return Roots(solid, loose, why[loose], tuple(r for _, r in self._frozen))

    def _merge_lone_cells(self, root: Ids) -> bool:
        """A side with a single unit left in a row takes the whole cell along."""
        merged = False
        for sides, tie in self.sides:
            rows = [root[s] for s in sides]
            lone = np.zeros(len(rows[0]), bool)
            for side, other in ((rows[0], rows[-1]), (rows[-1], rows[0])):
                one = (side == side[:, :1]).all(1)
                single = (other == other[:, :1]).all(1)
                lone |= one & ((side[:, 0] != FROZEN) | single)
            both = np.concatenate(rows, 1)[lone]
            if (both != both[:, :1]).any():
                fixed = both.min(1) == FROZEN
                if fixed.any():
                    self.hold(both[fixed], Reason("its group of channels cannot go", "", ""))
                self.tie(both[~fixed, :1], both[~fixed], tie)
                merged = True
        return merged


def _full(node: Node) -> str:
    return f"{node.domain}.{node.op}" if node.domain not in ("", FLOW) else node.op
